//! All code that names aya: features of this kernel, loading, attaching, reading.

mod bios;
pub(crate) mod btf;
pub(crate) mod features;
mod held_back;
pub(crate) mod load;
mod log;
mod maps;
mod order;
mod pace;
mod parents;
mod quota;
mod reader;
mod rings;
mod self_time;
mod shed;
mod smt;
pub(crate) mod symbols;
mod verify;

use std::{thread, time::Duration};

use anyhow::Result;
use aya::Ebpf;
use tracer_common::{
    block::{GroupOnDisk, HeldBack},
    config::MISSING,
    packets::Sender,
    quota::Member,
    shed::Group,
};

use self::{
    features::Features,
    load::Attached,
    log::KernelLog,
    pace::Pace,
    reader::{Losses, Reader},
    self_time::SelfTime,
    symbols::KernelSymbols,
};
use crate::{
    event::{Event, MissingProbe},
    machine::{
        clocks::now_ns,
        give_back_memory,
        proc::{self, IoLimit},
    },
};

/// Number of online CPUs; 1 if the kernel does not list them.
#[must_use]
pub(crate) fn online_cpus() -> u32 {
    aya::util::online_cpus().map_or(1, |cpus| cpus.len() as u32)
}

/// The attached kernel half, and the reading end of its rings.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    reader: Reader,
    pace: Pace,
    self_time: SelfTime,
    log: Option<KernelLog>,
    missing: Vec<MissingProbe>,
    /// Does the kernel count the stolen time of each slice?
    steal_by_slice: bool,
}

impl Kernel {
    /// Opens the rings of programs that are attached. To be called before memory is locked: only the part of a ring that is read
    /// stays mapped.
    ///
    /// # Errors
    /// If the object lacks a ring.
    pub(crate) fn open(attached: Attached, features: &Features) -> Result<Self> {
        let Attached { mut ebpf, missing } = attached;
        // A hundred thousand names. None is needed before the first stack.
        let symbols = thread::spawn(|| {
            let symbols = KernelSymbols::read();
            give_back_memory();
            symbols
        });
        let symbols = move || symbols.join().ok().and_then(Result::ok).unwrap_or_default();
        let reader = Reader::new(&mut ebpf, Box::new(symbols))?;
        let log = KernelLog::open(&mut ebpf);
        rings::map_once();
        Ok(Self {
            ebpf,
            reader,
            pace: Pace::default(),
            self_time: SelfTime::begin(),
            log,
            missing,
            steal_by_slice: features.config.offsets.rq_stolen != MISSING,
        })
    }

    /// Probes that could not be attached, with the cost.
    #[must_use]
    pub(crate) fn missing(&self) -> &[MissingProbe] {
        &self.missing
    }

