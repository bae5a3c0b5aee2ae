//! Threads of the kernel that poll rings of `io_uring` for the target (`IORING_SETUP_SQPOLL`). Such a thread receives and sends what a
//! thread of the target asks it for through a ring, and tells that one what is done. It spins while there is nothing to do: its time on a
//! CPU is no work, and shows nothing of what the target waits for.

use super::{Spent, Threads};
use crate::event::Wait;

/// Most threads known for which one polls: a ring has one, and few rings share a poller.
const MOST: usize = 4;

impl Threads {
    /// A thread polls rings.
    pub(in crate::model) fn polls(&mut self, tid: u32) {
        if let Some(thread) = self.living.get_mut(tid) {
            thread.takers.get_or_insert_default();
        }
    }

    /// Does a thread poll rings?
    pub(in crate::model) fn is_poller(&self, tid: u32) -> bool {
        let thread = self.living.get(tid);
        thread.is_some_and(|thread| thread.takers.is_some())
    }

    /// The threads for which a thread polls, as far as they are known: the last that took something first.
    pub(in crate::model) fn takers(&self, tid: u32) -> &[u32] {
        let thread = self.living.get(tid);
        let takers = thread.and_then(|thread| thread.takers.as_deref());
        takers.unwrap_or_default()
    }

    /// The thread for which a thread polls, if it polls for no other.
    pub(super) fn only_taker(&self, tid: u32) -> Option<u32> {
        match self.takers(tid) {
            [taker] => Some(*taker),
            _ => None,
        }
    }

    /// A thread, and the one that polls the ring from which it takes: what it did is needed for the requests of both.
    pub(in crate::model) fn with_poller(&self, tid: u32) -> impl Iterator<Item = u32> + use<> {
        let thread = self.living.get(tid);
        let poller = thread.and_then(|thread| thread.poller);
        [tid].into_iter().chain(poller)
    }

    /// If a poller ended this wait for completions, the thread takes from its ring what it has done.
    pub(super) fn takes(&mut self, wait: &Wait) {
        if !self.is_poller(wait.waker_tid) || self.waker(wait).is_none() {
            return;
        }
        if let Some(thread) = self.living.get_mut(wait.tid) {
            thread.poller = Some(wait.waker_tid);
        }
        let poller = self.living.get_mut(wait.waker_tid);
        let Some(takers) = poller.and_then(|thread| thread.takers.as_mut()) else {
            return;
        };
        if takers.first() != Some(&wait.tid) {
            takers.retain(|tid| *tid != wait.tid);
            takers.insert(0, wait.tid);
            takers.truncate(MOST);
        }
    }

    /// A thread that took from the ring of this poller is no more. Its number may become another one's.
    pub(super) fn takes_no_more(&mut self, tid: u32, poller: Option<u32>) {
        let poller = poller.and_then(|poller| self.living.get_mut(poller));
        if let Some(takers) = poller.and_then(|thread| thread.takers.as_mut()) {
            takers.retain(|taker| *taker != tid);
        }
    }

    /// The time of a thread in a span, piece by piece, each spread evenly: calls `each` with begin, end and what. That of one that polls is
    /// cut where whoever takes from its ring begins to do something else.
    pub(in crate::model) fn for_each_piece(
        &self,
        tid: u32,
        (begin, end): (u64, u64),
        mut each: impl FnMut(u64, u64, &Spent),
    ) {
        let Some(thread) = self.living.get(tid) else {
            return;
        };
        let taker = self.takers(tid).first();
        let Some(taker) = taker.and_then(|taker| self.living.get(*taker)) else {
            return thread.for_each_piece(begin, end, each);
        };
        let mut cuts = Vec::new();
        taker.for_each_piece(begin, end, |from, _, _| cuts.push(from));
        thread.for_each_piece(begin, end, |from, to, _| {
            let first = cuts.partition_point(|cut| *cut <= from);
            let within = cuts[first..].iter().copied().take_while(|cut| *cut < to);
            let mut at = from;
            for cut in within.chain([to]) {
                each(at, cut, &thread.between(at, cut).without_polling());
                at = cut;
            }
        });
    }
}
