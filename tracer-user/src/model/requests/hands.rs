//! The hands through which a request goes while the thread that received it waits for work: a pool's threads. An event loop takes a
//! request, wakes a thread of a pool for it, and serves others meanwhile. Many sleeps of the loop have nothing to do with the
//! request. What the pool's thread does in them is the request's time.
//!
//! A thread that ends a wait and was given nothing let go what the owner waited for: a lock, in memory that they share or in a database,
//! that it had for another request.

use crate::{
    class::Class,
    model::{
        books::Budget,
        threads::{OwnWait, Thread, Threads},
    },
};

/// Most hands looked at: a request that goes through more is rare.
const MOST: usize = 4;

/// Threads of the target that may work for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hands {
    tids: Vec<u32>,
    /// The waits of the owner that threads ended without having been given anything, in order: they let go what the owner waited for.
    released: Vec<OwnWait>,
    /// Can nobody but its own process end the owner's sleep? Then what it waits for in one that a timer ended is let go at the end of
    /// the next.
    goes_on: bool,
}

impl Hands {
    /// Those to which `owner` gave the request of a connection since that came, at `since`: it woke them while it worked for that
    /// connection. And the one that woke it last in `[begin, now]`. If the request has no part of its answer yet, that one may have had
    /// what the owner waited for.
    ///
    /// If the owner is known to wait for its own process alone (`waiting` is a lock), each one that woke it may have had something.
    pub(super) fn of(
        threads: &Threads,
        owner: u32,
        socket: u64,
        since: u64,
        (begin, now): (u64, u64),
        answered: bool,
        waiting: Class,
    ) -> Self {
        let Some(thread) = threads.get(owner) else {
            return Self::default();
        };
        let given = given(thread, socket, since);
        let goes_on = waiting == Class::Lock;
        let ended = |wait: &&OwnWait| (begin..=now).contains(&wait.end_ns) && wait.by != owner;
        let back = thread.woken_by.back().filter(ended);
        let mut released: Vec<OwnWait> = match (answered, goes_on) {
            (true, _) => Vec::new(),
            (false, true) => thread.woken_by.iter().filter(ended).copied().collect(),
            (false, false) => back.into_iter().copied().collect(),
        };
        released.retain(|wait| !given.contains(&wait.by));
        let back = back.filter(|_| !goes_on).map(|wait| wait.by);
        let mut tids = Vec::new();
        for tid in back.into_iter().chain(given) {
            if tid != owner && !tids.contains(&tid) && tids.len() < MOST {
                tids.push(tid);
            }
        }
        Self {
            tids,
            released,
            goes_on,
        }
    }

    /// The owner waited for work in `[begin, end]`, or in a part of it: what is idle of `waited` becomes what the busiest hand did
    /// meanwhile. While the one that ended this wait did nothing itself, it kept something from the owner: a lock of the target's own.
    /// Returns that thread, and for how long, ns.
    pub(super) fn explain(
        &self,
        threads: &Threads,
        (begin, end): (u64, u64),
        waited: &mut Budget,
    ) -> Option<(u32, u64)> {
        let by = self.let_go(begin, end);
        self.worked(threads, (begin, end), waited);
        let tid = by?;
        // Of one that is no more, nobody knows what it did.
        let did = threads.get(tid)?.between(begin, end);
        let nothing = did.certain[Class::Idle.index()] + did.tentative[Class::Idle.index()];
        let kept = nothing.min(waited[Class::Idle.index()]);
        waited[Class::Idle.index()] -= kept;
        waited[Class::Lock.index()] += kept;
        (kept > 0).then_some((tid, kept))
    }

    /// The thread that let go what the owner waited for in `[begin, end]`.
    fn let_go(&self, begin: u64, end: u64) -> Option<u32> {
        let is_it = |wait: &&OwnWait| wait.end_ns > begin && (self.goes_on || wait.begin_ns < end);
        self.released.iter().find(is_it).map(|wait| wait.by)
    }

    /// The hand that did most in `[begin, end]`.
    pub(super) fn busiest(&self, threads: &Threads, span: (u64, u64)) -> Option<u32> {
        self.busiest_did(threads, span).map(|(tid, _)| tid)
    }

    fn busiest_did(&self, threads: &Threads, (begin, end): (u64, u64)) -> Option<(u32, Budget)> {
        let by = self.let_go(begin, end);
        let did = by.iter().chain(&self.tids).filter_map(|tid| {
            let spent = threads.get(*tid)?.between(begin, end);
            let mut did = spent.certain;
            for class in Class::ALL.into_iter().filter(|class| *class != Class::Idle) {
                did[class.index()] += spent.tentative[class.index()];
            }
            Some((*tid, did))
        });
        did.max_by_key(|(_, did)| did.iter().sum::<u64>())
    }

    fn worked(&self, threads: &Threads, (begin, end): (u64, u64), waited: &mut Budget) {
        let idle = waited[Class::Idle.index()];
        let length = end.saturating_sub(begin);
        if idle == 0 || length == 0 {
            return;
        }
        let Some((_, did)) = self.busiest_did(threads, (begin, end)) else {
            return;
        };
        for class in Class::ALL {
            let ns = u128::from(did[class.index()]) * u128::from(idle) / u128::from(length);
            // Parts of a step that are cut out of it may sum to a ns more than it.
            let ns = (ns as u64).min(waited[Class::Idle.index()]);
            waited[class.index()] += ns;
            waited[Class::Idle.index()] -= ns;
        }
    }
}

/// The threads that one woke while it worked for a connection, from `since` on, the last first.
fn given(thread: &Thread, socket: u64, since: u64) -> Vec<u32> {
    let woken = thread.woken.iter().rev();
    let woken = woken.take_while(|(ns, _)| *ns >= since);
    let for_it = woken.filter(|(ns, _)| thread.work.at(*ns) == Some(socket));
    for_it.map(|(_, tid)| *tid).collect()
}
