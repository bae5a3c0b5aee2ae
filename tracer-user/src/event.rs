//! What the kernel said, and what `/proc` said at attach: owned, in order of time, without a trace of aya.
//!
//! A recording is a sequence of these, so that a verdict can be reached again on any machine. Times are nanoseconds of
//! `CLOCK_MONOTONIC` of the traced machine; `pid` is the process, `tid` the thread.

use serde::{Deserialize, Serialize};
use tracer_common::histogram::Family;

/// One fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Always the first.
    Start(Box<Start>),
    /// A process that was there at attach.
    Process(Process),
    /// A thread of the target that was there at attach.
    Thread(Thread),
    /// A disk.
    Disk(Disk),
    /// A TCP socket that the target had open at attach.
    OpenSocket(OpenSocket),
    /// The frames behind a stack identity.
    Stack(Stack),
    /// A target thread came back on a CPU, or has not come back until the end.
    Wait(Wait),
    /// Somebody left a CPU on which a target thread was queued.
    Slice(Slice),
    /// A queued target thread was moved to another CPU.
    Migrate(Migrate),
    /// A target thread is gone.
    ThreadEnd(ThreadEnd),
    /// A block I/O request completed, or was still in flight at the end.
    Io(Io),
    /// A socket call of the target returned, or a socket ended.
    Call(Call),
    /// A target's socket was first seen.
    Socket(Socket),
    /// All that a target sent on a socket is acknowledged.
    Ack(Ack),
    /// What one owner sent through an interface in one slice.
    Link(Link),
    /// A process was forked, or a target got a new thread.
    Fork(Fork),
    /// A process runs another program.
    Exec(Exec),
    /// A process exited.
    Exit(Exit),
    /// A histogram since attach.
    Histogram(Box<Histogram>),
    /// What one owner had of one disk since attach.
    DiskTotal(DiskTotal),
    /// Always the last.
    End(Box<End>),
    // A recording numbers the kinds: new ones come after those that were there.
    /// How one of those who held most stands, at the end.
    Standing(Box<crate::standing::Standing>),
    /// What this machine has to restrain somebody with.
    Means(Box<crate::standing::Means>),
    /// A process of this machine whose answers the target waits for is followed from now on.
    Follow(Follow),
    /// At the end, a socket of the target holds bytes that nobody has received.
    Unread(Unread),
    /// What holds back a sending socket of the target.
    Flow(Flow),
}

impl Event {
    /// When the fact became true; 0 for what was true at attach.
    #[must_use]
    pub fn ns(&self) -> u64 {
        match self {
            Self::Start(e) => e.ns,
            Self::Wait(e) => e.ns,
            Self::Slice(e) => e.ns,
            Self::Migrate(e) => e.ns,
            Self::ThreadEnd(e) => e.ns,
            Self::Io(e) => e.ns,
            Self::Call(e) => e.ns,
            Self::Socket(e) => e.ns,
            Self::Ack(e) => e.ns,
            Self::Link(e) => e.ns,
            Self::Flow(e) => e.ns,
            Self::Fork(e) => e.ns,
            Self::Exec(e) => e.ns,
            Self::Exit(e) => e.ns,
            Self::Stack(e) => e.ns,
            Self::Histogram(e) => e.ns,
            Self::End(e) => e.ns,
            Self::Follow(e) => e.ns,
            Self::Unread(e) => e.ns,
            Self::Process(_)
            | Self::Thread(_)
            | Self::Disk(_)
            | Self::OpenSocket(_)
            | Self::Standing(_)
            | Self::Means(_)
            | Self::DiskTotal(_) => 0,
        }
    }
}

/// What was known when the last probe was attached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Begin of the window.
    pub ns: u64,
    /// Begin of the window, nanoseconds since 1970 (UTC).
    pub wall_ns: u64,
    /// From the start of the tracer to the last probe.
    pub attach_ns: u64,
    /// Version of the tracer that recorded.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Online CPUs.
    pub cpus: u32,
    /// Host name.
    pub hostname: String,
    /// Processes traced, the one that was asked for first.
    pub targets: Vec<u32>,
    /// cgroup of the target.
    pub cgroup: Option<String>,
    /// systemd unit of the target.
    pub unit: Option<String>,
    /// Ports on which the target listens.
    pub listening: Vec<u32>,
    /// Disks (device numbers) under the target's mounts.
    pub target_disks: Vec<u32>,
    /// Probes that this kernel lacks, with what that costs.
    pub missing: Vec<MissingProbe>,
}

