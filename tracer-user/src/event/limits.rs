//! Use of limits, and of the machine's memory.

use serde::{Deserialize, Serialize};

use crate::class::Resource;

/// Use of a limit that the target is under, in one interval. The first of each limit has an interval without length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// Begin of the interval, ns.
    pub begin_ns: u64,
    /// End of the interval, ns.
    pub ns: u64,
    /// The resource that is limited.
    pub resource: Resource,
    /// File with the limit.
    pub file: String,
    /// Name of the disk that it limits; empty for another resource.
    pub disk: String,
    /// How long it stopped the group's run queues, ns (CPU), or how often the group was full (memory); 0 if that is not counted.
    pub held_back: u64,
    /// Pages read again after they had been evicted from the group.
    pub read_again: u64,
    /// What each process of the group, and of those below, used: ns of a CPU, bytes of a disk, bytes of memory.
    pub used: Vec<(u32, u64)>,
}

/// How the machine's memory was filled in one interval. The kernel took pages back in it, or in the seconds before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Begin of the interval, ns.
    pub begin_ns: u64,
    /// End of the interval, ns.
    pub ns: u64,
    /// Pages that the kernel took back from their users.
    pub reclaimed: u64,
    /// Pages read again after they had been evicted: of the target's group where the kernel counts that, else of the machine.
    pub read_again: u64,
    /// Bytes that each process filled: it moved them between a disk and the page cache, or its own memory grew by them. The target's
    /// processes come in any case.
    pub used: Vec<(u32, u64)>,
    /// Bytes that no process was seen moving.
    pub unknown: u64,
}
