//! One link: a queue of an interface, and its senders while a target could not send.

use std::collections::BTreeMap;

use tracer_common::tcp::{LINK_HANDED, LINK_SLICE_NS, LINK_UNREAD};

use super::{
    flow::Limit,
    late::Stood,
    past::Past,
    slice::{Known, Sender, Slice, apart_in},
};
use crate::{
    event,
    model::books::{Blind, Holder, PlaceId, ProcessId},
};

/// One of three signs of a full link (`Link::full_senders`): at least two owners sent this part of its highest rate.
const FULL_RATE: f64 = 0.9;

/// A slice without a packet counts as the last one with a packet, so many slices before at most: 120 kbit/s send one in 100 ms.
pub(super) const BETWEEN_PACKETS: u64 = 10;

/// One queue of an interface.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Its place.
    pub(crate) place: PlaceId,
    /// The last ones: older ones are charged already.
    pub(super) slices: BTreeMap<u64, Slice>,
    pub(super) past: Past,
    /// Its backlog cannot be read: a wait is explained only where the lateness of packets is known.
    unread: bool,
    /// A process takes its packets, and sends them on.
    pub(super) handed: bool,
    /// Packets are sorted into classes: one may be full while another is not.
    pub(super) has_classes: bool,
    /// All packets stand in one queue: nobody who fills it is out of the target's way.
    pub(super) has_one_queue: bool,
    /// Bytes sent by each process of the target in the whole window.
    pub(super) own: BTreeMap<ProcessId, u64>,
    /// Waits that are charged, by holder, ns.
    pub(super) charged: BTreeMap<Holder, u64>,
    /// The target's own part of the drains that are charged, ns.
    pub(super) own_drains_ns: u64,
}

/// A share of one slice's waiting, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The holder.
    pub(crate) holder: Holder,
    /// Begin of the slice, ns.
    pub(crate) begin: u64,
    /// Waiting time, ns.
    pub(crate) ns: u64,
}

/// What is charged for a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Waits of target threads.
    pub(crate) waits: Vec<Share>,
    /// Time that responses were under way after their last send.
    pub(crate) drains: Vec<Share>,
    /// The same while nothing of this machine was in their way: begin of the slice, and how much, ns. It is the path's and the
    /// receiver's time.
    pub(crate) passed: Vec<(u64, u64)>,
}

impl Link {
    /// An interface of which nothing is known yet.
    #[must_use]
    pub(crate) fn new(place: PlaceId) -> Self {
        Self {
            place,
            slices: BTreeMap::new(),
            past: Past::default(),
            unread: false,
            handed: false,
            has_classes: false,
            has_one_queue: false,
            own: BTreeMap::new(),
            charged: BTreeMap::new(),
            own_drains_ns: 0,
        }
    }

    /// Somebody sent.
    pub(crate) fn sent(&mut self, sent: &event::Queue, owner: Holder) {
        self.unread |= sent.flags & LINK_UNREAD != 0;
        self.handed |= sent.flags & LINK_HANDED != 0;
        let index = sent.link.ns / LINK_SLICE_NS;
        if index < self.past.first {
            // An owner's last slice is emitted when it sends again, and it was silent for as long as slices are kept.
            return;
        }
        self.slices.entry(index).or_default().add(sent, owner);
    }

    /// Why waits of the target behind it cannot be seen, if it sends here and they cannot.
    #[must_use]
    pub(crate) fn blind(&self) -> Option<Blind> {
        let mut own = self.slices.values().filter_map(Slice::own).peekable();
        if own.peek().is_none() && !self.past.own {
            return None;
        }
        if self.handed {
            Some(Blind::Handed)
        } else {
            let untimed = self.past.late.is_none() && own.all(|sender| sender.late_ns.is_none());
            (self.unread && untimed).then_some(Blind::Unread)
        }
    }

    /// Bytes of the target's datagrams that left in `[begin, end]`, or shortly before.
    #[must_use]
    pub(super) fn own_datagrams(&self, begin: u64, end: u64) -> u64 {
        let first = (begin / LINK_SLICE_NS).saturating_sub(BETWEEN_PACKETS);
        let slices = self.slices.range(first..=end / LINK_SLICE_NS);
        let own = slices.filter_map(|(_, slice)| slice.own());
        let datagrams = own.filter(|sender| sender.untimed);
        datagrams.map(|sender| sender.bytes).sum()
    }

    /// Did the target send here, or wait?
    pub(super) fn is_targets(&self) -> bool {
        let waits = |slice: &Slice| slice.holds_up() || slice.own().is_some();
        let was = !self.own.is_empty() || !self.charged.is_empty() || self.own_drains_ns > 0;
        was || self.slices.values().any(waits)
    }

