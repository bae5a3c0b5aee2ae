//! The quantiles of the requests of two windows.

use tracer_common::histogram::{BOUNDS, BUCKETS, ZERO_THRESHOLD_NS};

use super::{
    batches::Batches,
    noise::{QUANTILES, Rate, ranks},
};
use crate::model::books::Requests;

/// A quantile before and after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// Part of the requests that took at most as long, 0..1.
    pub part: f64,
    /// How long, ns: before and after.
    pub ns: [u64; 2],
    /// Interval of `after / before - 1`. Without an upper end there were too few requests to bound it. `None`: not compared.
    pub change: Option<(f64, Option<f64>)>,
    /// Does it differ by more than noise? `None` if that cannot be said.
    pub differs: Option<bool>,
}

/// The interval of one quantile, ns. It is open above where there were too few requests.
#[derive(Clone, Copy, Debug)]
struct Interval {
    low: f64,
    high: Option<f64>,
}

/// The requests of one window.
pub(super) type Seen<'a> = (&'a Requests, &'a Batches);

/// The quantiles that both windows have; compared only if `is_sound`.
pub(super) fn quantiles(before: Seen<'_>, after: Seen<'_>, is_sound: bool) -> Vec<Quantile> {
    let seen = [before, after];
    let effective = seen.map(|(found, batches)| effective(found, batches));
    let quantile = |part: f64| {
        let before_ns = shown(before.0, part)?;
        let after_ns = shown(after.0, part)?;
        let [before, after] = [0, 1].map(|side| interval(seen[side].0, effective[side], part));
        Some(Quantile {
            part,
            ns: [before_ns, after_ns],
            change: is_sound.then(|| change(before, after)),
            differs: differ(before, after).filter(|_| is_sound),
        })
    };
    QUANTILES.into_iter().filter_map(quantile).collect()
}

/// The quantile as the report of its window has it.
fn shown(found: &Requests, part: f64) -> Option<u64> {
    match part {
        part if part < 0.9 => found.p50_ns,
        part if part < 0.99 => found.p90_ns,
        _ => found.p99_ns,
    }
}

/// Slow requests come together, so they say less than as many independent ones. Returns as how many they count: fewer by what the means
/// of batches scatter more than those of independent requests would (the design effect; Kish, "Survey Sampling", 1965, 8.2).
fn effective(found: &Requests, batches: &Batches) -> u64 {
    let count: u64 = found.buckets.iter().sum();
    let sums = found.buckets.iter().enumerate();
    let values = sums.map(|(bucket, count)| {
        let (low, high) = bounds_of(found, bucket);
        ((low + high) / 2.0, *count as f64)
    });
    let values: Vec<(f64, f64)> = values.filter(|(_, count)| *count > 0.0).collect();
    let all = count.max(1) as f64;
    let mean = values.iter().map(|(ns, count)| ns * count).sum::<f64>() / all;
    let squares: f64 = values
        .iter()
        .map(|(ns, count)| (ns - mean).powi(2) * count)
        .sum();
    let independent = squares / all / all;
    let scattered = Rate::new(&batches.took, &batches.ended).map_or(0.0, |rate| rate.error);
    let effect = match independent > 0.0 {
        true => (scattered.powi(2) / independent).max(1.0),
        false => 1.0,
    };
    ((all / effect) as u64).max(1)
}

/// The interval in which a quantile lies, of requests that count as so many independent ones.
fn interval(found: &Requests, effective: u64, part: f64) -> Interval {
    let count: u64 = found.buckets.iter().sum();
    let (lower, upper) = ranks(effective, part);
    let rank = |rank: u64| rank as f64 / effective as f64 * count as f64;
    let low = lower.map(|lower| bounds(found, (rank(lower).floor() as u64).max(1)).0);
    Interval {
        low: low.unwrap_or(0.0),
        high: upper.map(|upper| bounds(found, rank(upper).ceil() as u64).1),
    }
}

/// The bounds of the bucket that holds a rank, ns.
fn bounds(found: &Requests, rank: u64) -> (f64, f64) {
    let mut seen = 0;
    for (bucket, count) in found.buckets.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return bounds_of(found, bucket);
        }
    }
    let longest = found.max_ns.unwrap_or(0) as f64;
    (longest, longest)
}

/// The bounds of a bucket, ns. The first holds what counts as zero, the last everything that is longer than its lower bound.
fn bounds_of(found: &Requests, bucket: usize) -> (f64, f64) {
    let longest = found.max_ns.unwrap_or(0);
    let bound = |number: usize| match number {
        0 => ZERO_THRESHOLD_NS,
        number if number < BUCKETS => BOUNDS[number - 1],
        _ => longest,
    };
    let low = bucket.checked_sub(1).map_or(0, bound);
    let high = bound(bucket).min(longest);
    (low as f64, high.max(low) as f64)
}

