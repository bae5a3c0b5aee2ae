//! Processes that come and go.

use serde::{Deserialize, Serialize};

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

/// Which thread forks. Comes before the [`Fork`] of a target, unless that is the first thread of its process, or the recording is older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Borne {
    /// When, ns: the same time as that of the fork.
    pub ns: u64,
    /// Process that forks.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// The new thread, or the first one of the new process.
    pub child_tid: u32,
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

/// A process that the target asks. It is not a target, but its events are recorded as if it were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// When the tracer began to follow it, ns.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Process that asks it: the target, or another that is followed.
    pub by_pid: u32,
    /// Its ports on which it is asked; a UDP port with [`DATAGRAM_PORT`]. Behind [`NO_PORT`] those that a look found; empty if nobody
    /// looked.
    pub listening: Vec<u32>,
}

/// Stands first in [`Follow::listening`] for a process that is followed for another reason than a TCP port. On the ports behind it others
/// ask; without any it made all its connections itself.
pub const NO_PORT: u32 = 0;

/// Marks a UDP port in [`Follow::listening`].
pub const DATAGRAM_PORT: u32 = 1 << 16;

impl Follow {
    /// Its TCP ports on which it is asked, by whomever.
    #[must_use]
    pub fn tcp_ports(&self) -> Vec<u32> {
        let ports = self.known_tcp_ports().into_iter();
        ports.filter(|port| *port != NO_PORT).collect()
    }

    /// The same, with [`NO_PORT`] if that is there: then they are all, and it asks on each connection that has none of them.
    #[must_use]
    pub fn known_tcp_ports(&self) -> Vec<u32> {
        let ports = self.listening.iter().copied();
        ports.filter(|port| port & DATAGRAM_PORT == 0).collect()
    }

    /// Its TCP ports on which the one is known to ask for whom it is followed. Who is asked over a Unix socket may listen on a port on
    /// which that one asks a machine elsewhere.
    #[must_use]
    pub fn followed_ports(&self) -> Vec<u32> {
        match self.listening.contains(&NO_PORT) {
            true => Vec::new(),
            false => self.tcp_ports(),
        }
    }

    /// Its UDP ports on which it is asked.
    #[must_use]
    pub fn udp_ports(&self) -> Vec<u32> {
        let ports = self.listening.iter();
        let marked = ports.filter(|port| **port & DATAGRAM_PORT != 0);
        marked.map(|port| port ^ DATAGRAM_PORT).collect()
    }
}

/// A process that is a target from now on, though it was none at attach and is not forked as one: it has the name or the port that the
/// user gave, or it was forked just before its parent became a target. Its threads come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// When it was marked, ns.
    pub ns: u64,
    /// Process.
    pub pid: u32,
}

/// The words by which a process or thread of the target is known late: a title that it has written over its command line, or the
/// name that a thread has given itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// When they were last read, ns.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Thread; 0 for the process itself.
    pub tid: u32,
    /// Name.
    pub comm: String,
    /// Command line of a process; empty for a thread.
    pub cmdline: String,
}

/// A process is in another control group than the one in which it was forked: that of its service, or of its container. At attach
/// [`Process`](super::Process) has the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// When it was looked up, ns.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Control group, the most specific one.
    pub cgroup: String,
}
