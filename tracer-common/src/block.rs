//! Block I/O records: a request of a request-based disk, from queue to completion.

use crate::{plain, record::Header};

/// Requests in flight for which no bio stands, by address: [`RequestState`].
pub const REQUESTS_MAP: &str = "REQUESTS";
/// Bios in flight, an array of sets: [`BioState`].
pub const BIOS_MAP: &str = "BIOS";
/// State of each disk, by device number: [`DiskState`].
pub const DISKS_MAP: &str = "DISKS";
/// The gates of all disks together: [`AnyGate`].
pub const ANY_GATE_MAP: &str = "ANY_GATE";
/// Totals of each process on each disk: [`DiskTotal`] by [`DiskOwner`].
pub const DISK_TOTALS_MAP: &str = "DISK_TOTALS";
/// The processes for which kernel threads queue bios that a limit held back: [`HeldBack`] by [`GroupOnDisk`].
pub const HELD_BACK_MAP: &str = "HELD_BACK";
/// The threads that last dirtied files: [`DirtyFile`] by the address of the inode.
pub const DIRTIERS_MAP: &str = "DIRTIERS";
/// Files with pages that were dirty before the trace began: [`EarlierFile`] by [`FileOnDisk`].
pub const EARLIER_MAP: &str = "EARLIER";
/// Journal transactions: [`Handles`] by [`Transaction`].
pub const TRANSACTIONS_MAP: &str = "TRANSACTIONS";

/// The owner is a target process.
pub const IO_TARGET: u32 = 1;
/// The owner was a kernel thread when it queued the bio.
pub const IO_KTHREAD: u32 = 2;
/// No probe saw the process that queued it.
pub const IO_UNOWNED: u32 = 4;
/// The device answered with an error.
pub const IO_ERROR: u32 = 8;
/// Still in flight. Only user space sets this bit, from the maps `BIOS` and `REQUESTS`.
pub const IO_OPEN: u32 = 16;
/// A kernel thread wrote back pages that the owner had dirtied.
pub const IO_WRITEBACK: u32 = 32;
/// A kernel thread committed a journal transaction, or wrote to a log, in which the owner had a part.
pub const IO_JOURNAL: u32 = 64;
/// The request was merged from bios of several owners: this record is the part of one of them, by bytes.
pub const IO_MERGED: u32 = 128;
/// A further part of a merged request. Its I/O is counted with the first part.
pub const IO_PART: u32 = 256;
/// The owner's own I/O limit held it back until it was queued. A kernel thread queued it, and its control group is the target's.
pub const IO_THROTTLED: u32 = 512;
/// A kernel thread wrote back pages that were dirty before the trace began. Nobody knows who dirtied them: `pid` is 0.
pub const IO_BEFORE: u32 = 2048;
/// A limit held the write back until a kernel thread queued it. The page that it writes names the owner.
pub const IO_HELD: u32 = 4096;
/// The owner read ahead (`REQ_RAHEAD`): it need not wait for this.
pub const IO_READAHEAD: u32 = 1024;
/// No probe saw it go to the device: that was before the trace began. Its begin is that of its allocation, and it has no owner.
pub const IO_UNSEEN: u32 = 8192;

/// Requests of others are still emitted this long, ns, after the target's last bio on a disk. They show how fast the disk is when
/// the target does not use it. On a device that serves in bursts they are half of the evidence.
pub const LINGERS_NS: u64 = 2_000_000_000;

/// Where every process is a target, all requests on a disk are emitted for so long, ns, after one that took long
/// ([`LEAST_LONG_NS`](crate::sched::LEAST_LONG_NS)). A disk that is contended has such a request many times a second.
pub const LINGERS_LIGHT_NS: u64 = 250_000_000;

