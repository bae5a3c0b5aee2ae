//! Stops of the target: signals, debuggers, frozen groups.

use serde::{Deserialize, Serialize};

/// See [`tracer_common::signal::Signal`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Signal {
    pub ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub sender_pid: u32,
    pub sender_tid: u32,
    pub number: u32,
    /// The kernel sent it, and no process.
    pub by_kernel: bool,
}

/// The control group of a process was frozen or let go. The kernel shows no switch of a thread that it freezes in its sleep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// When the tracer saw it, ns; 0: it was so at attach.
    pub ns: u64,
    /// A process of the group.
    pub pid: u32,
    /// The file that freezes the group; empty where the group is let go.
    pub file: String,
    /// Process that wrote the file; 0 if that was not seen.
    pub by_pid: u32,
}

/// A thread is stopped by a debugger: at attach, or at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Process of the debugger.
    pub tracer_pid: u32,
}
