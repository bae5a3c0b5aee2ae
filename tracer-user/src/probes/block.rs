//! Block I/O family; kernel side: `tracer-ebpf/src/probes/block.rs`.

use super::{Hook, Probe, in_module, optional, substitute};

const BLIND: Option<&str> = Some("disk");

/// The module, where it is one, that has ext4's journal.
pub const JOURNAL: &str = "jbd2";

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
    journal("jbd2_submit_inode_data", &["task_flags"]),
    journal("jbd2_handle_stats", &["task_flags"]),
    journal(
        "jbd2_commit_flushing",
        &["journal_bdev", "bdev_dev", "transaction_number"],
    ),
    journal(
        "jbd2_commit_logging",
        &["journal_bdev", "bdev_dev", "transaction_number"],
    ),
    journal("jbd2_end_commit", &[]),
    optional(
        "block_split",
        &["bio_private"],
        "parts of large disk requests have no owner",
        None,
    ),
];

/// A probe on ext4's journal.
const fn journal(name: &'static str, facts: &'static [&'static str]) -> Probe {
    let cost = "journal commits of ext4 belong to their kernel thread";
    in_module(JOURNAL, name, facts, cost)
}
