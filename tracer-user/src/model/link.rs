//! Links as places: who sent through an interface that queues, while a target could not.

use std::collections::BTreeMap;

use tracer_common::tcp::LINK_SLICE_NS;

use super::books::{Holder, PlaceId};
use crate::event;

/// A link is full in a slice in which it sent this part of its highest rate, if at least two owners sent (design §1).
const FULL_RATE: f64 = 0.9;

/// What went through in one slice.
#[derive(Clone, Debug, Default)]
struct Slice {
    /// Bytes by owner.
    bytes: Vec<(Holder, u64)>,
    /// Smallest backlog, in packets.
    backlog_min: u32,
    /// Packets dropped in it.
    drops: u64,
    /// Time that target threads waited in it.
    waited_ns: u64,
    /// Time that responses of the target were under way in it after their last send.
    draining_ns: u64,
}

impl Slice {
    fn total(&self) -> u64 {
        self.bytes.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// One interface.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its place.
    pub place: PlaceId,
    slices: BTreeMap<u64, Slice>,
    last_drops: Option<u32>,
}

/// A share of one slice's waiting, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Who.
    pub holder: Holder,
    /// Begin of the slice.
    pub begin: u64,
    /// Waiting time.
    pub ns: u64,
}

impl Link {
    /// An interface of which nothing is known yet.
    #[must_use]
    pub fn new(place: PlaceId) -> Self {
        Self {
            place,
            slices: BTreeMap::new(),
            last_drops: None,
        }
    }

    /// Somebody sent.
    pub fn sent(&mut self, link: &event::Link, owner: Holder) {
        let dropped = self
            .last_drops
            .map_or(0, |last| link.drops.saturating_sub(last));
        self.last_drops = Some(
            self.last_drops
                .map_or(link.drops, |last| last.max(link.drops)),
        );
        let slice = self
            .slices
            .entry(link.ns / LINK_SLICE_NS)
            .or_insert_with(|| Slice {
                backlog_min: u32::MAX,
                ..Slice::default()
            });
        slice.backlog_min = slice.backlog_min.min(link.backlog_min);
        slice.drops += u64::from(dropped);
        match slice.bytes.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, bytes)) => *bytes += link.bytes,
            None => slice.bytes.push((owner, link.bytes)),
        }
    }

    /// A target thread could not send in `[begin, end]`.
    pub fn waited(&mut self, begin: u64, end: u64, ns: u64) {
        self.spread(begin, end, ns, |slice, ns| slice.waited_ns += ns);
    }

    /// A response of the target was sent at `begin` and acknowledged at `end`.
    pub fn drained(&mut self, begin: u64, end: u64) {
        self.spread(begin, end, end.saturating_sub(begin), |slice, ns| {
            slice.draining_ns += ns;
        });
    }

    fn spread(&mut self, begin: u64, end: u64, ns: u64, add: impl Fn(&mut Slice, u64)) {
        let length = end.saturating_sub(begin).max(1);
        let mut at = begin;
        let mut given = 0;
        while at < end {
            let next = ((at / LINK_SLICE_NS + 1) * LINK_SLICE_NS).min(end);
            let upto = (u128::from(ns) * u128::from(next - begin) / u128::from(length)) as u64;
            let slice = self
                .slices
                .entry(at / LINK_SLICE_NS)
                .or_insert_with(|| Slice {
                    backlog_min: u32::MAX,
                    ..Slice::default()
                });
            add(slice, upto - given);
            given = upto;
            at = next;
        }
    }

    /// Charges what was waited to those who sent, by wire bytes, in the slices in which the link was full.
    #[must_use]
    pub fn charges(&self) -> Vec<Share> {
        let highest = self.slices.values().map(Slice::total).max().unwrap_or(0);
        let mut shares = Vec::new();
        for (index, slice) in self.slices.iter().filter(|(_, slice)| slice.waited_ns > 0) {
            let begin = index * LINK_SLICE_NS;
            match self.senders(*index, slice, highest) {
                Some(bytes) => shares.extend(split(slice.waited_ns, bytes, begin)),
                None => shares.push(Share {
                    holder: Holder::Peer,
                    begin,
                    ns: slice.waited_ns,
                }),
            }
        }
        shares
    }

    /// Splits the time that responses were under way while the link was full, as [`Self::charges`] does. The rest of it belongs to
    /// the path and the peer: it is no wait of this machine's.
    #[must_use]
    pub fn drains(&self) -> Vec<Share> {
        let highest = self.slices.values().map(Slice::total).max().unwrap_or(0);
        let draining = self
            .slices
            .iter()
            .filter(|(_, slice)| slice.draining_ns > 0);
        draining
            .filter_map(|(index, slice)| {
                Some(split(
                    slice.draining_ns,
                    self.senders(*index, slice, highest)?,
                    index * LINK_SLICE_NS,
                ))
            })
            .flatten()
            .collect()
    }

    /// Who kept the link full in a slice; `None` if it was not full. A slice in which nothing left lies between packets of a slow
    /// link: it is as full as the last one in which something did.
    fn senders<'a>(
        &'a self,
        index: u64,
        slice: &'a Slice,
        highest: u64,
    ) -> Option<&'a [(Holder, u64)]> {
        let slice = if slice.bytes.is_empty() {
            let recent = index.saturating_sub(10)..index;
            self.slices
                .range(recent)
                .rev()
                .map(|(_, slice)| slice)
                .find(|slice| !slice.bytes.is_empty())?
        } else {
            slice
        };
        let busy = slice.bytes.len() >= 2 && slice.total() as f64 >= FULL_RATE * highest as f64;
        let full = slice.backlog_min != 0 && slice.backlog_min != u32::MAX;
        (full || slice.drops > 0 || busy).then_some(&slice.bytes)
    }
}

