//! Block I/O family; kernel side: `tracer-ebpf/src/probes/block.rs`.

use super::{Hook, Probe, optional, substitute};

const BLIND: Option<&str> = Some("disk");
const JOURNAL: &str = "journal commits of ext4 belong to their kernel thread";

/// What attaches.
pub const PROBES: &[Probe] = &[
    optional(
        "block_bio_queue",
        &["task_flags", "disk_major", "disk_minor", "bio_opf"],
        "the owners of disk requests are unknown",
        BLIND,
    ),
    optional(
        "block_rq_issue",
        &["rq_bio", "rq_bytes", "rq_opf", "bio_next", "bio_bytes"],
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
        "writeback_dirty_folio",
        &["mapping_inode"],
        "who dirtied the pages that kernel threads write back is unknown",
        None,
    ),
    substitute(
        "writeback_dirty_page",
        Hook::Tracepoint,
        "writeback_dirty_folio",
        &["mapping_inode"],
    ),
    optional(
        "writeback_single_inode_start",
        &["task_flags"],
        "what kernel threads write back has no owner",
        None,
    ),
    optional(
        "writeback_single_inode",
        &[],
        "what kernel threads write back may have a wrong owner",
        None,
    ),
    optional("jbd2_submit_inode_data", &["task_flags"], JOURNAL, None),
    optional("jbd2_handle_stats", &["task_flags"], JOURNAL, None),
    optional(
        "jbd2_commit_flushing",
        &["journal_bdev", "bdev_dev", "transaction_number"],
        JOURNAL,
        None,
    ),
    optional(
        "jbd2_commit_logging",
        &["journal_bdev", "bdev_dev", "transaction_number"],
        JOURNAL,
        None,
    ),
    optional("jbd2_end_commit", &[], JOURNAL, None),
    optional(
        "block_split",
        &["bio_private"],
        "parts of large disk requests have no owner",
        None,
    ),
];
