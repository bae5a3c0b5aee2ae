//! Histograms with their quantiles.

use tracer_common::histogram::{BOUNDS, Family, OFFSET, SCHEMA, ZERO_THRESHOLD_NS};

use crate::{
    event,
    model::books::{Books, ProcessId, Requests},
    report::Histogram,
};

/// The target's histograms first, then the others' by time waited.
pub(super) fn histograms(books: &Books) -> Vec<Histogram> {
    let mut all: Vec<&(ProcessId, event::Histogram)> = books
        .histograms
        .iter()
        .filter(|(_, found)| found.count > 0)
        .collect();
    all.sort_by_key(|(id, found)| {
        (
            !books.processes[*id].target,
            std::cmp::Reverse(found.sum_ns),
            found.pid,
            found.family,
        )
    });
    all.into_iter()
        .map(|(id, found)| histogram(&books.processes[*id].comm, found))
        .collect()
}

/// The durations of the requests that ended; `None` without any. Its quantiles are those of the requests.
pub(super) fn requests(books: &Books, found: &Requests) -> Option<Histogram> {
    let max_ns = found.max_ns?;
    let (zero_count, buckets) = found.buckets.split_first()?;
    let is_used = |count: &u64| *count > 0;
    let first = buckets.iter().position(is_used).unwrap_or(0);
    let used = buckets.iter().rposition(is_used).map_or(0, |last| last + 1);
    let target = books.targets.first().map(|id| &books.processes[*id]);
    Some(Histogram {
        pid: target.map_or(0, |target| target.pid),
        comm: target.map_or_else(String::new, |target| target.comm.to_string()),
        family: REQUEST.to_owned(),
        schema: SCHEMA,
        zero_count: *zero_count,
        zero_threshold_ns: ZERO_THRESHOLD_NS,
        offset: OFFSET + first as i32,
        counts: buckets[first..used.max(first)].to_vec(),
        count: found.buckets.iter().sum(),
        sum_ns: found.sum_ns,
        p50_ns: found.p50_ns,
        p90_ns: found.p90_ns,
        p99_ns: found.p99_ns,
        max_ns: Some(max_ns),
    })
}

/// The family of the requests' histogram. The kernel half counts none of it.
const REQUEST: &str = "request";

fn histogram(comm: &str, found: &event::Histogram) -> Histogram {
    let family = Family::ALL
        .get(found.family as usize)
        .map_or("unknown", |(_, name)| name);
    Histogram {
        pid: found.pid,
        comm: comm.to_owned(),
        family: family.to_owned(),
        schema: SCHEMA,
        zero_count: found.zero_count,
        zero_threshold_ns: ZERO_THRESHOLD_NS,
        offset: OFFSET + found.first as i32,
        counts: found
            .buckets
            .iter()
            .map(|count| u64::from(*count))
            .collect(),
        count: found.count,
        sum_ns: found.sum_ns,
        p50_ns: quantile(found, 0.50),
        p90_ns: quantile(found, 0.90),
        p99_ns: quantile(found, 0.99),
        max_ns: (found.count > 0).then_some(found.max_ns),
    }
}

/// The middle (geometric) of the bucket that holds the quantile: off by at most 4.4 %.
fn quantile(found: &event::Histogram, part: f64) -> Option<u64> {
    let total = found.zero_count
        + found
            .buckets
            .iter()
            .map(|count| u64::from(*count))
            .sum::<u64>();
    let wanted = (part * total as f64).ceil().max(1.0) as u64;
    let mut seen = found.zero_count;
    if total == 0 {
        return None;
    }
    if seen >= wanted {
        return Some(ZERO_THRESHOLD_NS.min(found.max_ns));
    }
    for (i, count) in found.buckets.iter().enumerate() {
        seen += u64::from(*count);
        if seen >= wanted {
            let upper = BOUNDS[(found.first as usize + i).min(BOUNDS.len() - 1)] as f64;
            // Half an eighth of an octave below the upper bound.
            return Some(((upper * 2_f64.powf(-1.0 / 16.0)) as u64).min(found.max_ns));
        }
    }
    Some(found.max_ns)
}
