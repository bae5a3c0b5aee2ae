//! Records of the kernel half, in the order of `tracer_common`, and what user space adds of the same kind.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracer_common::irq::SOFTIRQS;

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

impl Socket {
    /// Can both ends be of this machine?
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_local(&self.local, &self.remote)
    }
}

/// Can both ends be of this machine? A connection to an own address has that address at both ends.
#[must_use]
pub fn is_local(local: &str, remote: &str) -> bool {
    let ends = local
        .parse::<SocketAddr>()
        .ok()
        .zip(remote.parse::<SocketAddr>().ok());
    ends.is_some_and(|(local, remote)| {
        local.ip() == remote.ip() || (local.ip().is_loopback() && remote.ip().is_loopback())
    })
}

/// Who has the other end of a connection that a target accepted, where that is a process of this machine. The connection was first
/// seen before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Since when that is known.
    pub ns: u64,
    /// The target's socket.
    pub socket: u64,
    /// Process that is asked.
    pub pid: u32,
    /// Process that asks.
    pub client_pid: u32,
}

/// See [`tracer_common::tcp::Ack`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Ack {
    pub ns: u64,
    pub socket: u64,
}

/// See [`tracer_common::tcp::Ack`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Delivered {
    pub ns: u64,
    pub socket: u64,
    pub left_ns: u64,
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

/// What ran on a CPU in nobody's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// Devices' interrupts.
    Irq,
    /// A softirq, by its index in [`tracer_common::irq::SOFTIRQS`].
    Softirq(u32),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Irq => f.write_str("irq"),
            Self::Softirq(number) => match SOFTIRQS.get(*number as usize) {
                Some(name) => write!(f, "softirq:{name}"),
                None => write!(f, "softirq:{number}"),
            },
        }
    }
}

/// See [`tracer_common::irq::Interrupts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Interrupts {
    pub ns: u64,
    pub cpu: u32,
    pub begin_ns: u64,
    pub took: Vec<(Source, u64)>,
}

/// At the end: what interrupted target threads while they ran, which is part of their time on a CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// By source, ns.
    pub took: Vec<(Source, u64)>,
}

/// See [`tracer_common::sched::Work`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Work {
    pub ns: u64,
    pub begin_ns: u64,
    pub pid: u32,
    /// Its name, or its address where there is none.
    pub function: String,
}

/// See [`tracer_common::sched::Stolen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Stolen {
    pub ns: u64,
    pub cpu: u32,
    pub begin_ns: u64,
    pub stolen_ns: u64,
}

/// At the end: what a CPU had to do in the window, and what of that time the hypervisor stole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// Which.
    pub cpu: u32,
    /// Not idle, with what was stolen, ns.
    pub busy_ns: u64,
    /// Part of it, ns.
    pub stolen_ns: u64,
}

impl CpuTime {
    /// Part that was stolen.
    #[must_use]
    pub fn part(&self) -> f64 {
        self.stolen_ns as f64 / self.busy_ns.max(1) as f64
    }
}

/// At the end: how long the target ran, and for how much of that the sibling of its CPU ran another process. Only where CPUs have
/// siblings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Siblings {
    /// On a CPU, ns.
    pub target_ns: u64,
    /// Part of it, ns.
    pub beside_ns: u64,
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

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn both_ends_of_a_local_connection_are_of_this_machine() {
        assert!(is_local("127.0.0.1:40000", "127.0.0.1:80"));
        assert!(is_local("127.0.0.1:40000", "127.0.0.2:80"));
        assert!(is_local("10.0.0.1:40000", "10.0.0.1:80"));
        assert!(!is_local("10.0.0.1:40000", "10.0.0.2:80"));
        assert!(!is_local("", "10.0.0.2:80"));
    }
}
