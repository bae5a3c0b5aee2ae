//! Beyond an interface that hands its packets to a process (tun): the queue of the interface through which that process sends them on.
//!
//! Nothing shows which of its packets has whose data. So its part of that queue belongs to those who sent through it lately, by bytes: an
//! estimate.

use std::collections::BTreeMap;

use tracer_common::tcp::LINK_SLICE_NS;

use super::{
    Key, Links,
    flow::Limit,
    late,
    link::{BETWEEN_PACKETS, Link, Shares},
    part_of,
    slice::{Known, Sender, Slice},
};
use crate::{
    class::{Class, Resource},
    event,
    model::{
        account::{Account, Charge},
        books::{Holder, PlaceId},
        names::Names,
    },
};

/// Who held a queue, in one slice.
struct Held {
    place: PlaceId,
    /// Those who stood in it, with their bytes.
    stood: Vec<(Holder, u64)>,
    /// Do answers under way wait for it? Not if their receiver had no room.
    drains: bool,
}

/// Who held the queue beyond one interface, by slice.
pub(super) struct Beyond(BTreeMap<u64, Held>);

impl Links {
    /// A process takes what is sent through an interface, and sends it on.
    pub(in crate::model) fn handed(&mut self, names: &mut Names, found: &event::Handed) {
        let takes = names.holder(found.pid);
        self.takers.insert((found.netns, found.ifindex), takes);
    }

    /// Is it known through which interface the process behind this one sends?
    pub(super) fn sees_beyond(&self, (netns, ifindex, _): Key) -> bool {
        let taker = self.takers.get(&(netns, ifindex));
        taker.is_some_and(|taker| self.carriers(*taker).next().is_some())
    }

    /// The links with a queue through which a process sends.
    fn carriers(&self, taker: Holder) -> impl Iterator<Item = &Link> {
        let queues = self.links.values().filter(|link| !link.handed);
        queues.filter(move |link| link.slices.values().any(|slice| slice.of(taker).is_some()))
    }

    /// Who held the queue beyond each interface of which the process is known.
    pub(super) fn beyond(&self) -> BTreeMap<Key, Beyond> {
        let known = self.links.iter().filter_map(|(key, link)| {
            let taker = *self.takers.get(&(key.0, key.1))?;
            Some((*key, self.held_beyond(link, taker)))
        });
        known.collect()
    }

    fn held_beyond(&self, link: &Link, taker: Holder) -> Beyond {
        let known = |link| (link, Link::known_for(link, taker));
        let carriers: Vec<(&Link, Known)> = self.carriers(taker).map(known).collect();
        let held = |(index, slice): (&u64, &Slice)| {
            let (_, inner) = link.recent(*index)?;
            let mut found = carriers.iter();
            let (place, stood) = found.find_map(|(carrier, known)| {
                let stood = carrier.stood_at(*index, taker, known, &inner.senders)?;
                Some((carrier.place, stood))
            })?;
            let drains = slice.draining_ns[Limit::Closed.index()] == 0;
            let held = Held {
                place,
                stood,
                drains,
            };
            Some((*index, held))
        };
        let held_up = link.slices.iter().filter(|(_, slice)| slice.holds_up());
        Beyond(held_up.filter_map(held).collect())
    }
}

impl Link {
    fn known_for(&self, taker: Holder) -> Known {
        Known::seen_by(taker, None, &self.slices, &self.past)
    }

    /// The last slice with a packet, up to this one.
    fn recent(&self, index: u64) -> Option<(u64, &Slice)> {
        let recent = index.saturating_sub(BETWEEN_PACKETS)..=index;
        let mut slices = self.slices.range(recent).rev();
        let (index, slice) = slices.find(|(_, slice)| !slice.senders.is_empty())?;
        Some((*index, slice))
    }

    /// Who stood in this queue, if it was full for `taker`, which sends for `inner`.
    fn stood_at(
        &self,
        index: u64,
        taker: Holder,
        known: &Known,
        inner: &[Sender],
    ) -> Option<Vec<(Holder, u64)>> {
        if self.has_classes && known.own.at(index) != late::Stood::Yes {
            return None;
        }
        let (index, slice) = self.recent(index)?;
        let senders = self.full_senders(index, slice, known)?;
        let all: u64 = inner.iter().map(|sender| sender.bytes).sum();
        let is_there = |sender: &&Sender| sender.stood() && !known.apart.contains(&sender.holder);
        let mut stood = Vec::new();
        for sender in senders.iter().filter(is_there) {
            if sender.holder == taker {
                let part = |each: &Sender| part_of(sender.bytes, each.bytes, all);
                stood.extend(inner.iter().map(|each| (each.holder, part(each))));
            } else {
                stood.push((sender.holder, sender.bytes));
            }
        }
        let is_known = stood.iter().any(|(_, bytes)| *bytes > 0);
        is_known.then_some(stood)
    }
}

impl Beyond {
    /// Charges what no sender of the interface itself explains to those who held the queue beyond it.
    pub(super) fn charge(&self, link: &mut Link, shares: &mut Shares, account: &mut Account) {
        let held = |begin: u64| self.0.get(&(begin / LINK_SLICE_NS));
        let mut waits = Vec::new();
        shares.waits.retain(|share| {
            let held = held(share.begin).filter(|_| share.holder == Holder::Nobody);
            waits.extend(held.map(|held| held.divided(share.begin, share.ns)));
            held.is_none()
        });
        for charge in waits.into_iter().flatten() {
            *link.charged.entry(charge.holder).or_default() += charge.ns;
            account.charge_only(charge);
        }
        let mut drains = Vec::new();
        shares.passed.retain(|(begin, ns)| {
            let held = held(*begin).filter(|held| held.drains);
            drains.extend(held.map(|held| held.divided(*begin, *ns)));
            held.is_none()
        });
        for charge in drains.into_iter().flatten() {
            if charge.holder == Holder::Own {
                link.own_drains_ns += charge.ns;
            }
            let (begin, end) = charge.span;
            account
                .ledger
                .requests(Class::Network, begin, end, charge.ns);
            account.charge(charge);
        }
    }
}

impl Held {
    /// A wait in the slice from `begin` on, by bytes; the parts sum to it.
    fn divided(&self, begin: u64, ns: u64) -> Vec<Charge> {
        let total: u64 = self.stood.iter().map(|(_, bytes)| bytes).sum();
        let (mut upto, mut given) = (0_u64, 0_u64);
        let charge = |(holder, bytes): &(Holder, u64)| {
            upto += *bytes;
            let end = part_of(ns, upto, total);
            Charge {
                resource: Resource::Network,
                place: Some(self.place),
                holder: *holder,
                stack: 0,
                span: (begin, begin + LINK_SLICE_NS),
                ns: end - std::mem::replace(&mut given, end),
                estimated: true,
            }
        };
        self.stood.iter().map(charge).collect()
    }
}