/// The interval of the ratio of two quantiles, less one.
fn change(before: Interval, after: Interval) -> (f64, Option<f64>) {
    let low = before.high.map_or(0.0, |high| after.low / high.max(1.0));
    let high = after.high.filter(|_| before.low > 0.0);
    (low - 1.0, high.map(|high| high / before.low - 1.0))
}

/// Do two intervals not touch? `None` where they do, and one of them is open: more requests might part them.
fn differ(before: Interval, after: Interval) -> Option<bool> {
    let above = |one: Interval, other: Interval| other.high.is_some_and(|high| one.low > high);
    if above(before, after) || above(after, before) {
        return Some(true);
    }
    (before.high.is_some() && after.high.is_some()).then_some(false)
}

#[cfg(test)]
mod tests {
    use tracer_common::histogram::bucket;

    use super::*;
    use crate::{
        model::books::{Bin, Books, Ends},
        verdict::fixture::MS,
    };

    /// So many requests of each duration, ms, in each of ten seconds. `slow` of the seconds have only the last one.
    fn window(durations: &[u64], slow: usize) -> (Requests, Batches) {
        let mut found = Requests {
            buckets: vec![0; BUCKETS + 1],
            ..Requests::default()
        };
        let mut all = Vec::new();
        for second in 0..10 {
            let longest = durations.last().copied().unwrap_or(0);
            let here: Vec<u64> = match second < slow {
                true => vec![longest; durations.len()],
                false => durations.to_vec(),
            };
            found.ends.push(Ends {
                ns: second as u64 * 1_000 * MS + 500 * MS,
                count: here.len() as u64,
                sum_ns: here.iter().sum::<u64>() * MS,
            });
            all.extend(here);
        }
        all.sort_unstable();
        for ms in &all {
            found.buckets[bucket(ms * MS).map_or(0, |index| index as usize + 1)] += 1;
        }
        let rank = |part: f64| (part * all.len() as f64).ceil() as usize - 1;
        found.p50_ns = Some(all[rank(0.5)] * MS);
        found.p90_ns = Some(all[rank(0.9)] * MS);
        found.p99_ns = Some(all[rank(0.99)] * MS);
        found.max_ns = all.last().map(|ms| ms * MS);
        let mut books = Books {
            bins: vec![Bin::default(); 100],
            bin_ns: 100 * MS,
            requests: Some(found.clone()),
            ..Books::default()
        };
        books.end.ns = 10_000 * MS;
        (found, Batches::new(&books))
    }

    fn compared(before: &(Requests, Batches), after: &(Requests, Batches)) -> Vec<Quantile> {
        quantiles((&before.0, &before.1), (&after.0, &after.1), true)
    }

    fn spread(least: u64) -> Vec<u64> {
        (least..least + 60).collect()
    }

    #[test]
    fn a_window_does_not_differ_from_itself() {
        let one = window(&spread(20), 0);
        for quantile in compared(&one, &one) {
            assert_eq!(quantile.differs, Some(false), "{quantile:?}");
            let (low, high) = quantile.change.unwrap();
            assert!(low <= 0.0 && high.unwrap() >= 0.0, "{quantile:?}");
        }
    }

    #[test]
    fn requests_that_take_twice_as_long_differ_and_the_way_back_mirrors_it() {
        let (fast, slow) = (window(&spread(20), 0), window(&spread(80), 0));
        let (there, back) = (compared(&fast, &slow), compared(&slow, &fast));
        assert_eq!(
            (there[0].differs, back[0].differs),
            (Some(true), Some(true))
        );
        assert!(there[0].change.unwrap().0 > 0.0);
        assert!(back[0].change.unwrap().1.unwrap() < 0.0);
        let ns = |all: &[Quantile]| all.iter().map(|quantile| quantile.ns).collect::<Vec<_>>();
        let mut swapped = ns(&back);
        swapped.iter_mut().for_each(|pair| pair.reverse());
        assert_eq!(ns(&there), swapped);
    }

    #[test]
    fn few_requests_say_nothing_of_the_slowest() {
        let few = window(&[20, 30, 40], 0);
        let p99 = compared(&few, &few)[2];
        assert_eq!(p99.differs, None);
        assert_eq!(p99.change.unwrap().1, None);
    }

    #[test]
    fn requests_that_are_slow_together_count_as_fewer() {
        let even = window(&spread(20), 0);
        let bursts = window(&spread(20), 3);
        let count = |(found, batches): &(Requests, Batches)| effective(found, batches);
        assert_eq!(count(&even), 600);
        assert!(count(&bursts) < 100, "{}", count(&bursts));
    }

    #[test]
    fn nothing_is_claimed_of_what_is_not_sound() {
        let (fast, slow) = (window(&spread(20), 0), window(&spread(80), 0));
        let unsound = quantiles((&fast.0, &fast.1), (&slow.0, &slow.1), false);
        let is_silent =
            |quantile: &Quantile| quantile.differs.is_none() && quantile.change.is_none();
        assert!(unsound.iter().all(is_silent));
        assert_eq!(unsound.len(), QUANTILES.len());
    }
}
