//! The standing of the largest holders on this machine, and the means of the machine. A remedy is checked against both.
//!
//! It is read once, at the end of a trace, while the culprit still lives. It is part of the recording, so that `report` gives the same
//! remedies elsewhere. [`home`] says where a process belongs, and [`called`] what a container is called.

pub mod called;
pub mod home;

use serde::{Deserialize, Serialize};

use crate::class::Resource;

pub use called::Called;

/// The schedule of a process: priority, groups, and the way it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Process (pid).
    pub pid: u32,
    /// Number of threads.
    pub threads: u32,
    /// User it runs as.
    pub uid: u32,
    /// Nice value, -20..=19.
    pub nice: i32,
    /// Scheduling policy, `SCHED_*` of sched(7).
    pub policy: u32,
    /// I/O class, `IOPRIO_CLASS_*` of ioprio_set(2): 0 none, 1 real-time, 2 best effort, 3 idle.
    pub io_class: Option<u32>,
    /// Identity and nice value of its autogroup (sched(7)).
    pub autogroup: Option<(u64, i32)>,
    /// Its cgroup in the hierarchy that divides the CPU.
    pub cpu: Option<Group>,
    /// Its cgroup in the hierarchy that divides the disks.
    pub io: Option<Group>,
    /// Command line, word by word, unless that is very long.
    pub arguments: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// The kind of its program.
    pub program: Program,
    /// Does it have a file open with `O_DIRECT` or `O_SYNC`?
    pub unbuffered: bool,
    /// Is its input a pipe, or its output no terminal?
    pub redirected: bool,
    /// Variables of its environment that set a compressor's level or threads, as `NAME=VALUE`.
    pub defaults: Vec<String>,
    /// Its TCP connections, own address first.
    pub connections: Vec<(String, String)>,
}

impl Standing {
    /// Does the scheduler run it before every ordinary process (sched(7)), whatever its nice value?
    #[must_use]
    pub fn is_real_time(&self) -> bool {
        const FIRST_IN_FIRST_OUT: u32 = 1;
        const ROUND_ROBIN: u32 = 2;
        const DEADLINE: u32 = 6;
        matches!(self.policy, FIRST_IN_FIRST_OUT | ROUND_ROBIN | DEADLINE)
    }
}

/// The kind of a program: a library can be preloaded into a dynamic one only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// It could not be read.
    #[default]
    Unknown,
    /// With an interpreter (`PT_INTERP`).
    Dynamic,
    /// Without one.
    Static,
    /// By Go, which calls the kernel without the C library.
    Go,
    /// It runs as its owner: the linker ignores preloaded libraries.
    SetUid,
}

/// A cgroup of one hierarchy, with a process in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Path within the hierarchy. In v2 it is the nearest group for which the controller is enabled.
    pub path: String,
    /// Is it the process's own group, not an ancestor that stands for it?
    pub own: bool,
    /// Is there no group below it?
    pub leaf: bool,
    /// Processes in it, at most [`Group::MOST`].
    pub members: Vec<u32>,
    /// Its weight (v2) or its shares (v1).
    pub weight: Option<u64>,
}

impl Group {
    /// Most processes counted: a group with more belongs to no single job.
    pub const MOST: usize = 64;
}

/// A limit on the target itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnLimit {
    /// The resource that is limited.
    pub resource: Resource,
    /// File with the limit.
    pub file: String,
    /// Content of the file at attach; of a file with several devices, the line of one.
    pub value: String,
}

/// The means by which this machine can restrain a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// The cgroup hierarchy with the cpu controller.
    pub cpu: Option<Hierarchy>,
    /// The cgroup hierarchy with the io (v2) or blkio (v1) controller.
    pub io: Option<Hierarchy>,
    /// Devices (`8:0`) for which `io.cost.qos` is enabled.
    pub io_cost: Vec<String>,
    /// Does systemd run the machine?
    pub systemd: bool,
    /// Are sessions grouped (`kernel.sched_autogroup_enabled`)?
    pub autogroup: bool,
    /// Commands of [`Means::COMMANDS`] that are installed.
    pub commands: Vec<String>,
    /// Interfaces of the tracer's network namespace.
    pub interfaces: Vec<Interface>,
}

impl Means {
    /// Commands that not every machine has.
    pub const COMMANDS: [&str; 4] = ["trickle", "at", "tc", "systemd-run"];

    /// Was it read? Recordings of earlier versions do not have it. A machine has at least one interface, its loopback.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// Is a command installed?
    #[must_use]
    pub fn has(&self, command: &str) -> bool {
        self.commands.iter().any(|known| known == command)
    }
}

/// A mounted cgroup hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Is it cgroup v2?
    pub unified: bool,
    /// Its mount point.
    pub mount: String,
}

/// A network interface and the qdisc at its root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name of the interface.
    pub name: String,
    /// Kind of the root qdisc (`tbf`, `mq`); empty if there is none.
    pub qdisc: String,
    /// Major number of the qdisc's handle; 0 if it has none.
    pub major: u16,
    /// Kind of the qdisc below a root that holds just one (`tbf`); empty if none is listed.
    pub inner: String,
}

impl Interface {
    /// Kinds of qdiscs that sort packets into classes, each with a queue of its own.
    const WITH_CLASSES: [&str; 7] = ["htb", "hfsc", "prio", "drr", "ets", "qfq", "cbq"];

    /// Are its packets sorted into classes?
    #[must_use]
    pub fn has_classes(&self) -> bool {
        let kinds = [self.qdisc.as_str(), self.inner.as_str()];
        kinds.iter().any(|kind| Self::WITH_CLASSES.contains(kind))
    }

    /// Kinds of qdiscs with one queue, in which packets leave in the order in which they came. By default so does the one inside `tbf`.
    const ONE_QUEUE: [&str; 6] = ["pfifo", "bfifo", "tbf", "red", "codel", "pie"];

    /// Do all packets of a transmit queue stand in one queue?
    #[must_use]
    pub fn has_one_queue(&self) -> bool {
        let is_one = |kind: &str| Self::ONE_QUEUE.contains(&kind);
        let by_transmit_queue = matches!(self.qdisc.as_str(), "mq" | "mqprio");
        let inner = self.inner.as_str();
        (is_one(&self.qdisc) && (inner.is_empty() || is_one(inner)))
            || by_transmit_queue && is_one(inner)
    }
}

/// An interface that wraps what is sent through it into packets of its own, or puts a mark before it: a tunnel, a VLAN. It leaves through
/// another interface, where a filter does not find the packets of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapping {
    /// Name of the interface.
    pub name: String,
    /// Its own addresses, as text.
    pub addresses: Vec<String>,
}