/// A probe that could not be attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingProbe {
    /// Its name.
    pub probe: String,
    /// What the user loses.
    pub cost: String,
    /// Resource (`disk`, `network`, `cpu`) of which nothing can be said without it.
    pub blinds: Option<String>,
}

impl MissingProbe {
    /// Name of the probe, without the reason.
    #[must_use]
    pub fn name(&self) -> &str {
        self.probe.split(' ').next().unwrap_or_default()
    }
}

/// A process at attach, from `/proc`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process.
    pub pid: u32,
    /// Parent.
    pub parent_pid: u32,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// Start, nanoseconds since boot.
    pub start_ns: u64,
    /// Name.
    pub comm: String,
    /// Command line; empty for a kernel thread.
    pub cmdline: String,
    /// cgroup, the most specific one.
    pub cgroup: String,
    /// Is it a kernel thread?
    pub kernel: bool,
    /// Is it traced?
    pub target: bool,
}

/// A target thread at attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// State letter of `/proc/PID/stat`.
    pub state: char,
    /// Kernel functions it sleeps in, innermost first; empty if running or unreadable.
    pub stack: Vec<String>,
}

/// A disk or a device stacked on one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Device number as the kernel packs it (`major << 20 | minor`).
    pub dev: u32,
    /// Name (`sda`, `loop0`).
    pub name: String,
    /// Devices below it.
    pub below: Vec<u32>,
    /// I/O scheduler.
    pub scheduler: String,
    /// Does it turn?
    pub rotational: bool,
}

/// A TCP socket of the target at attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSocket {
    /// Process.
    pub pid: u32,
    /// Own address and port, as text.
    pub local: String,
    /// Own port.
    pub local_port: u32,
    /// Peer's address and port, as text.
    pub remote: String,
    /// Bytes received and not yet read: an open request of unknown age.
    pub unread_bytes: u32,
}

/// The frames behind a stack identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// When it was captured.
    pub ns: u64,
    /// Identity.
    pub id: u64,
    /// Function names, innermost first.
    pub frames: Vec<String>,
}

/// See [`tracer_common::sched::Wait`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Wait {
    pub ns: u64,
    pub cpu: u32,
    pub pid: u32,
    pub tid: u32,
    pub ran_since_ns: u64,
    pub ran_ns: u64,
    pub off_ns: u64,
    pub run_queue_ns: u64,
    pub throttled_ns: u64,
    pub waking_ns: u64,
    pub stack: u64,
    pub waker_stack: u64,
    pub waker_pid: u32,
    pub waker_tid: u32,
    pub state: u32,
    pub flags: u32,
}

/// See [`tracer_common::sched::Slice`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Slice {
    pub ns: u64,
    pub cpu: u32,
    pub begin_ns: u64,
    pub pid: u32,
    pub tid: u32,
}

/// See [`tracer_common::sched::Migrate`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Migrate {
    pub ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub from_cpu: u32,
    pub to_cpu: u32,
}

/// See [`tracer_common::sched::ThreadEnd`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct ThreadEnd {
    pub ns: u64,
    pub pid: u32,
    pub tid: u32,
}

/// See [`tracer_common::block::Io`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Io {
    pub ns: u64,
    pub dev: u32,
    pub op: u32,
    pub queue_ns: u64,
    pub issue_ns: u64,
    pub bytes: u32,
    pub pid: u32,
    pub tid: u32,
    pub flags: u32,
}

/// See [`tracer_common::tcp::Call`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Call {
    pub ns: u64,
    pub socket: u64,
    pub result: i64,
    pub arrived_ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub unsent_bytes: u32,
    pub unacked_bytes: u32,
    pub ifindex: u32,
    pub flags: u32,
}

