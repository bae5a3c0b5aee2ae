//! Processes and threads that a thread of the target bears for its requests.

use super::{Requests, connection::Turn};
use crate::{event::Fork, model::threads::Threads};

/// Most that are known of one request.
const MOST: usize = 4;

/// So many of the requests that a thread owns are looked at: those that it received last.
const LOOKED_AT: usize = 64;

impl Requests {
    /// A thread bears another one, for one of its requests.
    pub(in crate::model) fn bears(&mut self, threads: &Threads, fork: &Fork) {
        let socket = self.bears_for(threads, fork);
        if let Some(turn) = socket.and_then(|socket| self.turn_mut(socket))
            && turn.born.len() < MOST
        {
            turn.born.push((fork.ns, fork.tid));
        }
    }

    /// The connection of the request for which a thread bears another one: that on which it works. If that one has somebody already, or its
    /// answer, it is another one that the thread received since it last waited for work, and that has nobody: an event loop may take
    /// several requests, and bear for all of them after that.
    fn bears_for(&self, threads: &Threads, fork: &Fork) -> Option<u64> {
        let tid = threads.get(fork.tid)?.bearer?;
        let owner = threads.get(tid)?;
        let owed = |socket: u64| {
            let turn = self.turn(socket)?;
            (turn.tid == tid && turn.sent_ns.is_none()).then_some(turn)
        };
        let has_nobody = |turn: &Turn| turn.born.is_empty();
        let now = owner.work.at(fork.ns);
        let now = now.filter(|socket| owed(*socket).is_some());
        if now.and_then(owed).is_some_and(has_nobody) {
            return now;
        }
        let awake_ns = owner.work.awake_ns();
        let is_new = |turn: &Turn| turn.judged_ns >= awake_ns && has_nobody(turn);
        let mut last = owner.turns.iter().rev().take(LOOKED_AT);
        let other = last.find(|socket| owed(*socket).is_some_and(is_new));
        other.or(now)
    }
}
