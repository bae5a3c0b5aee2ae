//! The hands through which a request goes while the thread that received it waits for work: a pool's threads. An event loop takes a
//! request, wakes a thread of a pool for it, and serves others meanwhile. Many sleeps of the loop have nothing to do with the
//! request. What the pool's thread does in them is the request's time.

use crate::{
    class::Class,
    model::{books::Budget, threads::Threads},
};

/// Most hands looked at: a request that goes through more is rare.
const MOST: usize = 4;

/// Threads of the target that may work for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hands(Vec<u32>);

impl Hands {
    /// Those to which `owner` gave the request of a connection since that came, at `since`: it woke them while it worked for that
    /// connection. And the one that woke it last in `[begin, now]`.
    pub(super) fn of(
        threads: &Threads,
        owner: u32,
        socket: u64,
        since: u64,
        (begin, now): (u64, u64),
    ) -> Self {
        let Some(thread) = threads.get(owner) else {
            return Self::default();
        };
        let given = thread.woken.iter().rev();
        let given = given.take_while(|(ns, _)| *ns >= since);
        let given = given.filter(|(ns, _)| thread.work.at(*ns) == Some(socket));
        let back = thread.woken_by;
        let back = back.filter(|(ns, _)| (begin..=now).contains(ns));
        let mut hands = Vec::new();
        for (_, tid) in back.into_iter().chain(given.copied()) {
            if tid != owner && !hands.contains(&tid) && hands.len() < MOST {
                hands.push(tid);
            }
        }
        Self(hands)
    }

    /// The owner waited for work in `[begin, end]`, or in a part of it: what is idle of `waited` becomes what the busiest hand did
    /// meanwhile.
    pub(super) fn explain(&self, threads: &Threads, (begin, end): (u64, u64), waited: &mut Budget) {
        let idle = waited[Class::Idle.index()];
        let length = end.saturating_sub(begin);
        if idle == 0 || length == 0 {
            return;
        }
        let did = self.0.iter().filter_map(|tid| threads.get(*tid));
        let did = did.map(|thread| {
            let spent = thread.between(begin, end);
            let mut did = spent.certain;
            for class in Class::ALL.into_iter().filter(|class| *class != Class::Idle) {
                did[class.index()] += spent.tentative[class.index()];
            }
            did
        });
        let Some(did) = did.max_by_key(|did| did.iter().sum::<u64>()) else {
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
