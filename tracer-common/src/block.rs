//! Block I/O records: a request of a request-based disk, from queue to completion.

use crate::{plain, record::Header};

/// The owner is a target process.
pub const IO_TARGET: u32 = 1;
/// The owner was a kernel thread when it queued the bio.
pub const IO_KTHREAD: u32 = 2;
/// Nobody was seen queueing it.
pub const IO_UNOWNED: u32 = 4;
/// The device answered with an error.
pub const IO_ERROR: u32 = 8;
/// Still in flight: written by user space from the request map, never by a probe.
pub const IO_OPEN: u32 = 16;

/// The part of `bi_opf` and `cmd_flags` that holds the operation (`REQ_OP_MASK`).
pub const OP_MASK: u32 = 0xff;
/// `REQ_OP_READ`
pub const OP_READ: u32 = 0;
/// `REQ_OP_WRITE`
pub const OP_WRITE: u32 = 1;
/// `REQ_OP_FLUSH`
pub const OP_FLUSH: u32 = 2;
/// First passthrough operation (`REQ_OP_DRV_IN`).
pub const OP_DRIVER: u32 = 34;

/// A request completed on a disk where a target may have been waiting, or that a target owned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Io {
    /// `ns` is the completion.
    pub header: Header,
    /// Disk, `major << 20 | minor` as in the kernel's `dev_t`.
    pub dev: u32,
    /// `REQ_OP_*`
    pub op: u32,
    /// When the first bio was queued.
    pub queue_ns: u64,
    /// When the request went to the device.
    pub issue_ns: u64,
    /// Bytes moved.
    pub bytes: u32,
    /// Process that queued it.
    pub pid: u32,
    /// Thread that queued it.
    pub tid: u32,
    /// `IO_*` bits.
    pub flags: u32,
}

/// Who queued a bio (map `BIOS`, by address).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bio {
    /// When.
    pub queue_ns: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// `IO_*` bits.
    pub flags: u32,
    /// Disk whose gate this bio holds open; 0 when none.
    pub dev: u32,
}

/// A request in flight (map `REQUESTS`, by address).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// When the first bio was queued.
    pub queue_ns: u64,
    /// When it went to the device.
    pub issue_ns: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// `IO_*` bits.
    pub flags: u32,
    /// Disk.
    pub dev: u32,
    /// `REQ_OP_*`
    pub op: u32,
    /// Bytes at issue.
    pub bytes: u32,
}

/// Key of the per-owner totals of a disk.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiskOwner {
    /// Disk.
    pub dev: u32,
    /// Process.
    pub pid: u32,
}

/// What an owner had of a disk since attach; flushes and discards count as operations of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskTotal {
    /// Sum of device times of the owner's requests (they may overlap).
    pub device_ns: u64,
    /// Reads completed.
    pub reads: u64,
    /// Writes completed.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Flushes and discards completed.
    pub others: u64,
}

/// The gate of a disk (map `DISKS`, by device).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// Target bios in flight.
    pub open: u64,
    /// When a target bio was last queued or completed.
    pub touched_ns: u64,
}

plain!(
    Io = 56,
    Bio = 24,
    Request = 40,
    DiskOwner = 8,
    DiskTotal = 48,
    Disk = 16
);
