//! The hands through which a request goes while the thread that received it waits for work: a pool's threads, or a child. An event loop
//! takes a request, wakes a thread of a pool for it, and serves others meanwhile. Many sleeps of the loop have nothing to do with the
//! request. What the pool's thread does in them is the request's time.
//!
//! Whoever was born for a request and is done before its answer has it meanwhile, whatever the owner does: a loop that forks a child for
//! each request computes for others while that one reads. Only when the child is done the request may stand behind the others.
//!
//! A thread that ends a wait and was given nothing let go what the owner waited for: a lock, in memory that they share or in a database,
//! that it had for another request. One that brings something had no lock.

use crate::{
    class::Class,
    model::{
        books::Budget,
        threads::{OwnWait, Thread, Threads, Whom, Work},
    },
};

/// Most hands looked at: a request that goes through more is rare.
const MOST: usize = 4;

/// Threads of the target that may work for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hands {
    owner: u32,
    tids: Vec<u32>,
    /// The waits of the owner that threads ended without having been given anything, in order: they let go what the owner waited for.
    released: Vec<OwnWait>,
    /// Can nobody but its own process end the owner's sleep? Then what it waits for in one that a timer ended is let go at the end of
    /// the next.
    goes_on: bool,
    /// Does the owner poll a ring for threads that are known? It works for none of its requests then.
    polls: bool,
    /// From when until when each had the request, ns. If there are none, all of them may have it all the time.
    spans: Vec<(u32, u64, u64)>,
    /// The same of those that the owner bore for the request, and that are done with it.
    born: Vec<(u32, u64, u64)>,
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
    ///
    /// If the owner is known to wait for its own process alone (`waiting` is a lock), each one that woke it may have had something.
    ///
    /// One that polls a ring gives all to those that take from it.
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
        let takers = threads.takers(owner);
        let given = match takers {
            [] => given(thread, socket, since).map(|(_, tid)| tid).collect(),
            takers => takers.to_vec(),
        };
        let goes_on = waiting == Class::Lock;
        let ended = |wait: &&OwnWait| (begin..=now).contains(&wait.end_ns) && wait.by != owner;
        let back = thread.woken_by.back().filter(ended);
        let mut released: Vec<OwnWait> = match (answered, goes_on) {
            (true, _) => Vec::new(),
            (false, true) => thread.woken_by.iter().filter(ended).copied().collect(),
            (false, false) => back.into_iter().copied().collect(),
        };
        let was_born_for_it = |tid| {
            let born = threads.get(tid).filter(|born| born.begin_ns >= since);
            born.is_some_and(|born| born.parent == Some(thread.pid))
        };
        released
            .retain(|wait| !wait.brought && !given.contains(&wait.by) && !was_born_for_it(wait.by));
        let back = back.filter(|_| !goes_on).map(|wait| wait.by);
        let mut tids = Vec::new();
        for tid in back.into_iter().chain(given) {
            if tid != owner && !tids.contains(&tid) && tids.len() < MOST {
                tids.push(tid);
            }
        }
        Self {
            owner,
            tids,
            released,
            goes_on,
            polls: !takers.is_empty(),
            spans: Vec::new(),
            born: Vec::new(),
        }
    }

    /// Beside these, those that were born for the request: (when, ns; tid). Each has it from its birth until it is done: it ends, or wakes
    /// the owner. One that does neither before the answer goes was started for something else.
    pub(super) fn with_born(mut self, threads: &Threads, born: &[(u64, u32)]) -> Self {
        let Some(owner) = threads.get(self.owner) else {
            return self;
        };
        let done = |tid: u32, born_ns: u64| match threads.get(tid) {
            Some(_) => {
                let mut waits = owner.woken_by.iter();
                let back = waits.find(|wait| wait.by == tid && wait.end_ns >= born_ns);
                back.map(|wait| wait.end_ns)
            }
            None => threads.ended(tid).map(Thread::known_ns),
        };
        let born = born.iter();
        let had = born.filter_map(|(ns, tid)| Some((*tid, *ns, done(*tid, *ns)?)));
        self.born = had.collect();
        for (tid, ..) in &self.born {
            if !self.tids.contains(tid) && self.tids.len() < MOST {
                self.tids.push(*tid);
            }
        }
        self
    }

    /// Does the owner poll a ring for threads that are known?
    pub(super) fn polls(&self) -> bool {
        self.polls
    }

    /// Did `owner` give the request of a connection to others since that came?
    pub(super) fn has_given(threads: &Threads, owner: u32, socket: u64, since: u64) -> bool {
        let gave = |thread: &Thread| given(thread, socket, since).next().is_some();
        !threads.takers(owner).is_empty() || threads.get(owner).is_some_and(gave)
    }

    /// Those of them that brought something back, or send the answer, each from when it was given something until then. Others may write a
    /// log, and what one does that came back is for others.
    pub(super) fn that_came_back(
        mut self,
        threads: &Threads,
        (socket, since): (u64, u64),
        sender: u32,
    ) -> Self {
        let Some(owner) = threads.get(self.owner).filter(|_| !self.polls) else {
            return self;
        };
        let came_back = |tid: u32, given_ns: u64| {
            let mut waits = owner.woken_by.iter();
            let back = waits.find(|wait| wait.by == tid && wait.end_ns >= given_ns);
            let sends = (tid == sender).then_some(u64::MAX);
            back.map(|wait| wait.end_ns).or(sends)
        };
        let given = given(owner, socket, since);
        let spans = given.filter_map(|(ns, tid)| Some((tid, ns, came_back(tid, ns)?)));
        self.spans = spans.collect();
        self.spans.reverse();
        self.tids = self.spans.iter().map(|(tid, ..)| *tid).collect();
        self.tids.sort_unstable();
        self.tids.dedup();
        self
    }

    /// A hand. One that was born for the request is still known when it has ended.
    fn known<'a>(&self, threads: &'a Threads, tid: u32) -> Option<&'a Thread> {
        let is_born = || self.born.iter().any(|(of, ..)| *of == tid);
        let ended = || threads.ended(tid).filter(|_| is_born());
        threads.get(tid).or_else(ended)
    }

    /// The part of a span in which a hand had the request.
    fn had(&self, tid: u32, (begin, end): (u64, u64)) -> Option<(u64, u64)> {
        let is_born = self.born.iter().any(|(of, ..)| *of == tid);
        if self.spans.is_empty() && !is_born {
            return Some((begin, end));
        }
        let of = self.spans.iter().chain(&self.born);
        let of = of.filter(|(of, ..)| *of == tid);
        let mut parts = of.map(|(_, from, to)| (begin.max(*from), end.min(*to)));
        parts.find(|(from, to)| from < to)
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
        let ended = owner.and_then(|owner| owner.woken_in(begin, end));
        let ends = self.worked(threads, (begin, end), ended.map(|wait| wait.by), waited);
        let kept = self.let_go(begin, end).and_then(|by| {
            // Of one that is no more, nobody knows what it did.
            let kept = did_nothing(threads.get(by)?, by, (begin, end));
            Some((by, kept.min(waited[Class::Idle.index()])))
        });
        let released = kept.filter(|(_, ns)| *ns > 0);
        if let Some((_, ns)) = released {
            waited[Class::Idle.index()] -= ns;
            waited[Class::Lock.index()] += ns;
        }
        Explained { released, ends }
    }

    /// The thread that let go what the owner waited for in `[begin, end]`.
    fn let_go(&self, begin: u64, end: u64) -> Option<u32> {
        let is_it = |wait: &&OwnWait| wait.end_ns > begin && (self.goes_on || wait.begin_ns < end);
        self.released.iter().find(is_it).map(|wait| wait.by)
    }

    /// What is idle of `waited` becomes what the busiest hand did in `[begin, end]`. What the one did that ended this wait, `ended_by`, is
    /// known already.
    fn worked(
        &self,
        threads: &Threads,
        (begin, end): (u64, u64),
        ended_by: Option<u32>,
        waited: &mut Budget,
    ) -> Vec<(Whom, u64)> {
        let idle = waited[Class::Idle.index()];
        let length = end.saturating_sub(begin);
        if idle == 0 || length == 0 {
            return Vec::new();
        }
        let let_go = self.let_go(begin, end);
        let others = let_go.iter().chain(&self.tids);
        let others = others.filter(|tid| Some(**tid) != ended_by);
        let all = others.filter_map(|tid| {
            let thread = self.known(threads, *tid)?;
            let had = self.had(*tid, (begin, end))?;
            Some((thread, had, did(thread, had)))
        });
        let busiest = all.max_by_key(|(_, _, did)| did.iter().sum::<u64>());
        let Some((thread, had, did)) = busiest else {
            return Vec::new();
        };
        let part = |ns: u64| (u128::from(ns) * u128::from(idle) / u128::from(length)) as u64;
        for class in Class::ALL {
            // Parts of a step that are cut out of it may sum to a ns more than it.
            let ns = part(did[class.index()]).min(waited[Class::Idle.index()]);
            waited[class.index()] += ns;
            waited[Class::Idle.index()] -= ns;
        }
        let ends = thread.ends.within(had.0, had.1).into_iter();
        ends.map(|(whom, ns)| (whom, part(ns))).collect()
    }

    /// What the owner did for other requests in a piece of its time line, of all that it did for `certain`. While one that it bore for this
    /// request did something, the request did not stand behind the others: that part of `certain` becomes what that one did.
    pub(super) fn for_others(
        &self,
        threads: &Threads,
        (work, socket): (&Work, u64),
        (from, to): (u64, u64),
        certain: &mut Budget,
    ) -> Budget {
        let others = u128::from(work.for_others(socket, from, to));
        let length = u128::from((to - from).max(1));
        let mut behind = certain.map(|ns| (u128::from(ns) * others / length) as u64);
        if self.born.is_empty() || others == 0 {
            return behind;
        }
        let mut instead = Budget::default();
        for span in work.spans_for_others(socket, (from, to)) {
            for (sum, ns) in instead.iter_mut().zip(self.born_did(threads, span)) {
                let mut left = ns;
                for (of, behind) in certain.iter_mut().zip(&mut behind) {
                    let part = left.min(*behind);
                    (*of, *behind, left) = (*of - part, *behind - part, left - part);
                }
                *sum += ns - left;
            }
        }
        for (sum, ns) in certain.iter_mut().zip(instead) {
            *sum += ns;
        }
        behind
    }

    /// What the busiest of those did in a span that the owner bore for the request.
    fn born_did(&self, threads: &Threads, span: (u64, u64)) -> Budget {
        let all = self.born.iter().filter_map(|(tid, ..)| {
            let thread = self.known(threads, *tid)?;
            Some(did(thread, self.had(*tid, span)?))
        });
        let busiest = all.max_by_key(|did| did.iter().sum::<u64>());
        busiest.unwrap_or_default()
    }
}

