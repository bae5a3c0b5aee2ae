//! Requests that came before the window and have no answer: a server that hangs is looked at after it hung.
//!
//! The last bytes on a connection need not be a question: HTTP/2 clients confirm, and idle web sockets are pinged. So a turn that
//! began before the window counts only once something in the window shows that it is one.

use std::sync::Arc;

use super::{
    Beside, Requests,
    connection::{Caller, Connection, Role, Turn},
    fellows::at_work_for,
    turns::own,
};
use crate::{class::Class, event, model::threads::Threads};

/// Two readings of the kernel's ticks may differ by so much (`HZ` is 100 at least).
pub(super) const TICKS_NS: u64 = 20_000_000;

/// A server asks another process for a request within this time: it has read the request, and connects.
const ASKS_WITHIN_NS: u64 = 1_000_000_000;

/// No thread has this number: it is the idle task's.
const NOBODY: u32 = 0;

impl Turn {
    /// Begin and end of the time in which its thread asks another process because of it, ns.
    pub(super) fn soon(&self) -> (u64, u64) {
        let from = self.begin_ns.saturating_sub(TICKS_NS);
        (from, self.begin_ns + ASKS_WITHIN_NS)
    }
}

impl Requests {
    /// Opens the turn that a connection had at attach, or notes what its process had asked.
    ///
    /// The thread is known only of a process that has no other. In others, a look at what they hear may tell more.
    pub(in crate::model) fn unanswered(
        &mut self,
        threads: &mut Threads,
        found: &event::Unanswered,
    ) {
        let tids: Vec<u32> = threads.of_process(found.pid).take(2).collect();
        match tids[..] {
            [] => {}
            // Its client waits, for news perhaps. A look tells whether anybody hears it.
            _ if found.local.is_empty() => self.unheard.keep(found),
            [tid] => _ = self.open_untouched(threads, found, Some(tid)),
            _ => self.unheard.keep(found),
        }
    }

    /// Opens such a turn, which a thread owes an answer to, or for which it has asked; `None` if it is not known which. Returns what stands
    /// for the socket.
    pub(super) fn open_untouched(
        &mut self,
        threads: &mut Threads,
        found: &event::Unanswered,
        owner: Option<u32>,
    ) -> u64 {
        // No address of the kernel's: a call will bring that.
        let mut socket = u64::MAX - self.connections.len() as u64;
        while self.connections.contains_key(&socket) {
            socket -= 1;
        }
        let (tid, since_ns) = (owner.unwrap_or(NOBODY), found.since_ns);
        let mut connection = Connection {
            ends: Arc::new((found.local.clone(), found.remote.clone())),
            untouched: true,
            ..Connection::default()
        };
        if found.asks {
            connection.role = Role::Client;
            connection.asked = Some((tid, since_ns));
            if let Some(thread) = threads.get_mut(tid) {
                thread.asked = Some((socket, since_ns));
            }
        } else {
            connection.role = Role::Server;
            connection.caller = self.caller_before(found, owner);
            connection.worker = owner;
            let mut turn = Turn {
                begin_ns: since_ns,
                ..Turn::new(since_ns, self.start_ns, tid)
            };
            own(threads, &mut self.seats, socket, &mut turn);
            connection.turn = Some(turn);
        }
        self.connections.insert(socket, connection);
        socket
    }

    /// The caller on such a connection, as far as its ends show that.
    fn caller_before(&mut self, found: &event::Unanswered, owner: Option<u32>) -> Caller {
        let sole = owner.and_then(|tid| self.clients.sole(tid));
        // In the books of a process that the target asks, the target is the client.
        let has_no_ends = self.asked_on.is_some() || found.local.is_empty();
        match sole {
            Some(caller) => caller,
            None if has_no_ends => Caller::Unknown,
            None => self.clients.met(&event::Socket {
                local: found.local.clone(),
                remote: found.remote.clone(),
                ..event::Socket::default()
            }),
        }
    }

