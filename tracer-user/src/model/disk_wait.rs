//! Disk waits: which request was waited for, at which layer of a stack of devices, and who stood there.
//!
//! What a target thread's own request waited for is judged against that request ([`Disk::blame`]); what it waited for while kernel
//! threads wrote back or committed is everybody's who had something there ([`Disk::blame_all`]). Where devices are stacked (loop,
//! dm-crypt, md), the layer counts at which others cost most.

use std::collections::BTreeMap;

use super::{
    DiskWait, Model,
    books::Holder,
    disk::{Blame, Disk, Request, Whose},
};
use crate::{
    class::{Cause, Class, Resource},
    event,
};

/// A request's competitors have completed this long after its end, or after twice the longest time seen: then it counts.
const SETTLE_NS: u64 = 1_000_000_000;
/// As above, at the latest: to bound memory.
const SETTLE_AT_MOST_NS: u64 = 10_000_000_000;
/// A disk wait is judged this long after its end, when more is known of what the device takes alone.
pub const JUDGE_NS: u64 = 3_000_000_000;

/// By how much of the wait a lower layer must explain more than the one at which the target's own request stood: what is known of a
/// lower one rests on the requests of kernel threads, dealt out by bytes, and the larger of two figures is too large by chance.
const LOWER_EXPLAINS: f64 = 0.1;

/// How a wait is charged at one layer.
struct Layer {
    dev: u32,
    blame: Blame,
}

impl Layer {
    /// Time that others cost.
    fn others(&self) -> u64 {
        let others = self
            .blame
            .charges
            .iter()
            .filter(|(holder, _)| matches!(holder, Holder::Process(_)));
        others.map(|(_, ns)| ns).sum()
    }
}

impl Model {
    pub(super) fn io(&mut self, io: &event::Io) {
        let owner = self.holder(io.pid);
        let request = Request::new(io, owner);
        if let Some(oldest) = self.disk(io.dev).forgets() {
            self.judge_waits(|wait| wait.begin <= oldest);
        }
        if request.failed() && owner == Holder::Own {
            let place = self.disk(io.dev).place;
            *self.failed.entry(place).or_default() += 1;
        }
        self.disk(io.dev).completed(request);
        self.resolve_disk_waits(io.ns);
    }

    /// Judges the first waits, as long as they are `due`.
    fn judge_waits(&mut self, due: impl Fn(&DiskWait) -> bool) {
        while let Some(wait) = self.disk_waits.front().copied().filter(|wait| due(wait)) {
            self.disk_waits.pop_front();
            self.judge_disk_wait(&wait);
        }
    }

    /// Judges the waits whose competitors are known at `now`.
    pub(super) fn resolve_disk_waits(&mut self, now: u64) {
        let longest = self
            .disks
            .values()
            .map(|disk| disk.longest_ns)
            .max()
            .unwrap_or(0);
        let lag = (2 * longest).clamp(SETTLE_NS, SETTLE_AT_MOST_NS);
        let before = |lag| {
            if now == u64::MAX {
                now
            } else {
                now.saturating_sub(lag)
            }
        };
        for disk in self.disks.values_mut() {
            disk.settle(before(lag));
        }
        let judged = before(lag.max(JUDGE_NS));
        self.judge_waits(|wait| wait.end <= judged);
        let needed = self
            .disk_waits
            .front()
            .map_or(judged, |wait| wait.begin)
            .saturating_sub(lag);
        for disk in self.disks.values_mut() {
            disk.forget(needed);
        }
    }