/// The part of `bi_opf` and `cmd_flags` that holds the operation (`REQ_OP_MASK`).
pub const OP_MASK: u32 = 0xff;
/// `REQ_OP_READ`
pub const OP_READ: u32 = 0;
/// `REQ_OP_WRITE`
pub const OP_WRITE: u32 = 1;
/// `REQ_OP_FLUSH`
pub const OP_FLUSH: u32 = 2;
/// `REQ_OP_DISCARD`
pub const OP_DISCARD: u32 = 3;
/// `REQ_OP_SECURE_ERASE`
pub const OP_SECURE_ERASE: u32 = 5;
/// `REQ_OP_WRITE_ZEROES`
pub const OP_WRITE_ZEROES: u32 = 9;
/// First passthrough operation (`REQ_OP_DRV_IN`).
pub const OP_DRIVER: u32 = 34;
/// `REQ_FUA | REQ_PREFLUSH` (`blk_types.h`: bits 17 and 18 on 5.10 to 7.2): the bio asks for a flush.
pub const FLUSHES: u32 = 1 << 17 | 1 << 18;

/// `REQ_RAHEAD` (`blk_types.h`: bit 19 on 5.10 to 7.2): the bio reads ahead.
pub const READS_AHEAD: u32 = 1 << 19;

/// Owners of one merged request that have a part of their own. Further ones count for the last of them.
pub const OWNERS: usize = 4;

/// A request completed: a target's, or any process's on a disk where a target may have been waiting.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Io {
    /// `ns` is the completion.
    pub header: Header,
    /// Disk, `major << 20 | minor` as in the kernel's `dev_t`.
    pub dev: u32,
    /// `REQ_OP_*`
    pub op: u32,
    /// When the first bio was queued, ns.
    pub queue_ns: u64,
    /// When the request went to the device, ns.
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

/// A target thread begins to write a file or a file system out, and waits until that is done.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sync {
    /// `ns` is the begin.
    pub header: Header,
    /// Disk of the file system, as in [`Io`].
    pub dev: u32,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// Places in which a bio may be in the map `BIOS`: a power of two.
pub const BIO_WAYS: u32 = 4;

/// A bio in flight (map `BIOS`, sets of [`BIO_WAYS`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct BioState {
    /// Its address; 0: none is here.
    pub key: u64,
    /// Its request.
    pub request: RequestState,
}

/// The owner of a bio (map `BIOS`). While the bio is the first one of a request on the device, also that request. This saves
/// updates of a second map. If no bio stands for a request, the map `REQUESTS` holds it by its own address: a flush, or a request
/// completed in part.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestState {
    /// When the bio was queued, ns.
    pub queue_ns: u64,
    /// When the request went to the device, ns. 0: not yet, or it has completed. Then the fields after `gate` mean nothing.
    pub issue_ns: u64,
    /// Process that queued it.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// `IO_*` bits.
    pub flags: u32,
    /// Disk of the gate that this bio holds open; 0 when it holds none.
    pub gate: u32,
    /// Disk of the request.
    pub dev: u32,
    /// `REQ_OP_*`
    pub op: u32,
    /// Bytes at issue.
    pub bytes: u32,
    /// Explicit padding.
    pub reserved: u32,
}

impl RequestState {
    /// A bio that no probe saw being queued.
    pub const UNOWNED: Self = Self {
        queue_ns: 0,
        issue_ns: 0,
        pid: 0,
        tid: 0,
        flags: IO_UNOWNED,
        gate: 0,
        dev: 0,
        op: 0,
        bytes: 0,
        reserved: 0,
    };
}

/// A control group on a disk, for which a kernel thread queued (key of the map `HELD_BACK`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupOnDisk {
    /// Number of the group (`kernfs_node.id`, the inode of its folder).
    pub group: u64,
    /// Disk.
    pub dev: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The process for which a kernel thread queued (map `HELD_BACK`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct HeldBack {
    /// Address of the function that the thread ran, if it is a kworker; else 0.
    pub function: u64,
    /// The process, once user space has found it; 0 before. Written by user space.
    pub pid: u64,
}

/// The part of one owner in a request that was merged from bios of several.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// `IO_*` bits.
    pub flags: u32,
    /// Its bytes; 0: no such part.
    pub bytes: u32,
}

/// The parts of a merged request (map `MERGED`, by address of the request), in the order of their first bios.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// The parts; unused places have 0 bytes.
    pub of: [Part; OWNERS],
}

impl Parts {
    /// No parts.
    pub const NONE: Self = Self {
        of: [Part {
            pid: 0,
            tid: 0,
            flags: 0,
            bytes: 0,
        }; OWNERS],
    };
}

