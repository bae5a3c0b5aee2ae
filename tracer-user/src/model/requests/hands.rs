//! The hands through which a request goes while the thread that received it waits for work: a pool's threads, or a child. An event loop
//! takes a request, wakes a thread of a pool for it, and serves others meanwhile. Many sleeps of the loop have nothing to do with the
//! request. What the pool's thread does in them is the request's time.
//!
//! A thread that ends a wait and was given nothing let go what the owner waited for: a lock, in memory that they share or in a database,
//! that it had for another request. One that brings something had no lock.

use crate::{
    class::Class,
    model::{
        books::Budget,
        threads::{Thread, Threads, Whom, WokenBy},
    },
};

/// Most hands looked at: a request that goes through more is rare.
const MOST: usize = 4;

/// Threads of the target that may work for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hands {
    owner: u32,
    tids: Vec<u32>,
    /// A thread that ended a wait of the owner without having been given anything, and when, ns: it let go what the owner waited for.
    released: Option<(u64, u32)>,
}

/// What hands did in a wait of the owner that its own time line does not show.
#[derive(Clone, Debug, Default)]
pub(super) struct Explained {
    /// The thread that kept something from the owner, and for how long, ns.
    pub(super) released: Option<(u32, u64)>,
    /// Whom a hand waited for, and how long, ns.
    pub(super) ends: Vec<(Whom, u64)>,
}

impl Hands {
    /// Those to which `owner` gave the request of a connection since that came, at `since`: it woke them while it worked for that
    /// connection. And the one that woke it last in `[begin, now]`. If the request has no part of its answer yet, that one may have had
    /// what the owner waited for.
    pub(super) fn of(
        threads: &Threads,
        owner: u32,
        socket: u64,
        since: u64,
        (begin, now): (u64, u64),
        answered: bool,
    ) -> Self {
        let Some(thread) = threads.get(owner) else {
            return Self::default();
        };
        let given = given(thread, socket, since);
        let back = thread.woken_by.back().copied();
        let back = back.filter(|by| (begin..=now).contains(&by.ns) && by.tid != owner);
        let was_born_for_it = |tid| {
            let born = threads.get(tid).filter(|born| born.begin_ns >= since);
            born.is_some_and(|born| born.parent == Some(thread.pid))
        };
        let released = back.filter(|by| {
            !answered && !by.brought && !given.contains(&by.tid) && !was_born_for_it(by.tid)
        });
        let mut tids = Vec::new();
        for tid in back.map(|by| by.tid).into_iter().chain(given) {
            if tid != owner && !tids.contains(&tid) && tids.len() < MOST {
                tids.push(tid);
            }
        }
        Self {
            owner,
            tids,
            released: released.map(|by| (by.ns, by.tid)),
        }
    }

    /// The owner waited for work in `[begin, end]`, or in a part of it: what is idle of `waited` becomes what the busiest hand did
    /// meanwhile. While the one that ended this wait did nothing itself, it kept something from the owner: a lock of the target's own.
    pub(super) fn explain(
        &self,
        threads: &Threads,
        (begin, end): (u64, u64),
        waited: &mut Budget,
    ) -> Explained {
        let owner = threads.get(self.owner);
        let by = owner.and_then(|owner| owner.woken_in(begin, end));
        let ends = self.worked(threads, (begin, end), by.map(|by| by.tid), waited);
        let let_go = by.filter(|by| self.released == Some((by.ns, by.tid)));
        let kept = let_go.and_then(|WokenBy { tid, .. }| {
            // Of one that is no more, nobody knows what it did.
            let kept = did_nothing(threads.get(tid)?, tid, (begin, end));
            Some((tid, kept.min(waited[Class::Idle.index()])))
        });
        let released = kept.filter(|(_, ns)| *ns > 0);
        if let Some((_, ns)) = released {
            waited[Class::Idle.index()] -= ns;
            waited[Class::Lock.index()] += ns;
        }
        Explained { released, ends }
    }

    /// What the one did that ended the wait, `by`, is known already.
    fn worked(
        &self,
        threads: &Threads,
        (begin, end): (u64, u64),
        by: Option<u32>,
        waited: &mut Budget,
    ) -> Vec<(Whom, u64)> {
        let idle = waited[Class::Idle.index()];
        let length = end.saturating_sub(begin);
        if idle == 0 || length == 0 {
            return Vec::new();
        }
        let others = self.tids.iter().filter(|tid| Some(**tid) != by);
        let did = others.filter_map(|tid| threads.get(*tid));
        let did = did.map(|thread| {
            let spent = thread.between(begin, end);
            let mut did = spent.certain;
            for class in Class::ALL.into_iter().filter(|class| *class != Class::Idle) {
                did[class.index()] += spent.tentative[class.index()];
            }
            (thread, did)
        });
        let Some((thread, did)) = did.max_by_key(|(_, did)| did.iter().sum::<u64>()) else {
            return Vec::new();
        };
        let part = |ns: u64| (u128::from(ns) * u128::from(idle) / u128::from(length)) as u64;
        for class in Class::ALL {
            // Parts of a step that are cut out of it may sum to a ns more than it.
            let ns = part(did[class.index()]).min(waited[Class::Idle.index()]);
            waited[class.index()] += ns;
            waited[Class::Idle.index()] -= ns;
        }
        let ends = thread.ends.within(begin, end).into_iter();
        ends.map(|(whom, ns)| (whom, part(ns))).collect()
    }
}

/// The threads that `owner` woke since a request came, while it worked for the connection of that.
fn given(owner: &Thread, socket: u64, since: u64) -> Vec<u32> {
    let woken = owner.woken.iter().rev();
    let woken = woken.take_while(|(ns, _)| *ns >= since);
    let given = woken.filter(|(ns, _)| owner.work.at(*ns) == Some(socket));
    given.map(|(_, tid)| *tid).collect()
}

/// How long a thread did nothing itself in a span, ns. While it waited for another one of the target that slept, it did something.
fn did_nothing(thread: &Thread, tid: u32, (begin, end): (u64, u64)) -> u64 {
    let did = thread.between(begin, end);
    let nothing = did.certain[Class::Idle.index()] + did.tentative[Class::Idle.index()];
    let waited = thread.ends.within(begin, end).into_iter();
    let others = waited.filter(|(whom, _)| matches!(whom, Whom::Nap(_, by) if *by != tid));
    nothing.saturating_sub(others.map(|(_, ns)| ns).sum())
}
