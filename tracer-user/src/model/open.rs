//! Requests without an answer: which are none (long polls), and whose time those have that are open at the end of the window.

use super::{
    Model,
    request::{LONG_POLL_BLOCKED, LONG_POLL_NS, Turn},
};
use crate::class::Class;

impl Model {
    /// Did `tid` only wait for work for so long, since the request began or sent last, that it is none? An owner that still waits for
    /// an answer itself waits for no work.
    pub(super) fn is_long_poll(&self, turn: &Turn, tid: u32, now: u64) -> bool {
        let since = turn.sent_ns.unwrap_or(turn.begin_ns);
        let age = now.saturating_sub(since);
        let thread = self.threads.get(&tid);
        let spent = thread.map_or(0, |thread| thread.between(turn.judged_ns, now).blocked());
        // What was blocked before a send is another wait.
        let before = turn.sent_ns.map_or(turn.blocked_ns, |_| 0);
        age > LONG_POLL_NS
            && (before + spent) as f64 <= LONG_POLL_BLOCKED * age as f64
            && !self.asks(turn, tid)
    }

    /// Has a thread asked another process since the turn began, and has no answer yet?
    fn asks(&self, turn: &Turn, tid: u32) -> bool {
        let asked = self
            .connections
            .values()
            .filter_map(|connection| connection.asked);
        asked
            .into_iter()
            .any(|(by, ns)| by == tid && ns >= turn.begin_ns)
    }

    /// At the end of the window a turn that sent all it had is over; the others are open.
    pub(super) fn close_turns(&mut self, end_ns: u64) {
        let mut sockets: Vec<u64> = self.connections.keys().copied().collect();
        sockets.sort_unstable();
        for socket in sockets {
            let connection = self.connections.get(&socket);
            if let Some(turn) = connection.and_then(|connection| connection.turn.clone()) {
                self.close_turn(socket, &turn, end_ns);
            }
        }
    }

    fn close_turn(&mut self, socket: u64, turn: &Turn, end_ns: u64) {
        if turn.sent_ns.is_some() && !turn.blocked {
            return self.end_turn(socket);
        }
        let waiting = match turn {
            turn if turn.blocked => Class::Network,
            turn if self.asks(turn, turn.tid) => Class::Upstream,
            _ => Class::Other,
        };
        if waiting == Class::Other && self.is_long_poll(turn, turn.tid, end_ns) {
            return self.disown(turn.tid, socket);
        }
        self.judge(socket, end_ns, turn.tid, waiting);
        self.tally.left_open(turn);
    }
}
