//! Disks as places: the owners of their requests are charged with the waits of target threads.

mod above;
mod beside;
mod busy;
mod debt;
mod discard;
mod disk;
mod earlier;
mod excess;
mod fit;
mod flights;
mod held;
mod home;
mod layers;
mod own;
mod reach;
mod request;
mod service;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use tracer_common::block::{IO_BEFORE, LINGERS_NS};

use super::{
    account::{Account, Charge},
    books::{Asker, Holder, PlaceId, ProcessId},
    names::Names,
    parts::{ClientAt, Part},
    threads::OnDisk,
};
use crate::{
    class::{Cause, Class, Resource},
    event,
};
use disk::{Blame, Disk, Whose};
pub use earlier::{Earlier, OldFile};
use fit::SPAN_NS;
use flights::Flights;
use layers::Layers;
pub(super) use request::Request;

/// A request's competitors have completed this long after its end, or after twice the longest time seen: then it counts.
const SETTLE_NS: u64 = 1_000_000_000;
/// The same at the latest, to bound memory.
const SETTLE_AT_MOST_NS: u64 = 10_000_000_000;
/// A disk wait is judged this long after its end, when more is known of what the device takes alone.
const JUDGE_NS: u64 = 3_000_000_000;
/// A wait that was over so long ago is judged although no request completes, ns.
const BEHIND_NS: u64 = 4 * JUDGE_NS;
/// Requests that no wait needs any more are looked for so often: all waits that are late are asked.
const FORGET_NS: u64 = 10_000_000;

/// A wait of a target thread for a disk. Competing requests may not all have completed yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskWait {
    pub(super) process: ProcessId,
    pub(super) tid: u32,
    /// When it began and ended, ns.
    pub(super) begin: u64,
    pub(super) end: u64,
    /// Identity of the stack that waited.
    pub(super) stack: u64,
    /// The cause, as the stack shows it.
    pub(super) cause: Option<Cause>,
    /// The request that it waited for, where the thread itself shows that.
    pub(super) awaited: Option<OnDisk>,
    /// Disk of the file, if the call that waits or the thread of the journal that ended the wait shows it, or `/proc` at attach.
    pub(super) home: Option<u32>,
    /// Did the thread have a request?
    pub(super) serves: bool,
}

impl DiskWait {
    /// When its request and itself were over, ns.
    fn over_ns(&self) -> u64 {
        let request = self.awaited.map_or(0, |awaited| awaited.request.end_ns);
        self.end.max(request)
    }
}

/// Names the client for which a thread of the target worked at a time (tid, ns), if that is known.
#[derive(Clone, Copy)]
pub(super) struct AskerAt<'a> {
    pub(super) asker: &'a dyn Fn(u32, u64) -> Option<Asker>,
    /// The same with those on other machines told apart.
    pub(super) client: ClientAt<'a>,
}

/// All disks.
#[derive(Clone, Debug, Default)]
pub(super) struct Disks {
    /// By device number.
    disks: BTreeMap<u32, Disk>,
    /// Facts known of them at attach.
    pub(super) facts: Vec<event::Disk>,
    /// Those under the target's mounts, with everything below.
    under_target: Vec<u32>,
    /// Not yet judged, in the order of their ends.
    waits: VecDeque<DiskWait>,
    /// The same for those that were over before their requests were.
    late: VecDeque<DiskWait>,
    /// When requests were last forgotten.
    forgot_ns: u64,
    /// How many records of requests came.
    pub(super) records: u64,
    /// Bytes written, by disk and owner.
    pub(super) written: BTreeMap<(PlaceId, Holder), u64>,
    /// What was written back of pages that were dirty before the trace, by disk.
    pub(super) earlier: BTreeMap<PlaceId, Earlier>,
    /// Requests of the target that failed.
    pub(super) failed: BTreeMap<PlaceId, u64>,
    /// Requests of the target, whether anybody slept for them or not.
    pub(super) flights: Flights,
}

impl Disks {
    /// The window begins. These disks lie under the target's mounts.
    pub(super) fn begin(&mut self, under_target: &[u32]) {
        self.under_target = under_target.to_vec();
    }

    /// The disk of a journal, by the name of its thread.
    pub(super) fn of_journal(&self, thread: &str) -> Option<u32> {
        home::of_journal(thread, &self.facts)
    }

    /// The disks of another fold, without its requests and waits.
    pub(super) fn as_found(&self) -> Self {
        Self {
            facts: self.facts.clone(),
            ..Self::default()
        }
    }

