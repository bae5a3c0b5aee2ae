//! Requests: each socket call judges the part of its connection's turn since the call before.

use tracer_common::tcp::{CALL_CLOSE, CALL_SEND};

use super::{
    Model,
    books::Budget,
    request::{self, LONG_POLL_BLOCKED, LONG_POLL_NS, Role, Turn},
};
use crate::{
    class::Class,
    event::{self, Call},
};

impl Model {
    pub(super) fn socket(&mut self, socket: &event::Socket) {
        let connection = self.connections.entry(socket.socket).or_default();
        connection.local_port = socket.local_port;
        connection.ends = (socket.local.clone(), socket.remote.clone());
    }

    pub(super) fn flow(&mut self, flow: &event::Flow) {
        let connection = self.connections.entry(flow.socket).or_default();
        if flow.ifindex != 0 {
            connection.ifindex = flow.ifindex;
        }
        connection.flow.seen(flow);
    }

    pub(super) fn acknowledged(&mut self, ack: &event::Ack) {
        let Some(connection) = self.connections.get_mut(&ack.socket) else {
            return;
        };
        if let Some(sent_ns) = connection.draining_ns.take() {
            connection.drained = Some((sent_ns, ack.ns));
            let goes_on = connection
                .turn
                .as_ref()
                .is_some_and(|turn| turn.sent_ns.is_some());
            if !goes_on {
                self.count_drain(ack.socket);
            }
        }
    }

    /// The turn is over, so what was acknowledged was its last send.
    fn count_drain(&mut self, socket: u64) {
        if let Some(connection) = self.connections.get_mut(&socket)
            && let Some((sent_ns, acknowledged_ns)) = connection.drained.take()
        {
            self.tally
                .drains
                .add(acknowledged_ns.saturating_sub(sent_ns));
            self.drained(socket, sent_ns, acknowledged_ns);
        }
    }

    pub(super) fn call(&mut self, call: &Call) {
        if call.flags & CALL_CLOSE != 0 {
            self.end_turn(call.socket);
            self.connections.remove(&call.socket);
            return;
        }
        let is_send = call.flags & CALL_SEND != 0;
        let connection = self.connections.entry(call.socket).or_default();
        connection.learn(call, is_send, &self.start.listening);
        match (connection.role, is_send) {
            (Role::Client, true) => connection.unanswered |= call.result > 0,
            (Role::Client, false) if call.result > 0 => {
                connection.unanswered = false;
                if let Some(thread) = self.threads.get_mut(&call.tid) {
                    thread.answered_ns = call.ns;
                }
            }
            (Role::Server, true) => self.sent(call),
            (Role::Server, false) => self.received(call),
            _ => {}
        }
    }

    fn received(&mut self, call: &Call) {
        self.tally.seen = true;
        if call.result <= 0 {
            // The end of the stream, or nothing there: no part of a request.
            return;
        }
        let open = self
            .connections
            .get(&call.socket)
            .and_then(|connection| connection.turn.as_ref());
        if open.is_some_and(|turn| turn.sent_ns.is_none()) {
            self.judge(call.socket, call.ns, call.tid, Class::Network);
            return;
        }
        let after = open.and_then(|turn| turn.sent_ns).unwrap_or(0);
        // Bytes that were there at attach came at a time that nobody saw.
        let unread = open.is_none() && call.arrived_ns == 0 && self.was_unread(call.socket);
        self.end_turn(call.socket);
        let arrived = if call.arrived_ns == 0 {
            call.ns
        } else {
            call.arrived_ns.min(call.ns)
        };
        let begin = if unread { 0 } else { arrived.max(after) };
        self.open_turn(call, begin, unread);
        self.judge(call.socket, call.ns, call.tid, Class::Other);
    }

    fn open_turn(&mut self, call: &Call, begin_ns: u64, clipped: bool) {
        let begin = begin_ns.max(self.start.ns);
        let turn = Turn {
            begin_ns: begin,
            clipped: clipped || begin_ns < self.start.ns,
            tid: call.tid,
            judged_ns: begin,
            sent_ns: None,
            blocked: false,
            blocked_ns: 0,
        };
        if let Some(connection) = self.connections.get_mut(&call.socket) {
            connection.turn = Some(turn);
        }
        self.own(call.tid, call.socket);
    }

    fn own(&mut self, tid: u32, socket: u64) {
        if let Some(thread) = self.threads.get_mut(&tid)
            && !thread.turns.contains(&socket)
        {
            thread.turns.push(socket);
        }
    }

    fn sent(&mut self, call: &Call) {
        self.tally.seen = true;
        let has_turn = self
            .connections
            .get(&call.socket)
            .is_some_and(|connection| connection.turn.is_some());
        if !has_turn {
            if !self.was_unread(call.socket) {
                return;
            }
            self.open_turn(call, 0, true);
        }
        let answered = self
            .threads
            .get(&call.tid)
            .map_or(0, |thread| thread.answered_ns);
        let Some(connection) = self.connections.get_mut(&call.socket) else {
            return;
        };
        let Some(turn) = connection.turn.as_ref() else {
            return;
        };
        let waiting = match turn {
            turn if turn.blocked => Class::Network,
            turn if answered > turn.judged_ns => Class::Upstream,
            _ => Class::Other,
        };
        self.judge(call.socket, call.ns, call.tid, waiting);
        let Some(connection) = self.connections.get_mut(&call.socket) else {
            return;
        };
        let Some(turn) = connection.turn.as_mut() else {
            return;
        };
        turn.blocked = request::is_blocked(call);
        if call.result > 0 {
            turn.sent_ns = Some(call.ns);
            connection.draining_ns = Some(call.ns);
            connection.drained = None;
        }
    }

