//! Requests: each socket call judges the part of its connection's turn since the call before.

use tracer_common::tcp::{CALL_CLOSE, CALL_SEND};

use super::{
    Model,
    books::{Budget, Holder, PlaceId},
    recent,
    request::{self, Drain, Role, Turn},
};
use crate::{
    class::{Class, Resource},
    event::{self, Call},
};

/// A process that serves one request is forked by one that accepts, which a master forked: more generations are no request's.
const MOST_LIVES: usize = 4;

impl Model {
    pub(super) fn socket(&mut self, socket: &event::Socket) {
        self.rename(socket);
        let connection = self.connections.entry(socket.socket).or_default();
        connection.local_port = socket.local_port;
        connection.caller = self.clients.met(socket);
        connection.ends = (socket.local.clone(), socket.remote.clone());
    }

    /// A connection that is not known here is another fold's (see `follow.rs`): such a record names no process.
    pub(super) fn flow(&mut self, flow: &event::Flow) {
        let Some(connection) = self.connections.get_mut(&flow.socket) else {
            return;
        };
        if flow.ifindex != 0 {
            connection.ifindex = flow.ifindex;
        }
        connection.flow.seen(flow);
    }

    /// All that was sent on a socket is acknowledged; the last packet of it left the last queue of this machine at `left_ns`.
    pub(super) fn acknowledged(&mut self, socket: u64, ns: u64, left_ns: u64) {
        let Some(connection) = self.connections.get_mut(&socket) else {
            return;
        };
        if let Some(sent_ns) = connection.draining_ns.take() {
            connection.drained = Some(Drain {
                sent_ns,
                left_ns,
                acknowledged_ns: ns,
            });
            let goes_on = connection
                .turn
                .as_ref()
                .is_some_and(|turn| turn.sent_ns.is_some());
            if !goes_on {
                self.count_drain(socket);
            }
        }
    }

    /// The turn is over, so what was acknowledged was its last send.
    fn count_drain(&mut self, socket: u64) {
        if let Some(connection) = self.connections.get_mut(&socket)
            && let Some(drain) = connection.drained.take()
        {
            let length = drain.acknowledged_ns.saturating_sub(drain.sent_ns);
            self.tally.drains.add(length);
            self.drained(socket, drain.sent_ns, drain.left_ns.max(drain.sent_ns));
        }
    }

    pub(super) fn call(&mut self, call: &Call) {
        if call.flags & CALL_CLOSE != 0 {
            self.end_turn(call.socket);
            self.connections.remove(&call.socket);
            return;
        }
        let is_send = call.flags & CALL_SEND != 0;
        if call.result > 0 {
            self.touch(call.socket, is_send);
        }
        let connection = self.connections.entry(call.socket).or_default();
        connection.learn(call, is_send, &self.start.listening);
        connection.worker = Some(call.tid);
        let others = self.depth > 0 && !self.asked_on.contains(&call.socket);
        match (connection.role, is_send) {
            // What others than the target ask a followed process.
            (Role::Server, _) if others => {}
            (Role::Client, true) if call.result > 0 => {
                connection.asked.get_or_insert((call.tid, call.ns));
                if let Some(thread) = self.threads.get_mut(&call.tid) {
                    thread.asked = Some(call.socket);
                }
            }
            (Role::Client, false) if call.result > 0 => {
                connection.asked = None;
                if let Some(thread) = self.threads.get_mut(&call.tid) {
                    thread.answered_ns = call.ns;
                    thread.asked = Some(call.socket);
                }
            }
            (Role::Server, true) => {
                self.sent(call);
                self.work_on(call);
            }
            (Role::Server, false) => {
                self.received(call);
                self.work_on(call);
            }
            _ => {}
        }
    }