/// Splits `ns` by bytes; the parts sum to it.
fn split(ns: u64, bytes: &[(Holder, u64)], begin: u64) -> Vec<Share> {
    let total: u64 = bytes.iter().map(|(_, bytes)| bytes).sum();
    let (mut upto, mut given) = (0, 0);
    let mut shares = Vec::new();
    for (holder, bytes) in bytes {
        upto += bytes;
        let end = (u128::from(ns) * u128::from(upto) / u128::from(total.max(1))) as u64;
        shares.push(Share {
            holder: *holder,
            begin,
            ns: end - given,
        });
        given = end;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(ns: u64, bytes: u64, backlog_min: u32) -> event::Link {
        event::Link {
            ns,
            bytes,
            backlog_min,
            packets: 1,
            ..event::Link::default()
        }
    }

    #[test]
    fn a_full_slice_is_charged_by_bytes_and_sums_to_the_wait() {
        let mut link = Link::new(0);
        link.sent(&sent(0, 3000, 5), Holder::Process(1));
        link.sent(&sent(0, 1000, 5), Holder::Own);
        link.waited(1_000_000, 9_000_000, 8_000_000);
        let charges = link.charges();
        assert_eq!(
            charges[0],
            Share {
                holder: Holder::Process(1),
                begin: 0,
                ns: 6_000_000
            }
        );
        assert_eq!(
            charges[1],
            Share {
                holder: Holder::Own,
                begin: 0,
                ns: 2_000_000
            }
        );
    }

    #[test]
    fn a_response_under_way_counts_only_while_the_link_is_full() {
        let mut link = Link::new(0);
        link.sent(&sent(0, 3000, 2), Holder::Process(1));
        link.sent(&sent(LINK_SLICE_NS, 1500, 0), Holder::Own);
        link.drained(5_000_000, LINK_SLICE_NS + 5_000_000);
        assert_eq!(
            link.drains(),
            [Share {
                holder: Holder::Process(1),
                begin: 0,
                ns: 5_000_000
            }]
        );
    }

    #[test]
    fn an_empty_queue_means_that_the_peer_is_slow() {
        let mut link = Link::new(0);
        link.sent(&sent(0, 3000, 0), Holder::Process(1));
        link.waited(0, 5_000_000, 5_000_000);
        assert_eq!(link.charges()[0].holder, Holder::Peer);
    }

    #[test]
    fn a_slice_between_packets_of_a_slow_link_follows_the_one_before() {
        let mut link = Link::new(0);
        link.sent(&sent(0, 1500, 3), Holder::Process(1));
        link.waited(LINK_SLICE_NS, 2 * LINK_SLICE_NS, 77);
        assert_eq!(
            link.charges(),
            [Share {
                holder: Holder::Process(1),
                begin: LINK_SLICE_NS,
                ns: 77
            }]
        );
    }
}
