//! What used up a device's rate before a wait began. A limited device (blk-throttle, a cloud volume, a drive with a cache) serves a
//! burst at once and stands still until its rate allows more. Who waits then waits for the burst, of which nothing is there any more.

use std::collections::VecDeque;

use tracer_common::block::{IO_OPEN, LINGERS_NS};

use super::{
    discard::moves_nothing,
    disk::{Disk, Shares, Whose},
    fit::SPAN_NS,
    own,
    request::Request,
};

/// Most requests of a burst whose owners are looked up. The limits of the fastest volumes allow this many in a few ms.
const MOST_BEHIND: usize = 4096;

/// By how much a device is ahead of its rate, ns, after each request that completed: the work for it beyond the time that passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead {
    after: VecDeque<u64>,
    /// The limit was known: before that all are 0.
    is_known: bool,
    /// End of the last request that made room for a new one, ns: the list does not reach further back.
    pub(super) cut_ns: u64,
}

impl Ahead {
    /// The device needs `took` for a request at its rate, and `passed` since the one before.
    fn add(&mut self, took: u64, passed: u64) {
        let before = self.after.back().copied().unwrap_or(0);
        // A bucket holds no more than that: what is left beyond it is an error of the rate.
        self.after.push_back(
            before
                .saturating_add(took)
                .saturating_sub(passed)
                .min(SPAN_NS),
        );
    }

    pub(super) fn forget(&mut self) {
        self.after.pop_front();
    }

    /// Did the list lose something of what may have been a debt at `begin`? A bucket holds no more than [`SPAN_NS`].
    fn is_cut(&self, begin: u64) -> bool {
        self.cut_ns > begin.saturating_sub(SPAN_NS)
    }
}

/// Work that was done faster than the device can do it for long.
#[derive(Clone, Debug, Default)]
pub(super) struct Debt {
    /// Time by which it is ahead of the device's rate as the wait begins, ns.
    pub(super) ns: u64,
    /// There may have been more of it: the list of requests does not reach back that far, or nothing of others was recorded then.
    pub(super) is_cut: bool,
    /// Whose work it was, as parts of `ns`.
    shares: Shares,
}

impl Disk {
    /// The last request completed. The first time that the limit is known, those before it are counted too: no wait of them is judged.
    pub(super) fn count_ahead(&mut self) {
        let last = self.requests.len() - 1;
        let first = match self.fit.limit().is_some() && !self.ahead.is_known {
            true => {
                self.ahead.after.clear();
                self.ahead.is_known = true;
                0
            }
            false => last,
        };
        for index in first..=last {
            let before = index.checked_sub(1).map_or(0, |index| self.ends[index]);
            let took = self.at_limit(&self.requests[index], before);
            let passed = self.ends[index].saturating_sub(before);
            self.ahead.add(took, passed);
        }
    }

    /// Time for which the device needs a request at the limit of its rate, ns; 0 while that is not known. What moves no bytes uses up
    /// none of it.
    fn at_limit(&self, request: &Request, before: u64) -> u64 {
        let known = self.fit.limit().filter(|_| request.flags & IO_OPEN == 0);
        let Some(limit) = known else {
            return 0;
        };
        let took = (self.demand(request) * limit) as u64;
        match moves_nothing(request.op) {
            true => took.min(request.end_ns.saturating_sub(request.issue_ns.max(before))),
            false => took,
        }
    }

    /// By how much the device was ahead of its rate at a moment, ns.
    pub(super) fn ahead_at(&self, ns: u64) -> u64 {
        let last = self.ends.partition_point(|end| *end <= ns).checked_sub(1);
        let after = last.and_then(|last| {
            Some(
                self.ahead
                    .after
                    .get(last)?
                    .saturating_sub(ns.saturating_sub(self.ends[last])),
            )
        });
        after.unwrap_or(0)
    }

    /// Was everybody's work before this moment recorded? It is where something of the target, or of a kernel thread for it, was here
    /// shortly before: see [`LINGERS_NS`].
    fn was_recorded(&self, before: u64) -> bool {
        let lately = self.in_flight(before.saturating_sub(LINGERS_NS), before);
        lately.rev().any(Request::opens_gate)
    }

    /// The debt at the begin of a wait for a request, and who made it since the device was last behind its rate.
    pub(super) fn debt(&self, request: &Request, begin: u64, whose: Whose<'_>) -> Debt {
        let ns = self.ahead_at(begin);
        let is_cut = self.ahead.is_cut(begin) || !self.was_recorded(begin.min(request.queue_ns));
        if ns == 0 {
            return Debt {
                is_cut,
                ..Debt::default()
            };
        }
        let ended = self.ends.partition_point(|end| *end <= begin);
        let cost = self.fit.cost();
        let behind = (0..ended).rev().take(MOST_BEHIND);
        let behind = behind.take_while(|index| {
            self.ahead.after[*index] > 0 && self.ends[*index] + SPAN_NS > begin
        });
        let behind: Vec<(&Request, f64)> = behind
            .map(|index| &self.requests[index])
            .map(|request| (request, self.demand_at(request, cost)))
            .collect();
        let all: f64 = behind.iter().map(|(_, demand)| demand).sum();
        let (mut of, mut of_own) = (Vec::new(), Vec::new());
        for (request, demand) in behind {
            let (owner, share) = (whose(request), ns as f64 * demand / all.max(1.0));
            own::add_to_holder(&mut of, owner, share);
            own::add(&mut of_own, owner, request, share);
        }
        Debt {
            ns,
            is_cut,
            shares: (of, of_own),
        }
    }
}

impl Debt {
    /// Adds it to the shares of those who were there during the wait, for whom the device worked `there_ns` of it.
    pub(super) fn added_to(self, there: Shares, there_ns: u64) -> Shares {
        let (mut of, mut of_own) = self.shares;
        let (there, there_own) = there;
        let all: f64 = there.iter().map(|(_, share)| share).sum();
        let scale = if all > 0.0 {
            there_ns as f64 / all
        } else {
            0.0
        };
        for (holder, share) in there {
            own::add_to_holder(&mut of, holder, share * scale);
        }
        let there_own = there_own.into_iter();
        of_own.extend(there_own.map(|(own, share)| (own, share * scale)));
        (of, of_own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_ahead_by_the_work_beyond_the_time_that_passed() {
        let mut ahead = Ahead::default();
        for (took, passed) in [(50, 100), (50, 0), (50, 10), (5, 100), (SPAN_NS + 9, 0)] {
            ahead.add(took, passed);
        }
        assert_eq!(ahead.after, [0, 50, 90, 0, SPAN_NS]);
    }
}
