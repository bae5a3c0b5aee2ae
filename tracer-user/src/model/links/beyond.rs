//! Beyond an interface that hands its packets to a process (tun): the queue of the interface through which that process sends them on.
//!
//! Nothing shows which of its packets has whose data. So its part of that queue belongs to those who sent through it lately, by bytes: an
//! estimate. Where it sends them into another such interface, the queue is beyond that one.

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

/// Most interfaces of this kind one behind the other: a tunnel within a tunnel has two.
const MOST_DEEP: usize = 4;

/// Most of them that are looked at beyond one interface. Processes that send into each other's interfaces have ways without end, and a
/// recording that was made up may have thousands of them.
const MOST_FURTHER: usize = 8;

/// The ways on which a process sends what it took.
struct Ways<'a> {
    taker: Holder,
    /// Its links with a queue.
    carriers: Vec<(&'a Link, Known)>,
    /// Its links that hand over to a process, and the ways of that.
    further: Vec<(&'a Link, Ways<'a>)>,
}

/// Senders with their bytes.
type Bytes = Vec<(Holder, u64)>;

/// Who held a queue, in one slice.
struct Held {
    place: PlaceId,
    /// Those who stood in it, with their bytes.
    stood: Bytes,
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
        let (taker, mut left) = (self.takers.get(&(netns, ifindex)), MOST_FURTHER);
        taker.is_some_and(|taker| self.leads_to_a_queue(*taker, MOST_DEEP, &mut left))
    }

    /// `left` more of them may be looked at.
    fn leads_to_a_queue(&self, taker: Holder, deep: usize, left: &mut usize) -> bool {
        if self.carriers(taker).next().is_some() {
            return true;
        }
        let mut further = self.further(taker, deep);
        further.any(|(_, next)| is_left(left) && self.leads_to_a_queue(next, deep - 1, left))
    }

    /// The links with a queue through which a process sends.
    fn carriers(&self, taker: Holder) -> impl Iterator<Item = &Link> {
        let queues = self.links.values().filter(|link| !link.handed);
        queues.filter(move |link| link.has_sent(taker))
    }

    /// The links that hand over to another process through which a process sends, each with that. None if there were as many as may be.
    fn further(&self, taker: Holder, deep: usize) -> impl Iterator<Item = (&Link, Holder)> {
        let known = self
            .links
            .iter()
            .filter_map(move |((netns, ifindex, _), link)| {
                let next = self.takers.get(&(*netns, *ifindex))?;
                Some((link, *next))
            });
        known.filter(move |(link, next)| deep > 1 && *next != taker && link.has_sent(taker))
    }

    /// `left` more of them may be looked at.
    fn ways(&self, taker: Holder, deep: usize, left: &mut usize) -> Ways<'_> {
        let known = |link| (link, Link::known_for(link, taker));
        let carriers = self.carriers(taker).map(known).collect();
        let mut further = Vec::new();
        for (link, next) in self.further(taker, deep) {
            if !is_left(left) {
                break;
            }
            further.push((link, self.ways(next, deep - 1, left)));
        }
        Ways {
            taker,
            carriers,
            further,
        }
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
        let mut left = MOST_FURTHER;
        let ways = self.ways(taker, MOST_DEEP, &mut left);
        let held = |(index, slice): (&u64, &Slice)| {
            let (_, inner) = link.recent(*index)?;
            let (place, stood) = ways.stood(*index, &inner.sent())?;
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

/// Takes one of those that are left, if there is one.
fn is_left(left: &mut usize) -> bool {
    let more = left.checked_sub(1);
    *left = more.unwrap_or(0);
    more.is_some()
}

impl Ways<'_> {
    /// Who stood in a queue that was full for the taker, which sends for `inner`, and where that is.
    fn stood(&self, index: u64, inner: &[(Holder, u64)]) -> Option<(PlaceId, Bytes)> {
        let mut carriers = self.carriers.iter();
        let here = carriers.find_map(|(carrier, known)| {
            let stood = carrier.stood_at(index, self.taker, known, inner)?;
            Some((carrier.place, stood))
        });
        here.or_else(|| {
            self.further.iter().find_map(|(link, ways)| {
                let (_, slice) = link.recent(index)?;
                let outer = sent_for(slice.sent().into_iter(), self.taker, inner);
                ways.stood(index, &outer)
            })
        })
    }
}

/// What these sent, with the taker's part given to those for which it sends, by bytes.
fn sent_for(
    senders: impl Iterator<Item = (Holder, u64)>,
    taker: Holder,
    inner: &[(Holder, u64)],
) -> Bytes {
    let all: u64 = inner.iter().map(|(_, bytes)| bytes).sum();
    let mut sent = Bytes::new();
    for (holder, bytes) in senders {
        match holder == taker {
            true => {
                let part = |(each, its): &(Holder, u64)| (*each, part_of(bytes, *its, all));
                sent.extend(inner.iter().map(part));
            }
            false => sent.push((holder, bytes)),
        }
    }
    sent
}

impl Link {
    fn known_for(&self, taker: Holder) -> Known {
        self.known_to(taker, None)
    }

    /// The last slice with a packet, up to this one.
    fn recent(&self, index: u64) -> Option<(u64, &Slice)> {
        let recent = index.saturating_sub(BETWEEN_PACKETS)..=index;
        let mut slices = self.slices.range(recent).rev();
        let (index, slice) = slices.find(|(_, slice)| !slice.senders.is_empty())?;
        Some((*index, slice))
    }

    /// Has somebody sent here?
    fn has_sent(&self, whom: Holder) -> bool {
        self.slices.values().any(|slice| slice.of(whom).is_some())
    }

    /// Who stood in this queue, if it was full for `taker`, which sends for `inner`.
    fn stood_at(
        &self,
        index: u64,
        taker: Holder,
        known: &Known,
        inner: &[(Holder, u64)],
    ) -> Option<Bytes> {
        if self.has_classes && known.own.at(index) != late::Stood::Yes {
            return None;
        }
        let (index, slice) = self.recent(index)?;
        let senders = self.full_senders(index, slice, known)?;
        let is_there = |sender: &&Sender| sender.stood() && !known.apart.contains(&sender.holder);
        let there = senders.iter().filter(is_there);
        let stood = sent_for(there.map(Sender::sent), taker, inner);
        let is_known = stood.iter().any(|(_, bytes)| *bytes > 0);
        is_known.then_some(stood)
    }
}

impl Sender {
    fn sent(&self) -> (Holder, u64) {
        (self.holder, self.bytes)
    }
}

impl Slice {
    fn sent(&self) -> Bytes {
        self.senders.iter().map(Sender::sent).collect()
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