    /// A request completed, or is in flight at the end. Returns it with its owner.
    pub(super) fn io(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        asker_at: AskerAt<'_>,
        io: &event::Io,
    ) -> Request {
        self.records += 1;
        let owner = match io.flags & IO_BEFORE {
            0 => names.holder(io.pid),
            _ => Holder::Earlier,
        };
        // Only the target is split into processes.
        let process = match owner {
            Holder::Own => names.processes.id(io.pid),
            _ => 0,
        };
        let request = self.own_or_passed_on(io.dev, Request::new(io, owner, process));
        self.pass_on_below(io.dev, &request);
        if let Some(oldest) = self.disk(names, io.dev).forgets() {
            // What was done just before a wait may hold it.
            let needed = oldest.saturating_add(SPAN_NS);
            self.judge_waits(names, account, asker_at, |wait| wait.begin <= needed);
            self.judge_flights(names, |request| request.queue_ns <= needed);
        }
        self.flights.add(io.dev, request);
        let disk = self.disk(names, io.dev);
        let place = disk.place;
        disk.completed(request);
        if request.owner == Holder::Earlier {
            self.earlier.entry(place).or_default().wrote(io.bytes);
        }
        if account.limits.saw(place, request.owner) {
            self.saw_below(names, account, io.dev, request.owner);
        }
        if request.failed() && request.owner == Holder::Own {
            *self.failed.entry(place).or_default() += 1;
        }
        self.resolve(names, account, asker_at, io.ns);
        request
    }

    /// One process's totals on a disk in the whole window.
    pub(super) fn total(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        total: &event::DiskTotal,
    ) {
        let place = self.disk(names, total.dev).place;
        let holder = names.holder(total.pid);
        let held = account.held(Resource::Disk, Some(place), holder);
        held.ns = held.ns.saturating_add(total.device_ns);
        let (ios, bytes) = (
            total.reads.saturating_add(total.writes),
            total.read_bytes.saturating_add(total.write_bytes),
        );
        held.ios = held.ios.saturating_add(ios);
        held.bytes = held.bytes.saturating_add(bytes);
        let written = self.written.entry((place, holder)).or_default();
        *written = written.saturating_add(total.write_bytes);
    }

    /// A target thread waited: it is charged when its competitors are known.
    pub(super) fn waited(&mut self, wait: DiskWait) {
        let is_late = wait.over_ns() > wait.end;
        let waits = if is_late {
            &mut self.late
        } else {
            &mut self.waits
        };
        waits.push_back(wait);
    }

    /// Is a wait not judged yet although that is due at `ns`? Waits are judged as requests complete, and none may.
    pub(super) fn is_behind(&self, ns: u64) -> bool {
        let is_due = |wait: &DiskWait| wait.over_ns().saturating_add(BEHIND_NS) < ns;
        self.waits.front().is_some_and(is_due) || self.late.front().is_some_and(is_due)
    }

    /// Judges the waits that are due at `ns`.
    pub(super) fn catch_up(
        &mut self,
        names: &Names,
        account: &mut Account,
        asker_at: AskerAt<'_>,
        ns: u64,
    ) {
        self.resolve(names, account, asker_at, ns);
    }

    /// Judges all waits, at the end of the window.
    pub(super) fn settle(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        asker_at: AskerAt<'_>,
    ) {
        self.resolve(names, account, asker_at, u64::MAX);
    }

    /// The disk with a device number.
    fn disk(&mut self, names: &mut Names, dev: u32) -> &mut Disk {
        self.disks.entry(dev).or_insert_with(|| {
            let known = self.facts.iter().find(|disk| disk.dev == dev);
            let rotational = known.is_some_and(|disk| disk.rotational);
            let name = known.map(|disk| disk.name.clone());
            let name = name.unwrap_or_else(|| format!("{}:{}", dev >> 20, dev & 0xf_ffff));
            Disk::new(names.place(&name), rotational)
        })
    }

    /// All requests that were in flight beside one have completed this long after its end, ns.
    fn lag(&self) -> u64 {
        let longest = self.disks.values().map(|disk| disk.longest_ns).max();
        longest
            .unwrap_or(0)
            .saturating_mul(2)
            .clamp(SETTLE_NS, SETTLE_AT_MOST_NS)
    }

    /// Judges the first waits, as long as they are `due`.
    fn judge_waits(
        &mut self,
        names: &Names,
        account: &mut Account,
        asker_at: AskerAt<'_>,
        due: impl Fn(&DiskWait) -> bool,
    ) {
        while self.waits.front().is_some_and(&due)
            && let Some(wait) = self.waits.pop_front()
        {
            self.judge(names, account, asker_at, &wait);
        }
        while self.late.front().is_some_and(&due)
            && let Some(wait) = self.late.pop_front()
        {
            self.judge(names, account, asker_at, &wait);
        }
    }