    /// What stands for the socket of a connection with these ends that was known at attach by its ends alone.
    pub(super) fn untouched(&self, named: &event::Socket) -> Option<u64> {
        let known = self.connections.with_ends(&named.local, &named.remote);
        known.filter(|known| self.connections[known].untouched)
    }

    /// A connection that was known by its ends alone now has a name.
    pub(super) fn name(&mut self, threads: &mut Threads, known: u64, socket: u64) {
        let Some(connection) = self.connections.remove(known) else {
            return;
        };
        if let Some(turn) = &connection.turn
            && let Some(thread) = threads.get_mut(turn.tid)
        {
            thread.turns.rename(turn.seat, socket);
        }
        if let Some((tid, _)) = connection.asked
            && let Some(thread) = threads.get_mut(tid)
            && let Some((asked, _)) = &mut thread.asked
            && *asked == known
        {
            *asked = socket;
        }
        self.connections.insert(socket, connection);
    }

    /// The first call on a connection since attach. If more comes before an answer went, nothing says that one was owed.
    pub(super) fn touch(&mut self, threads: &mut Threads, socket: u64, is_send: bool) {
        let Some(connection) = self.connections.get_mut(socket) else {
            return;
        };
        let first = std::mem::take(&mut connection.untouched);
        if first && !is_send && connection.role == Role::Server {
            let turn = self.take_turn(threads, socket);
            if let Some(turn) = turn {
                self.tally.ended(&turn, 0);
            }
        }
    }

    /// Judges the turn of a connection that nobody touched in the window. It is open if its owner still waits for the answer to a
    /// question that it asked because of it. It is also open if nobody hears the connection, or if the owner hangs, and touched no other
    /// connection either.
    pub(super) fn close_untouched(
        &mut self,
        beside: &mut Beside<'_>,
        socket: u64,
        turn: &Turn,
        end_ns: u64,
    ) {
        let owner = match turn.tid {
            NOBODY => self.likely_owner(beside.threads, turn, end_ns),
            known => Some(known),
        };
        let owner = owner.map(|tid| at_work_for(beside, tid).unwrap_or(tid));
        let waiting = owner.and_then(|tid| self.waits_untouched(beside, socket, turn, tid, end_ns));
        let (Some(owner), Some(waiting)) = (owner, waiting) else {
            let turn = self.take_turn(beside.threads, socket);
            if let Some(turn) = turn {
                self.tally.ended(&turn, 0);
            }
            return;
        };
        self.judge(beside, socket, end_ns, owner, waiting);
        self.left_open(turn, owner, end_ns);
    }

    /// The class of what the owner of such a turn waits for without a known reason; `None` if the turn is none.
    fn waits_untouched(
        &self,
        beside: &Beside<'_>,
        socket: u64,
        turn: &Turn,
        owner: u32,
        end_ns: u64,
    ) -> Option<Class> {
        let owed = self.owed_at_the_end(beside, socket, turn, owner);
        match self.asked_for(beside.threads, turn, owner) {
            true if self.asked_itself(beside.threads, turn, owner) => owed.or(Some(Class::Other)),
            true => Some(Class::Upstream),
            false if owed.is_some() => owed,
            // The process that asked it is known to wait still.
            false if self.asked_on.is_some() || self.hangs(beside.threads, owner, end_ns) => {
                Some(Class::Other)
            }
            false => None,
        }
    }

    /// Did the owner ask another process soon after this request came, and has no answer since?
    pub(super) fn asked_for(&self, threads: &Threads, turn: &Turn, owner: u32) -> bool {
        let (from, to) = turn.soon();
        let mut asked = self.connections.asked_by(owner, from, to);
        asked.any(|other| other.untouched) || self.asked_for_turn(threads, turn, owner).is_open()
    }

    /// Did it ask the target itself, and nobody else?
    fn asked_itself(&self, threads: &Threads, turn: &Turn, owner: u32) -> bool {
        let (from, to) = turn.soon();
        let mut asked = self.connections.asked_by(owner, from, to);
        asked.all(|other| !other.untouched || self.is_to_itself(other))
            && !self.asked_for_turn(threads, turn, owner).is_open()
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
