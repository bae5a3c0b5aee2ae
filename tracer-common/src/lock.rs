//! Locks of the kernel and on files: what became of a target's attempts to get one.

use crate::{plain, record::Header};

/// A target thread tried to get a lock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LockTried {
    /// `ns` is the end of the attempt, or the begin of the sleep.
    pub header: Header,
    /// Inode of the file; 0 for a lock of the kernel.
    pub inode: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Process that made the lock in the way, or has it; 0 if the lock belongs to an open file, or is not known.
    pub owner_pid: u32,
    /// Its thread; 0 where the lock belongs to the whole process.
    pub owner_tid: u32,
    /// One of `LOCK_*`.
    pub outcome: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// With [`LOCK_FROZEN`], when the owner froze the file system, ns since boot with the time that the machine slept; else 0. Another
    /// process may have its id since.
    pub frozen_ns: u64,
}

/// A thread released a lock of the kernel for which a target thread slept. Comes with the wakeup.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LockReleased {
    /// `ns` is the time of the wakeup.
    pub header: Header,
    /// When the thread that released it had come on its CPU, ns.
    pub since_ns: u64,
    /// Process that waited.
    pub pid: u32,
    /// Thread that waited.
    pub tid: u32,
}

/// It sleeps until the lock is released.
pub const LOCK_WAITS: u32 = 0;
/// It did not want to sleep, and got an error.
pub const LOCK_REFUSED: u32 = 1;
/// It got the lock after it had been refused.
pub const LOCK_GRANTED: u32 = 2;

/// It goes to sleep for a mutex or a read-write semaphore of the kernel.
pub const LOCK_KERNEL: u32 = 3;
/// It goes to sleep until a file system is thawed. The owner is who froze it, and may have ended.
pub const LOCK_FROZEN: u32 = 4;

plain!(LockTried = 56, LockReleased = 32);
