//! Locks of the target's own. The thread that let one go had it, except while it waited for another one's itself: who updates a row
//! that two others want keeps the second waiting, too, although the first ends that wait.

use super::{Beside, Requests};
use crate::{
    class::Resource,
    model::{
        account::Charge,
        books::Holder,
        threads::{OwnWait, Threads},
    },
};

impl Requests {
    /// Charges `ns` of a wait of `waiter` to those threads of the target that had what it waited for. The thread `by` let that go.
    pub(super) fn charge_own_lock(
        &self,
        beside: &mut Beside<'_>,
        waiter: u32,
        by: u32,
        span: (u64, u64),
        ns: u64,
    ) {
        beside.account.charge_only(Charge {
            resource: Resource::Lock,
            place: None,
            holder: Holder::OwnLock,
            stack: 0,
            span,
            ns,
            estimated: false,
        });
        let had = had(beside.threads, waiter, by, span);
        // What `by` did itself meanwhile is no part of the `ns`; what it waited for is.
        let (others, its_own): (Vec<OwnWait>, Vec<OwnWait>) =
            had.iter().copied().partition(|wait| wait.by != by);
        let mut left = ns;
        for wait in others.into_iter().chain(its_own) {
            let ns = (wait.end_ns - wait.begin_ns).min(left);
            left -= ns;
            self.add_part(beside, wait, ns);
        }
        if let Some(thread) = beside.threads.get_mut(waiter) {
            had.into_iter().for_each(|wait| thread.was_kept(wait));
        }
    }

    fn add_part(&self, beside: &mut Beside<'_>, wait: OwnWait, ns: u64) {
        let threads = &*beside.threads;
        let known = threads.get(wait.by).or_else(|| threads.ended(wait.by));
        let Some(by) = known.map(|thread| (thread.pid, wait.by)) else {
            return;
        };
        let part = self.part_at(beside.threads, beside.names, by, wait.end_ns);
        beside.account.parts.add(Resource::Lock, part, ns, true);
    }
}

/// Who had what `waiter` waited for in a span, at whose end `by` let it go, piece by piece.
fn had(threads: &Threads, waiter: u32, by: u32, (begin, end): (u64, u64)) -> Vec<OwnWait> {
    let mut pieces = Vec::new();
    let mut at = begin;
    let kept = threads.get(by).map(|thread| &thread.kept_by);
    for kept in kept.into_iter().flatten() {
        let (from, to) = (kept.begin_ns.max(at), kept.end_ns.min(end));
        // In a circle nobody had it before the others.
        if from >= to || kept.by == waiter {
            continue;
        }
        pieces.push((at, from, by));
        pieces.push((from, to, kept.by));
        at = to;
    }
    pieces.push((at, end, by));
    pieces.retain(|(from, to, _)| from < to);
    let piece = |(begin_ns, end_ns, by)| OwnWait {
        begin_ns,
        end_ns,
        by,
        brought: false,
    };
    pieces.into_iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;

    const HOLDER: u32 = 1;
    const FIRST: u32 = 2;
    const SECOND: u32 = 3;

    fn wait(begin_ns: u64, end_ns: u64, by: u32) -> OwnWait {
        OwnWait {
            begin_ns,
            end_ns,
            by,
            brought: false,
        }
    }

    #[test]
    fn while_who_let_go_waited_itself_the_one_it_waited_for_had_the_lock() {
        let mut threads = Threads::default();
        threads.forked(&event::Fork {
            pid: FIRST,
            tid: FIRST,
            ..event::Fork::default()
        });
        let alone = had(&threads, SECOND, FIRST, (10, 60));
        assert_eq!(alone, [wait(10, 60, FIRST)]);
        let first = threads.get_mut(FIRST).unwrap();
        for kept in [wait(0, 20, HOLDER), wait(30, 50, HOLDER)] {
            first.was_kept(kept);
        }
        let expected = [
            wait(10, 20, HOLDER),
            wait(20, 30, FIRST),
            wait(30, 50, HOLDER),
            wait(50, 60, FIRST),
        ];
        assert_eq!(had(&threads, SECOND, FIRST, (10, 60)), expected);
        // It waited for the one that waits now.
        let circle = had(&threads, HOLDER, FIRST, (10, 60));
        assert_eq!(circle, [wait(10, 60, FIRST)]);
    }
}
