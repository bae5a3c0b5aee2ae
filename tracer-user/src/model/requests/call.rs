//! Calls on sockets: each judges the part of its connection's turn since the call before.

use std::sync::Arc;

use tracer_common::tcp::{CALL_CLOSE, CALL_POLLER, CALL_SEND};

use super::{
    Beside, Requests,
    connection::{self, Connection, Role, Turn},
    hands::Hands,
    turns::own,
};
use crate::{
    class::Class,
    event::{self, Call, Origin},
    model::threads::Threads,
};

/// Connections, some 700 bytes each. Beyond that, those on which nothing is open are forgotten: the kernel half tells of the end of each,
/// but such a record may be lost.
const MOST_CONNECTIONS: usize = 1 << 16;
/// They are looked through once there are so many more than the last look left.
const LOOK_EVERY: usize = 1 << 12;

impl Requests {
    /// A socket was seen for the first time. The kernel may have given it the address of another one, of which no record told the end:
    /// nothing of that is this one's. But it forgets sockets that nobody has used for long, and then sees one a second time.
    pub(in crate::model) fn socket(
        &mut self,
        beside: &mut Beside<'_>,
        socket: &event::Socket,
        origin: Origin,
    ) {
        if origin == Origin::Accepted {
            self.accepted.insert(socket.local_port);
        }
        if let Some(known) = self.connections.get(&socket.socket) {
            if origin == Origin::Unknown && known.has_ends(&socket.local, &socket.remote) {
                return;
            }
            self.closed(beside, socket.socket);
        }
        if self.connections.len() >= self.look_from.max(MOST_CONNECTIONS) {
            self.forget_idle(beside);
            self.look_from = self.connections.len() + LOOK_EVERY;
        }
        let caller = self.clients.met(socket);
        self.is_connected(beside.threads, socket);
        let before = self.untouched(socket);
        if let Some(before) = before
            && origin == Origin::Unknown
        {
            self.name(beside.threads, before, socket.socket);
            if let Some(connection) = self.connections.get_mut(socket.socket) {
                connection.local_port = socket.local_port;
                connection.caller = caller;
            }
            return;
        }
        // This one has begun since.
        before
            .into_iter()
            .for_each(|before| self.closed(beside, before));
        let new = Connection {
            since_ns: socket.ns,
            role: Role::from(origin),
            local_port: socket.local_port,
            caller,
            ends: Arc::new((socket.local.clone(), socket.remote.clone())),
            ..Connection::default()
        };
        self.connections.insert(socket.socket, new);
    }

    /// Forgets the connections on which nothing is open. One that is used again is new.
    fn forget_idle(&mut self, beside: &mut Beside<'_>) {
        let is_idle = |connection: &Connection| {
            let turn = connection.turn.as_ref();
            turn.is_none_or(|turn| turn.sent_ns.is_some())
                && connection.asked.is_none()
                && connection.draining_ns.is_none()
                && !connection.untouched
        };
        let all = self.connections.iter();
        let idle = all.filter(|(_, connection)| is_idle(connection));
        let mut idle: Vec<u64> = idle.map(|(socket, _)| *socket).collect();
        idle.sort_unstable();
        self.forgotten += idle.len() as u64;
        for socket in idle {
            self.closed(beside, socket);
        }
    }

    /// A connection is no more.
    fn closed(&mut self, beside: &mut Beside<'_>, socket: u64) {
        self.end_turn(beside, socket);
        if let Some(connection) = self.connections.remove(socket) {
            // Nothing will acknowledge its answer: the connection broke.
            if let Some(turn) = &connection.leaving {
                self.tally.ended(turn, 0);
            }
            self.unread_before.closed(&connection.ends);
        }
        if let Some(asked_on) = &mut self.asked_on {
            asked_on.remove(&socket);
        }
    }

