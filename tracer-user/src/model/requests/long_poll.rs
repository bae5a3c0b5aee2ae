//! Requests that are none: somebody asked to hear of it when something happens, and nothing did.

use super::{Requests, connection::Turn};
use crate::model::threads::Threads;

/// A turn without a send for longer than this is a long poll, if its owner only waited for work.
const LONG_POLL_NS: u64 = 5_000_000_000;

/// A request of which more than this part is known to be blocked is no long poll. Not 0: the thread that takes it has to come on a CPU.
pub(super) const LONG_POLL_BLOCKED: f64 = 0.01;

impl Requests {
    /// Did `tid` only wait for work for so long, since the request began or sent last, that it is none? An owner that still waits for
    /// an answer itself waits for no work.
    pub(super) fn is_long_poll(&self, threads: &Threads, turn: &Turn, tid: u32, now: u64) -> bool {
        let since = turn.sent_ns.unwrap_or(turn.begin_ns);
        let age = now.saturating_sub(since);
        if age <= LONG_POLL_NS {
            return false;
        }
        let thread = threads.get(tid);
        let spent = thread.map_or(0, |thread| thread.between(turn.judged_ns, now).blocked());
        // Time blocked before a send belongs to another wait.
        let before = turn.sent_ns.map_or(turn.blocked_ns, |_| 0);
        (before + spent) as f64 <= LONG_POLL_BLOCKED * age as f64 && !self.asks(turn, tid)
    }

    /// Has a thread asked another process since the turn began, and has no answer yet?
    pub(super) fn asks(&self, turn: &Turn, tid: u32) -> bool {
        let asked = self
            .connections
            .values()
            .filter_map(|connection| connection.asked);
        asked
            .into_iter()
            .any(|(by, ns)| by == tid && ns >= turn.begin_ns)
    }
}
