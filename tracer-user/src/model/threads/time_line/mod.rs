//! The time line of a thread, step by step: the classes of any past interval.
//!
//! Nearly all steps are of one class, and a busy server's threads make three for each wait. So a step has 24 bytes, and sums are
//! made on demand. [`later`] changes both when more is learnt of a step.

mod later;

use std::collections::VecDeque;

use super::{past::Past, spent::Spent};
use crate::{
    class::Class,
    model::{books::Budget, part::part_of, recent},
};

/// A thread's activity in a step.
#[derive(Clone, Debug)]
enum Did {
    /// Something that needs no judgement.
    Certain(Class),
    /// It waited for work, and the wait itself does not say what for.
    Idle,
    /// It waited for work: the classes that count if the thread owns a request. They sum to the length of the step.
    Waiting(Box<Budget>),
    /// Nothing is known.
    Unknown,
}

#[derive(Clone, Debug)]
struct Step {
    /// Its end; it began where the one before ended.
    ns: u64,
    did: Did,
}

impl Step {
    /// Adds what was done from `from` to `to` of the step, which began at `begin`.
    fn add(&self, begin: u64, (from, to): (u64, u64), sum: &mut Spent) {
        match &self.did {
            Did::Certain(class) => sum.certain[class.index()] += to - from,
            Did::Idle => sum.tentative[Class::Idle.index()] += to - from,
            Did::Waiting(budget) => {
                let is_whole = (from, to) == (begin, self.ns);
                // In proportion, so that the parts of a step sum to it.
                let upto = |ns: u64, at: u64| part_of(ns, at - begin, self.ns - begin);
                for (sum, ns) in sum.tentative.iter_mut().zip(**budget) {
                    if ns > 0 {
                        *sum += match is_whole {
                            true => ns,
                            false => upto(ns, to) - upto(ns, from),
                        };
                    }
                }
            }
            Did::Unknown => {}
        }
    }
}

/// Steps, and waits that others ended, kept of a thread that owns no request. They suffice to follow a chain of wakeups into the
/// recent past.
pub(crate) const KEPT: usize = 64;
/// The same at most: above that, of a very long request only sums are known.
pub(crate) const MOST: usize = 1 << 13;

/// The steps of a thread that are remembered, and the sum of all.
#[derive(Clone, Debug)]
pub(crate) struct TimeLine {
    /// What was done before these steps.
    past: Past,
    /// Where the first of the steps began.
    begin_ns: u64,
    steps: VecDeque<Step>,
    spent: Spent,
    /// Steps that were needed when somebody last tried to forget them.
    needed: usize,
}

impl TimeLine {
    /// Nothing yet.
    #[must_use]
    pub(crate) fn new(begin_ns: u64) -> Self {
        Self {
            past: Past::default(),
            begin_ns,
            steps: VecDeque::new(),
            spent: Spent::default(),
            needed: 0,
        }
    }

    /// Up to when it is known.
    #[must_use]
    #[inline]
    pub(crate) fn known_ns(&self) -> u64 {
        self.steps.back().map_or(self.begin_ns, |last| last.ns)
    }

    /// Where the first step that is remembered began, ns. Of the time before it there are sums.
    pub(super) fn remembered_ns(&self) -> u64 {
        self.begin_ns
    }

    /// Everything so far.
    #[must_use]
    pub(crate) fn spent(&self) -> &Spent {
        &self.spent
    }

    /// Goes on to `until`, which is later, by time of one class.
    #[inline]
    pub(crate) fn extend(&mut self, class: Class, until: u64) {
        self.push(until, Did::Certain(class));
    }

    /// Goes on by a wait for work, resolved as `tentative` (which sums to its length).
    #[inline]
    pub(crate) fn extend_waiting(&mut self, tentative: &Budget, until: u64) {
        let idle = tentative[Class::Idle.index()];
        let is_idle = idle == until - self.known_ns();
        let did = match is_idle {
            true => Did::Idle,
            false => Did::Waiting(Box::new(*tentative)),
        };
        self.push(until, did);
    }

