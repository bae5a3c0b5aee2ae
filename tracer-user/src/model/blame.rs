//! Blame for links: waits × slices, once the other senders are known.

use super::{Model, books::Holder, request::Role};
use crate::class::{Class, Resource};

impl Model {
    /// A target thread (or, `stack` 0, a request) cannot send: its link is judged at the end.
    pub(super) fn cannot_send(&mut self, tid: u32, begin: u64, end: u64, ns: u64, stack: u64) {
        let sockets = self
            .threads
            .get(&tid)
            .map(|thread| thread.turns.as_slice())
            .unwrap_or_default();
        let connection = sockets.iter().rev().find_map(|socket| {
            self.connections
                .get(socket)
                .filter(|c| c.role == Role::Server)
        });
        let ifindex = connection.map_or(0, |connection| connection.ifindex);
        self.wait_for_link(ifindex, begin, end, ns, stack);
    }

    /// As above, where the interface is known; 0 is one without a queue, whose peer is slow.
    pub(super) fn wait_for_link(
        &mut self,
        ifindex: u32,
        begin: u64,
        end: u64,
        ns: u64,
        stack: u64,
    ) {
        let link = self
            .links
            .iter_mut()
            .find(|((_, index), _)| *index == ifindex)
            .map(|(_, link)| link);
        match link {
            Some(link) => {
                link.waited(begin, end, ns);
                let place = link.place;
                *self.link_stacks.entry((place, stack)).or_default() += ns;
            }
            None => {
                self.ledger.charge(
                    (Resource::Network, None, Holder::Peer),
                    begin,
                    end,
                    ns,
                    false,
                );
                self.burn((Class::Network, None, Holder::Peer, stack), ns);
            }
        }
    }

    /// A response was under way from its last send to its acknowledgement.
    pub(super) fn drained(&mut self, ifindex: u32, begin: u64, end: u64) {
        let link = self
            .links
            .iter_mut()
            .find(|((_, index), _)| *index == ifindex)
            .map(|(_, link)| link);
        if let Some(link) = link {
            link.drained(begin, end);
        }
    }

    /// Responses that were still under way at the end, all of whose bytes had been sent.
    pub(super) fn close_drains(&mut self, end_ns: u64) {
        let sent = self.connections.values().filter(|c| c.turn.is_none());
        let open: Vec<(u32, u64)> = sent
            .filter_map(|c| Some((c.ifindex, c.draining_ns?)))
            .collect();
        for (ifindex, begin) in open {
            self.drained(ifindex, begin, end_ns);
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
