//! Block I/O family; kernel side: `tracer-ebpf/src/probes/block/`.

use std::cmp::Reverse;

use anyhow::Result;
use tracer_common::{
    block::{
        DISK_TOTALS_MAP, DiskOwner, DiskTotal, EARLIER_MAP, EarlierFile, FileOnDisk, IO_OPEN, Io,
        REQUESTS_MAP, RequestState, Sync,
    },
    histogram::{BLOCK_HISTOGRAMS_MAP, BlockCells, CellKey, Family},
    record::MapLoss,
};

use super::{
    frame::text,
    histogram::cell,
    maps::Maps,
    table::{Hook, Probe, in_module, optional, substitute},
};
use crate::event::{self, Event};

const BLIND: Option<&str> = Some("disk");

/// The journal of ext4, which is a module on many systems.
const JOURNAL: &str = "jbd2";

/// ext4 itself, a module on the same systems.
const FILE_SYSTEM: &str = "ext4";

const XFS: &str = "xfs";
const BTRFS: &str = "btrfs";

/// Modules of which the probes read structures.
pub(crate) const MODULES: [&str; 3] = [JOURNAL, XFS, BTRFS];

/// The cost of a missing probe on `fsync`.
const UNKNOWN_DISK: &str = "for which disk `fsync` waits may be unknown";

