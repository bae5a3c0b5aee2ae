//! One slice of a link, and what all of them say together.

use std::collections::BTreeMap;

use super::{
    apart::{Full, apart},
    flow::Limit,
    late::{Lateness, is_late},
    past::Past,
};
use crate::{event, model::books::Holder};

/// A packet dropped here holds its flow up for so many slices at most. That is a retransmission timer doubled once (RFC 6298).
pub(super) const AFTER_DROP: u64 = 100;

/// What one owner sent in a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) holder: Holder,
    pub(super) bytes: u64,
    /// How late its latest packet left, ns; `None` if none is known to have been due.
    pub(super) late_ns: Option<u64>,
    /// It sent packets of which that is not known.
    pub(super) untimed: bool,
}

impl Sender {
    /// Did it stand in the queue? One whose packets leave on time takes no room from those that wait.
    pub(super) fn stood(&self) -> bool {
        self.untimed || self.late_ns.is_none_or(is_late)
    }
}

/// One slice of a link.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    /// The owners.
    pub(super) senders: Vec<Sender>,
    packets: u64,
    /// Smallest backlog, in packets, at which anybody's packet left that had waited for the link.
    backlog_min: u32,
    /// Highest count of the drop counter; `None` if nothing left.
    pub(super) drops: Option<u32>,
    /// Time that target threads waited in it, by what held their sockets back.
    pub(super) waited_ns: [u64; Limit::ALL.len()],
    /// Time that responses of the target were under way in it after their last send, likewise.
    pub(super) draining_ns: [u64; Limit::ALL.len()],
}

impl Default for Slice {
    fn default() -> Self {
        Self {
            senders: Vec::new(),
            packets: 0,
            backlog_min: u32::MAX,
            drops: None,
            waited_ns: [0; Limit::ALL.len()],
            draining_ns: [0; Limit::ALL.len()],
        }
    }
}

impl Slice {
    pub(super) fn total(&self) -> u64 {
        self.senders.iter().map(|sender| sender.bytes).sum()
    }

    /// Somebody sent in it.
    pub(super) fn add(&mut self, sent: &event::Queue, holder: Holder) {
        let link = &sent.link;
        let late_ns = (sent.timed > 0).then_some(sent.late_ns);
        let untimed = sent.timed < link.packets;
        self.backlog_min = self.backlog_min.min(link.backlog_min);
        self.drops = self.drops.max(Some(link.drops));
        self.packets += u64::from(link.packets);
        let mut senders = self.senders.iter_mut();
        match senders.find(|sender| sender.holder == holder) {
            Some(sender) => {
                sender.bytes += link.bytes;
                sender.late_ns = sender.late_ns.max(late_ns);
                sender.untimed |= untimed;
            }
            None => self.senders.push(Sender {
                holder,
                bytes: link.bytes,
                late_ns,
                untimed,
            }),
        }
    }

    /// What the target sent.
    pub(super) fn own(&self) -> Option<&Sender> {
        self.of(Holder::Own)
    }

    /// What one owner sent.
    pub(super) fn of(&self, holder: Holder) -> Option<&Sender> {
        let mut senders = self.senders.iter();
        senders.find(|sender| sender.holder == holder)
    }

    /// Did a target thread wait, or a response of the target stay under way?
    pub(super) fn holds_up(&self) -> bool {
        let all = [self.waited_ns, self.draining_ns];
        all.as_flattened().iter().any(|ns| *ns > 0)
    }

    /// What was held up in it is charged.
    pub(super) fn charged(&mut self) {
        self.waited_ns = [0; Limit::ALL.len()];
        self.draining_ns = [0; Limit::ALL.len()];
    }

    pub(super) fn never_emptied(&self) -> bool {
        self.backlog_min != 0 && self.backlog_min != u32::MAX
    }

    /// What each sent, if the queue never emptied.
    fn full(&self, index: u64) -> Option<Full> {
        let bytes = self.senders.iter();
        let late = bytes.clone();
        let late = late.filter_map(|sender| Some((sender.holder, sender.late_ns?)));
        self.never_emptied().then(|| Full {
            index,
            packets: self.packets,
            bytes: bytes.map(|sender| (sender.holder, sender.bytes)).collect(),
            late: late.collect(),
        })
    }
}

/// The senders that these slices show to have a rate of their own, apart from that of `whom`, who waits.
pub(super) fn apart_in(slices: &BTreeMap<u64, Slice>, whom: Holder) -> Vec<Holder> {
    let full = slices.iter();
    let full = full.filter_map(|(index, slice)| slice.full(*index));
    apart(&full.collect::<Vec<Full>>(), whom)
}

/// Facts about the slices together, once all are known.
pub(super) struct Known {
    /// Slices in which the counter of drops grew.
    dropped: Vec<u64>,
    /// Highest rate of a slice that was certainly full, bytes; 0 if none was.
    pub(super) highest: u64,
    /// The slices in which packets of who waits stood in the queue: the target, or whoever sends its packets on.
    pub(super) own: Lateness,
    /// Senders with a rate of their own: they are not in the target's way.
    pub(super) apart: Vec<Holder>,
}

impl Known {
    /// From the slices that are kept, and what is known of those before: for `whom`, who waits. `before` is the last slice of those before
    /// in which a packet of it left, and whether that was late.
    pub(super) fn of(
        apart: Vec<Holder>,
        (whom, before): (Holder, Option<(u64, bool)>),
        slices: &BTreeMap<u64, Slice>,
        past: &Past,
    ) -> Self {
        let own = slices
            .iter()
            .filter_map(|(index, slice)| Some((*index, slice.of(whom)?.late_ns?)));
        let own = Lateness::of(before, own);
        let mut all = *past;
        let mut dropped = Vec::new();
        for (index, slice) in slices {
            if all.pass(slice) {
                dropped.push(*index);
            }
        }
        Self {
            dropped,
            highest: all.highest,
            own,
            apart,
        }
    }

    pub(super) fn dropped_in(&self, index: u64) -> bool {
        self.dropped.binary_search(&index).is_ok()
    }

    /// The last slice up to `index` that dropped, if that is not too long ago to matter.
    pub(super) fn dropped_before(&self, index: u64) -> Option<u64> {
        let next = self.dropped.partition_point(|dropped| *dropped <= index);
        let last = *self.dropped.get(next.checked_sub(1)?)?;
        (index - last <= AFTER_DROP).then_some(last)
    }
}
