//! Facts known at attach: the target, its threads and sockets, and the disks. Also the frames of stacks.

use serde::{Deserialize, Serialize};

use crate::file_system::Kind;

/// Facts known when the last probe was attached: the begin of the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Begin of the window, ns.
    pub ns: u64,
    /// Begin of the window, nanoseconds since 1970 (UTC).
    pub wall_ns: u64,
    /// From the start of the tracer to the last probe, ns.
    pub attach_ns: u64,
    /// Version of the tracer that made the recording.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Online CPUs.
    pub cpus: u32,
    /// Host name.
    pub hostname: String,
    /// Processes traced; the first is the one that the user named.
    pub targets: Vec<u32>,
    /// cgroup of the target.
    pub cgroup: Option<String>,
    /// systemd unit of the target.
    pub unit: Option<String>,
    /// Ports on which the target listens, or has connections that another process accepted.
    pub listening: Vec<u32>,
    /// Disks (device numbers) under the target's mounts.
    pub target_disks: Vec<u32>,
    /// Probes that this kernel lacks, with the cost of their absence.
    pub missing: Vec<MissingProbe>,
}

/// A probe that could not be attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingProbe {
    /// Its name.
    pub probe: String,
    /// The loss to the user.
    pub cost: String,
    /// Resource (`disk`, `network`, `cpu`) that the tracer cannot see without it.
    pub blinds: Option<String>,
}

impl MissingProbe {
    /// Name of the probe, without the reason.
    #[must_use]
    pub fn name(&self) -> &str {
        self.probe.split(' ').next().unwrap_or_default()
    }
}

/// The tracer itself. It waits for a CPU and has one like any other process, but it is nobody's culprit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracer {
    /// Its process.
    pub pid: u32,
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
    /// Kernel functions in which it sleeps, innermost first; empty if running or unreadable.
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
    /// Is it a disk that turns?
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
    /// Bytes received and not yet read: they are an open request of unknown age.
    pub unread_bytes: u32,
}

/// A connection of the target on which the last message had no answer at attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// Process that has it.
    pub pid: u32,
    /// Own address and port, as text; empty for a Unix stream that the process accepted.
    pub local: String,
    /// Peer's address and port, as text; of a Unix stream the number of the process that connected it.
    pub remote: String,
    /// True: the target waits for the peer's answer. False: the peer waits for the target's.
    pub asks: bool,
    /// When the last message passed, ns; 0 if unknown. The kernel counts in ticks of 1 to 10 ms.
    pub since_ns: u64,
}

/// Connections of one process on which the peer waits for an answer, and which no thread of any process hears: no receive, `poll` or
/// `epoll` would notice the next bytes. So somebody owes these answers. At attach after [`Unanswered`], and later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheard {
    /// When it was looked, ns.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Is it the look at the end of the window? A connection that this one does not name is heard, answered or gone.
    pub last: bool,
    /// The connections, those that wait longest first. One without an own address stands for Unix streams that the process accepted: all
    /// those of the process that `remote` names, or all, if it names none.
    pub connections: Vec<UnheardConnection>,
    /// Threads of the process that hear no client: those that are likely to owe the answers come first.
    pub threads: Vec<Deaf>,
}

/// A connection that no thread hears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnheardConnection {
    /// Own address and port, as text.
    pub local: String,
    /// Peer's address and port, as text; of Unix streams the number of the process that connected them.
    pub remote: String,
    /// When the peer's last bytes came, ns; 0 if unknown. The kernel counts in ticks of 1 to 10 ms.
    pub since_ns: u64,
    /// Has nobody read them?
    pub unread: bool,
    /// Is it in an `epoll` set of the process that no thread waits on right now? A loop that works comes back to it.
    pub registered: bool,
}

/// A thread that hears no client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deaf {
    /// Thread.
    pub tid: u32,
    /// Can only its own process end its sleep, and no timer soon? Then it waits for a lock of its own, or for something like it.
    pub own: bool,
    /// Kernel function in which it sleeps; empty if unknown.
    pub function: String,
    /// The connection that it listens to instead: own address and the peer's. The process asks there.
    pub asks: Option<(String, String)>,
}

/// The frames behind a stack identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// When it was captured, ns.
    pub ns: u64,
    /// Identity.
    pub id: u64,
    /// Function names, innermost first.
    pub frames: Vec<String>,
}

/// A mount of the target that has its data on another machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemoteMount {
    /// Kind of its file system.
    pub kind: Kind,
    /// `server:/export`, as the kernel shows it.
    pub source: String,
}