    /// A thread received, sent or closed.
    pub(in crate::model) fn call(&mut self, beside: &mut Beside<'_>, call: &Call) {
        if call.flags & CALL_CLOSE != 0 {
            self.is_answered(beside.threads, call);
            self.came_to_ask(beside.threads, call);
            return self.closed(beside, call.socket);
        }
        if call.flags & CALL_POLLER != 0 {
            beside.threads.polls(call.tid);
        }
        let is_send = call.flags & CALL_SEND != 0;
        if call.result > 0 {
            self.is_answered(beside.threads, call);
            self.touch(beside.threads, call.socket, is_send);
        }
        let connection = self.connections.at(call.socket);
        let is_new = connection.role == Role::Unknown && call.result > 0;
        if is_new && self.accepted.contains(&connection.local_port) {
            connection.role = Role::Server;
        }
        connection.learn(call, is_send, &self.listening);
        connection.worker = Some(call.tid);
        let role = connection.role;
        let asked_on = self.asked_on.as_ref();
        let others = asked_on.is_some_and(|sockets| !sockets.contains(&call.socket));
        match (role, is_send) {
            // Others than the target ask a followed process.
            (Role::Server, false) if others && call.result > 0 => {
                self.came_to_ask(beside.threads, call);
            }
            (Role::Server, _) if others => {}
            (Role::Client, true) if call.result > 0 => {
                self.connections.ask(call.socket, call.tid, call.ns);
                let other_end = self.other_end(call.socket);
                self.asks_on(beside.threads, call, other_end);
                if let Some(thread) = beside.threads.get_mut(call.tid)
                    && !self.asks_itself(call.socket, other_end)
                {
                    thread.asked = Some((call.socket, call.ns));
                }
                self.asks_somebody(beside.threads, call.tid, call.ns);
            }
            (Role::Client, false) if call.result > 0 => {
                let since = self.connections.answered(call.socket, call.tid, call.ns);
                if self.asks_itself_on(call.socket) {
                    self.has_own_answer(beside.threads, call, since);
                    return self.returned(beside, call, is_send);
                }
                if let Some(thread) = beside.threads.get_mut(call.tid) {
                    thread.answered_ns = call.ns;
                    thread.asked = Some((call.socket, call.ns));
                }
                self.has_answer(beside, call, since);
            }
            (Role::Server, true) => {
                self.sent(beside, call);
                self.work_on(beside, call);
            }
            (Role::Server, false) => {
                self.received(beside, call);
                self.work_on(beside, call);
            }
            _ => {}
        }
        self.returned(beside, call, is_send);
    }

    /// Called last, so that a request judged by this call was not worked on before it was picked up.
    fn work_on(&mut self, beside: &mut Beside<'_>, call: &Call) {
        if call.result > 0
            && let Some(thread) = beside.threads.get_mut(call.tid)
        {
            thread.work.call(call.socket, call.ns);
            let caller = self.caller(call.socket);
            self.clients.called(call.tid, caller, call.ns);
            if call.flags & CALL_SEND != 0 {
                let bytes = call.result as u64;
                self.clients.sent(beside.names, call.pid, caller, bytes);
            }
        }
    }

    fn received(&mut self, beside: &mut Beside<'_>, call: &Call) {
        self.tally.seen = true;
        if call.result <= 0 {
            // The end of the stream, or nothing there: no part of a request.
            return;
        }
        let open = self.turn(call.socket);
        if open.is_some_and(|turn| turn.sent_ns.is_none()) {
            return self.more_came(beside, call);
        }
        let after = open.and_then(|turn| turn.sent_ns).unwrap_or(0);
        self.came_to_ask(beside.threads, call);
        // Bytes that were there at attach came at a time that nobody saw.
        let unread = open.is_none() && call.arrived_ns == 0 && self.was_unread(call.socket);
        self.end_turn(beside, call.socket);
        let arrived = if call.arrived_ns == 0 {
            call.ns
        } else {
            call.arrived_ns.min(call.ns)
        };
        let begin = if unread { 0 } else { arrived.max(after) };
        self.asked(beside.names, beside.threads, call);
        self.open_turn(beside.threads, call, begin);
        self.judge(beside, call.socket, call.ns, call.tid, Class::Other);
    }