/// See [`tracer_common::tcp::Socket`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Socket {
    pub ns: u64,
    pub socket: u64,
    pub pid: u32,
    pub local: String,
    pub local_port: u32,
    pub remote: String,
}

/// See [`tracer_common::tcp::Ack`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Ack {
    pub ns: u64,
    pub socket: u64,
}

/// See [`tracer_common::tcp::Link`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Link {
    pub ns: u64,
    pub ifindex: u32,
    pub netns: u32,
    pub name: String,
    pub pid: u32,
    pub packets: u32,
    pub bytes: u64,
    pub backlog_min: u32,
    pub drops: u32,
}

/// See [`tracer_common::tcp::Flow`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Flow {
    pub ns: u64,
    pub socket: u64,
    pub netns: u32,
    pub ifindex: u32,
    pub unsent_bytes: u32,
    pub unacked_bytes: u32,
    pub window_bytes: u32,
    pub retransmits: u32,
    pub flags: u32,
}

/// See [`tracer_common::proc::Fork`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Fork {
    pub ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub parent_pid: u32,
    pub target: bool,
    pub sid: u32,
    pub pgid: u32,
    pub start_ns: u64,
    pub comm: String,
}

/// See [`tracer_common::proc::Exec`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Exec {
    pub ns: u64,
    pub pid: u32,
    pub sid: u32,
    pub pgid: u32,
    pub start_ns: u64,
    pub comm: String,
    pub cmdline: String,
}

/// See [`tracer_common::proc::Exit`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Exit {
    pub ns: u64,
    pub pid: u32,
}

/// Bytes that came for a target and were not received until the end: a request that nobody has picked up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The end.
    pub ns: u64,
    /// Its socket.
    pub socket: u64,
    /// Process that last received or sent there.
    pub pid: u32,
    /// When the first of these bytes arrived.
    pub arrived_ns: u64,
}

/// A process that is not the target, and that it asks: what it does is recorded as if it were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// Since when.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Process that asks it: the target, or another that is followed.
    pub by_pid: u32,
    /// Ports on which it is asked.
    pub listening: Vec<u32>,
}

/// A histogram since attach; the latest one of a process and family counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// When it was taken.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Index in [`Family::ALL`].
    pub family: u32,
    /// Values.
    pub count: u64,
    /// Values that count as zero.
    pub zero_count: u64,
    /// Sum, ns.
    pub sum_ns: u64,
    /// Largest, ns.
    pub max_ns: u64,
    /// CPU time the process held, for [`Family::RunQueue`].
    pub held_ns: u64,
    /// Index of the first bucket kept.
    pub first: u32,
    /// Values per bucket from there on, without trailing zeros.
    pub buckets: Vec<u32>,
}

impl Histogram {
    /// Is it of this family?
    #[must_use]
    pub fn is(&self, family: Family) -> bool {
        self.family == family as u32
    }
}

/// What one owner had of one disk since attach; see [`tracer_common::block::DiskTotal`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "documented with the map value of the same name"
)]
pub struct DiskTotal {
    pub dev: u32,
    pub pid: u32,
    pub device_ns: u64,
    pub reads: u64,
    pub writes: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub others: u64,
}

/// The end of the window, and what was lost on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// End of the window.
    pub ns: u64,
    /// Records sent, by kind.
    pub sent: u64,
    /// Records received.
    pub received: u64,
    /// Records dropped because a ring was full, by kind; zeros are left out.
    pub ring_drops: Vec<(String, u64)>,
    /// Facts lost because a map was full; zeros are left out.
    pub map_losses: Vec<(String, u64)>,
    /// Events that the recording had to leave out.
    pub recording_drops: u64,
    /// CPU time of the tracer.
    pub cpu_ns: u64,
    /// Its resident memory.
    pub rss_bytes: u64,
    /// Its maps' memory.
    pub maps_bytes: u64,
    /// Time its programs ran in the kernel, if that was measured.
    pub kernel_ns: Option<u64>,
    /// Lines of the kernel's log in the window that matter, and other evidence.
    pub evidence: Vec<String>,
    /// The target was gone before the end.
    pub target_exited: bool,
}
