//! Locks that are not let go.

use serde::{Deserialize, Serialize};

/// A thread sleeps for a lock. The owners were read from the lock's own state, so the wait need not have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSeen {
    /// When it was seen, ns.
    pub ns: u64,
    /// Process that waits.
    pub pid: u32,
    /// Thread that waits.
    pub tid: u32,
    /// Its owners at that time: several processes may share a lock. Empty if nobody living was found.
    pub owners: Vec<LockOwner>,
    /// Path of the locked file, as the waiting process opened it. `None` for a lock in memory.
    pub file: Option<String>,
}

/// An owner of a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockOwner {
    /// Process.
    pub pid: u32,
    /// Thread; 0 where the lock belongs to the whole process.
    pub tid: u32,
}

/// The end of an attempt to get a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockOutcome {
    /// It sleeps until the lock is released.
    #[default]
    Waits,
    /// It did not want to sleep, and got an error.
    Refused,
    /// It got the lock after it had been refused.
    Granted,
    /// It goes to sleep for a mutex or a read-write semaphore of the kernel.
    Kernel,
    /// It goes to sleep until a file system is thawed. The owner is who froze it, and may have ended.
    Frozen,
}

/// A thread tried to get a lock. See [`tracer_common::lock::LockTried`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct LockTried {
    pub ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub inode: u64,
    pub owner_pid: u32,
    pub owner_tid: u32,
    pub outcome: LockOutcome,
}

/// A thread goes to sleep until a file system is thawed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedOut {
    /// The attempt; its owner is who froze the file system.
    pub tried: LockTried,
    /// When it did so, ns since boot with the time that the machine slept. Another process may have its id since.
    pub frozen_ns: u64,
}

/// See [`tracer_common::lock::LockReleased`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct LockReleased {
    pub ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub since_ns: u64,
}

/// The path of a file for which the target waited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    /// When it was found, ns.
    pub ns: u64,
    /// Process that has it open.
    pub pid: u32,
    /// Its inode.
    pub inode: u64,
    /// Its path.
    pub path: String,
}
