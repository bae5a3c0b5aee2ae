//! Process records: fork, exec and exit of every process. A short-lived culprit is gone when user space reads `/proc`.

use crate::{plain, record::Header};

/// Bytes kept of a command line.
pub const CMDLINE: usize = 256;

/// A process that was there before the trace, and its parent. Not a record: the iterator `parents` writes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// Process.
    pub pid: u32,
    /// Its parent.
    pub parent_pid: u32,
}

/// A process was forked, or a target process got a new thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Fork {
    /// `ns` is the time of the event.
    pub header: Header,
    /// The new process; for a thread, the process it belongs to.
    pub pid: u32,
    /// The new thread.
    pub tid: u32,
    /// Process that forked.
    pub parent_pid: u32,
    /// 1 if the new process is followed as a target.
    pub target: u32,
    /// Session.
    pub sid: u32,
    /// Process group.
    pub pgid: u32,
    /// Start, nanoseconds since boot (as `/proc/PID/stat` field 22, but not rounded).
    pub start_ns: u64,
    /// Name, inherited.
    pub comm: [u8; 16],
    /// Thread that forked.
    pub parent_tid: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// A process runs another program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Exec {
    /// `ns` is the time of the event.
    pub header: Header,
    /// Process.
    pub pid: u32,
    /// Valid bytes of `cmdline`.
    pub cmdline_len: u32,
    /// Session.
    pub sid: u32,
    /// Process group.
    pub pgid: u32,
    /// Start of the process, nanoseconds since boot.
    pub start_ns: u64,
    /// New name.
    pub comm: [u8; 16],
    /// Arguments, separated by NUL.
    pub cmdline: [u8; CMDLINE],
}

/// The last thread of a process began to exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Exit {
    /// `ns` is the time of the event.
    pub header: Header,
    /// Process.
    pub pid: u32,
    /// Explicit padding.
    pub reserved: u32,
}

plain!(Parent = 8, Fork = 72, Exec = 56 + CMDLINE, Exit = 24);
