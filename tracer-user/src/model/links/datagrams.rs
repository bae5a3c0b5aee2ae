//! Sends of datagrams that have to wait.
//!
//! Such a send never waits for its receiver: the socket has room again as soon as packets of it have left this machine, or were dropped
//! here. No call shows the socket. What the process sent meanwhile shows the way.
//!
//! A server of QUIC sends without waiting. The kernel notes no time at which a datagram should leave, and no request can be told. So
//! where its datagrams left through a full queue, that is a fact beside the books, and nobody is charged for it.

use super::{Key, Links, SendWait, flow::Limit, link::Link, part_of, slice::Slice};
use crate::model::{
    account::Account,
    books::{DatagramsBehind, ProcessId},
};

/// Waits kept until the packets that left meanwhile are known, 40 bytes each. The older half of more is judged at once.
const MOST_WAITS: usize = 1 << 14;

impl Links {
    /// A process waited in a send of datagrams.
    pub(in crate::model) fn datagram_waited(
        &mut self,
        account: &mut Account,
        process: ProcessId,
        wait: SendWait,
    ) {
        if self.datagrams.len() >= MOST_WAITS {
            let oldest: Vec<(ProcessId, SendWait)> =
                self.datagrams.drain(..MOST_WAITS / 2).collect();
            self.judge_datagrams(account, oldest);
        }
        self.datagrams.push((process, wait));
    }

    /// Judges the waits that are left.
    pub(super) fn settle_datagrams(&mut self, account: &mut Account) {
        let waits = std::mem::take(&mut self.datagrams);
        self.judge_datagrams(account, waits);
    }

    fn judge_datagrams(&mut self, account: &mut Account, waits: Vec<(ProcessId, SendWait)>) {
        for (process, wait) in waits {
            let pieces = || vec![(wait.begin, wait.end, Limit::Queue)];
            let ways = self.ways_of(process, &wait);
            let total: u64 = ways.iter().map(|(_, bytes)| bytes).sum();
            if ways.is_empty() {
                self.enter(account, None, pieces(), wait);
            }
            let (mut upto, mut given) = (0, 0);
            for (key, bytes) in ways {
                upto += bytes;
                let end = part_of(wait.ns, upto, total);
                let ns = end - std::mem::replace(&mut given, end);
                self.enter(account, Some(key), pieces(), SendWait { ns, ..wait });
            }
        }
    }

    /// The links through which datagrams of a process left in a wait, each with their bytes; else the only one through which it sends.
    fn ways_of(&self, process: ProcessId, wait: &SendWait) -> Vec<(Key, u64)> {
        let its = self.links.iter();
        let its = its.filter(|(_, link)| link.own.contains_key(&process));
        let its: Vec<(Key, &Link)> = its.map(|(key, link)| (*key, link)).collect();
        if let [(key, _)] = its[..] {
            return vec![(key, 1)];
        }
        let left = its.into_iter();
        let left = left.map(|(key, link)| (key, link.own_datagrams(wait.begin, wait.end)));
        left.filter(|(_, bytes)| *bytes > 0).collect()
    }
}

impl Links {
    /// Whose packets the target's datagrams left among, link by link.
    pub(in crate::model) fn datagrams_behind(&self) -> Vec<DatagramsBehind> {
        self.links.values().filter_map(behind).collect()
    }
}

/// The slices of a link in which datagrams of the target left, and those of them in which it was full. `None` if it was in none, or if
/// others' packets do not show in which queue they stood.
fn behind(link: &Link) -> Option<DatagramsBehind> {
    let sends = |slice: &Slice| slice.own().is_some_and(|own| own.untimed);
    let slices = link.slices.iter();
    let mut slices = slices.filter(|(_, slice)| sends(slice)).peekable();
    if link.has_classes || link.handed || slices.peek().is_none() {
        return None;
    }
    let known = link.known();
    let mut found = DatagramsBehind {
        place: link.place,
        ..DatagramsBehind::default()
    };
    for (index, slice) in slices {
        found.slices += 1;
        let Some(senders) = link.full_senders(*index, slice, &known) else {
            continue;
        };
        found.full += 1;
        let stood = senders.iter().filter(|sender| sender.stood());
        for sender in stood.filter(|sender| !known.apart.contains(&sender.holder)) {
            *found.bytes.entry(sender.holder).or_default() += sender.bytes;
        }
    }
    (found.full > 0).then_some(found)
}
