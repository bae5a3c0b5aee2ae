//! The processes that held most of each resource. At the end, the tracer reads more about these few.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use tracer_common::histogram::Family;

use crate::{
    event::{Event, Queue},
    largest::Largest,
};

/// Processes of each resource: enough to see a job of a dozen processes on each disk and link whole.
const MOST: usize = 24;

/// Processes of which the bytes sent are counted. There are more only if records of ends were lost.
const MOST_SENT: usize = 4096;

/// Amounts that processes held. Disks and CPUs have totals in maps; bytes sent are added up here.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    sent: Largest<MOST_SENT>,
}

impl Holders {
    /// Counts bytes sent, which the kernel half emits slice by slice.
    pub(crate) fn see<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            match event {
                Event::Queue(Queue { link, .. }) => self.sent.add(link.pid, link.bytes),
                // There is nothing left to read about it, and another may get its id.
                Event::Exit(exit) => self.sent.remove(exit.pid),
                _ => {}
            }
        }
    }

    /// Did anybody send through a link that queues, as far as was seen and as the totals of the maps show?
    #[must_use]
    pub(crate) fn has_sent(&self, totals: &[Event]) -> bool {
        let is_sent = |event: &Event| matches!(event, Event::Queue(_));
        !self.sent.sums().is_empty() || totals.iter().any(is_sent)
    }

    /// The largest holders of disks, links and CPUs, given the totals of the maps.
    #[must_use]
    pub(crate) fn largest(&self, totals: &[Event]) -> BTreeSet<u32> {
        let mut disk: FxHashMap<u32, u64> = FxHashMap::default();
        let mut cpu: FxHashMap<u32, u64> = FxHashMap::default();
        for event in totals {
            match event {
                Event::DiskTotal(total) => *disk.entry(total.pid).or_default() += total.device_ns,
                Event::Histogram(h) if h.is(Family::RunQueue) => {
                    cpu.insert(h.pid, h.held_ns);
                }
                _ => {}
            }
        }
        let mut all = BTreeSet::new();
        for held in [self.sent.sums(), &disk, &cpu] {
            let mut order: Vec<(u32, u64)> = held.iter().map(|(pid, held)| (*pid, *held)).collect();
            order.sort_unstable_by_key(|(pid, held)| (std::cmp::Reverse(*held), *pid));
            all.extend(order.iter().take(MOST).map(|(pid, _)| *pid));
        }
        all.remove(&0);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DiskTotal, Link};

    #[test]
    fn the_largest_of_each_resource_are_named_and_nobody_is_not() {
        let mut holders = Holders::default();
        let link = |pid, bytes| {
            let link = Link {
                pid,
                bytes,
                ..Link::default()
            };
            Event::Queue(Queue::from(&link))
        };
        assert!(!holders.has_sent(&[]) && holders.has_sent(&[link(990, 1)]));
        holders.see(&[link(0, 9_000_000), link(990, 4000), link(991, 1)]);
        assert!(holders.has_sent(&[]));
        let disk = |pid| {
            Event::DiskTotal(DiskTotal {
                pid,
                device_ns: u64::from(pid),
                ..DiskTotal::default()
            })
        };
        let totals: Vec<Event> = (1..=30).map(disk).collect();
        let largest = holders.largest(&totals);
        assert!(largest.contains(&990) && largest.contains(&30) && largest.contains(&7));
        assert!(!largest.contains(&6) && !largest.contains(&0));
    }
}
