//! Waits for the end of a child that last until the end of the window. Nobody has ended them, so the child itself is asked.

use tracer_common::sched::WAIT_OPEN;

use super::{Threads, ends::End, thread::ForProcess, tries::meanwhile};
use crate::{event::Wait, model::books::Budget};

/// A thread that still waits for the end of a child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reap {
    pid: u32,
    tid: u32,
    span: (u64, u64),
}

/// What a thread is found to wait for: its wait, the child, by class, and who is at the end.
type Found = (Reap, ForProcess, Budget, Vec<End>);

impl Threads {
    /// A wait for work is noted if it is one for a child, and open.
    pub(super) fn note_reap(&mut self, wait: &Wait, span: (u64, u64)) {
        let reaps = self.stacks.get(wait.stack).is_some_and(|stack| stack.reaps);
        if reaps && wait.flags & WAIT_OPEN != 0 {
            self.open_reaps.push(Reap {
                pid: wait.pid,
                tid: wait.tid,
                span,
            });
        }
    }

    /// What is known of each thread that waits for a child is what that child does. Who waits for which of several children is not known.
    /// Where as many threads wait as there are children, they are taken in the order in which they began.
    pub(super) fn close_reaps(&mut self) {
        let mut reaps = std::mem::take(&mut self.open_reaps);
        let born_ns = |reap: &Reap| self.living.get(reap.pid).map(|first| first.begin_ns);
        // A child's own children first.
        reaps.sort_by_key(|reap| std::cmp::Reverse((born_ns(reap), reap.pid)));
        while let Some(pid) = reaps.first().map(|reap| reap.pid) {
            let mut of: Vec<Reap> = reaps.extract_if(.., |reap| reap.pid == pid).collect();
            of.sort_by_key(|reap| (reap.span.0, reap.tid));
            for (reap, for_process, tentative, ends) in self.children_of(pid, &of) {
                if let Some(thread) = self.living.get_mut(reap.tid) {
                    thread.explain(reap.span, &tentative);
                    thread.for_process = Some(for_process);
                    ends.into_iter().for_each(|end| thread.ends.add(end));
                }
            }
        }
    }

    fn children_of(&self, pid: u32, reaps: &[Reap]) -> Vec<Found> {
        let living = self.living.iter();
        let children = living.filter(|(tid, thread)| {
            thread.pid == *tid && thread.pid != pid && thread.parent == Some(pid)
        });
        let mut children: Vec<_> = children.collect();
        if children.len() != reaps.len() {
            return Vec::new();
        }
        children.sort_by_key(|(tid, thread)| (thread.begin_ns, *tid));
        let found = reaps.iter().zip(children).map(|(reap, (_, child))| {
            let for_process = ForProcess {
                begin_ns: reap.span.0,
                end_ns: reap.span.1,
                born_ns: child.begin_ns,
            };
            let ends = child.ends.passed_on(reap.span);
            (*reap, for_process, meanwhile(child, reap.span), ends)
        });
        found.collect()
    }
}