    fn judge_disk_wait(&mut self, wait: &DiskWait) {
        let asker = self.asker_at(wait.tid, wait.begin);
        let whose = |request: &Request| self.whose(request, asker);
        let Some(top) = self.top_layer(wait, &whose) else {
            return self.burn(
                (Class::Disk, None, Holder::Nobody, wait.stack),
                wait.end - wait.begin,
            );
        };
        let mut layers = vec![top];
        let mut next = 0;
        while let Some(dev) = layers.get(next).map(|layer| layer.dev) {
            let below = self.below(dev).to_vec();
            let found = below
                .into_iter()
                .filter_map(|dev| self.lower(dev, wait, &whose));
            let found: Vec<Layer> = found.collect();
            layers.extend(found);
            next += 1;
        }
        let margin = ((wait.end - wait.begin) as f64 * LOWER_EXPLAINS) as u64;
        let nearest = layers[0].others();
        let lower = layers[1..].iter().max_by_key(|layer| layer.others());
        let layer = lower
            .filter(|layer| layer.others() > nearest + margin)
            .unwrap_or(&layers[0]);
        let place = self.disks[&layer.dev].place;
        let estimated = layer.blame.estimated;
        for (holder, ns) in &layer.blame.charges {
            if let Some(asker) = asker {
                let key = (Resource::Disk, Some(place), *holder);
                let span = (wait.begin, wait.end);
                self.ledger.served_charge(asker, key, span, *ns, estimated);
            }
            let plain = holder.plain();
            let key = (Resource::Disk, Some(place), plain);
            self.ledger
                .charge(key, wait.begin, wait.end, *ns, estimated);
            let frame = (Class::Disk, Some(place), plain, wait.stack);
            if *ns > 0 {
                *self.flame.entry(frame).or_default() += ns;
            }
        }
    }

    /// Devices directly under one.
    fn below(&self, dev: u32) -> &[u32] {
        let facts = self.disk_facts.iter().find(|disk| disk.dev == dev);
        facts.map(|disk| disk.below.as_slice()).unwrap_or_default()
    }

    /// The layer at which the target's own request stood, or at which kernel threads wrote what it waited for.
    fn top_layer(&self, wait: &DiskWait, whose: Whose<'_>) -> Option<Layer> {
        let (begin, end) = (wait.begin, wait.end);
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
            return Some(self.mapped(dev, blame, wait, whose));
        }
        let (_, _, dev, request) = awaited?;
        let blame = self.disks[&dev].blame(&request, begin, end, whose);
        Some(self.mapped(dev, blame, wait, whose))
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
    fn lower(&self, dev: u32, wait: &DiskWait, whose: Whose<'_>) -> Option<Layer> {
        let disk = self.disks.get(&dev)?;
        let is_kernel = |request: &Request| matches!(request.owner, Holder::Process(id) if self.processes.all()[id].kernel);
        let mut blame = Blame::default();
        let mut sums: BTreeMap<Holder, u64> = BTreeMap::new();
        let mut upto = wait.begin;
        for request in disk.in_flight(wait.begin, wait.end) {
            if !is_kernel(request) || request.end_ns <= upto {
                continue;
            }
            let (begin, end) = (upto.max(request.queue_ns), request.end_ns.min(wait.end));
            let part = disk.blame(request, begin, end, whose);
            blame.estimated |= part.estimated;
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
        Some(self.mapped(dev, blame, wait, whose))
    }

    /// A stacked device (loop, dm-crypt) submits from kernel threads: their part belongs to those whose requests it serves above,
    /// by bytes.
    fn mapped(&self, dev: u32, blame: Blame, wait: &DiskWait, whose: Whose<'_>) -> Layer {
        let above: Vec<(Holder, u64)> = self
            .disk_facts
            .iter()
            .filter(|disk| disk.below.contains(&dev))
            .filter_map(|disk| self.disks.get(&disk.dev))
            .flat_map(|disk| disk.in_flight(wait.begin, wait.end))
            .map(|request| (whose(request), u64::from(request.bytes)))
            .collect();
        let total: u64 = above.iter().map(|(_, bytes)| bytes).sum();
        let mut charges = Vec::new();
        for (holder, ns) in blame.charges {
            let is_kernel =
                matches!(holder, Holder::Process(id) if self.processes.all()[id].kernel);
            if !is_kernel || total == 0 {
                charges.push((holder, ns));
                continue;
            }
            let mut given = 0;
            for (owner, bytes) in &above {
                let part = (u128::from(ns) * u128::from(*bytes) / u128::from(total)) as u64;
                charges.push((*owner, part));
                given += part;
            }
            charges.push((holder, ns - given));
        }
        let estimated = blame.estimated;
        Layer {
            dev,
            blame: Blame { charges, estimated },
        }
    }
}
