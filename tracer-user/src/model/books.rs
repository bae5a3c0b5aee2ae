//! The books at the end of a window: what the fold hands to the verdict. Plain figures, no judgement.

pub use super::{
    disks::{Earlier, OldFile},
    parts::{AddressId, Client, OwnPart, Part},
    session::Session,
};
pub use crate::figures::{Histogram, Interrupted, ProbeGroup, Shed, Siblings, Source};

use std::collections::{BTreeMap, BTreeSet};

use arcstr::ArcStr;

use crate::{
    class::{Class, Resource},
    event,
    standing::{Called, Means, OwnLimit, Standing, Wrapping},
};

/// Index of a process in [`Books::processes`]. A process id that was reused has several.
pub type ProcessId = usize;

/// Nanoseconds per [`Class`], indexed by [`Class::index`].
pub type Budget = [u64; Class::COUNT];

/// The holder of a place while the target waited there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// Another process.
    Process(ProcessId),
    /// The target itself: its own requests, threads, service time.
    Own,
    /// The target's own CPU or I/O quota.
    OwnQuota,
    /// The device itself served more slowly than is usual for it.
    SlowDevice,
    /// The device answered with an error, after whatever it tried.
    FailedDevice,
    /// The receiver did not take the data, or the path beyond this machine.
    Peer,
    /// Packets were lost, and not on this machine.
    LossyPath,
    /// The CPU was idle although the thread was runnable: wakeup latency, or time stolen by the hypervisor.
    IdleCpu,
    /// The hypervisor ran somebody else while the thread had the CPU.
    Hypervisor,
    /// Another thread of the target holds a lock.
    OwnLock,
    /// A process that the target asked, at work for it: its own requests, threads, quota, locks.
    Asked(ProcessId),
    /// The target itself, at work for a process that asked it, while what it waits for was asked by another.
    Client(ProcessId),
    /// Nobody was seen holding it.
    Nobody,
    /// Interrupts ran on the CPU, in nobody's name.
    Interrupt(Source),
    /// A signal stopped it. The kernel sent that, or somebody before the trace.
    StopSignal,
    /// Its control group was frozen, and nobody was seen doing it.
    Freezer,
    /// Pages were written back that somebody had dirtied before the trace began: most often a process that has ended.
    Earlier,
    /// The target itself, at work for a client of another machine, while a process of this one asked for what it waits for.
    RemoteClient,
}

impl Holder {
    /// The holder, whomever the target works for.
    #[must_use]
    pub fn plain(self) -> Self {
        match self {
            Self::Client(_) | Self::RemoteClient => Self::Own,
            other => other,
        }
    }

    /// Is it the target itself, of which parts may be known?
    #[must_use]
    pub fn has_parts(self) -> bool {
        matches!(self, Self::Own | Self::OwnLock)
    }
}

/// The client for which the target works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// Somebody on another machine.
    Elsewhere,
    /// A process of this one.
    Process(ProcessId),
}

/// Who ended a sleep, as far as was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndedBy {
    /// A task of this process.
    Process(ProcessId),
    /// No task: a timer, a device, a packet.
    NoTask,
    /// Nothing within the window.
    Nothing,
}

/// Sleeps of the target for something that has no class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSleep {
    /// Function of the kernel that slept; empty if the stack was lost.
    pub function: String,
    /// Who ended them.
    pub ended_by: EndedBy,
    /// How long in all, ns of threads, or of the requests that waited for them.
    pub ns: u64,
}

/// What one process of this machine asked the target for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Connections on which it asked.
    pub connections: u64,
    /// Requests.
    pub requests: u64,
    /// Bytes of the answers.
    pub bytes: u64,
}

/// Where a wait stands: index into [`Books::places`].
pub type PlaceId = usize;

/// Why the waits behind an interface cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blind {
    /// The length of its queue cannot be read, and the target's packets do not show how late they leave.
    Unread,
    /// It hands its packets to a process, which sends them on.
    Handed,
}

/// A charge of waiting time to a holder, in one bin of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Resource.
    pub resource: Resource,
    /// Place, if known.
    pub place: Option<PlaceId>,
    /// The holder.
    pub holder: Holder,
    /// Waiting time of target threads charged to the holder, ns.
    pub ns: u64,
    /// Part of `ns` that rests on an estimate instead of on what was seen.
    pub estimated_ns: u64,
}

