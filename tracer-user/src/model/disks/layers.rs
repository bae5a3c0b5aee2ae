//! The request that a wait was for, its layer in a stack of devices, and the other requests there.
//!
//! A wait for a target thread's own request is judged against that request ([`Disk::blame`]). A wait for writeback or a commit of
//! kernel threads is charged to everybody with a request there ([`Disk::blame_all`]). Where devices are stacked (loop, dm-crypt,
//! md), the layer at which others cost most counts.

use std::collections::BTreeMap;

use super::{
    DiskWait,
    disk::{Blame, Disk, Whose},
    own::Own,
    request::Request,
};
use crate::{
    class::Cause,
    event,
    model::{
        books::{Holder, PlaceId},
        names::Names,
    },
};

/// A lower layer counts only if it explains this part of the wait more than the target's own layer does. Its figure is less
/// certain: it rests on the requests of kernel threads, dealt out by bytes. And the larger of two figures is too large by chance.
const LOWER_EXPLAINS: f64 = 0.1;

/// How a wait is charged at one layer.
struct Layer {
    dev: u32,
    blame: Blame,
}

impl Layer {
    /// Time that others cost, ns.
    fn others(&self) -> u64 {
        let others = self
            .blame
            .charges
            .iter()
            .filter(|(holder, _)| matches!(holder, Holder::Process(_) | Holder::Earlier));
        others.map(|(_, ns)| ns).sum()
    }
}

/// The disks, as one wait sees them.
pub(super) struct Layers<'a> {
    pub(super) disks: &'a BTreeMap<u32, Disk>,
    pub(super) facts: &'a [event::Disk],
    pub(super) names: &'a Names,
    pub(super) whose: Whose<'a>,
}

impl Layers<'_> {
    /// Where a wait stood, and how it is charged there. `None` if no request explains it.
    pub(super) fn blame(&self, wait: &DiskWait) -> Option<(PlaceId, Blame)> {
        let mut layers = vec![self.top_layer(wait)?];
        let mut next = 0;
        while let Some(dev) = layers.get(next).map(|layer| layer.dev) {
            let below = self.below(dev).iter();
            layers.extend(below.filter_map(|dev| self.lower(*dev, wait)));
            next += 1;
        }
        let margin = ((wait.end - wait.begin) as f64 * LOWER_EXPLAINS) as u64;
        let nearest = layers[0].others();
        let lower = (1..layers.len()).max_by_key(|index| layers[*index].others());
        let lower = lower.filter(|index| layers[*index].others() > nearest + margin);
        let layer = layers.swap_remove(lower.unwrap_or(0));
        Some((self.disks[&layer.dev].place, layer.blame))
    }

    /// Devices directly under one.
    fn below(&self, dev: u32) -> &[u32] {
        let facts = self.facts.iter().find(|disk| disk.dev == dev);
        facts.map(|disk| disk.below.as_slice()).unwrap_or_default()
    }

    /// The layer at which the target's own request stood, or at which kernel threads wrote what it waited for.
    fn top_layer(&self, wait: &DiskWait) -> Option<Layer> {
        let (begin, end) = (wait.begin, wait.end);
        if let Some(known) = wait.awaited
            && let Some(disk) = self.disks.get(&known.dev)
        {
            let blame = disk.blame(&known.request, begin, end, self.whose);
            return Some(self.mapped(known.dev, blame, wait));
        }
        let awaited = |(dev, disk): (&u32, &Disk)| {
            let (rank, request) = disk.awaited(wait.tid, begin, end)?;
            Some((rank, request.end_ns, *dev, request))
        };
        let awaited = self
            .disks
            .iter()
            .filter_map(awaited)
            .max_by_key(|(rank, end, dev, _)| (*rank, *end, *dev));
        let is_own = awaited.is_some_and(|(rank, ..)| rank == Disk::OWN);
        let for_kernel = match wait.cause {
            Some(Cause::Journal) => true,
            Some(Cause::Writeback) => !is_own,
            _ => false,
        };
        if for_kernel && let Some(dev) = self.written_by_kernel(begin, end) {
            let blame = self.disks[&dev].blame_all(begin, end);
            return Some(self.mapped(dev, blame, wait));
        }
        let (_, _, dev, request) = awaited?;
        let blame = self.disks[&dev].blame(&request, begin, end, self.whose);
        Some(self.mapped(dev, blame, wait))
    }

    /// Where kernel threads wrote most in an interval.
    fn written_by_kernel(&self, begin: u64, end: u64) -> Option<u32> {
        let written = self
            .disks
            .iter()
            .map(|(dev, disk)| (disk.written_by_kernel(begin, end), *dev));
        let most = written.filter(|(bytes, _)| *bytes > 0).max()?;
        Some(most.1)
    }

    /// A lower layer: the requests with which kernel threads served the layer above, one after the other.
    fn lower(&self, dev: u32, wait: &DiskWait) -> Option<Layer> {
        let disk = self.disks.get(&dev)?;
        let is_kernel = |request: &Request| self.names.is_kernel_thread(request.owner);
        let mut blame = Blame::default();
        let mut sums: BTreeMap<Holder, u64> = BTreeMap::new();
        let mut upto = wait.begin;
        for request in disk.in_flight(wait.begin, wait.end) {
            if !is_kernel(request) || request.end_ns <= upto {
                continue;
            }
            let (begin, end) = (upto.max(request.queue_ns), request.end_ns.min(wait.end));
            let part = disk.blame(request, begin, end, self.whose);
            blame.estimated |= part.estimated;
            blame.own.extend(part.own);
            for (holder, ns) in part.charges {
                *sums.entry(holder).or_default() += ns;
            }
            *sums.entry(Holder::Own).or_default() += begin - upto;
            upto = end;
        }
        if upto == wait.begin {
            return None;
        }
        *sums.entry(Holder::Own).or_default() += wait.end - upto;
        blame.charges = sums.into_iter().collect();
        Some(self.mapped(dev, blame, wait))
    }

    /// A stacked device (loop, dm-crypt) submits from kernel threads. Their part belongs to the owners of the requests that it serves
    /// above, by bytes.
    fn mapped(&self, dev: u32, blame: Blame, wait: &DiskWait) -> Layer {
        let above: Vec<(Holder, &Request)> = self
            .facts
            .iter()
            .filter(|disk| disk.below.contains(&dev))
            .filter_map(|disk| self.disks.get(&disk.dev))
            .flat_map(|disk| disk.in_flight(wait.begin, wait.end))
            .map(|request| ((self.whose)(request), request))
            .collect();
        let bytes = |request: &Request| u64::from(request.bytes);
        let total: u64 = above.iter().map(|(_, request)| bytes(request)).sum();
        let (mut charges, mut own) = (Vec::new(), blame.own);
        for (holder, ns) in blame.charges {
            if total == 0 || !self.names.is_kernel_thread(holder) {
                charges.push((holder, ns));
                continue;
            }
            let mut given = 0;
            for (owner, request) in &above {
                let part = u128::from(ns) * u128::from(bytes(request)) / u128::from(total);
                let part = part as u64;
                charges.push((*owner, part));
                if owner.plain() == Holder::Own {
                    own.push(Own::new(request, part));
                }
                given += part;
            }
            charges.push((holder, ns - given));
        }
        let estimated = blame.estimated;
        Layer {
            dev,
            blame: Blame {
                charges,
                own,
                estimated,
            },
        }
    }
}
