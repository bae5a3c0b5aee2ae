//! Sleeps in turn on one futex, each with a time limit. A program that wants a lock wakes now and then to ask for it: Python's threads
//! want their interpreter every 5 ms. The kernel sees many sleeps that a timer ended, and one that the owner of the lock ended. It is
//! one wait, and the owner held it up all the time.

use super::{Threads, thread::Thread};
use crate::{class::Class, event::Wait, model::books::Budget};

/// Between two tries a thread runs for less than this, ns. One that runs for longer does something else.
const ASKS_NS: u64 = 200_000;

/// Most tries of one wait: at 5 ms each these are 20 s.
const MOST: usize = 4096;

/// The tries so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tries {
    stack: u64,
    spans: Vec<(u64, u64)>,
}

impl Tries {
    /// A timer ended a sleep in this stack. It begins a new wait if the thread did something else before.
    pub(super) fn tried(&mut self, stack: u64, span: (u64, u64), ran_ns: u64) {
        if stack != self.stack || ran_ns >= ASKS_NS || self.spans.len() == MOST {
            self.spans.clear();
            self.stack = stack;
        }
        self.spans.push(span);
    }

    /// A thread of the target ended a sleep in this stack. Returns the tries before it that belong to the same wait.
    fn got(&mut self, stack: u64, ran_ns: u64) -> Vec<(u64, u64)> {
        let spans = std::mem::take(&mut self.spans);
        match stack == self.stack && ran_ns < ASKS_NS {
            true => spans,
            false => Vec::new(),
        }
    }
}

impl Threads {
    /// A timer ended a sleep for work on a futex.
    pub(super) fn tried(&mut self, wait: &Wait, span: (u64, u64)) {
        let is_futex = self
            .stacks
            .get(wait.stack)
            .is_some_and(|stack| stack.is_futex);
        let Some(thread) = self.living.get_mut(wait.tid).filter(|_| is_futex) else {
            return;
        };
        thread.tries.tried(wait.stack, span, ran_ns(wait));
    }

    /// A thread of the target ended a sleep for work: the tries before it count as what that thread did meanwhile, too. Returns when the
    /// first of them began, ns.
    pub(super) fn got(&mut self, wait: &Wait) -> Option<u64> {
        let thread = self.living.get_mut(wait.tid)?;
        let tries = thread.tries.got(wait.stack, ran_ns(wait));
        let (begin_ns, _) = *tries.first()?;
        let waker = self.waker(wait)?;
        let explain = |span| (span, meanwhile(waker, span), waker.ends.passed_on(span));
        let explained: Vec<_> = tries.into_iter().map(explain).collect();
        if let Some(thread) = self.living.get_mut(wait.tid) {
            for (span, tentative, ends) in explained {
                thread.explain(span, &tentative);
                ends.into_iter().for_each(|end| thread.ends.add(end));
            }
        }
        Some(begin_ns)
    }
}

/// What a thread did in a sleep of another that it ended, by class; `Idle` stands for what is not known of it.
pub(super) fn meanwhile(waker: &Thread, (begin, end): (u64, u64)) -> Budget {
    let spent = waker.without_polling(&waker.between(begin, end));
    let mut sum = Budget::default();
    for (sum, (certain, waiting)) in sum
        .iter_mut()
        .zip(spent.certain.iter().zip(spent.tentative))
    {
        *sum = certain + waiting;
    }
    let known: u64 = sum.iter().sum();
    sum[Class::Idle.index()] += (end - begin).saturating_sub(known);
    sum
}

/// Time between the sleep before and this one in which the thread had a CPU, ns.
fn ran_ns(wait: &Wait) -> u64 {
    wait.off_ns.saturating_sub(wait.ran_since_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_in_turn_are_one_wait_and_work_between_them_begins_another() {
        let mut tries = Tries::default();
        tries.tried(7, (0, 5), ASKS_NS);
        tries.tried(7, (6, 11), 1000);
        assert_eq!(tries.got(7, 1000), [(0, 5), (6, 11)]);
        assert_eq!(tries.got(7, 1000), []);
        tries.tried(7, (20, 25), 1000);
        assert_eq!(tries.got(8, 1000), []);
        tries.tried(7, (30, 35), 1000);
        tries.tried(7, (40, 45), ASKS_NS);
        assert_eq!(tries.got(7, 1000), [(40, 45)]);
        tries.tried(7, (50, 55), 1000);
        assert_eq!(tries.got(7, ASKS_NS), []);
    }
}