/// One bin of the window: 100 ms, or longer in a long trace. The verdict draws its resamples from them.
#[derive(Clone, Debug, Default)]
pub struct Bin {
    /// Ledger of the requests.
    pub requests: Budget,
    /// Part of it in which the request's thread worked on another request of the target (head-of-line blocking).
    pub behind_own: Budget,
    /// Ledger of the threads.
    pub threads: Budget,
    /// In the books of a process that the target asks: what its threads did while the target waited for them to take what it had sent.
    /// What is known of none of them is idle.
    pub taking: Budget,
    /// The charges, by resource, place and holder. Those of a resource sum to the thread ledger's time in it. The network's may
    /// exceed it: by the time that a response waits for a full link and no thread does.
    pub charges: Vec<Charge>,
    /// The parts that single clients asked for, as far as they are known.
    pub served: Vec<Served>,
}

/// The part of a bin that one client asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// The client.
    pub asker: Asker,
    /// Its requests' part of the requests' ledger. Not kept for a client on another machine.
    pub requests: Budget,
    /// The charges for what its requests waited for. The target's own part is split by the clients for which it worked.
    pub charges: Vec<Charge>,
}

/// The owner of a lock for which the target waits waits for something itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerWait {
    /// The owner.
    pub owner: ProcessId,
    /// What it waits for.
    pub resource: Resource,
    /// The process that holds most of that, if it is none of the owner's own.
    pub behind: Option<ProcessId>,
}

/// Processes of one name in the target slept for times that they had chosen, and threads of the target waited for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nap {
    /// The last of these processes.
    pub process: ProcessId,
    /// How many there were.
    pub processes: u64,
    /// Did they themselves have the requests?
    pub itself: bool,
    /// Waiting time of target threads in it, ns. It is part of the class `other`.
    pub ns: u64,
}

/// Requests of the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requests {
    /// Requests that ended in the window.
    pub count: u64,
    /// Requests still open at its end.
    pub open: u64,
    /// Age of the oldest open one, ns.
    pub oldest_open_ns: Option<u64>,
    /// Median of their durations, until the last packet of the answer left this machine, ns; `None` when none ended.
    pub p50_ns: Option<u64>,
    /// 90th percentile of their durations, ns.
    pub p90_ns: Option<u64>,
    /// 99th percentile of their durations, ns.
    pub p99_ns: Option<u64>,
    /// Longest duration, ns.
    pub max_ns: Option<u64>,
    /// Sum of these durations, ns. Like the quantiles it is of those of which the begin is known.
    pub sum_ns: u64,
    /// Part of it that was before the window, ns.
    pub before_ns: u64,
    /// How many took how long: up to the threshold of zero first, then by the bounds of all histograms.
    pub buckets: Vec<u64>,
    /// When they ended, in order of time.
    pub ends: Vec<Ends>,
    /// Median of the time until the last send, ns.
    pub sent_p50_ns: Option<u64>,
    /// 99th percentile of that, ns.
    pub sent_p99_ns: Option<u64>,
    /// 99th percentile of the time from the last send to its acknowledgement, ns.
    pub drain_p99_ns: Option<u64>,
    /// Requests that began before the window, nobody knows when.
    pub clipped: u64,
    /// Time of these in the window, ns.
    pub clipped_ns: u64,
    /// Time of the open ones in the window, ns.
    pub open_ns: u64,
    /// Time in the ledger that is no counted request's, ns: of a push, of a long poll, of what was closed without an answer.
    pub uncounted_ns: u64,
    /// Time of requests in which nothing is known of their thread, ns. With the ledger it sums to `sum_ns`, `clipped_ns`, `open_ns` and
    /// `uncounted_ns`, without `before_ns`.
    pub unaccounted_ns: u64,
    /// How many of the open ones are owed by a thread that hears no client, by the function of the kernel in which it sleeps.
    pub asleep_in: BTreeMap<String, u64>,
}

/// Requests that ended in one short part of the window, of those of which the begin is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The middle of that part, ns.
    pub ns: u64,
    /// How many.
    pub count: u64,
    /// Sum of their durations, ns.
    pub sum_ns: u64,
}

