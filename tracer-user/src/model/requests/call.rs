//! Calls on sockets: each judges the part of its connection's turn since the call before.

use tracer_common::tcp::{CALL_CLOSE, CALL_SEND};

use super::{
    Beside, Requests,
    connection::{self, Role, Turn},
    turns::own,
};
use crate::{
    class::Class,
    event::{self, Call},
    model::threads::Threads,
};

impl Requests {
    /// A socket was seen for the first time.
    pub(in crate::model) fn socket(&mut self, threads: &mut Threads, socket: &event::Socket) {
        self.rename(threads, socket);
        let connection = self.connections.entry(socket.socket).or_default();
        connection.local_port = socket.local_port;
        connection.caller = self.clients.met(socket);
        connection.ends = (socket.local.clone(), socket.remote.clone());
    }

    /// A thread received, sent or closed.
    pub(in crate::model) fn call(&mut self, beside: &mut Beside<'_>, call: &Call) {
        if call.flags & CALL_CLOSE != 0 {
            self.came_to_ask(beside.threads, call);
            self.end_turn(beside, call.socket);
            self.connections.remove(&call.socket);
            return;
        }
        let is_send = call.flags & CALL_SEND != 0;
        if call.result > 0 {
            self.touch(beside.threads, call.socket, is_send);
        }
        let connection = self.connections.entry(call.socket).or_default();
        connection.learn(call, is_send, &self.listening);
        connection.worker = Some(call.tid);
        let asked_on = self.asked_on.as_ref();
        let others = asked_on.is_some_and(|sockets| !sockets.contains(&call.socket));
        match (connection.role, is_send) {
            // Others than the target ask a followed process.
            (Role::Server, false) if others && call.result > 0 => {
                self.came_to_ask(beside.threads, call);
            }
            (Role::Server, _) if others => {}
            (Role::Client, true) if call.result > 0 => {
                connection.asked.get_or_insert((call.tid, call.ns));
                connection.heard = None;
                if let Some(thread) = beside.threads.get_mut(call.tid) {
                    thread.asked = Some(call.socket);
                }
            }
            (Role::Client, false) if call.result > 0 => {
                let since = connection.asked.take().or(connection.heard);
                connection.heard = Some((call.tid, call.ns));
                if let Some(thread) = beside.threads.get_mut(call.tid) {
                    thread.answered_ns = call.ns;
                    thread.asked = Some(call.socket);
                }
                self.has_answer(beside, call, since);
            }
            (Role::Server, true) => {
                self.sent(beside, call);
                self.work_on(beside.threads, call);
            }
            (Role::Server, false) => {
                self.received(beside, call);
                self.work_on(beside.threads, call);
            }
            _ => {}
        }
        self.returned(beside, call, is_send);
    }

    /// Called last, so that a request judged by this call was not worked on before it was picked up.
    fn work_on(&mut self, threads: &mut Threads, call: &Call) {
        if call.result > 0
            && let Some(thread) = threads.get_mut(call.tid)
        {
            thread.work.call(call.socket, call.ns);
            let caller = self.caller(call.socket);
            self.clients.called(call.tid, caller, call.ns);
            if call.flags & CALL_SEND != 0 {
                self.clients.sent(call.pid, caller, call.result as u64);
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
            if let Some(turn) = self.turn_mut(call.socket) {
                turn.unheard = None;
            }
            self.judge(beside, call.socket, call.ns, call.tid, Class::Network);
            return;
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

    /// A request began, at 0 if nobody saw when.
    fn open_turn(&mut self, threads: &mut Threads, call: &Call, begin_ns: u64) {
        if let Some(connection) = self.connections.get_mut(&call.socket) {
            let mut turn = Turn::new(begin_ns, self.start_ns, call.tid);
            // Where several requests share a connection, or the client opens its window, the answer before still stands in the way.
            turn.blocked = connection.blocked;
            connection.turn = Some(turn);
        }
        own(threads, call.tid, call.socket);
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
            turn if answered > turn.judged_ns => Class::Upstream,
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
        let Some(connection) = self.connections.get_mut(&call.socket) else {
            return;
        };
        let Some(turn) = connection.turn.as_mut() else {
            return;
        };
        turn.blocked = connection::is_blocked(call);
        connection.blocked = turn.blocked;
        if call.result > 0 {
            turn.sent_ns = Some(call.ns);
            turn.unheard = None;
            connection.draining_ns = Some(call.ns);
            connection.drained = None;
        }
        self.answered(call);
    }
}
