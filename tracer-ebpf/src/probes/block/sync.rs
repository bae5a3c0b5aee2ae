//! The disk for which a target thread waits while it writes a file or a file system out.
//!
//! Kernel threads do the work: that of the journal, and that of the writeback. The wait itself does not show on which disk.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::{Kind, block::Sync};

use crate::{
    emit,
    filter::is_target,
    kernel::{WritebackWork, btrfs_dev, current, file_dev, now, xfs_dev},
};

#[inline(always)]
fn begins(dev: u32, (pid, tid): (u32, u32)) {
    // A file system without a disk, or with several.
    if dev == 0 {
        return;
    }
    emit::event::<Sync>(Kind::Sync, now(), |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.dev = dev;
        record.pid = pid;
        record.tid = tid;
        record.reserved = 0;
    });
}

/// `writeback_queue(struct bdi_writeback *wb, struct wb_writeback_work *work)`, everywhere. In the context of `sync`, `syncfs` and
/// `umount`, once for each file system, before they wait.
#[btf_tracepoint(function = "writeback_queue")]
fn writeback_queue(ctx: BtfTracePointContext) -> i32 {
    let of = current();
    if !is_target(of.0) {
        return 0;
    }
    let work = WritebackWork(ctx.arg(1));
    if work.is_null() {
        return 0;
    }
    // Without a file system, it is an order to write anything back, and nobody waits for it.
    let sb = work.sb();
    if sb.is_null() {
        return 0;
    }
    let bdev = sb.bdev();
    if bdev.is_null() {
        return 0;
    }
    begins(bdev.disk().dev(), of);
    0
}

/// `xfs_file_fsync(struct xfs_inode *ip)`, everywhere. Hooked by name: see `ext4_sync_file_enter`.
#[raw_tracepoint(tracepoint = "xfs_file_fsync")]
fn xfs_file_fsync(ctx: RawTracePointContext) -> i32 {
    let of = current();
    if is_target(of.0) {
        begins(xfs_dev(ctx.arg(0)), of);
    }
    0
}

/// `btrfs_sync_file(const struct file *file, int datasync)`, up to 6.18. Hooked by name: see `ext4_sync_file_enter`.
#[raw_tracepoint(tracepoint = "btrfs_sync_file")]
fn btrfs_sync_file(ctx: RawTracePointContext) -> i32 {
    let of = current();
    if is_target(of.0) {
        begins(btrfs_dev(ctx.arg(0)), of);
    }
    0
}

/// `ext4_sync_file_enter(struct file *file, int datasync)`, everywhere. Hooked by name: `ext4` is a module on many systems.
#[raw_tracepoint(tracepoint = "ext4_sync_file_enter")]
fn ext4_sync_file_enter(ctx: RawTracePointContext) -> i32 {
    let of = current();
    if is_target(of.0) {
        begins(file_dev(ctx.arg(0)), of);
    }
    0
}
