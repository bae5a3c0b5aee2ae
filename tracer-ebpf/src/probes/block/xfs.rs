//! The log of XFS: the processes for which kernel threads write it.
//!
//! A transaction is committed in memory, in the context of its owner. It goes to the log later, together with those of others. Whoever
//! waits for it writes the log, or a kernel thread does. What the thread writes belongs to one of the processes with transactions of
//! late, in proportion to the room in the log that they reserved.
//!
//! Hooked by name: `xfs` is a module on many systems, so its types are not in the kernel's BTF.

use aya_ebpf::{
    helpers::bpf_get_prandom_u32,
    macros::{map, raw_tracepoint},
    maps::{HashMap, LruHashMap},
    programs::RawTracePointContext,
};
use tracer_common::block::{Dirtier, Handles};

use super::{
    owners::{NO_HANDLES, add, share},
    writeback::{is_kernel_thread, owner_here},
};
use crate::kernel::{current, xfs_log_dev, xfs_transaction};

/// The processes with transactions, by the device of their file system.
#[map]
static LOGS: LruHashMap<u32, Handles> = LruHashMap::with_max_entries(256, 0);

/// Kernel threads that are about to queue a bio of a log, and the device of its file system.
#[map]
static LOG_WRITES: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);

/// The process for which this kernel thread queues a bio of a log; `None` if it is no such bio.
#[inline(always)]
pub(super) fn log_owner(tid: u32) -> Option<Dirtier> {
    // SAFETY: a map value; only this thread writes it.
    let dev = unsafe { *LOG_WRITES.get_ptr(tid)? };
    // The thread may be a kworker that does other work afterwards.
    let _ = LOG_WRITES.remove(tid);
    let handles = LOGS.get_ptr_mut(dev)?;
    // SAFETY: a map value. Two CPUs that count at once may lose a transaction: an estimate suffers little.
    let handles = unsafe { &mut *handles };
    // SAFETY: a helper without arguments.
    let owner = share(handles, unsafe { bpf_get_prandom_u32() });
    // What was written is no reason to write again. Which transactions this were is not known.
    for number in &mut handles.blocks {
        *number /= 2;
    }
    (owner.pid != 0).then_some(owner)
}

/// `xfs_trans_commit(struct xfs_trans *tp, unsigned long caller_ip)`, everywhere.
#[raw_tracepoint(tracepoint = "xfs_trans_commit")]
fn xfs_trans_commit(ctx: RawTracePointContext) -> i32 {
    let Some(owner) = owner_here() else {
        return 0;
    };
    let (dev, reserved) = xfs_transaction(ctx.arg(0));
    if LOGS.get_ptr(dev).is_none() {
        #[expect(
            clippy::needless_borrows_for_generic_args,
            reason = "by value it would lie on the stack"
        )]
        let _ = LOGS.insert(dev, &NO_HANDLES, 1);
    }
    if let Some(handles) = LOGS.get_ptr_mut(dev) {
        // In KiB: sums of bytes would overflow.
        // SAFETY: a map value, see `log_owner`.
        add(unsafe { &mut *handles }, owner, reserved / 1024 + 1);
    }
    0
}

/// `xlog_iclog_write(struct xlog_in_core *iclog, unsigned long caller_ip)`, from 5.14 on; just before the bio is queued.
#[raw_tracepoint(tracepoint = "xlog_iclog_write")]
fn xlog_iclog_write(ctx: RawTracePointContext) -> i32 {
    if is_kernel_thread() {
        let _ = LOG_WRITES.insert(current().1, xfs_log_dev(ctx.arg(0)), 0);
    }
    0
}