    /// Judges the waits of which all competitors are known at `now`.
    fn resolve(&mut self, names: &Names, account: &mut Account, asker_at: AskerAt<'_>, now: u64) {
        let lag = self.lag();
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
        self.judge_waits(names, account, asker_at, |wait| wait.over_ns() <= judged);
        self.judge_flights(names, |request| request.end_ns <= judged);
        if now >= self.forgot_ns.saturating_add(FORGET_NS) {
            self.forgot_ns = now;
            self.forget(judged, lag);
        }
    }

    /// Forgets the requests that no wait needs which is not yet judged. They all begin after `judged` but for those in the lists.
    fn forget(&mut self, judged: u64, lag: u64) {
        let first = self.waits.front();
        let needed = first.map_or(judged, |wait| wait.begin);
        let late = self.late.iter().map(|wait| wait.begin).min();
        let needed = needed.min(late.unwrap_or(needed));
        let needed = needed.saturating_sub(lag.max(LINGERS_NS));
        for disk in self.disks.values_mut() {
            disk.forget(needed);
        }
    }

    /// The disks, as a wait sees them.
    fn layers<'a>(&'a self, names: &'a Names, whose: Whose<'a>) -> Layers<'a> {
        Layers {
            disks: &self.disks,
            facts: &self.facts,
            under_target: &self.under_target,
            names,
            whose,
        }
    }

    fn judge(&self, names: &Names, account: &mut Account, asker_at: AskerAt<'_>, wait: &DiskWait) {
        let asker = (asker_at.asker)(wait.tid, wait.begin);
        let span = (wait.begin, wait.end);
        let whose = |request: &Request| owner_for(request, asker, asker_at);
        let Some(stood) = self.layers(names, &whose).blame(wait) else {
            // The ledger leaves to nobody what is not charged.
            let frames = (Class::Disk, None, Holder::Nobody, wait.stack);
            return account.burn_only(frames, wait.end.saturating_sub(wait.begin));
        };
        let estimated = stood.blame.estimated;
        let is_evicted = wait.cause == Some(Cause::CacheEviction) && account.memory.is_known();
        if !is_evicted {
            charge_parts(account, asker_at.client, wait, &stood.blame);
        }
        for (place, holder, ns) in stood.charges() {
            if let Some(asker) = asker {
                let key = (Resource::Disk, Some(place), holder);
                let ledger = &mut account.ledger;
                ledger.served_charge(asker, key, span, ns, estimated);
            }
            let charge = Charge {
                resource: Resource::Disk,
                place: Some(place),
                holder: holder.plain(),
                stack: wait.stack,
                span,
                ns,
                estimated,
            };
            // It would have no such request without whoever evicted the page.
            match is_evicted && charge.holder == Holder::Own {
                true => account.charge_memory(charge),
                false => account.charge(charge),
            }
        }
    }
}

/// Splits the target's own part of a wait: the threads whose requests it stood behind have theirs, the waiting thread the rest.
fn charge_parts(account: &mut Account, client_at: ClientAt<'_>, wait: &DiskWait, blame: &Blame) {
    let own = blame.charges.iter();
    let own = own.filter(|(holder, _)| holder.plain() == Holder::Own);
    let mut left: u64 = own.map(|(_, ns)| ns).sum();
    let mut charge = |process, tid, at, ns| {
        if ns > 0 {
            let client = client_at(tid, at);
            let part = Part {
                process,
                tid,
                client,
            };
            account.parts.add(Resource::Disk, part, ns, wait.serves);
        }
    };
    for part in &blame.own {
        let ns = part.ns.min(left);
        charge(part.process, part.tid, part.queue_ns, ns);
        left -= ns;
    }
    charge(wait.process, wait.tid, wait.begin, left);
}

/// The owner of a request, as one client of the target sees it. A request that the target made for another client is that client's,
/// if both are known.
fn owner_for(request: &Request, waits: Option<Asker>, asker_at: AskerAt<'_>) -> Holder {
    if request.owner != Holder::Own || waits.is_none() {
        return request.owner;
    }
    match (asker_at.asker)(request.tid, request.queue_ns) {
        Some(Asker::Process(id)) if waits != Some(Asker::Process(id)) => Holder::Client(id),
        Some(Asker::Elsewhere) if waits != Some(Asker::Elsewhere) => Holder::RemoteClient,
        _ => Holder::Own,
    }
}
