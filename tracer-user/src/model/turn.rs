//! Requests: each socket call judges the part of its connection's turn since the call before.

use tracer_common::tcp::{CALL_CLOSE, CALL_SEND};

use super::{
    Model,
    request::{self, LONG_POLL_NS, Role, Turn},
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

    pub(super) fn acknowledged(&mut self, ack: &event::Ack) {
        if let Some(connection) = self.connections.get_mut(&ack.socket)
            && let Some(sent_ns) = connection.draining_ns.take()
        {
            self.tally.drains.add(ack.ns.saturating_sub(sent_ns));
            let ifindex = connection.ifindex;
            self.drained(ifindex, sent_ns, ack.ns);
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
        self.end_turn(call.socket);
        let arrived = if call.arrived_ns == 0 {
            call.ns
        } else {
            call.arrived_ns.min(call.ns)
        };
        self.open_turn(call, arrived.max(after), false);
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
            only_waited: true,
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
        let ifindex = connection.ifindex;
        let Some(turn) = connection.turn.as_mut() else {
            return;
        };
        let begin = std::mem::replace(&mut turn.judged_ns, now);
        let previous = std::mem::replace(&mut turn.tid, tid);
        let Some(thread) = self.threads.get(&tid) else {
            return;
        };
        let spent = thread.between(begin, now);
        let unexplained = spent.tentative[Class::Idle.index()];
        let did_more = Class::BLOCKED
            .iter()
            .any(|class| spent.certain[class.index()] > 0);
        turn.only_waited &= !did_more;
        for class in Class::ALL {
            let ns = spent.certain[class.index()]
                + if class == Class::Idle {
                    0
                } else {
                    spent.tentative[class.index()]
                };
            self.ledger.requests(class, begin, now, ns);
        }
        self.ledger.requests(waiting, begin, now, unexplained);
        if previous != tid {
            self.disown(previous, socket);
            self.own(tid, socket);
        }
        self.confirm(tid, begin, now, waiting, ifindex);
    }

    /// The thread owned a request in `[begin, now]`: its waits for work there were no idling.
    fn confirm(&mut self, tid: u32, begin: u64, now: u64, waiting: Class, ifindex: u32) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let begin = begin.max(thread.judged_ns);
        if now <= begin {
            return;
        }
        let waited = thread.between(begin, now).tentative;
        thread.judged_ns = now;
        for class in Class::ALL {
            let ns = waited[class.index()];
            if ns == 0 {
                continue;
            }
            let becomes = if class == Class::Idle { waiting } else { class };
            self.ledger.threads(Class::Idle, begin, now, -(ns as i64));
            self.ledger.threads(becomes, begin, now, ns as i64);
            if class != Class::Idle {
                self.ledger.indirect(becomes, begin, now, ns);
            } else if waiting == Class::Network {
                self.wait_for_link(ifindex, begin, now, ns, 0);
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
        }
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
            let long_poll = !turn.blocked
                && !asks
                && turn.only_waited
                && end_ns.saturating_sub(turn.begin_ns) > LONG_POLL_NS;
            if long_poll {
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