/// What a thread did in a span, but for its waits for work that nothing explains.
pub(super) fn did(thread: &Thread, (from, to): (u64, u64)) -> Budget {
    let spent = thread.without_polling(&thread.between(from, to));
    let mut did = spent.certain;
    for class in Class::ALL.into_iter().filter(|class| *class != Class::Idle) {
        did[class.index()] += spent.tentative[class.index()];
    }
    did
}

/// The threads that `owner` woke since a request came, while it worked for the connection of that, and when, ns; the last first.
fn given(owner: &Thread, socket: u64, since: u64) -> impl Iterator<Item = (u64, u32)> {
    let woken = owner.woken.iter().rev().copied();
    let woken = woken.take_while(move |(ns, _)| *ns >= since);
    woken.filter(move |(ns, _)| owner.work.at(*ns) == Some(socket))
}

/// How long a thread did nothing itself in a span, ns. While it waited for another one of the target that slept, it did something.
fn did_nothing(thread: &Thread, tid: u32, (begin, end): (u64, u64)) -> u64 {
    let did = thread.between(begin, end);
    let nothing = did.certain[Class::Idle.index()] + did.tentative[Class::Idle.index()];
    let waited = thread.ends.within(begin, end).into_iter();
    let others = waited.filter(|(whom, _)| matches!(whom, Whom::Nap(_, by) if *by != tid));
    nothing.saturating_sub(others.map(|(_, ns)| ns).sum())
}