    /// Marks more processes as targets.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub(crate) fn mark(&mut self, pids: &[u32]) -> Result<()> {
        maps::set_targets(&self.ebpf, pids)
    }

    /// Marks more processes of which only long waits are wanted.
    ///
    /// # Errors
    /// If the map cannot be written.
    pub(crate) fn mark_light(&mut self, pids: &[u32]) -> Result<()> {
        maps::set_light(&self.ebpf, pids)
    }

    /// Writes the process of each socket that was sending as the trace began. Best effort: without it, its packets have no owner until it
    /// sends anew.
    pub(crate) fn set_senders(&mut self, senders: &[(Sender, u32)]) {
        maps::set_senders(&mut self.ebpf, senders);
    }

    /// The rest before the next [`Self::poll`]: the more records come, the shorter.
    #[must_use]
    pub(crate) fn rest(&self) -> Duration {
        self.pace.rest()
    }

    /// Reads the rings, and appends to `out` the events that are in order for certain.
    pub(crate) fn poll(&mut self, out: &mut Vec<Event>) {
        self.self_time.tick(&self.ebpf);
        let before = self.reader.received().0;
        self.reader.poll(out);
        self.pace.took(self.reader.received().0 - before);
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Is it time for work that costs as much as a reading and is not urgent? To be called after each [`Self::poll`].
    pub(crate) fn is_round(&mut self) -> bool {
        self.pace.is_round()
    }

    /// The name of the kernel function at this address.
    #[must_use]
    pub(crate) fn function(&self, address: u64) -> String {
        self.reader.function(address)
    }

    /// All that is open right now: threads off the CPU, requests in flight, and the slices of running threads.
    #[must_use]
    pub(crate) fn open_now(&self) -> Vec<Event> {
        reader::open(&self.ebpf, now_ns())
    }

    /// The entries of cgroups with I/O that a limit had held back.
    #[must_use]
    pub(crate) fn held_back(&self) -> Vec<(GroupOnDisk, HeldBack)> {
        held_back::read(&self.ebpf)
    }

    /// Writes these entries back, with the processes found.
    pub(crate) fn set_held_back(&mut self, found: &[(GroupOnDisk, HeldBack)]) {
        held_back::write(&mut self.ebpf, found);
    }

    /// Names the target of each group with a limit of I/O.
    pub(crate) fn limit_io(&mut self, limits: &[IoLimit]) {
        held_back::limit(&mut self.ebpf, limits);
    }

    /// Counts the CPU time of the members of these groups from now on, and of no others.
    pub(crate) fn share_quota(&mut self, groups: &[u64]) {
        quota::share(&mut self.ebpf, groups);
    }

    /// CPU time of each member since it was first counted, ns.
    #[must_use]
    pub(crate) fn quota_used(&self) -> Vec<(Member, u64)> {
        quota::used(&self.ebpf)
    }

    /// Sheds a group of probes, or watches it from now on. Returns since when, ns; `None` if that did not work.
    pub(crate) fn shed(&mut self, group: Group, is_shed: bool) -> Option<u64> {
        shed::set(&mut self.ebpf, group, is_shed)
    }

    /// Since when a group of probes is watched, ns: the kernel half may have begun by itself. `None` if it is shed.
    #[must_use]
    pub(crate) fn watched_ns(&self, group: Group) -> Option<u64> {
        shed::watched_ns(&self.ebpf, group)
    }

    /// Since when target threads queue on a CPU without a pause, ns: the longest of all CPUs. `None` if none queues.
    #[must_use]
    pub(crate) fn queued_ns(&self) -> Option<u64> {
        reader::queued_ns(&self.ebpf)
    }

    /// Records and facts lost since the trace began; 0 if that cannot be read.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        let losses = reader::losses(&self.ebpf).unwrap_or_default();
        let all = losses.ring.iter().chain(&losses.maps);
        all.map(|(_, lost)| lost).sum()
    }

    /// Takes the programs out of the kernel, and reads the rings to their end.
    #[must_use]
    pub(crate) fn detach(mut self, end_ns: u64) -> Detached {
        let pause = self.pace.longest();
        let open = reader::open(&self.ebpf, end_ns);
        let shared = smt::shared(&self.ebpf, end_ns);
        let ran = self.self_time.end(&self.ebpf);
        load::detach(&mut self.ebpf);
        let mut records = Vec::new();
        self.reader.finish(&mut records);
        if let Some(log) = &mut self.log {
            log.flush();
        }
        let (received, malformed) = self.reader.received();
        Detached {
            records,
            open,
            shared,
            steal_by_slice: self.steal_by_slice,
            received,
            malformed,
            messages: self.log.map_or(0, |log| log.count()),
            kernel_ns: ran.kernel_ns,
            nested: ran.nested,
            rss_bytes: proc::self_rss_bytes(),
            pause,
            ebpf: self.ebpf,
        }
    }
}

/// The rest, once the programs are out of the kernel: the maps, which nothing changes any more.
pub(crate) struct Detached {
    /// The last records of the rings. Some may be younger than the end.
    pub(crate) records: Vec<Event>,
    /// Events for all that was open at the end.
    pub(crate) open: Vec<Event>,
    /// Time that others ran beside the target, on the sibling of its CPU. `None` if no target thread ran on a CPU with a sibling.
    pub(crate) shared: Option<Event>,
    /// Does the kernel count the stolen time of each slice?
    pub(crate) steal_by_slice: bool,
    /// Records read in the whole window.
    pub(crate) received: u64,
    /// Messages that the kernel half logged, shown or not.
    pub(crate) messages: u64,
    /// Time that the programs ran, nanoseconds; `None` if the kernel does not count it.
    pub(crate) kernel_ns: Option<u64>,
    /// The longest time for which the rings were not read.
    pub(crate) pause: Duration,
    /// Resident memory of the tracer while the rings were still mapped, bytes.
    pub(crate) rss_bytes: u64,
    nested: u64,
    malformed: u64,
    ebpf: Ebpf,
}

impl Detached {
    /// The content of the maps: the last slices of links, histograms, totals of disks.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub(crate) fn totals(&self, end_ns: u64) -> Result<Vec<Event>> {
        reader::totals(&self.ebpf, end_ns)
    }

    /// The losses between the programs and the reader.
    ///
    /// # Errors
    /// If a counter cannot be read.
    pub(crate) fn losses(&self) -> Result<Losses> {
        let mut losses = reader::losses(&self.ebpf)?;
        losses.count_nested(self.nested);
        losses.count_malformed(self.malformed);
        Ok(losses)
    }

    /// One line of evidence, if the kernel showed nothing for more than a hundredth of a CPU's time.
    #[must_use]
    pub(crate) fn unseen(&self, window_ns: u64) -> Option<String> {
        reader::unseen(&self.ebpf, window_ns)
    }

    /// Memory of the maps, bytes.
    #[must_use]
    pub(crate) fn maps_bytes(&self) -> u64 {
        maps::maps_bytes(&self.ebpf)
    }
}
