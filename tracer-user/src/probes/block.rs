//! Block I/O family; kernel side: `tracer-ebpf/src/probes/block.rs`.

use super::{Probe, optional};

const BLIND: Option<&str> = Some("disk");

/// What attaches.
pub const PROBES: &[Probe] = &[
    optional(
        "block_bio_queue",
        &["task_flags", "disk_major", "disk_minor"],
        "the owners of disk requests are unknown",
        BLIND,
    ),
    optional(
        "block_rq_issue",
        &["rq_bio", "rq_bytes", "rq_opf", "bio_next"],
        "nothing is known about disks",
        BLIND,
    ),
    optional(
        "block_rq_complete",
        &["rq_bytes"],
        "nothing is known about disks",
        BLIND,
    ),
    optional(
        "block_bio_complete",
        &[],
        "more disk requests are recorded than needed",
        None,
    ),
    optional(
        "block_split",
        &["bio_private"],
        "parts of large disk requests have no owner",
        None,
    ),
];