    /// Only now, so that a request judged by this call has not been worked on before it was picked up.
    fn work_on(&mut self, call: &Call) {
        if call.result > 0
            && let Some(thread) = self.threads.get_mut(&call.tid)
        {
            thread.work.call(call.socket, call.ns);
            let caller = self.caller(call.socket);
            self.clients.called(call.tid, caller, call.ns);
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
        let turn = turn.clone();
        if waiting == Class::Other && self.is_long_poll(&turn, call.tid, call.ns) {
            // Something happened that the client had asked to be told of. What was sent before that was the answer to something else.
            return self.end_turn(call.socket);
        }
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
    pub(super) fn was_unread(&self, socket: u64) -> bool {
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
    pub(super) fn judge(&mut self, socket: u64, now: u64, tid: u32, waiting: Class) {
        let Some(connection) = self.connections.get_mut(&socket) else {
            return;
        };
        let Some(turn) = connection.turn.as_mut() else {
            return;
        };
        let begin = std::mem::replace(&mut turn.judged_ns, now);
        // Before it was picked up nobody worked for it.
        let picked_up = begin > turn.begin_ns;
        let previous = std::mem::replace(&mut turn.tid, tid);
        if previous != tid {
            self.disown(previous, socket);
            self.own(tid, socket);
        }
        // Who lived this part of the thread's time line: before it was born, the one that forked it had its work.
        let (mut tid, mut end) = (tid, now);
        for _ in 0..MOST_LIVES {
            let Some(thread) = self.threads.get(&tid).filter(|_| end > begin) else {
                break;
            };
            let (from, parent) = (thread.begin_ns.clamp(begin, end), thread.parent);
            self.judge_life(socket, tid, (from, end), waiting);
            self.confirm(tid, from, end, waiting, socket);
            if picked_up {
                let caller = self.caller(socket);
                self.clients.worked(tid, caller, from, end);
            }
            let Some(parent) = parent else { break };
            (tid, end) = (parent, from);
        }
    }

    /// Adds a part of a thread's time line to the request of a connection.
    fn judge_life(&mut self, socket: u64, tid: u32, (begin, end): (u64, u64), waiting: Class) {
        let asker = self.local_asker(socket);
        let ledger = &mut self.ledger;
        let (Some(thread), Some(turn)) = (
            self.threads.get(&tid),
            self.connections
                .get_mut(&socket)
                .and_then(|connection| connection.turn.as_mut()),
        ) else {
            return;
        };
        thread.for_each_piece(begin, end, |from, to, spent| {
            turn.blocked_ns += spent.blocked();
            let others = u128::from(thread.work.for_others(socket, from, to));
            for class in Class::ALL {
                let certain = spent.certain[class.index()];
                let ns = certain + spent.tentative[class.index()];
                if ns == 0 {
                    continue;
                }
                let known = if class == Class::Idle { waiting } else { class };
                ledger.requests(known, from, to, ns);
                if let Some(asker) = asker {
                    ledger.served_requests(asker, known, from, to, ns);
                }
                let behind = u128::from(certain) * others / u128::from((to - from).max(1));
                ledger.behind_own(known, from, to, behind as u64);
            }
        });
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
        let waits = thread.waits_between(begin, now);
        thread.judged_ns = now;
        if waits.is_empty() {
            return;
        }
        let asked = match waiting {
            Class::Upstream => self.asked_place(tid),
            _ => None,
        };
        for (from, to, waited) in waits {
            let direct = self.charge_strangers(tid, from, to);
            self.confirm_piece((from, to), &waited, &direct, waiting, socket);
            let ns = waited[Class::Idle.index()];
            if let Some(place) = asked.filter(|_| ns > 0) {
                let key = (Resource::Upstream, Some(place), Holder::Peer);
                self.ledger.charge(key, from, to, ns, false);
            }
        }
    }

    /// Charges the waits that processes outside the target ended to them; returns how much of which class that was.
    fn charge_strangers(&mut self, tid: u32, begin: u64, end: u64) -> Budget {
        let mut direct = Budget::default();
        let Some(thread) = self.threads.get(&tid) else {
            return direct;
        };
        let first = recent::partition_point(&thread.behind, |wait| wait.end_ns <= begin);
        for wait in thread
            .behind
            .range(first..)
            .take_while(|wait| wait.begin_ns < end)
        {
            let (from, to) = (wait.begin_ns.max(begin), wait.end_ns.min(end));
            if let Some(resource) = wait.class.resource() {
                direct[wait.class.index()] += to - from;
                let key = (resource, None, wait.holder);
                self.ledger.charge(key, from, to, to - from, false);
            }
        }
        direct
    }

    /// The address of the process that a thread asked last.
    fn asked_place(&mut self, tid: u32) -> Option<PlaceId> {
        let socket = self.threads.get(&tid)?.asked?;
        let remote = self.connections.get(&socket)?.ends.1.clone();
        (!remote.is_empty()).then(|| self.place(&remote))
    }

    /// Moves the waits for work of one piece of a time line to what they were, `direct` of them charged already. The idle time goes in
    /// one sum: it was entered so, and no slice of the window must come out negative.
    fn confirm_piece(
        &mut self,
        (begin, end): (u64, u64),
        waited: &Budget,
        direct: &Budget,
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
                let found = ns.saturating_sub(direct[class.index()]);
                self.ledger.indirect(becomes, begin, end, found);
            } else if waiting == Class::Network && ns > 0 {
                self.wait_for_link(socket, begin, end, ns, 0);
            }
        }
    }

    pub(super) fn disown(&mut self, tid: u32, socket: u64) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.turns.retain(|owned| *owned != socket);
        }
    }

    pub(super) fn end_turn(&mut self, socket: u64) {
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
}