/// A process that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Parent's index, if that was seen.
    pub parent: Option<ProcessId>,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// Start, nanoseconds since boot: with `pid` the identity.
    pub start_ns: u64,
    /// Name. Processes that are alike share it, and their other words: a machine has many.
    pub comm: ArcStr,
    /// Command line.
    pub cmdline: ArcStr,
    /// cgroup, the most specific one; empty if not known.
    pub cgroup: ArcStr,
    /// Is it a kernel thread?
    pub kernel: bool,
    /// Is it traced?
    pub target: bool,
    /// Did it end within the window?
    pub exited: bool,
    /// Was its command line read again after the begin of the window? A server may write its state there.
    pub titled: bool,
}

/// Everything held by one owner at one place in the whole window, from totals that are never lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Time held, ns.
    pub ns: u64,
    /// I/Os.
    pub ios: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Disk requests of the target's own, whether a thread slept for them or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flights {
    /// For how long at least one was in flight, ns.
    pub ns: u64,
    /// The time of some of them, by what they stood behind, ns.
    pub behind: BTreeMap<(PlaceId, Holder), u64>,
}

/// What is kept only in coarser sums, because there was too much of it: memory is bounded however long the window is. Nothing of it is
/// missing in the ledgers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Processes that share an entry with those of the same name, and how many such entries there are.
    pub processes: (u64, u64),
    /// How often something stood at a place that has no name of its own.
    pub places: u64,
    /// Waits of which the flame graph has no stack.
    pub stacks: u64,
    /// Connections that were forgotten while nothing was open on them.
    pub connections: u64,
    /// Waits behind softirqs that stay with these, because it was forgotten for whom they worked.
    pub softirqs: u64,
}

/// Datagrams of the target that left through a link, also a full one. A send that does not wait shows no wait for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatagramsBehind {
    /// The link.
    pub place: PlaceId,
    /// Slices of 10 ms in which they left.
    pub slices: u64,
    /// Those of them in which the link was full.
    pub full: u64,
    /// What left in the full ones, bytes by sender, the target included.
    pub bytes: BTreeMap<Holder, u64>,
}

/// A line of the flame graph: frames from the target outwards to the innermost function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameLine {
    /// Class of the wait.
    pub class: Class,
    /// Place, if known.
    pub place: Option<PlaceId>,
    /// The holder.
    pub holder: Holder,
    /// Functions, outermost first.
    pub stack: Vec<String>,
    /// Blocked time, ns.
    pub ns: u64,
}