/// The probes of the family.
pub(super) const PROBES: &[Probe] = &[
    optional(
        "block_bio_queue",
        &[
            "task_flags",
            "disk_major",
            "disk_minor",
            "bio_opf",
            "bio_bytes",
        ],
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
    // Without the commits, none of the journal's probes is of use: what the thread writes would belong to the wrong processes.
    journal("jbd2_submit_inode_data", &["task_flags", "journal_bdev"]),
    journal("jbd2_handle_stats", &["task_flags", "journal_bdev"]),
    journal(
        "jbd2_commit_flushing",
        &["journal_bdev", "bdev_dev", "transaction_number"],
    ),
    journal(
        "jbd2_commit_logging",
        &["journal_bdev", "bdev_dev", "transaction_number"],
    ),
    journal("jbd2_end_commit", &["journal_bdev"]),
    log(
        "xfs_trans_commit",
        &[
            "task_flags",
            "xfs_trans_mount",
            "xfs_trans_reserved",
            "xfs_mount_sb",
            "sb_bdev",
            "bdev_dev",
        ],
    ),
    log(
        "xlog_iclog_write",
        &[
            "task_flags",
            "iclog_log",
            "xlog_mount",
            "xfs_mount_sb",
            "sb_bdev",
            "bdev_dev",
        ],
    ),
    optional(
        "writeback_queue",
        &[
            "work_sb",
            "sb_bdev",
            "bdev_disk",
            "disk_major",
            "disk_minor",
        ],
        "for which disk `sync` waits is unknown",
        None,
    ),
    in_module(
        FILE_SYSTEM,
        "ext4_sync_file_enter",
        &[
            "file_inode",
            "inode_sb",
            "sb_bdev",
            "bdev_disk",
            "disk_major",
            "disk_minor",
        ],
        UNKNOWN_DISK,
    ),
    in_module(
        XFS,
        "xfs_file_fsync",
        &[
            "xfs_inode",
            "inode_sb",
            "sb_bdev",
            "bdev_disk",
            "disk_major",
            "disk_minor",
        ],
        UNKNOWN_DISK,
    ),
    in_module(
        BTRFS,
        "btrfs_sync_file",
        &[
            "file_inode",
            "inode_sb",
            "sb_private",
            "btrfs_devices",
            "btrfs_device_count",
            "btrfs_device",
            "btrfs_bdev",
            "bdev_disk",
            "disk_major",
            "disk_minor",
        ],
        UNKNOWN_DISK,
    ),
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

/// A probe on the log of XFS.
const fn log(name: &'static str, facts: &'static [&'static str]) -> Probe {
    let cost = "what kernel threads write to the log of XFS belongs to them";
    in_module(XFS, name, facts, cost)
}

pub(super) fn io(r: &Io) -> event::Io {
    event::Io {
        ns: r.header.ns,
        dev: r.dev,
        op: r.op,
        queue_ns: r.queue_ns,
        issue_ns: r.issue_ns,
        bytes: r.bytes,
        pid: r.pid,
        tid: r.tid,
        flags: r.flags,
    }
}

pub(super) fn sync(r: &Sync) -> event::Sync {
    event::Sync {
        ns: r.header.ns,
        dev: r.dev,
        pid: r.pid,
        tid: r.tid,
    }
}

/// A request that is still in flight at `ns`, from the kernel half's state.
fn open_io(r: &RequestState, ns: u64) -> event::Io {
    event::Io {
        ns,
        dev: r.dev,
        op: r.op,
        queue_ns: r.queue_ns,
        issue_ns: r.issue_ns,
        bytes: r.bytes,
        pid: r.pid,
        tid: r.tid,
        flags: r.flags | IO_OPEN,
    }
}

/// Total use of a disk by one owner, from the kernel half's totals.
fn disk_total(key: DiskOwner, total: &DiskTotal) -> event::DiskTotal {
    event::DiskTotal {
        dev: key.dev,
        pid: key.pid,
        device_ns: total.device_ns,
        reads: total.reads,
        writes: total.writes,
        read_bytes: total.read_bytes,
        write_bytes: total.write_bytes,
        others: total.others,
    }
}

/// A file of which pages were written back that were dirty before the trace, from the kernel half's map.
fn earlier_file(key: FileOnDisk, file: &EarlierFile) -> event::EarlierFile {
    event::EarlierFile {
        dev: key.dev,
        fs_dev: key.fs_dev,
        inode: key.inode,
        name: text(&file.name),
        bytes: file.bytes,
        open: file.open != 0,
        is_disk: file.is_disk != 0,
        writer: None,
    }
}

/// All such files, the largest first; none, if the map cannot be read.
pub(super) fn earlier(maps: &impl Maps) -> Vec<Event> {
    let mut files = Vec::new();
    let _unreadable = maps.each(EARLIER_MAP, |key, file| {
        files.push(earlier_file(key, &file));
    });
    files.sort_by_key(|file| (Reverse(file.bytes), file.dev, file.inode));
    let files = files.into_iter().map(Box::new);
    files.map(Event::EarlierFile).collect()
}

/// Requests that are in flight at `ns`; none, if the maps cannot be read.
pub(super) fn open(maps: &impl Maps, ns: u64) -> Vec<Event> {
    let mut requests = maps.issued();
    let _unreadable = maps.each(REQUESTS_MAP, |_: u64, request| requests.push(request));
    let open = requests.iter().map(|request| open_io(request, ns));
    open.map(Event::Io).collect()
}

/// Histograms of every process's requests, and totals of each process on each disk.
///
/// # Errors
/// If a map cannot be read.
pub(super) fn totals(maps: &impl Maps, ns: u64) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    maps.each(BLOCK_HISTOGRAMS_MAP, |pid, cells: BlockCells| {
        for (family, values) in [
            (Family::BlockIoQueue, &cells.queue),
            (Family::BlockIoDevice, &cells.device),
        ] {
            let family = family as u32;
            let histogram = cell(ns, CellKey { pid, family }, values);
            events.push(Event::Histogram(Box::new(histogram)));
        }
    })?;
    maps.each(DISK_TOTALS_MAP, |owner, total| {
        events.push(Event::DiskTotal(disk_total(owner, &total)));
    })?;
    Ok(events)
}

/// The number of entries in the maps that evict the least recently used entry.
///
/// # Errors
/// If a map cannot be read.
pub(super) fn kept(maps: &impl Maps) -> Result<Vec<(MapLoss, u64)>> {
    let histograms = maps.count::<u32, BlockCells>(BLOCK_HISTOGRAMS_MAP)?;
    let totals = maps.count::<DiskOwner, DiskTotal>(DISK_TOTALS_MAP)?;
    Ok(vec![
        (MapLoss::BlockHistograms, histograms),
        (MapLoss::DiskTotals, totals),
    ])
}