    /// Nothing is known of the time until `until`.
    pub(crate) fn skip(&mut self, until: u64) {
        self.push(until, Did::Unknown);
    }

    /// Where a step began, ns.
    #[inline]
    fn begin_of(&self, index: usize) -> u64 {
        match index.checked_sub(1) {
            Some(before) => self.steps[before].ns,
            None => self.begin_ns,
        }
    }

    #[inline]
    fn push(&mut self, until: u64, did: Did) {
        let begin = self.known_ns();
        let step = Step { ns: until, did };
        step.add(begin, (begin, until), &mut self.spent);
        self.steps.push_back(step);
    }

    /// Is it worth calling [`Self::forget`]? Not at each step while an old request needs them all: to find out what is needed costs time
    /// for each connection of the thread.
    #[must_use]
    pub(crate) fn is_long(&self) -> bool {
        self.steps.len() >= self.needed + 4 * KEPT
    }

    /// Is as much as half of what can be remembered newer than this?
    #[must_use]
    pub(crate) fn is_full_since(&self, ns: u64) -> bool {
        let older = recent::partition_point(&self.steps, |step| step.ns <= ns);
        self.steps.len() - older >= MOST / 2
    }

    /// Forgets what ended before `needed_ns`, but for the most recent. Only its sums stay.
    pub(crate) fn forget(&mut self, needed_ns: u64) {
        let (begin, mut gone) = (self.begin_ns, Spent::default());
        while self.steps.len() >= KEPT
            && (self.steps[0].ns <= needed_ns || self.steps.len() >= MOST)
            && let Some(first) = self.steps.pop_front()
        {
            first.add(self.begin_ns, (self.begin_ns, first.ns), &mut gone);
            self.begin_ns = first.ns;
        }
        if self.begin_ns > begin {
            self.past.add(begin, self.begin_ns, gone);
        }
        self.needed = self.steps.len().saturating_sub(KEPT);
    }

    /// Time per class between two times. After the last step the thread runs, or nothing is known. What is long past is about right.
    #[must_use]
    pub(crate) fn between(&self, begin: u64, end: u64, running: bool) -> Spent {
        let mut sum = Spent::default();
        self.for_each(begin, end, running, |_, _, add| add(&mut sum));
        sum
    }

    /// The same, piece by piece: calls `each` with begin, end and what. A piece is a part of one step, so that what was done there is
    /// spread evenly; or of a sum of steps that are forgotten, as if it were so.
    #[inline]
    pub(crate) fn for_each_piece(
        &self,
        begin: u64,
        end: u64,
        running: bool,
        mut each: impl FnMut(u64, u64, &Spent),
    ) {
        self.for_each(begin, end, running, |from, to, add| {
            let mut spent = Spent::default();
            add(&mut spent);
            each(from, to, &spent);
        });
    }

    /// Calls `each` for each piece, with begin, end and a function that adds its time.
    #[inline]
    fn for_each(
        &self,
        begin: u64,
        end: u64,
        running: bool,
        mut each: impl FnMut(u64, u64, &dyn Fn(&mut Spent)),
    ) {
        let first = recent::partition_point(&self.steps, |step| step.ns <= begin);
        let mut step_begin = self.begin_of(first);
        let mut at = begin;
        if at < step_begin.min(end) {
            // The forgotten part.
            let forgotten = (at, step_begin.min(end));
            self.past.for_each_piece(forgotten, |from, to, spent| {
                each(from, to, &|sum| sum.add(spent));
            });
            at = forgotten.1;
        }
        for step in self.steps.range(first..) {
            if at >= end {
                return;
            }
            let to = step.ns.min(end);
            each(at, to, &|sum| step.add(step_begin, (at, to), sum));
            (at, step_begin) = (to, step.ns);
        }
        if at < end {
            each(at, end, &|sum| {
                if running {
                    sum.certain[Class::OnCpu.index()] += end - at;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
