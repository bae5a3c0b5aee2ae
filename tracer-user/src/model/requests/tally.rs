//! Figures of the requests: how many, how long they took, and what became of each nanosecond that the books have as request time.

use std::{collections::BTreeMap, mem};

use tracer_common::histogram::{BUCKETS, bucket};

use super::connection::Turn;
use crate::model::books;

/// Durations, in the buckets of all histograms, and in finer ones for their quantiles.
#[derive(Clone, Debug)]
pub(crate) struct Durations {
    buckets: Vec<u64>,
    /// How many are in each of the finer buckets.
    fine: BTreeMap<u32, u64>,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS + 1],
            fine: BTreeMap::new(),
            count: 0,
            sum_ns: 0,
            max_ns: 0,
        }
    }
}

impl Durations {
    /// Counts one.
    pub(crate) fn add(&mut self, ns: u64) {
        self.buckets[bucket(ns).map_or(0, |i| i as usize + 1)] += 1;
        *self.fine.entry(fine_bucket(ns)).or_default() += 1;
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The nearest-rank quantile: the shortest duration that at least this part of them do not exceed, ns. A client that keeps all its
    /// times takes the same one. It is off by less than 1 %; where it is the longest, by nothing.
    ///
    /// The buckets of the histograms would be too coarse: they are 9 % wide, and of few requests one bucket has a single one.
    #[must_use]
    pub(crate) fn quantile(&self, part: f64) -> Option<u64> {
        let rank = (part * self.count as f64).ceil().max(1.0) as u64;
        if rank >= self.count {
            return self.max();
        }
        let mut before = 0;
        for (bucket, count) in &self.fine {
            if before + count >= rank {
                let (lower, width) = fine_bounds(*bucket);
                let inside = ((rank - before) as f64 - 0.5) / *count as f64;
                let ns = lower as f64 + width as f64 * inside;
                return Some((ns as u64).min(self.max_ns));
            }
            before += count;
        }
        None
    }

    /// The longest.
    #[must_use]
    pub(crate) fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }
}

/// A finer bucket keeps so many bits of a duration below its highest one: 64 buckets per octave, each at most 1.6 % wide.
const FINE_BITS: u32 = 6;

/// The finer bucket of a duration.
fn fine_bucket(ns: u64) -> u32 {
    let shift = (63 - (ns | 1).leading_zeros()).saturating_sub(FINE_BITS);
    (shift << FINE_BITS) + (ns >> shift) as u32
}

/// The least duration of a finer bucket, ns, and how wide that is.
fn fine_bounds(bucket: u32) -> (u64, u64) {
    let shift = (bucket >> FINE_BITS).saturating_sub(1);
    let kept = bucket - (shift << FINE_BITS);
    (u64::from(kept) << shift, 1 << shift)
}

/// A comparison of two windows wants to know how evenly requests ended. This is the length of a step at first, ns.
const STEP_NS: u64 = 100_000_000;
/// With more steps than this, neighbours are joined: memory is bounded, whatever the length of the window.
const MOST_STEPS: usize = 4096;

/// When requests ended: how many, and the sum of their durations, by the number of the step.
#[derive(Clone, Debug)]
struct Times {
    step_ns: u64,
    steps: BTreeMap<u64, (u64, u64)>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            step_ns: STEP_NS,
            steps: BTreeMap::new(),
        }
    }
}

impl Times {
    fn add(&mut self, end_ns: u64, ns: u64) {
        self.count(end_ns / self.step_ns, (1, ns));
        if self.steps.len() > MOST_STEPS {
            self.step_ns *= 2;
            for (step, ended) in mem::take(&mut self.steps) {
                self.count(step / 2, ended);
            }
        }
    }

    fn count(&mut self, step: u64, (count, sum_ns): (u64, u64)) {
        let sums = self.steps.entry(step).or_default();
        sums.0 += count;
        sums.1 = sums.1.saturating_add(sum_ns);
    }

    fn close(&self) -> Vec<books::Ends> {
        let steps = self.steps.iter();
        let ends = steps.map(|(step, (count, sum_ns))| books::Ends {
            ns: step * self.step_ns + self.step_ns / 2,
            count: *count,
            sum_ns: *sum_ns,
        });
        ends.collect()
    }
}

