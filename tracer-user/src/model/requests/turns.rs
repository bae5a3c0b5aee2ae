//! Which thread owns which open request, and how requests end.

use super::{
    Beside, Requests,
    connection::{Drain, Turn},
};
use crate::{event, model::threads::Threads};

/// A thread owns the open request of a connection now.
pub(super) fn own(threads: &mut Threads, tid: u32, socket: u64) {
    if let Some(thread) = threads.get_mut(tid)
        && !thread.turns.contains(&socket)
    {
        thread.turns.push(socket);
    }
}

/// A thread owns the request of a connection no more.
pub(super) fn disown(threads: &mut Threads, tid: u32, socket: u64) {
    if let Some(thread) = threads.get_mut(tid) {
        thread.turns.retain(|owned| *owned != socket);
    }
}

impl Requests {
    /// The open request of a connection.
    pub(super) fn turn(&self, socket: u64) -> Option<&Turn> {
        self.connections.get(&socket)?.turn.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn turn_mut(&mut self, socket: u64) -> Option<&mut Turn> {
        self.connections.get_mut(&socket)?.turn.as_mut()
    }

    /// The request of a connection, if one is open, is over.
    pub(super) fn end_turn(&mut self, beside: &mut Beside<'_>, socket: u64) {
        if let Some(turn) = self.take_turn(beside.threads, socket) {
            let drained = self.connections.get(&socket).and_then(|c| c.drained);
            // Where nobody saw the last packet leave (over loopback), the acknowledgement stands for that. It may come with the next
            // request.
            let of_turn = drained.filter(|drain| {
                turn.sent_ns == Some(drain.sent_ns) && drain.left_ns < drain.acknowledged_ns
            });
            self.tally
                .ended(&turn, of_turn.map_or(0, |drain| drain.left_ns));
            self.count_drain(beside, socket);
        }
    }

    /// Takes the open request from a connection and from its thread.
    pub(super) fn take_turn(&mut self, threads: &mut Threads, socket: u64) -> Option<Turn> {
        let turn = self.connections.get_mut(&socket)?.turn.take()?;
        disown(threads, turn.tid, socket);
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
        let Some(connection) = self.connections.get_mut(&socket) else {
            return;
        };
        connection.blocked = false;
        if let Some(sent_ns) = connection.draining_ns.take() {
            connection.drained = Some(Drain {
                sent_ns,
                left_ns,
                acknowledged_ns: ns,
            });
            let turn = connection.turn.as_ref();
            if turn.is_none_or(|turn| turn.sent_ns.is_none()) {
                self.count_drain(beside, socket);
            }
        }
    }

    /// The turn is over, so the acknowledged send was its last.
    fn count_drain(&mut self, beside: &mut Beside<'_>, socket: u64) {
        if let Some(connection) = self.connections.get_mut(&socket)
            && let Some(drain) = connection.drained.take()
        {
            let length = drain.acknowledged_ns.saturating_sub(drain.sent_ns);
            self.tally.drains.add(length);
            let left_ns = drain.left_ns.max(drain.sent_ns);
            let (account, route) = (&mut *beside.account, &connection.route);
            beside.links.drained(account, route, drain.sent_ns, left_ns);
        }
    }

    /// Responses that were still under way at the end, although all their bytes had been sent.
    pub(in crate::model) fn close_drains(&self, beside: &mut Beside<'_>, end_ns: u64) {
        let sent = self.connections.iter().filter(|(_, c)| c.turn.is_none());
        let mut open: Vec<(u64, u64)> = sent
            .filter_map(|(socket, c)| Some((*socket, c.draining_ns?)))
            .collect();
        open.sort_unstable();
        for (socket, begin) in open {
            let route = &self.connections[&socket].route;
            beside.links.drained(beside.account, route, begin, end_ns);
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
}
