//! Figures of the requests: how many, how long they took, and what became of each nanosecond that the books have as request time.

use std::collections::BTreeMap;

use tracer_common::histogram::{BOUNDS, BUCKETS, bucket};

use super::connection::Turn;
use crate::model::books;

/// Quantiles of durations, in the buckets of all histograms.
#[derive(Clone, Debug)]
pub(crate) struct Durations {
    buckets: Vec<u64>,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS + 1],
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
        self.count += 1;
        self.sum_ns += ns;
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The duration that `part` of them do not exceed, ns. It lies between its bucket's bounds in proportion, so it is off by at
    /// most 4.4 %.
    #[must_use]
    pub(crate) fn quantile(&self, part: f64) -> Option<u64> {
        let wanted = part * self.count as f64;
        let mut seen = 0_u64;
        for (i, count) in self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let inside = (wanted - seen as f64) / *count as f64;
            seen += count;
            if seen as f64 >= wanted {
                let upper = if i == 0 { 953 } else { BOUNDS[i - 1] };
                let lower = if i < 2 { 0 } else { BOUNDS[i - 2] };
                let ns = lower as f64 + (upper - lower) as f64 * inside.clamp(0.0, 1.0);
                return Some((ns as u64).min(self.max_ns));
            }
        }
        None
    }

    /// The longest.
    #[must_use]
    pub(crate) fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }
}

/// Requests so far.
///
/// Each nanosecond that is judged as a turn's time is counted here twice: by what is known of it, and by what became of the turn. So the
/// lines of a report add up: what the classes have and what is unknown is the time of the requests that ended, that are open, and
/// that were none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Durations of requests that ended, until the last packet of the answer left this machine.
    durations: Durations,
    /// The same until the last send.
    until_sent: Durations,
    /// From a last send to its acknowledgement.
    pub(crate) drains: Durations,
    /// Ended, but began before the window.
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
        self.unknown_ns += whole_ns as i64 - known_ns as i64;
    }

    /// A turn is over. Its answer had left this machine at `left_ns`; 0 if that is not known, or was before its thread was done with it.
    /// A push is no request, and neither is what has no answer.
    pub(crate) fn ended(&mut self, turn: &Turn, left_ns: u64) {
        let until = |ns: u64| ns.saturating_sub(turn.counted_ns);
        // A send that failed after the last one was an attempt to go on with the answer.
        let (sent_ns, whole_ns) = (until(turn.judged_ns), until(left_ns.max(turn.judged_ns)));
        if turn.sent_ns.is_none() || turn.is_push {
            self.uncounted_ns += whole_ns;
        } else if turn.clipped {
            self.clipped += 1;
            self.clipped_ns += whole_ns;
        } else {
            self.durations.add(whole_ns);
            self.until_sent.add(sent_ns);
        }
    }

    /// What belongs to no turn took `ns` of the requests' time.
    pub(crate) fn uncounted(&mut self, ns: u64) {
        self.uncounted_ns += ns;
    }

    /// A request is open at the end, at `end_ns`, or a push is under way.
    pub(crate) fn left_open(&mut self, turn: &Turn, end_ns: u64) {
        self.seen = true;
        let ns = end_ns.saturating_sub(turn.counted_ns);
        if turn.is_push {
            self.uncounted_ns += ns;
            return;
        }
        self.open += 1;
        self.open_ns += ns;
        self.oldest_ns = Some(
            self.oldest_ns
                .map_or(turn.begin_ns, |oldest| oldest.min(turn.begin_ns)),
        );
    }

    /// A request is open at the end that came before the window, which began at `start_ns`.
    pub(crate) fn left_open_before(&mut self, start_ns: u64, end_ns: u64) {
        self.seen = true;
        self.open += 1;
        self.open_ns += end_ns.saturating_sub(start_ns);
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
            sent_p50_ns: self.until_sent.quantile(0.5),
            sent_p99_ns: self.until_sent.quantile(0.99),
            drain_p99_ns: self.drains.quantile(0.99),
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

    #[test]
    fn a_quantile_is_off_by_less_than_its_bucket() {
        let mut durations = Durations::default();
        for i in 1..=1000 {
            durations.add(i * 10_000);
        }
        let p50 = durations.quantile(0.5).unwrap() as f64;
        assert!((p50 / 5_000_000.0 - 1.0).abs() < 0.044, "{p50}");
        assert_eq!(durations.max(), Some(10_000_000));
        assert_eq!(Durations::default().quantile(0.5), None);
    }

    #[test]
    fn quantiles_ascend_within_a_bucket() {
        let mut durations = Durations::default();
        for i in 0..10 {
            durations.add(1_000_000 + i);
        }
        let [p10, p50] = [0.1, 0.5].map(|part| durations.quantile(part).unwrap());
        assert!(p10 < p50, "{p10} {p50}");
    }
}