/// `pid` of a [`Dirtier`] that is not known, because it dirtied the pages before the trace began.
pub const BEFORE: u32 = u32::MAX;

/// The thread that last dirtied a page of a file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Dirtier {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
}

/// A file that was dirtied (map `DIRTIERS`, by address of the inode).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DirtyFile {
    /// The thread that dirtied it last.
    pub by: Dirtier,
    /// 1 as long as it counts in [`DirtyFiles`]: until it is written back.
    pub counted: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The processes whose dirty files of a file system are not yet written back (map `DIRTY_FILES`, by address of the super block).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DirtyFiles {
    /// When all numbers were last halved, ns.
    pub halved_ns: u64,
    /// Processes, and the number of their files.
    pub files: Handles,
}

/// The present work of a kernel thread that writes for others (map `WRITING`, by thread).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Writing {
    /// `IO_WRITEBACK`: for `dirtier`. `IO_JOURNAL`: for those with a part in `transaction`.
    pub flags: u32,
    /// The thread that dirtied the file.
    pub dirtier: Dirtier,
    /// The transaction.
    pub transaction: Transaction,
    /// Bios written for the transaction.
    pub bios: u32,
    /// Address of the inode of the file; 0 for a transaction.
    pub inode: u64,
}

/// Bytes of a file's name that are kept, with the NUL behind them.
pub const FILE_NAME: usize = 40;

/// A file, and the disk to which it is written (key of the map `EARLIER`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileOnDisk {
    /// Number of the inode.
    pub inode: u64,
    /// Device of its file system, as the kernel packs it.
    pub fs_dev: u32,
    /// Disk.
    pub dev: u32,
}

/// A file of which pages were written back that were dirty before the trace began (map `EARLIER`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EarlierFile {
    /// Bytes of such pages written.
    pub bytes: u64,
    /// 1: somebody had it open for writing when the last of them was queued.
    pub open: u32,
    /// 1: it is no file, but stands for the disk itself, with the tables of the file system.
    pub is_disk: u32,
    /// Its first name, cut to the room for it; empty if it has none.
    pub name: [u8; FILE_NAME],
}

impl EarlierFile {
    /// Nothing is written yet.
    pub const NONE: Self = Self {
        bytes: 0,
        open: 0,
        is_disk: 0,
        name: [0; FILE_NAME],
    };
}

/// A journal transaction (`jbd2`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Block device of the file system, as the kernel packs it.
    pub dev: u32,
    /// Its number on that file system.
    pub number: u32,
}

/// The processes with a part in a transaction, by blocks of metadata that their handles dirtied (map `TRANSACTIONS`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Handles {
    /// Processes; 0: none.
    pub owners: [Dirtier; OWNERS],
    /// Blocks that each dirtied.
    pub blocks: [u32; OWNERS],
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

/// Total use of a disk by one owner since attach. Flushes and discards count as operations of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskTotal {
    /// Sum of device times of the owner's requests, ns. They may overlap.
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
pub struct DiskState {
    /// Target bios in flight.
    pub open: u64,
    /// When a target bio was last queued or completed, ns.
    pub touched_ns: u64,
    /// 1: it lies under a mount of the target. Then a target may wait for writes of kernel threads there, or for their reads for a
    /// device above. User space writes this field.
    pub watched: u64,
}

/// The gates of all disks together (map `ANY_GATE`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyGate {
    /// Target bios in flight.
    pub open: u64,
    /// When a target bio was last queued or completed, ns.
    pub touched_ns: u64,
}

plain!(
    Io = 56,
    Sync = 32,
    RequestState = 48,
    BioState = 56,
    GroupOnDisk = 16,
    HeldBack = 16,
    DiskOwner = 8,
    DiskTotal = 48,
    DiskState = 24,
    AnyGate = 16,
    Parts = 64,
    Dirtier = 8,
    DirtyFile = 16,
    DirtyFiles = 56,
    Writing = 32,
    FileOnDisk = 16,
    EarlierFile = 56,
    Transaction = 8,
    Handles = 48
);