    /// Did this socket hold a request at attach that nobody had read?
    fn was_unread(&self, socket: u64) -> bool {
        let Some(connection) = self.connections.get(&socket) else {
            return false;
        };
        let same = |open: &&event::OpenSocket| {
            (&open.local, &open.remote) == (&connection.ends.0, &connection.ends.1)
        };
        self.open_sockets
            .iter()
            .find(same)
            .is_some_and(|open| open.unread_bytes > 0)
    }

    /// Judges the part of a turn up to `now`, in which `tid` worked on it. Its waits for work that no waker explains count as
    /// `waiting`.
    fn judge(&mut self, socket: u64, now: u64, tid: u32, waiting: Class) {
        let Some(connection) = self.connections.get_mut(&socket) else {
            return;
        };
        let Some(turn) = connection.turn.as_mut() else {
            return;
        };
        let begin = std::mem::replace(&mut turn.judged_ns, now);
        let previous = std::mem::replace(&mut turn.tid, tid);
        let Some(thread) = self.threads.get(&tid) else {
            return;
        };
        for (from, to, spent) in thread.pieces(begin, now) {
            turn.blocked_ns += spent.blocked();
            for class in Class::ALL {
                let known = if class == Class::Idle { waiting } else { class };
                let ns = spent.certain[class.index()] + spent.tentative[class.index()];
                self.ledger.requests(known, from, to, ns);
            }
        }
        if previous != tid {
            self.disown(previous, socket);
            self.own(tid, socket);
        }
        self.confirm(tid, begin, now, waiting, socket);
    }

    /// The thread owned a request in `[begin, now]`: its waits for work there were no idling.
    fn confirm(&mut self, tid: u32, begin: u64, now: u64, waiting: Class, socket: u64) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let begin = begin.max(thread.judged_ns);
        if now <= begin {
            return;
        }
        let pieces = thread.pieces(begin, now);
        thread.judged_ns = now;
        for (from, to, spent) in pieces {
            self.confirm_piece(from, to, &spent.tentative, waiting, socket);
        }
    }

    /// Moves the waits for work of one piece of a time line to what they were. The idle time goes in one sum: it was entered so, and
    /// no slice of the window must come out negative.
    fn confirm_piece(
        &mut self,
        begin: u64,
        end: u64,
        waited: &Budget,
        waiting: Class,
        socket: u64,
    ) {
        let all: u64 = waited.iter().sum();
        self.ledger.threads(Class::Idle, begin, end, -(all as i64));
        for class in Class::ALL {
            let ns = waited[class.index()];
            let becomes = if class == Class::Idle { waiting } else { class };
            self.ledger.threads(becomes, begin, end, ns as i64);
            if class != Class::Idle {
                self.ledger.indirect(becomes, begin, end, ns);
            } else if waiting == Class::Network && ns > 0 {
                self.wait_for_link(socket, begin, end, ns, 0);
            }
        }
    }

    fn disown(&mut self, tid: u32, socket: u64) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.turns.retain(|owned| *owned != socket);
        }
    }

    fn end_turn(&mut self, socket: u64) {
        let turn = self
            .connections
            .get_mut(&socket)
            .and_then(|connection| connection.turn.take());
        if let Some(turn) = turn {
            self.tally.ended(&turn);
            self.disown(turn.tid, socket);
            self.count_drain(socket);
        }
    }

    /// Did nobody do anything for this request for so long that it is none?
    fn is_long_poll(&self, turn: &Turn, end_ns: u64) -> bool {
        let age = end_ns.saturating_sub(turn.begin_ns);
        let since = self
            .threads
            .get(&turn.tid)
            .map_or(0, |thread| thread.between(turn.judged_ns, end_ns).blocked());
        let blocked = turn.blocked_ns + since;
        age > LONG_POLL_NS && blocked as f64 <= LONG_POLL_BLOCKED * age as f64
    }

    /// At the end of the window a turn that sent all it had is over; the others are open.
    pub(super) fn close_turns(&mut self, end_ns: u64) {
        let mut sockets: Vec<u64> = self.connections.keys().copied().collect();
        sockets.sort_unstable();
        let asks = self
            .connections
            .values()
            .any(|connection| connection.unanswered);
        for socket in sockets {
            let Some(turn) = self
                .connections
                .get(&socket)
                .and_then(|connection| connection.turn.clone())
            else {
                continue;
            };
            if turn.sent_ns.is_some() && !turn.blocked {
                self.end_turn(socket);
                continue;
            }
            if !turn.blocked && !asks && self.is_long_poll(&turn, end_ns) {
                self.disown(turn.tid, socket);
                continue;
            }
            let waiting = if turn.blocked {
                Class::Network
            } else if asks {
                Class::Upstream
            } else {
                Class::Other
            };
            self.judge(socket, end_ns, turn.tid, waiting);
            self.tally.left_open(&turn);
        }
    }
}