/// The closed books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Facts known at attach.
    pub start: event::Start,
    /// Facts known at the end.
    pub end: event::End,
    /// Interfaces through which the target sends although not all of its waits behind them can be seen, and why.
    pub blind_links: Vec<(PlaceId, Blind)>,
    /// Links that were full while datagrams of the target left.
    pub datagrams_behind: Vec<DatagramsBehind>,
    /// Bins of the window in order of time.
    pub bins: Vec<Bin>,
    /// Length of a bin, ns.
    pub bin_ns: u64,
    /// Requests; `None` when none can be seen (no probe) or the target has no sockets.
    pub requests: Option<Requests>,
    /// Target threads that lived in the window.
    pub threads: u64,
    /// Sum of the lifetimes of target threads in the window, ns.
    pub wall_ns: u64,
    /// Part of those lifetimes that no class explains, ns.
    pub unaccounted_ns: u64,
    /// The longest time that a single thread was stopped, in all, ns.
    pub most_stopped_ns: u64,
    /// Waits that began before the window or had not ended at its end.
    pub clipped_waits: u64,
    /// Waits with a lost stack.
    pub unreadable_stacks: u64,
    /// Thread time lost in single waits of at least 10 ms each, ns.
    pub long_waits_ns: u64,
    /// Processes seen.
    pub processes: Vec<Process>,
    /// The asked-for target first.
    pub targets: Vec<ProcessId>,
    /// Names of places (`loop0`, `eth0`, `cpu1`), by [`PlaceId`].
    pub places: Vec<String>,
    /// Waits that went through other processes, by the processes on the way: (request, thread) time in ns.
    pub ways: BTreeMap<(Resource, Vec<ProcessId>), (u64, u64)>,
    /// Thread of the target whose locks its other threads waited for longest.
    pub lock_owner: Option<u32>,
    /// Owners of locks that wait for something themselves.
    pub owner_waits: Vec<OwnerWait>,
    /// Waits for nothing but a timer of the target's own, the longest first.
    pub naps: Vec<Nap>,
    /// Sleeps for something that has no class, the longest first.
    pub unknown: Vec<UnknownSleep>,
    /// Totals per resource, place and owner.
    pub held: BTreeMap<(Resource, Option<PlaceId>, Holder), Held>,
    /// The parts of the target that held what is charged to itself, as far as they are known.
    pub own: Vec<OwnPart>,
    /// Addresses of the target's clients on other machines.
    pub addresses: Vec<String>,
    /// Names of the target's threads, by thread, as far as they are known.
    pub thread_names: BTreeMap<u32, ArcStr>,
    /// Latest histogram of each process and family.
    pub histograms: Vec<(ProcessId, Histogram)>,
    /// What is kept only in coarser sums.
    pub folded: Folded,
    /// Flame graph.
    pub flame: Vec<FlameLine>,
    /// Causes seen by the model that are not holders, each with its time: (resource, cause, ns).
    pub causes: Vec<(Resource, crate::class::Cause, u64)>,
    /// The processes of this machine that asked the target, as far as was seen.
    pub asks: BTreeMap<ProcessId, Asks>,
    /// How long requests stood behind those of each client because one thread serves both, ns. Short work is left out.
    pub before_others: BTreeMap<Client, u64>,
    /// The target's threads that work for clients of this machine at the end.
    pub workers: BTreeMap<ProcessId, Vec<u32>>,
    /// Disks that were seen.
    pub disks: Vec<event::Disk>,
    /// How the schedulers treated the target, and the processes that held most, at the end.
    pub standings: BTreeMap<ProcessId, Standing>,
    /// The means of this machine to restrain a process.
    pub means: Means,
    /// Interfaces that wrap or mark what is sent through them.
    pub wrapping: Vec<Wrapping>,
    /// Files from which the lines of the end's evidence come, in the same order. Empty in a recording that does not name them.
    pub sources: Vec<Option<String>>,
    /// The containers that have names, by the paths of their groups.
    pub containers: BTreeMap<String, Called>,
    /// Limits that the target itself is under.
    pub own_limits: Vec<OwnLimit>,
    /// Places that are limits of the target's group, or of one above it, which others use too.
    pub limits: BTreeSet<PlaceId>,
    /// Time charged to other processes because they filled the machine's memory, by resource, ns of threads.
    pub by_memory: BTreeMap<Resource, u64>,
    /// Bytes written, of those in `held`, by disk and owner.
    pub written: BTreeMap<(PlaceId, Holder), u64>,
    /// What was written back of pages that were dirty before the trace, by disk.
    pub earlier: BTreeMap<PlaceId, Earlier>,
    /// Requests of the target that a disk answered with an error.
    pub failed: BTreeMap<PlaceId, u64>,
    /// Requests of the target on disks.
    pub flights: Flights,
    /// Functions that kworkers ran while a target thread was queued.
    pub works: Works,
    /// Hyperthreads that were shared.
    pub siblings: Siblings,
    /// The process that traced; `None` in a recording that does not name it.
    pub tracer: Option<ProcessId>,
    /// Interrupts that ran while the target had a CPU. Empty where other processes are followed: the kernel counts theirs with it.
    pub interrupted: Interrupted,
    /// Probes that were shed for a part of the window.
    pub shed: BTreeMap<ProbeGroup, Shed>,
    /// Time in run queues that is charged to nobody because interrupts were shed, ns.
    pub unwatched_ns: u64,
}

/// Time that kworkers held a CPU, by worker and function, ns.
pub type Works = BTreeMap<ProcessId, BTreeMap<String, u64>>;

/// Name of a worker's function: `kworker (wb_workfn)`.
#[must_use]
pub fn worker_name(works: &Works, worker: ProcessId) -> Option<String> {
    let functions = works.get(&worker)?.iter();
    let (function, _) = functions.max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)))?;
    Some(format!("kworker ({function})"))
}

impl Books {
    /// Length of the window, ns.
    #[must_use]
    pub fn window_ns(&self) -> u64 {
        self.end.ns.saturating_sub(self.start.ns)
    }

    /// Sum of one ledger over the window, ns by class.
    #[must_use]
    pub fn budget(&self, ledger: impl Fn(&Bin) -> &Budget) -> Budget {
        self.bins.iter().fold([0; Class::COUNT], |mut sum, bin| {
            for (sum, ns) in sum.iter_mut().zip(ledger(bin)) {
                *sum = sum.saturating_add(*ns);
            }
            sum
        })
    }
}