/// Requests so far.
///
/// Each nanosecond that is judged as a turn's time is counted here twice: by what is known of it, and by what became of the turn. So the
/// lines of a report add up: what the classes have and what is unknown is the time in the window of the requests that ended, that are
/// open, and that were none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Durations of requests that ended, until the last packet of the answer left this machine.
    durations: Durations,
    /// When these ended.
    times: Times,
    /// The same until the last send.
    until_sent: Durations,
    /// From a last send to its acknowledgement.
    pub(crate) drains: Durations,
    /// Time of these before the window, ns.
    before_ns: u64,
    /// Ended, but began before the window, nobody knows when.
    clipped: u64,
    /// Time of these in the window, ns.
    clipped_ns: u64,
    /// Open at the end.
    open: u64,
    /// Time of these in the window, ns.
    open_ns: u64,
    /// Time of turns that were no request, ns.
    uncounted_ns: u64,
    /// Time of all turns in which nothing is known of their thread, ns. Where a step is cut, its parts are rounded: it may be below 0.
    unknown_ns: i64,
    /// Begin of the oldest open one.
    oldest_ns: Option<u64>,
    /// How many of the open ones have a thread that sleeps in a function of the kernel.
    pub(crate) asleep_in: BTreeMap<String, u64>,
    /// Was anything seen that can be a request?
    pub(crate) seen: bool,
}

impl Tally {
    /// `whole_ns` of a turn became time of requests in the books, as far as it has a class: `known_ns`.
    pub(crate) fn judged(&mut self, whole_ns: u64, known_ns: u64) {
        let unknown_ns = (whole_ns as i64).saturating_sub(known_ns as i64);
        self.unknown_ns = self.unknown_ns.saturating_add(unknown_ns);
    }

    /// A turn is over. Its answer had left this machine at `left_ns`; 0 if that is not known, or was before its thread was done with it.
    /// A push is no request, and neither is what has no answer.
    pub(crate) fn ended(&mut self, turn: &Turn, left_ns: u64) {
        let until = |ns: u64| ns.saturating_sub(turn.counted_ns);
        // A send that failed after the last one was an attempt to go on with the answer.
        let end_ns = left_ns.max(turn.judged_ns);
        let (sent_ns, whole_ns) = (until(turn.judged_ns), until(end_ns));
        if turn.sent_ns.is_none() || turn.is_push {
            self.uncounted_ns = self.uncounted_ns.saturating_add(whole_ns);
        } else if let Some(before_ns) = turn.before_ns(whole_ns) {
            self.before_ns = self.before_ns.saturating_add(before_ns);
            self.durations.add(before_ns.saturating_add(whole_ns));
            self.times.add(end_ns, before_ns.saturating_add(whole_ns));
            self.until_sent.add(before_ns.saturating_add(sent_ns));
        } else {
            self.clipped += 1;
            self.clipped_ns = self.clipped_ns.saturating_add(whole_ns);
        }
    }

    /// What belongs to no turn took `ns` of the requests' time.
    pub(crate) fn uncounted(&mut self, ns: u64) {
        self.uncounted_ns = self.uncounted_ns.saturating_add(ns);
    }

    /// A request is open at the end, at `end_ns`, or a push is under way.
    pub(crate) fn left_open(&mut self, turn: &Turn, end_ns: u64) {
        self.seen = true;
        let ns = end_ns.saturating_sub(turn.counted_ns);
        if turn.is_push {
            self.uncounted_ns = self.uncounted_ns.saturating_add(ns);
            return;
        }
        self.open += 1;
        self.open_ns = self.open_ns.saturating_add(ns);
        self.oldest_ns = Some(
            self.oldest_ns
                .map_or(turn.begin_ns, |oldest| oldest.min(turn.begin_ns)),
        );
    }

    /// A request is open at the end that came before the window, which began at `start_ns`.
    pub(crate) fn left_open_before(&mut self, start_ns: u64, end_ns: u64) {
        self.seen = true;
        self.open += 1;
        let ns = end_ns.saturating_sub(start_ns);
        self.open_ns = self.open_ns.saturating_add(ns);
        let oldest_ns = self.oldest_ns.unwrap_or(start_ns);
        self.oldest_ns = Some(oldest_ns.min(start_ns));
    }