    /// Did somebody send in this slice, or later?
    pub(super) fn is_used_since(&self, slice: u64) -> bool {
        let last = self.slices.last_key_value();
        last.is_some_and(|(last, _)| *last >= slice)
    }

    /// The part of a wait of `ns` in `[begin, end]` that lies in slices which are forgotten: its end, and how many ns it is.
    #[must_use]
    pub(super) fn forgot(&self, begin: u64, end: u64, ns: u64) -> (u64, u64) {
        let first = self.past.first * LINK_SLICE_NS;
        let until = first.clamp(begin, end.max(begin));
        let length = u128::from(end.saturating_sub(begin).max(1));
        let part = u128::from(ns) * u128::from(until - begin) / length;
        (until, part as u64)
    }

    /// A target thread could not send in `[begin, end]`, because of `limit`.
    pub(crate) fn waited(&mut self, begin: u64, end: u64, ns: u64, limit: Limit) {
        self.spread(begin, end, ns, |slice, ns| {
            slice.waited_ns[limit.index()] += ns;
        });
    }

    /// A response of the target was sent at `begin` and acknowledged at `end`.
    pub(crate) fn drained(&mut self, begin: u64, end: u64, limit: Limit) {
        self.spread(begin, end, end.saturating_sub(begin), |slice, ns| {
            slice.draining_ns[limit.index()] += ns;
        });
    }

    fn spread(&mut self, begin: u64, end: u64, ns: u64, add: impl Fn(&mut Slice, u64)) {
        let length = end.saturating_sub(begin).max(1);
        let mut at = begin;
        let mut given = 0;
        while at < end {
            let next = ((at / LINK_SLICE_NS + 1) * LINK_SLICE_NS).min(end);
            let upto = (u128::from(ns) * u128::from(next - begin) / u128::from(length)) as u64;
            add(
                self.slices.entry(at / LINK_SLICE_NS).or_default(),
                upto - given,
            );
            given = upto;
            at = next;
        }
    }

    /// Charges the waits in slices with a full link to the senders, by wire bytes. The rest belongs to the receiver, or to a path
    /// that loses packets. What was under way meanwhile is charged likewise; the rest of it belongs to the path and the peer, is no wait
    /// of this machine's, and is charged to nobody.
    #[must_use]
    pub(crate) fn shares(&self) -> Shares {
        self.shares_before(u64::MAX)
    }

    /// The same of the slices before one.
    pub(super) fn shares_before(&self, end: u64) -> Shares {
        let mut shares = Shares::default();
        let slices = self.slices.range(..end);
        if !slices.clone().any(|(_, slice)| slice.holds_up()) {
            return shares;
        }
        let known = self.known();
        let held_up = slices.filter(|(_, slice)| slice.holds_up());
        for (index, slice) in held_up {
            let begin = index * LINK_SLICE_NS;
            for limit in Limit::ALL {
                let waited = slice.waited_ns[limit.index()];
                let draining = slice.draining_ns[limit.index()];
                if waited + draining == 0 {
                    continue;
                }
                let senders = self.senders(*index, slice, limit, &known);
                match senders.filter(|senders| self.tells(senders)) {
                    Some(senders) => {
                        let split = |ns| split(ns, senders, &known.apart, begin);
                        shares.waits.extend(split(waited));
                        shares.drains.extend(split(draining));
                    }
                    None => {
                        if waited > 0 {
                            shares.waits.push(Share {
                                holder: self.instead(*index, limit, &known),
                                begin,
                                ns: waited,
                            });
                        }
                        if draining > 0 {
                            shares.passed.push((begin, draining));
                        }
                    }
                }
            }
        }
        shares
    }

    /// Facts about the slices together.
    pub(super) fn known(&self) -> Known {
        self.known_to(Holder::Own, self.past.late)
    }

    /// The same for `whom`, who waits. `before` is the last slice of those forgotten in which a packet of it left, and whether that was
    /// late.
    pub(super) fn known_to(&self, whom: Holder, before: Option<(u64, bool)>) -> Known {
        let apart = match self.has_one_queue {
            true => Vec::new(),
            false => apart_in(&self.slices, whom),
        };
        Known::of(apart, (whom, before), &self.slices, &self.past)
    }

    /// Do these senders say who holds the target up? Alone in the queue of an interface that hands over to a process, it waits for that
    /// process, of which the link knows nothing.
    fn tells(&self, senders: &[Sender]) -> bool {
        let mut senders = senders.iter();
        !self.handed || senders.any(|sender| sender.holder != Holder::Own)
    }

