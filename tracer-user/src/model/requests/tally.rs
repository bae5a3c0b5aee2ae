//! Figures of the requests: how many, and how long they took.

use std::collections::BTreeMap;

use tracer_common::histogram::{BOUNDS, BUCKETS, bucket};

use super::connection::Turn;
use crate::model::books;

/// Quantiles of durations, in the buckets of all histograms.
#[derive(Clone, Debug)]
pub(crate) struct Durations {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS + 1],
            count: 0,
            max_ns: 0,
        }
    }
}

impl Durations {
    /// Counts one.
    pub(crate) fn add(&mut self, ns: u64) {
        self.buckets[bucket(ns).map_or(0, |i| i as usize + 1)] += 1;
        self.count += 1;
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Durations of requests that ended, until the last packet of the answer left this machine.
    pub(crate) durations: Durations,
    /// The same until the last send.
    pub(crate) until_sent: Durations,
    /// From a last send to its acknowledgement.
    pub(crate) drains: Durations,
    /// Ended, but began before the window.
    pub(crate) clipped: u64,
    /// Open at the end.
    pub(crate) open: u64,
    /// Begin of the oldest open one.
    pub(crate) oldest_ns: Option<u64>,
    /// How many of the open ones have a thread that sleeps in a function of the kernel.
    pub(crate) asleep_in: BTreeMap<String, u64>,
    /// Was anything seen that can be a request?
    pub(crate) seen: bool,
}

impl Tally {
    /// A request ended. A push is none. Its answer had left this machine at `left_ns`, or that is not known: 0.
    pub(crate) fn ended(&mut self, turn: &Turn, left_ns: u64) {
        let Some(sent_ns) = turn.sent_ns.filter(|_| !turn.is_push) else {
            return;
        };
        if turn.clipped {
            self.clipped += 1;
        } else {
            let since_begin = |ns: u64| ns.saturating_sub(turn.begin_ns);
            self.durations.add(since_begin(left_ns.max(sent_ns)));
            self.until_sent.add(since_begin(sent_ns));
        }
    }

    /// A request is open at the end, or a push is under way.
    pub(crate) fn left_open(&mut self, turn: &Turn) {
        self.seen = true;
        if turn.is_push {
            return;
        }
        self.open += 1;
        self.oldest_ns = Some(
            self.oldest_ns
                .map_or(turn.begin_ns, |oldest| oldest.min(turn.begin_ns)),
        );
    }

    /// A request is open at the end that came before the window, which began at `start_ns`.
    pub(crate) fn left_open_before(&mut self, start_ns: u64) {
        self.seen = true;
        self.open += 1;
        self.oldest_ns = Some(start_ns);
    }

    /// The figures at the end of the window.
    #[must_use]
    pub(crate) fn close(&self, end_ns: u64) -> Option<books::Requests> {
        self.seen.then(|| books::Requests {
            count: self.durations.count() + self.clipped,
            open: self.open,
            oldest_open_ns: self.oldest_ns.map(|begin| end_ns.saturating_sub(begin)),
            p50_ns: self.durations.quantile(0.5),
            p99_ns: self.durations.quantile(0.99),
            max_ns: self.durations.max(),
            sent_p50_ns: self.until_sent.quantile(0.5),
            sent_p99_ns: self.until_sent.quantile(0.99),
            drain_p99_ns: self.drains.quantile(0.99),
            clipped: self.clipped,
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
