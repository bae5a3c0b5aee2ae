//! Which thread owns which open request, and how requests end.

use super::{
    Beside, Requests,
    connection::{Connection, Drain, Turn},
};
use crate::{class::Class, model::threads::Threads};

/// The thread of a turn owns it now, and takes the next of the `seats`.
pub(super) fn own(threads: &mut Threads, seats: &mut u64, socket: u64, turn: &mut Turn) {
    *seats += 1;
    turn.seat = *seats;
    if let Some(thread) = threads.get_mut(turn.tid) {
        thread.turns.add(turn.seat, socket, turn.judged_ns);
    }
}

/// The thread of a turn owns it no more.
pub(super) fn disown(threads: &mut Threads, turn: &Turn) {
    if let Some(thread) = threads.get_mut(turn.tid) {
        thread.turns.remove(turn.seat);
    }
}

impl Requests {
    /// The open request of a connection.
    pub(super) fn turn(&self, socket: u64) -> Option<&Turn> {
        self.connections.get(&socket)?.turn.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn turn_mut(&mut self, socket: u64) -> Option<&mut Turn> {
        self.connections.get_mut(socket)?.turn.as_mut()
    }

    /// The request of a connection, if one is open, is over. It lasts until its answer has left this machine: what acknowledges the last
    /// send tells when that was.
    pub(super) fn end_turn(&mut self, beside: &mut Beside<'_>, socket: u64) {
        let Some(turn) = self.take_turn(beside.threads, socket) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(socket) else {
            return;
        };
        let awaited = turn.sent_ns.is_some() && connection.draining_ns == turn.sent_ns;
        match connection.drained.take() {
            Some(drain) => self.answer_left(beside, socket, Some(turn), drain),
            None if awaited => connection.leaving = Some(turn),
            None => self.tally.ended(&turn, 0),
        }
    }

    /// Takes the open request from a connection and from its thread.
    pub(super) fn take_turn(&mut self, threads: &mut Threads, socket: u64) -> Option<Turn> {
        let turn = self.connections.get_mut(socket)?.turn.take()?;
        disown(threads, &turn);
        Some(turn)
    }

    /// All bytes sent on a socket are acknowledged. Their last packet left the last queue of this machine at `left_ns`.
    pub(in crate::model) fn acknowledged(
        &mut self,
        beside: &mut Beside<'_>,
        socket: u64,
        ns: u64,
        left_ns: u64,
    ) {
        let Some(connection) = self.connections.get_mut(socket) else {
            return;
        };
        connection.blocked = false;
        let Some(sent_ns) = connection.draining_ns.take() else {
            return;
        };
        let drain = Drain {
            sent_ns,
            left_ns,
            acknowledged_ns: ns,
        };
        let open = connection.turn.as_ref();
        if open.is_some_and(|turn| turn.sent_ns.is_some()) {
            connection.drained = Some(drain);
        } else {
            let turn = connection.leaving.take();
            self.answer_left(beside, socket, turn, drain);
        }
    }

    /// The last send of a turn that is over, or of none, is acknowledged.
    fn answer_left(
        &mut self,
        beside: &mut Beside<'_>,
        socket: u64,
        turn: Option<Turn>,
        drain: Drain,
    ) {
        let waited_ns = drain.acknowledged_ns.saturating_sub(drain.sent_ns);
        self.tally.drains.add(waited_ns);
        let begin_ns = turn.as_ref().map_or(drain.sent_ns, |turn| turn.judged_ns);
        let left_ns = drain.left_ns.max(begin_ns);
        // Older recordings do not say when it left where no interface queues.
        let is_known = drain.left_ns < drain.acknowledged_ns;
        let is_seen = self.under_way_until(beside, socket, begin_ns, left_ns)
            || is_known && self.held_back_until(beside, socket, begin_ns, left_ns);
        match turn {
            // Over loopback nobody saw the last packet leave. The acknowledgement may come with the next request.
            Some(turn) if !is_seen => self.tally.ended(&turn, 0),
            Some(turn) => self.tally.ended(&turn, left_ns),
            None if is_seen => self.tally.uncounted(left_ns - begin_ns),
            None => {}
        }
    }

    /// What was sent on a connection is under way until `left_ns`. Returns whether it goes through a link: else it takes no time.
    fn under_way_until(
        &mut self,
        beside: &mut Beside<'_>,
        socket: u64,
        begin_ns: u64,
        left_ns: u64,
    ) -> bool {
        let route = self.connections.get(&socket).map(|c| &c.route);
        let known_ns = route.and_then(|route| {
            let account = &mut *beside.account;
            beside.links.drained(account, route, begin_ns, left_ns)
        });
        if let Some(known_ns) = known_ns {
            self.tally.judged(left_ns - begin_ns, known_ns);
        }
        known_ns.is_some()
    }

    /// Over a way where nothing queues, as the loopback: a send left bytes behind, and their last packet left at `left_ns`. The client's
    /// window was full until then. That is the client's time, and no wait of this machine's. Returns whether there is such a time.
    fn held_back_until(
        &mut self,
        beside: &mut Beside<'_>,
        socket: u64,
        begin_ns: u64,
        left_ns: u64,
    ) -> bool {
        let connection = self.connections.get(&socket);
        let is_held_back = connection.is_some_and(|connection| connection.held_back);
        let ns = left_ns.saturating_sub(begin_ns);
        if !is_held_back || ns == 0 {
            return false;
        }
        let ledger = &mut beside.account.ledger;
        ledger.requests(Class::Idle, begin_ns, left_ns, ns);
        self.tally.judged(ns, ns);
        true
    }

    /// Responses that are still under way through a link at the end, or wait for a client that has no room, although all their bytes have
    /// been sent, are open requests.
    pub(in crate::model) fn close_drains(&mut self, beside: &mut Beside<'_>, end_ns: u64) {
        let sent = |c: &Connection| c.turn.is_none() || c.leaving.is_some();
        let sent = self.connections.iter().filter(|(_, c)| sent(c));
        let under_way = sent.filter_map(|(socket, c)| Some((*socket, c.draining_ns?)));
        let mut under_way: Vec<(u64, u64)> = under_way.collect();
        under_way.sort_unstable();
        for (socket, sent_ns) in under_way {
            let leaving = self.connections.get_mut(socket);
            let turn = leaving.and_then(|connection| connection.leaving.take());
            let begin_ns = turn.as_ref().map_or(sent_ns, |turn| turn.judged_ns);
            let end_ns = end_ns.max(begin_ns);
            let is_seen = self.under_way_until(beside, socket, begin_ns, end_ns)
                || self.held_back_until(beside, socket, begin_ns, end_ns);
            match turn {
                Some(turn) if !is_seen => self.tally.ended(&turn, 0),
                Some(turn) => self.tally.left_open(&turn, end_ns),
                None if is_seen => self.tally.uncounted(end_ns - begin_ns),
                None => {}
            }
        }
    }

    /// Did this socket hold a request at attach that nobody had read?
    pub(super) fn was_unread(&self, socket: u64) -> bool {
        let connection = self.connections.get(&socket);
        connection.is_some_and(|connection| self.unread_before.has(&connection.ends))
    }
}
