//! Disk requests.

use serde::{Deserialize, Serialize};

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

/// See [`tracer_common::block::Sync`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Sync {
    pub ns: u64,
    pub dev: u32,
    pub pid: u32,
    pub tid: u32,
}

/// Total use of one disk by one owner since attach; see [`tracer_common::block::DiskTotal`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "documented with the map value of the same name"
)]
pub struct DiskTotal {
    pub dev: u32,
    pub pid: u32,
    pub device_ns: u64,
    pub reads: u64,
    pub writes: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub others: u64,
}

/// A file of which pages were written back that were dirty before the trace; see [`tracer_common::block::EarlierFile`]. At the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierFile {
    /// Disk to which they were written.
    pub dev: u32,
    /// Device of the file system.
    pub fs_dev: u32,
    /// Number of the inode.
    pub inode: u64,
    /// Its first name, without folders, and cut after 39 bytes; empty if it is not known.
    pub name: String,
    /// Bytes of such pages.
    pub bytes: u64,
    /// Somebody had it open for writing when the last of them was queued.
    pub open: bool,
    /// It stands for the disk itself, with the tables of the file system.
    pub is_disk: bool,
    /// The one process that had it open for writing at the end, and its name. `None` if there were others, or nobody looked.
    pub writer: Option<(u32, String)>,
}
