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
