//! The time line of a target thread: every nanosecond of its life in exactly one class.
//!
//! Time is kept as sums since the begin, with check points, so that the classes of any past interval are a difference: that is
//! how a request takes the classes of the thread that owned it, and a sleep those of the thread that ended it.

use std::collections::VecDeque;

use super::{
    books::{Budget, Holder},
    recent,
    work::Work,
};
use crate::class::Class;

/// Time per class. What a thread does for certain, and what its waits for work would be if it owned a request: `Idle` there means
/// that the wait itself does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Time that needs no judgement.
    pub certain: Budget,
    /// Waits for work, by what the thread would be waiting for.
    pub tentative: Budget,
}

impl Spent {
    /// `self - before`, class by class.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let minus = |a: &Budget, b: &Budget| std::array::from_fn(|i| a[i].saturating_sub(b[i]));
        Self {
            certain: minus(&self.certain, &before.certain),
            tentative: minus(&self.tentative, &before.tentative),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        let add = |a: &Budget, b: &Budget| std::array::from_fn(|i| a[i] + b[i]);
        Self {
            certain: add(&self.certain, &other.certain),
            tentative: add(&self.tentative, &other.tentative),
        }
    }

    /// `part / whole` of it.
    fn share(&self, part: u64, whole: u64) -> Self {
        // Nearly all classes of a short step are empty, and the division is not cheap.
        let scale = |budget: &Budget| {
            budget.map(|ns| match ns {
                0 => 0,
                ns => (u128::from(ns) * u128::from(part) / u128::from(whole.max(1))) as u64,
            })
        };
        Self {
            certain: scale(&self.certain),
            tentative: scale(&self.tentative),
        }
    }

    /// Time blocked for certain.
    #[must_use]
    pub fn blocked(&self) -> u64 {
        let blocked = Class::BLOCKED.iter();
        blocked.map(|class| self.certain[class.index()]).sum()
    }

    /// Sum over all classes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.certain.iter().sum::<u64>() + self.tentative.iter().sum::<u64>()
    }
}

#[derive(Clone, Copy, Debug)]
struct CheckPoint {
    ns: u64,
    spent: Spent,
}

/// Check points kept of a thread that owns no request: enough to follow a chain of wakeups into the recent past.
const KEPT: usize = 64;
/// Check points kept at most: about 8,000 intervals, above which a very long request is clipped.
const MOST: usize = 1 << 13;

/// A wait for work that a process outside the target ended.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    pub begin_ns: u64,
    pub end_ns: u64,
    /// What the thread waits for, if it owns a request.
    pub class: Class,
    /// Who ended it.
    pub holder: Holder,
}

/// A target thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// When it began, or the window did.
    pub begin_ns: u64,
    /// Up to when the time line is known.
    pub known_ns: u64,
    /// Is it on a CPU since then?
    pub running: bool,
    /// Moves between CPUs while queued, not yet part of a wait: (when, from).
    pub moves: Vec<(u64, u32)>,
    /// Sockets whose open request it owns.
    pub turns: Vec<u64>,
    /// Waits for work before this have been judged: they belonged to a request.
    pub judged_ns: u64,
    /// When it last received from a process that it asks.
    pub answered_ns: u64,
    /// Waits for work that another process ended.
    pub behind: VecDeque<Behind>,
    /// Connection on which it last asked, or was answered.
    pub asked: Option<u64>,
    /// Process.
    pub pid: u32,
    /// What it worked on, and what it does now.
    pub work: Work,
    /// Threads that it ended a wait for work of, and when: whom it may have handed a request to.
    pub woken: VecDeque<(u64, u32)>,
    /// Thread that forked it in the window.
    pub parent: Option<u32>,
    /// Function stack in which it slept at attach.
    pub seed: Vec<String>,
    /// State letter at attach; `None` for a thread born in the window.
    pub seed_state: Option<char>,
    waits: bool,
    spent: Spent,
    history: VecDeque<CheckPoint>,
}

impl Thread {
    /// A thread that is there from `begin_ns` on.
    #[must_use]
    pub fn new(begin_ns: u64) -> Self {
        let start = CheckPoint {
            ns: begin_ns,
            spent: Spent::default(),
        };
        Self {
            begin_ns,
            known_ns: begin_ns,
            running: false,
            moves: Vec::new(),
            turns: Vec::new(),
            judged_ns: begin_ns,
            answered_ns: 0,
            behind: VecDeque::new(),
            asked: None,
            pid: 0,
            work: Work::default(),
            woken: VecDeque::new(),
            parent: None,
            seed: Vec::new(),
            seed_state: None,
            waits: false,
            spent: Spent::default(),
            history: VecDeque::from([start]),
        }
    }

    /// Extends the time line to `until` by time of one class.
    pub fn extend(&mut self, class: Class, until: u64) {
        if until > self.known_ns {
            self.spent.certain[class.index()] += until - self.known_ns;
            self.waits = false;
            self.mark(until);
        }
    }