    /// The figures at the end of the window.
    #[must_use]
    pub(crate) fn close(&self, end_ns: u64) -> Option<books::Requests> {
        self.seen.then(|| books::Requests {
            count: self.durations.count() + self.clipped,
            open: self.open,
            oldest_open_ns: self.oldest_ns.map(|begin| end_ns.saturating_sub(begin)),
            p50_ns: self.durations.quantile(0.5),
            p90_ns: self.durations.quantile(0.9),
            p99_ns: self.durations.quantile(0.99),
            max_ns: self.durations.max(),
            sum_ns: self.durations.sum_ns,
            buckets: self.durations.buckets.clone(),
            ends: self.times.close(),
            sent_p50_ns: self.until_sent.quantile(0.5),
            sent_p99_ns: self.until_sent.quantile(0.99),
            drain_p99_ns: self.drains.quantile(0.99),
            before_ns: self.before_ns,
            clipped: self.clipped,
            clipped_ns: self.clipped_ns,
            open_ns: self.open_ns,
            uncounted_ns: self.uncounted_ns,
            unaccounted_ns: u64::try_from(self.unknown_ns).unwrap_or(0),
            asleep_in: self.asleep_in.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: impl IntoIterator<Item = u64>) -> Durations {
        let mut durations = Durations::default();
        all.into_iter().for_each(|ns| durations.add(ns));
        durations
    }

    #[test]
    fn a_quantile_is_off_by_less_than_one_in_a_hundred() {
        let durations = of((1..=1000).map(|i| i * 10_000));
        for (part, exact) in [(0.5, 5_000_000.0), (0.99, 9_900_000.0)] {
            let found = durations.quantile(part).unwrap() as f64;
            assert!((found / exact - 1.0).abs() < 0.01, "{part}: {found}");
        }
        assert_eq!(durations.max(), Some(10_000_000));
        assert_eq!(Durations::default().quantile(0.5), None);
    }

    #[test]
    fn of_few_requests_the_99th_percentile_is_the_longest() {
        assert_eq!(of([40_000_000]).quantile(0.5), Some(40_000_000));
        let few = of((1..=50).map(|i| i * 1_000_000 + 7));
        assert_eq!(few.quantile(0.99), Some(50_000_007));
    }

    #[test]
    fn the_99th_percentile_of_a_hundred_is_not_the_longest() {
        let all = of((1..100).map(|_| 1_000_000).chain([900_000_000]));
        let p99 = all.quantile(0.99).unwrap();
        assert!(p99.abs_diff(1_000_000) < 10_000, "{p99}");
        assert_eq!(all.quantile(1.0), Some(900_000_000));
    }

    #[test]
    fn each_duration_is_within_the_bounds_of_its_finer_bucket() {
        let powers = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) + 1, (1 << bit) - 1]);
        for ns in powers.chain([953, 123_456_789, u64::MAX]) {
            let (lower, width) = fine_bounds(fine_bucket(ns));
            assert!(lower <= ns && ns - lower < width, "{ns}: {lower} {width}");
            assert!(
                width == 1 || width as f64 / lower as f64 <= 1.0 / 64.0,
                "{ns}"
            );
        }
    }

    #[test]
    fn what_ended_when_is_kept_in_a_bounded_number_of_steps() {
        let mut times = Times::default();
        let most = MOST_STEPS as u64;
        (0..=most).for_each(|step| times.add(step * STEP_NS, 7));
        let ends = times.close();
        assert_eq!(ends.len() as u64, most / 2 + 1);
        let first = books::Ends {
            ns: STEP_NS,
            count: 2,
            sum_ns: 14,
        };
        assert_eq!(ends[0], first);
        assert_eq!(ends.iter().map(|ends| ends.count).sum::<u64>(), most + 1);
    }

    #[test]
    fn quantiles_ascend_within_a_bucket() {
        let durations = of((0..10).map(|i| 1_000_000 + i));
        let [p10, p50] = [0.1, 0.5].map(|part| durations.quantile(part).unwrap());
        assert!(p10 < p50, "{p10} {p50}");
    }
}