    /// The senders that held up a slice's waits under `limit`; `None` if it was not this link.
    fn senders<'a>(
        &'a self,
        index: u64,
        slice: &'a Slice,
        limit: Limit,
        known: &Known,
    ) -> Option<&'a [Sender]> {
        match limit {
            // Everything that went through this link has arrived.
            Limit::Closed => None,
            // A packet dropped here and sent again waits for the senders that filled the queue then.
            Limit::Loss => self.full_senders(index, slice, known).or_else(|| {
                let dropped = known.dropped_before(index)?;
                let slice = self.slices.get(&dropped)?;
                (known.own.at(dropped) != Stood::No).then_some(&slice.senders)
            }),
            // Where packets do not show how late they are, nothing shows in which class they stand.
            Limit::Queue if self.has_classes && known.own.at(index) != Stood::Yes => None,
            Limit::Path | Limit::Window | Limit::Queue => self.full_senders(index, slice, known),
        }
    }

    /// The holder of a wait that no sender of this link explains.
    fn instead(&self, index: u64, limit: Limit, known: &Known) -> Holder {
        let unread = self.unread && known.own.at(index) == Stood::Unknown;
        if (unread || self.handed) && limit != Limit::Closed {
            Holder::Nobody
        } else {
            elsewhere(limit)
        }
    }

    /// The senders that kept the link full in a slice; `None` if it was not full. A slow link may have slices without a packet:
    /// they are as full as the last one with a packet.
    ///
    /// A link is full if its queue never emptied, or if it dropped packets. Near its highest rate it is full too ([`FULL_RATE`]).
    ///
    /// The queue of a full link may still be empty for a moment: TCP keeps few packets in it (small queues). It refills the queue
    /// in softirq. Then the rate decides. The highest rate of the whole window will not do. On a link that was never full it is
    /// only the highest rate that anybody happened to send. Two steady senders far below the link's rate would then accuse each
    /// other. So only the rate of a slice that was full for certain counts.
    ///
    /// It is not full for the target if no packet of the target stood in the queue. Others may fill a class of their own, and
    /// those that a round trip holds back are on their way.
    pub(super) fn full_senders<'a>(
        &'a self,
        index: u64,
        slice: &'a Slice,
        known: &Known,
    ) -> Option<&'a [Sender]> {
        if known.own.at(index) == Stood::No {
            return None;
        }
        let (index, slice) = if slice.senders.is_empty() {
            let recent = index.saturating_sub(BETWEEN_PACKETS)..index;
            let mut before = self.slices.range(recent).rev();
            let (index, slice) = before.find(|(_, slice)| !slice.senders.is_empty())?;
            (*index, slice)
        } else {
            (index, slice)
        };
        let busy = slice.senders.len() >= 2
            && known.highest > 0
            && slice.total() as f64 >= FULL_RATE * known.highest as f64;
        (slice.never_emptied() || known.dropped_in(index) || busy).then_some(&slice.senders)
    }
}

/// The holder of what this machine's links do not explain.
#[must_use]
pub(crate) fn elsewhere(limit: Limit) -> Holder {
    match limit {
        Limit::Loss => Holder::LossyPath,
        Limit::Path | Limit::Window | Limit::Closed => Holder::Peer,
        Limit::Queue => Holder::Nobody,
    }
}

/// The holder of what waited in slices that are forgotten.
#[must_use]
pub(super) fn unknown(limit: Limit) -> Holder {
    match limit {
        Limit::Closed => Holder::Peer,
        Limit::Path | Limit::Window | Limit::Loss | Limit::Queue => Holder::Nobody,
    }
}

/// Splits `ns` by bytes among those that stood in the queue; the parts sum to it. Without them the target is alone with the rate of
/// its class.
fn split(ns: u64, senders: &[Sender], apart: &[Holder], begin: u64) -> Vec<Share> {
    if ns == 0 {
        return Vec::new();
    }
    let stood = |sender: &&Sender| sender.stood() && !apart.contains(&sender.holder);
    let held: Vec<&Sender> = senders.iter().filter(stood).collect();
    let total: u64 = held.iter().map(|sender| sender.bytes).sum();
    if total == 0 {
        let holder = Holder::Own;
        return vec![Share { holder, begin, ns }];
    }
    let (mut upto, mut given) = (0, 0);
    let mut shares = Vec::new();
    for sender in held {
        upto += sender.bytes;
        let end = (u128::from(ns) * u128::from(upto) / u128::from(total)) as u64;
        shares.push(Share {
            holder: sender.holder,
            begin,
            ns: end - given,
        });
        given = end;
    }
    shares
}

#[cfg(test)]
mod tests;
