//! The request that a wait was for, its layer in a stack of devices, and the other requests there.
//!
//! A wait for a target thread's own request is judged against that request ([`Disk::blame`]). A wait for writeback or a commit of
//! kernel threads is charged to everybody with a request on the disk of the file ([`Disk::blame_all`]). Where devices are stacked
//! (loop, dm-crypt, md), the layer at which others cost most counts.

use std::collections::BTreeMap;

use super::{
    DiskWait,
    above::{below, lies_below},
    busy::Busy,
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

/// From the interrupt of a completion to the end of the sleep that it ends, ns.
const ENDED_NS: u64 = 2_000_000;

/// How a wait is charged at one layer.
struct Layer {
    dev: u32,
    /// The request that it was for, if that is known.
    request: Option<Request>,
    blame: Blame,
}

/// Where a wait stood, and how it is charged there.
pub(super) struct Stood {
    place: PlaceId,
    pub(super) blame: Blame,
    /// The part of it, ns, in which a limit held back at this place below what the device's worker had passed on for the request.
    limited: Option<(PlaceId, u64)>,
}

impl Blame {
    /// Is anything charged to the device itself, because it was slow?
    fn is_slow(&self) -> bool {
        let mut charges = self.charges.iter();
        charges.any(|(holder, ns)| *holder == Holder::SlowDevice && *ns > 0)
    }

    /// Takes up to `most` of what the device itself would be charged with, ns.
    fn take_slow(&mut self, most: u64) -> u64 {
        let charges = self.charges.iter_mut();
        let slow = charges.filter(|(holder, _)| *holder == Holder::SlowDevice);
        let mut left = most;
        for (_, ns) in slow {
            let part = left.min(*ns);
            *ns -= part;
            left -= part;
        }
        most - left
    }
}

impl Stood {
    /// All charges, each with its place.
    pub(super) fn charges(&self) -> impl Iterator<Item = (PlaceId, Holder, u64)> {
        let (place, here) = (self.place, self.blame.charges.iter());
        let here = here.map(move |(holder, ns)| (place, *holder, *ns));
        let below = self
            .limited
            .map(|(place, ns)| (place, Holder::OwnQuota, ns));
        here.chain(below)
    }
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
    /// Devices under the target's mounts, with everything below.
    pub(super) under_target: &'a [u32],
    pub(super) names: &'a Names,
    pub(super) whose: Whose<'a>,
}

impl Layers<'_> {
    /// `None` if no request explains the wait.
    pub(super) fn blame(&self, wait: &DiskWait) -> Option<Stood> {
        let mut layers = vec![self.top_layer(wait)?];
        let mut next = 0;
        while let Some(dev) = layers.get(next).map(|layer| layer.dev) {
            // Two disks may lie on the same one, and only a damaged recording has a disk on itself.
            let is_new = |dev: &u32| layers.iter().all(|layer| layer.dev != *dev);
            let below = below(self.facts, dev).iter().copied().filter(is_new);
            let below: Vec<u32> = below.collect();
            layers.extend(below.into_iter().filter_map(|dev| self.lower(dev, wait)));
            next += 1;
        }
        let margin = (wait.end.saturating_sub(wait.begin) as f64 * LOWER_EXPLAINS) as u64;
        let nearest = layers[0].others();
        let lower = (1..layers.len()).max_by_key(|index| layers[*index].others());
        let lower = lower.filter(|index| layers[*index].others() > nearest + margin);
        let layer = layers.swap_remove(lower.unwrap_or(0));
        let mut blame = layer.blame;
        let held = layer
            .request
            .filter(|_| blame.is_slow())
            .and_then(|request| self.held_below(layer.dev, &request, wait));
        let limited = held.map(|(place, ns)| (place, blame.take_slow(ns)));
        Some(Stood {
            place: self.disks[&layer.dev].place,
            blame,
            limited,
        })
    }

    /// How long a limit on a disk below held up a request, within a wait, and where: what the worker passed on for it, and before that
    /// what it had passed on for those that the request stood behind in the queue. What the device seems to take by itself meanwhile is
    /// the limit's.
    fn held_below(&self, dev: u32, request: &Request, wait: &DiskWait) -> Option<(PlaceId, u64)> {
        let issued = request.issue_ns.clamp(wait.begin, wait.end.max(wait.begin));
        let before = self.disks[&dev].in_flight(wait.begin, issued);
        let before = before.filter(|other| other.issue_ns < request.issue_ns);
        let before: Vec<&Request> = before.collect();
        let below = self.disks.iter();
        let below = below.filter(|(below, _)| lies_below(self.facts, **below, dev));
        let held = below.map(|(_, disk)| {
            let held = |asked: &Request, (begin, end): (u64, u64)| {
                let let_go_ns = disk.let_go_ns(asked).unwrap_or(0).min(end);
                (asked.issue_ns.max(begin), let_go_ns)
            };
            let before = before.iter();
            let before = before.map(|other| held(other, (wait.begin, issued)));
            let own = held(request, (issued, wait.end));
            (disk.place, together(before.chain([own])))
        });
        held.max_by_key(|(_, ns)| *ns).filter(|(_, ns)| *ns > 0)
    }

    /// The layer at which the target's own request stood, or at which kernel threads wrote what it waited for.
    fn top_layer(&self, wait: &DiskWait) -> Option<Layer> {
        if let Some(known) = wait.awaited
            && self.disks.contains_key(&known.dev)
        {
            return Some(self.behind(known.dev, &known.request, wait));
        }
        match wait.cause {
            Some(Cause::Journal) => self.at_home(wait),
            Some(Cause::Writeback) => self.own_request(wait).or_else(|| self.at_home(wait)),
            _ => self.at_request(wait).or_else(|| self.at_files(wait)),
        }
    }

    /// The disk of the file for which a thread waits since before it was traced. Its request may not be over yet.
    fn at_files(&self, wait: &DiskWait) -> Option<Layer> {
        wait.home.and_then(|_| self.at_home(wait))
    }

    /// The last write that the thread queued itself, if the wait ended with it. One that was over before was not waited for.
    fn own_request(&self, wait: &DiskWait) -> Option<Layer> {
        let (rank, dev, request) = self.awaited(wait)?;
        let ended_it = request.writes() && request.end_ns + ENDED_NS >= wait.end;
        (rank == Disk::OWN && ended_it).then(|| self.behind(dev, &request, wait))
    }

    /// The request for which the thread waited. Anybody's counts only on one disk: on several it is chance that they end together.
    fn at_request(&self, wait: &DiskWait) -> Option<Layer> {
        let (rank, dev, request) = self.awaited(wait)?;
        let elsewhere = |other: &u32| *other != dev && !self.is_stacked(*other, dev);
        let by_chance = rank == Disk::ANYBODYS
            && self.disks.iter().any(|(other, disk)| {
                elsewhere(other) && disk.awaited(wait.tid, wait.begin, wait.end).is_some()
            });
        (!by_chance).then(|| self.behind(dev, &request, wait))
    }

    /// The request with the highest rank on all disks, with its rank and device.
    fn awaited(&self, wait: &DiskWait) -> Option<(u32, u32, Request)> {
        let awaited = |(dev, disk): (&u32, &Disk)| {
            let (rank, request) = disk.awaited(wait.tid, wait.begin, wait.end)?;
            Some((rank, request.end_ns, *dev, request))
        };
        let awaited = self.disks.iter().filter_map(awaited);
        let first = awaited.max_by_key(|(rank, end, dev, _)| (*rank, *end, *dev));
        first.map(|(rank, _, dev, request)| (rank, dev, request))
    }

    /// Is one of the devices below the other?
    fn is_stacked(&self, dev: u32, other: u32) -> bool {
        lies_below(self.facts, dev, other) || lies_below(self.facts, other, dev)
    }

    /// What kernel threads wrote meanwhile on the disk of the file, or else the request there that ended the wait.
    fn at_home(&self, wait: &DiskWait) -> Option<Layer> {
        let (begin, end) = (wait.begin, wait.end);
        let dev = self.home(wait)?;
        let disk = self.disks.get(&dev)?;
        if disk.written_by_kernel(begin, end) > 0 {
            return Some(self.mapped(dev, None, disk.blame_all(begin, end), wait));
        }
        let (_, request) = disk.awaited(wait.tid, begin, end)?;
        Some(self.behind(dev, &request, wait))
    }

    fn behind(&self, dev: u32, request: &Request, wait: &DiskWait) -> Layer {
        let whose = |request: &Request| self.owner_on(dev, request);
        let blame = self.disks[&dev].blame(request, wait.begin, wait.end, &whose);
        self.mapped(dev, Some(*request), blame, wait)
    }

    /// A lower layer: the requests with which kernel threads served the layer above, one after the other.
    fn lower(&self, dev: u32, wait: &DiskWait) -> Option<Layer> {
        let disk = self.disks.get(&dev)?;
        let is_workers = |request: &Request| {
            request.is_passed_on() || self.names.is_kernel_thread(request.owner)
        };
        let whose = |request: &Request| self.owner_on(dev, request);
        let mut blame = Blame::default();
        let mut sums: BTreeMap<Holder, u64> = BTreeMap::new();
        let mut upto = wait.begin;
        for request in disk.in_flight(wait.begin, wait.end) {
            if !is_workers(request) || request.end_ns <= upto {
                continue;
            }
            let (begin, end) = (upto.max(request.queue_ns), request.end_ns.min(wait.end));
            let part = disk.blame(request, begin, end, &whose);
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
        Some(self.mapped(dev, None, blame, wait))
    }

    /// The owner of a request on a device. One that was passed on is of whoever's request above was done next: a limit lets them
    /// through one after the other.
    fn owner_on(&self, dev: u32, request: &Request) -> Holder {
        if !request.is_passed_on() {
            return (self.whose)(request);
        }
        let above = self.disks.iter();
        let above = above.filter(|(above, _)| lies_below(self.facts, dev, **above));
        let asked = above.flat_map(|(_, disk)| disk.in_flight(request.queue_ns, request.end_ns));
        let asked = asked
            .filter(|above| request.is_for(above) && !self.names.is_kernel_thread(above.owner));
        let first = asked.min_by_key(|above| above.end_ns);
        first.map_or(Holder::Nobody, self.whose)
    }

    /// A stacked device (loop, dm-crypt) submits from kernel threads. Their part belongs to the owners of the requests that it serves
    /// above, by bytes.
    fn mapped(&self, dev: u32, request: Option<Request>, blame: Blame, wait: &DiskWait) -> Layer {
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
            request,
            blame: Blame {
                charges,
                own,
                estimated,
            },
        }
    }
}

/// How long any of these times lasted, ns.
fn together(times: impl Iterator<Item = (u64, u64)>) -> u64 {
    let mut times: Vec<(u64, u64)> = times.filter(|(begin, end)| begin < end).collect();
    times.sort_unstable_by_key(|(_, end)| *end);
    let mut busy = Busy::default();
    let times = times.into_iter();
    times.map(|(begin, end)| busy.add(begin, end)).sum()
}
