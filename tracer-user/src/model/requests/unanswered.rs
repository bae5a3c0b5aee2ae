//! Requests that came before the window and have no answer: a server that hangs is looked at after it hung.
//!
//! The last bytes on a connection need not be a question: HTTP/2 clients confirm, and idle web sockets are pinged. So a turn that
//! began before the window counts only once something in the window shows that it is one.

use super::{
    Beside, Requests,
    connection::{Connection, Role, Turn},
};
use crate::{class::Class, event, model::threads::Threads};

/// Two readings of the kernel's ticks may differ by so much (`HZ` is 100 at least).
const TICKS_NS: u64 = 20_000_000;

/// A server asks another process for a request within this time: it has read the request, and connects.
const ASKS_WITHIN_NS: u64 = 1_000_000_000;

impl Requests {
    /// Opens the turn that a connection had at attach, or notes what its process had asked.
    ///
    /// The thread is known only of a process that has no other. In others, what they wait for in the window speaks for itself.
    pub(in crate::model) fn unanswered(
        &mut self,
        threads: &mut Threads,
        found: &event::Unanswered,
    ) {
        let of = threads
            .living()
            .filter(|(_, thread)| thread.pid == found.pid);
        let tids: Vec<u32> = of.map(|(tid, _)| tid).take(2).collect();
        let [tid] = tids[..] else {
            return;
        };
        // No address of the kernel's: a call will bring that.
        let socket = u64::MAX - self.connections.len() as u64;
        let since_ns = found.since_ns.min(self.start_ns);
        let mut connection = Connection {
            ends: (found.local.clone(), found.remote.clone()),
            untouched: true,
            ..Connection::default()
        };
        if found.asks {
            connection.role = Role::Client;
            connection.asked = Some((tid, since_ns));
        } else {
            connection.role = Role::Server;
            connection.worker = Some(tid);
            connection.turn = Some(Turn {
                begin_ns: since_ns,
                clipped: true,
                ..Turn::new(since_ns, self.start_ns, tid)
            });
        }
        self.connections.insert(socket, connection);
        if let Some(thread) = threads.get_mut(tid) {
            match found.asks {
                true => thread.asked = Some(socket),
                false => thread.turns.push(socket),
            }
        }
    }

    /// A connection that was known by its ends alone now has a name.
    pub(super) fn rename(&mut self, threads: &mut Threads, named: &event::Socket) {
        let same = self.connections.iter().find(|(_, connection)| {
            let (local, remote) = &connection.ends;
            connection.untouched && (local, remote) == (&named.local, &named.remote)
        });
        let Some(known) = same.map(|(known, _)| *known) else {
            return;
        };
        if let Some(connection) = self.connections.remove(&known) {
            self.connections.insert(named.socket, connection);
        }
        threads.rename_socket(known, named.socket);
    }

    /// The first call on a connection since attach. If more comes before an answer went, nothing says that one was owed.
    pub(super) fn touch(&mut self, threads: &mut Threads, socket: u64, is_send: bool) {
        let Some(connection) = self.connections.get_mut(&socket) else {
            return;
        };
        let first = std::mem::take(&mut connection.untouched);
        if first && !is_send && connection.role == Role::Server {
            self.take_turn(threads, socket);
        }
    }

    /// Judges the turn of a connection that nobody touched in the window. It is open if its owner still waits for the answer to a
    /// question that it asked because of it. It is also open if the owner hangs, and touched no other connection either.
    pub(super) fn close_untouched(
        &mut self,
        beside: &mut Beside<'_>,
        socket: u64,
        turn: &Turn,
        end_ns: u64,
    ) {
        let waiting = match self.asked_for(turn) {
            true => Class::Upstream,
            // The process that asked it is known to wait still.
            false if self.asked_on.is_some() || self.hangs(beside.threads, turn.tid, end_ns) => {
                Class::Other
            }
            false => {
                self.take_turn(beside.threads, socket);
                return;
            }
        };
        self.judge(beside, socket, end_ns, turn.tid, waiting);
        self.tally.left_open(turn);
    }

    /// Did the owner ask another process soon after this request came, and has no answer since?
    fn asked_for(&self, turn: &Turn) -> bool {
        let from = turn.begin_ns.saturating_sub(TICKS_NS);
        let asked = self.connections.values().filter(|other| other.untouched);
        asked.filter_map(|other| other.asked).any(|(tid, ns)| {
            tid == turn.tid && (from..turn.begin_ns + ASKS_WITHIN_NS).contains(&ns)
        })
    }

    /// Did a thread work for nobody in the window, and was blocked for most of it, other than in waits for work?
    fn hangs(&self, threads: &Threads, tid: u32, end_ns: u64) -> bool {
        let mut others = self.connections.values().filter(|other| !other.untouched);
        let thread = threads.get(tid);
        let ns = thread.map_or(0, |thread| thread.between(self.start_ns, end_ns).blocked());
        !others.any(|other| other.worker == Some(tid))
            && 2 * ns > end_ns.saturating_sub(self.start_ns)
    }
}
