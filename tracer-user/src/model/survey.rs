//! A first look at the waits of all processes: how much each lost, by class. Nobody is charged here. Whoever looks at a whole machine
//! finds the worst by it, and keeps books of these.

use std::collections::BTreeMap;

use tracer_common::sched::WAIT_RUNNABLE;

use super::{books::Budget, threads::Threads};
use crate::{
    class::Class,
    event::{Stack, Wait},
};

/// The losses so far.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Only its stacks are used.
    threads: Threads,
    lost: BTreeMap<u32, Budget>,
}

impl Survey {
    /// A stack to which waits refer.
    pub fn learn(&mut self, stack: &Stack) {
        self.threads.learn_stack(stack);
    }

    /// The class of the sleep in a wait, as its stack alone shows it.
    pub fn class(&mut self, wait: &Wait) -> Class {
        match wait.flags & WAIT_RUNNABLE {
            0 => self.threads.class_of(wait),
            _ => Class::Cpu,
        }
    }

    /// A process waited. What was before `since_ns` is left out.
    pub fn waited(&mut self, wait: &Wait, since_ns: u64) {
        if wait.off_ns == 0 {
            return;
        }
        let class = self.class(wait);
        let begin = wait.off_ns.max(since_ns);
        let queued = match class {
            Class::Cpu => begin,
            _ => wait.ns.saturating_sub(wait.run_queue_ns).max(begin),
        };
        let budget = self.lost.entry(wait.pid).or_default();
        let mut lose = |class: Class, ns: u64| {
            let sum = &mut budget[class.index()];
            *sum = sum.saturating_add(ns);
        };
        lose(class, queued - begin);
        lose(Class::Cpu, wait.ns.saturating_sub(queued));
    }

    /// What each process lost since the last call, ns.
    #[must_use]
    pub fn take(&mut self) -> BTreeMap<u32, Budget> {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TASK_UNINTERRUPTIBLE` and `TASK_INTERRUPTIBLE`.
    const DISK: u32 = 2;
    const WORK: u32 = 1;

    fn survey() -> Survey {
        let mut survey = Survey::default();
        for (id, frames) in [
            (1, ["io_schedule", "folio_wait_bit_common"]),
            (2, ["schedule", "ep_poll"]),
        ] {
            survey.learn(&Stack {
                ns: 1,
                id,
                frames: frames.map(str::to_owned).into(),
            });
        }
        survey
    }

    fn wait(off_ns: u64, ns: u64, stack: u64, state: u32) -> Wait {
        Wait {
            ns,
            off_ns,
            pid: 7,
            tid: 7,
            stack,
            state,
            ..Wait::default()
        }
    }

    #[test]
    fn a_wait_is_lost_to_its_class_and_then_to_the_run_queue_within_the_interval() {
        let mut survey = survey();
        let disk = Wait {
            run_queue_ns: 20,
            ..wait(50, 200, 1, DISK)
        };
        survey.waited(&disk, 100);
        survey.waited(&wait(210, 300, 2, WORK), 100);
        let runnable = Wait {
            flags: WAIT_RUNNABLE,
            ..wait(300, 350, 0, 0)
        };
        survey.waited(&runnable, 100);
        let lost = survey.take()[&7];
        let of = |class: Class| lost[class.index()];
        assert_eq!(of(Class::Disk), 80);
        assert_eq!(of(Class::Idle), 90);
        assert_eq!(of(Class::Cpu), 20 + 50);
        assert!(survey.take().is_empty());
    }

    #[test]
    fn of_the_first_sight_of_a_thread_nothing_is_known() {
        let mut survey = survey();
        survey.waited(&wait(0, 200, 1, DISK), 100);
        assert!(survey.take().is_empty());
    }
}