    /// Extends the time line to `until` by a wait for work, resolved as `tentative` (which sums to its length).
    pub fn extend_waiting(&mut self, tentative: &Budget, until: u64) {
        if until > self.known_ns {
            for (sum, ns) in self.spent.tentative.iter_mut().zip(tentative) {
                *sum += ns;
            }
            self.mark(until);
        }
        self.waits = true;
    }

    /// A check point of what is known.
    fn mark(&mut self, until: u64) {
        self.known_ns = until;
        self.history.push_back(CheckPoint {
            ns: until,
            spent: self.spent,
        });
    }

    /// Forgets check points before `needed_ns`, but for the most recent.
    pub fn forget(&mut self, needed_ns: u64) {
        while self.history.len() > KEPT
            && (self.history[1].ns <= needed_ns || self.history.len() > MOST)
        {
            self.history.pop_front();
        }
        self.work.forget(needed_ns);
        while self.behind.len() > KEPT
            && (self.behind[0].end_ns <= needed_ns || self.behind.len() > MOST)
        {
            self.behind.pop_front();
        }
    }

    /// It ended a wait for work of another.
    pub fn wakes(&mut self, ns: u64, tid: u32) {
        if self.woken.len() >= KEPT {
            self.woken.pop_front();
        }
        self.woken.push_back((ns, tid));
    }

    /// Is it worth calling [`Self::forget`]?
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.history.len() > 4 * KEPT
    }

    /// Everything spent up to `ns`, between check points in proportion. After the last one the thread runs.
    #[must_use]
    pub fn spent_until(&self, ns: u64) -> Spent {
        let after = recent::partition_point(&self.history, |point| point.ns <= ns);
        let Some(before) = after.checked_sub(1).map(|index| self.history[index]) else {
            return self
                .history
                .front()
                .map_or_else(Spent::default, |point| point.spent);
        };
        match self.history.get(after) {
            Some(_) if before.ns == ns => before.spent,
            Some(next) => {
                let step = next.spent.since(&before.spent);
                before
                    .spent
                    .plus(&step.share(ns - before.ns, next.ns - before.ns))
            }
            None => {
                let mut spent = before.spent;
                if self.running {
                    spent.certain[Class::OnCpu.index()] += ns - before.ns;
                }
                spent
            }
        }
    }

    /// What it did between two times.
    #[must_use]
    pub fn between(&self, begin: u64, end: u64) -> Spent {
        self.spent_until(end).since(&self.spent_until(begin))
    }

    /// What it did between two times, piece by piece: (begin, end, what). A piece lies between two check points, so that what it did
    /// there is spread evenly.
    #[must_use]
    pub fn pieces(&self, begin: u64, end: u64) -> Vec<(u64, u64, Spent)> {
        let first = recent::partition_point(&self.history, |point| point.ns <= begin);
        let points = self.history.range(first..);
        let points = points.take_while(|point| point.ns < end);
        let cuts = points.map(|point| (point.ns, point.spent));
        let last = (end, self.spent_until(end));
        let mut pieces = Vec::new();
        let mut before = (begin, self.spent_until(begin));
        for cut in cuts.chain([last]) {
            if cut.0 > before.0 {
                pieces.push((before.0, cut.0, cut.1.since(&before.1)));
            }
            before = cut;
        }
        pieces
    }

    /// Is the last that is known of it a wait for work?
    #[must_use]
    pub fn waits_for_work(&self) -> bool {
        self.waits && !self.running
    }

    /// Nothing is known of the time until `until`.
    pub fn skip(&mut self, until: u64) {
        if until > self.known_ns {
            self.mark(until);
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn spent(&self) -> &Spent {
        &self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_takes_its_share_of_the_pieces_it_cuts() {
        let mut thread = Thread::new(100);
        thread.extend(Class::OnCpu, 200);
        thread.extend(Class::Disk, 400);
        let spent = thread.between(150, 300);
        assert_eq!(spent.certain[Class::OnCpu.index()], 50);
        assert_eq!(spent.certain[Class::Disk.index()], 100);
    }

    #[test]
    fn a_running_thread_runs_beyond_its_last_check_point() {
        let mut thread = Thread::new(100);
        thread.extend(Class::Disk, 200);
        thread.running = true;
        assert_eq!(thread.between(150, 260).certain[Class::OnCpu.index()], 60);
    }

    #[test]
    fn the_past_is_forgotten_only_where_no_request_needs_it() {
        let mut thread = Thread::new(0);
        for i in 1..=1000 {
            thread.extend(
                if i % 2 == 0 {
                    Class::Disk
                } else {
                    Class::OnCpu
                },
                i * 10,
            );
        }
        thread.forget(5000);
        assert_eq!(thread.between(5000, 10_000).total(), 5000);
        thread.forget(u64::MAX);
        assert_eq!(thread.spent().total(), 10_000);
        assert!(!thread.is_long());
    }
}
