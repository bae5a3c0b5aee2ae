//! Histograms with their quantiles.

use tracer_common::histogram::{BOUNDS, Family, OFFSET, SCHEMA, ZERO_THRESHOLD_NS};

use crate::{
    event,
    model::books::{Books, ProcessId},
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