    /// More came on a connection on which an answer is owed: the rest of what is asked, or one more request (HTTP/2, pipelining). Whoever
    /// received it has waited for that, as far as nobody else had the request. What others did is known when they are done. Until then the
    /// owner of the request remembers what it did itself; another thread does not.
    fn more_came(&mut self, beside: &mut Beside<'_>, call: &Call) {
        let (socket, tid) = (call.socket, call.tid);
        let Some(turn) = self.turn_mut(socket) else {
            return;
        };
        turn.unheard = None;
        let is_owner = turn.tid == tid && !turn.blocked;
        if is_owner && Hands::has_given(beside.threads, tid, socket, turn.begin_ns) {
            let thread = beside.threads.get(tid);
            let is_full = thread.is_some_and(|thread| thread.is_full_since(turn.judged_ns));
            turn.came = Some((call.ns, tid));
            // A long body comes in many parts: the thread would forget what it did as the first of them came.
            if !is_full {
                return;
            }
        }
        self.judge(beside, socket, call.ns, tid, Class::Network);
    }

    /// A request began, at 0 if nobody saw when.
    fn open_turn(&mut self, threads: &mut Threads, call: &Call, begin_ns: u64) {
        if let Some(connection) = self.connections.get_mut(call.socket) {
            let mut turn = Turn::new(begin_ns, self.start_ns, call.tid);
            // Where several requests share a connection, or the client opens its window, the answer before still stands in the way.
            turn.blocked = connection.blocked;
            own(threads, &mut self.seats, call.socket, &mut turn);
            connection.turn = Some(turn);
        }
    }

    fn sent(&mut self, beside: &mut Beside<'_>, call: &Call) {
        self.tally.seen = true;
        if self.turn(call.socket).is_none() {
            if !self.was_unread(call.socket) {
                return;
            }
            self.open_turn(beside.threads, call, 0);
        }
        let Some(turn) = self.turn(call.socket).cloned() else {
            return;
        };
        let thread = beside.threads.get(call.tid);
        let answered = thread.map_or(0, |thread| thread.answered_ns);
        let owed = self.owed(beside.threads, call.socket, &turn, call.tid);
        let waiting = match &turn {
            turn if turn.blocked => Class::Network,
            turn if answered > turn.came.map_or(turn.judged_ns, |(ns, _)| ns) => Class::Upstream,
            _ => owed.unwrap_or(Class::Other),
        };
        let may_be_none = owed.is_none() && waiting == Class::Other;
        if may_be_none && self.is_long_poll(beside.threads, &turn, call.tid, call.ns) {
            // An event came that the client had asked to hear of. The sends before it answered something else.
            return self.end_turn(beside, call.socket);
        }
        if may_be_none && let Some(begin_ns) = self.pushed(beside.threads, &turn, call) {
            self.end_turn(beside, call.socket);
            self.open_turn(beside.threads, call, begin_ns);
            if let Some(push) = self.turn_mut(call.socket) {
                push.is_push = true;
            }
        }
        self.judge(beside, call.socket, call.ns, call.tid, waiting);
        let Some(connection) = self.connections.get_mut(call.socket) else {
            return;
        };
        let Some(turn) = connection.turn.as_mut() else {
            return;
        };
        turn.blocked = connection::is_blocked(call);
        connection.blocked = turn.blocked;
        if call.result > 0 {
            turn.sent_ns = Some(call.ns);
            turn.was_owed |= owed.is_some();
            turn.unheard = None;
            // Over a short way the peer may acknowledge it before the send returns: no other acknowledgement comes.
            let under_way = call.unsent_bytes > 0 || call.unacked_bytes > 0;
            connection.draining_ns = under_way.then_some(call.ns);
            connection.held_back = call.unsent_bytes > 0;
            connection.drained = None;
            // An answer that was not acknowledged before the next one counts until its last send.
            if let Some(before) = connection.leaving.take() {
                self.tally.ended(&before, 0);
            }
        }
        self.answered(call);
    }
}
