//! Blame for links: waits × slices, once the other senders are known.

use super::{
    Model,
    books::Holder,
    flow::Limit,
    link,
    request::{Connection, Role},
};
use crate::class::{Class, Resource};

impl Model {
    /// A target thread cannot send: its link is judged at the end.
    pub(super) fn cannot_send(&mut self, tid: u32, begin: u64, end: u64, ns: u64, stack: u64) {
        let sockets = self
            .threads
            .get(&tid)
            .map(|thread| thread.turns.as_slice())
            .unwrap_or_default();
        let socket = sockets.iter().rev().copied().find(|socket| {
            self.connections
                .get(socket)
                .is_some_and(|c| c.role == Role::Server)
        });
        self.wait_for_link(socket.unwrap_or(0), begin, end, ns, stack);
    }

    /// As above, where the socket is known. Without a link that queues, the peer is slow or the path loses packets.
    pub(super) fn wait_for_link(&mut self, socket: u64, begin: u64, end: u64, ns: u64, stack: u64) {
        let connection = self.connections.get(&socket);
        let pieces = connection.map_or_else(
            || vec![(begin, end, Limit::default())],
            |connection| connection.flow.pieces(begin, end),
        );
        let key = connection.and_then(|connection| self.link_of(connection));
        let length = u128::from(end.saturating_sub(begin).max(1));
        let mut given = 0;
        for (from, to, limit) in pieces {
            let upto = (u128::from(ns) * u128::from(to - begin) / length) as u64;
            let part = upto - std::mem::replace(&mut given, upto);
            match key.and_then(|key| self.links.get_mut(&key)) {
                Some(link) => {
                    link.waited(from, to, part, limit);
                    let place = link.place;
                    *self.link_stacks.entry((place, stack)).or_default() += part;
                }
                None => {
                    let holder = link::elsewhere(limit);
                    let charge = (Resource::Network, None, holder);
                    self.ledger.charge(charge, from, to, part, false);
                    self.burn((Class::Network, None, holder, stack), part);
                }
            }
        }
    }

    /// The link through which a connection sends. Recordings of before tell no namespace: then the number alone must do.
    fn link_of(&self, connection: &Connection) -> Option<(u32, u32)> {
        let netns = connection.flow.netns;
        let mut found = self
            .links
            .keys()
            .filter(|(_, index)| *index == connection.ifindex);
        found
            .find(|(space, _)| netns == 0 || *space == netns)
            .copied()
    }

    /// A response was under way on a socket, and not yet known to have left this machine: what comes after that, the way there and
    /// back and a receiver that acknowledges late, is no wait for a link, however full.
    pub(super) fn drained(&mut self, socket: u64, begin: u64, end: u64) {
        let Some(connection) = self.connections.get(&socket) else {
            return;
        };
        if let Some(key) = self.link_of(connection)
            && let Some(link) = self.links.get_mut(&key)
        {
            for (from, to, limit) in connection.flow.pieces(begin, end) {
                link.drained(from, to, limit);
            }
        }
    }

    /// Responses that were still under way at the end, all of whose bytes had been sent.
    pub(super) fn close_drains(&mut self, end_ns: u64) {
        let sent = self.connections.iter().filter(|(_, c)| c.turn.is_none());
        let mut open: Vec<(u64, u64)> = sent
            .filter_map(|(socket, c)| Some((*socket, c.draining_ns?)))
            .collect();
        open.sort_unstable();
        for (socket, begin) in open {
            self.drained(socket, begin, end_ns);
        }
    }

    /// While the link is full, a response that is under way waits for it although no thread does: the request's time, not a thread's.
    fn charge_drains(&mut self) {
        for link in self.links.values() {
            for share in link.drains() {
                let end = share.begin + tracer_common::tcp::LINK_SLICE_NS;
                self.ledger
                    .requests(Class::Network, share.begin, end, share.ns);
                self.ledger.charge(
                    (Resource::Network, Some(link.place), share.holder),
                    share.begin,
                    end,
                    share.ns,
                    false,
                );
                *self
                    .flame
                    .entry((Class::Network, Some(link.place), share.holder, 0))
                    .or_default() += share.ns;
            }
        }
    }

    /// Charges what was waited for links to those who sent.
    pub(super) fn charge_links(&mut self) {
        self.charge_drains();
        for link in self.links.values() {
            let shares = link.charges();
            let total: u64 = shares.iter().map(|share| share.ns).sum();
            let mut by_holder: std::collections::BTreeMap<Holder, u64> =
                std::collections::BTreeMap::new();
            for share in shares {
                let end = share.begin + tracer_common::tcp::LINK_SLICE_NS;
                self.ledger.charge(
                    (Resource::Network, Some(link.place), share.holder),
                    share.begin,
                    end,
                    share.ns,
                    false,
                );
                *by_holder.entry(share.holder).or_default() += share.ns;
            }
            for (holder, ns) in by_holder {
                for ((place, stack), waited) in self
                    .link_stacks
                    .iter()
                    .filter(|((place, _), _)| *place == link.place)
                {
                    let part =
                        (u128::from(ns) * u128::from(*waited) / u128::from(total.max(1))) as u64;
                    if part > 0 {
                        *self
                            .flame
                            .entry((Class::Network, Some(*place), holder, *stack))
                            .or_default() += part;
                    }
                }
            }
        }
    }
}
