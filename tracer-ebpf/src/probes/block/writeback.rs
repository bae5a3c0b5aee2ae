//! The processes for which kernel threads write. They dirtied the pages of a file, or have a part in a journal transaction.
//!
//! A kernel thread that writes back works through one file at a time. The bios that it queues meanwhile belong to the last process
//! that dirtied the file. The thread of a journal works through one transaction. Its bios belong to the owners of the transaction's
//! handles, by blocks.
//!
//! The tracepoints of the journal are hooked by name. `jbd2` is a module on many systems, so its types are not in the kernel's BTF.

use aya_ebpf::{
    helpers::bpf_get_current_task,
    macros::{btf_tracepoint, map, raw_tracepoint},
    maps::{HashMap, LruHashMap},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use tracer_common::block::{
    BEFORE, Dirtier, Handles, IO_JOURNAL, IO_WRITEBACK, TRANSACTIONS_MAP, Transaction, Writing,
};

use super::{
    dirty, earlier,
    owners::{NO_HANDLES, add, share},
    xfs,
};
use crate::{
    kernel::{
        Bio, Mapping, PF_KTHREAD, config, current, journal_dev, number, transaction_number, untyped,
    },
    shared::shared,
};

/// The work of kernel threads that write just now, by thread: there are few of them at once.
#[map]
static WRITING: HashMap<u32, Writing> = HashMap::with_max_entries(1024, 0);

/// Transactions that run or are being committed, and some that were never seen to be done.
#[map]
static TRANSACTIONS: LruHashMap<Transaction, Handles> = LruHashMap::with_max_entries(1024, 0);

shared!(TRANSACTIONS = TRANSACTIONS_MAP);

/// The last transaction that was committed to each journal, by the device of its file system.
#[map]
static COMMITTING: HashMap<u32, Writing> = HashMap::with_max_entries(1024, 0);

/// Is `current` a kernel thread? Then it works on behalf of another process.
///
/// Read from the task itself: the probes may not have seen the switch that brought it (`sched::unseen_switch`).
#[inline(always)]
pub(super) fn is_kernel_thread() -> bool {
    // SAFETY: a helper without arguments; its result has no type on 5.10.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    untyped(task, config!(offsets.task_flags), 0) & PF_KTHREAD != 0
}

/// The process for which this kernel thread queues a bio just now, with the `IO_*` bit of the reason.
#[inline(always)]
pub(super) fn on_behalf(tid: u32) -> Option<(Dirtier, u32)> {
    if let Some(owner) = xfs::log_owner(tid) {
        return Some((owner, IO_JOURNAL));
    }
    let writing = WRITING.get_ptr_mut(tid)?;
    // SAFETY: a map value; only this thread writes it.
    let writing = unsafe { &mut *writing };
    if writing.flags != IO_JOURNAL {
        return (writing.dirtier.pid != 0).then_some((writing.dirtier, IO_WRITEBACK));
    }
    writing.bios = writing.bios.wrapping_add(1);
    // SAFETY: the entry is copied at once.
    let handles = unsafe { TRANSACTIONS.get(writing.transaction) }.copied()?;
    let owner = share(&handles, writing.bios);
    (owner.pid != 0).then_some((owner, IO_JOURNAL))
}

/// Address of the inode of the file that this kernel thread writes back just now; 0 if it writes back none.
#[inline(always)]
pub(super) fn file(tid: u32) -> u64 {
    let Some(writing) = WRITING.get_ptr(tid) else {
        return 0;
    };
    // SAFETY: a map value; only this thread writes it.
    unsafe { (*writing).inode }
}

/// The process whose write a kernel thread queues, which knows no more for whom: an I/O limit held it back. The first page names
/// the file. A page of the disk itself is the journal's, if the file system has the whole disk.
///
/// A loop device passes on pages of the file system above it. They are not of this disk: its worker queues them.
#[inline(always)]
pub(super) fn held_back(bio: Bio, dev: u32) -> Option<(Dirtier, u32)> {
    let written = bio.written()?;
    if written.rdev == dev {
        let committing = COMMITTING.get_ptr_mut(written.rdev)?;
        // SAFETY: a map value. Two CPUs that count at once may count one bio: an estimate suffers little.
        let (number, bios) = unsafe {
            (*committing).bios = (*committing).bios.wrapping_add(1);
            ((*committing).transaction.number, (*committing).bios)
        };
        let key = Transaction {
            dev: written.rdev,
            number,
        };
        // SAFETY: the entry is copied at once.
        let handles = unsafe { TRANSACTIONS.get(key) }.copied()?;
        let owner = share(&handles, bios);
        return (owner.pid != 0).then_some((owner, IO_JOURNAL));
    }
    if written.dev != dev {
        return None;
    }
    let owner = dirty::dirtier(written.inode);
    if owner.pid == BEFORE {
        earlier::count_earlier(written.inode, dev, bio.bytes());
    }
    (owner.pid != 0).then_some((owner, IO_WRITEBACK))
}

/// The process to charge for what `current` does to a file: itself, or the one it writes on behalf of. `None`: a kernel thread
/// writes for itself.
#[inline(always)]
pub(super) fn owner_here() -> Option<Dirtier> {
    let (pid, tid) = current();
    if is_kernel_thread() {
        on_behalf(tid).map(|(owner, _)| owner)
    } else {
        Some(Dirtier { pid, tid })
    }
}

/// A page of a file became dirty.
#[inline(always)]
fn dirtied(mapping: Mapping) {
    if mapping.is_null() {
        return;
    }
    let inode = mapping.inode();
    let (pid, tid) = current();
    if dirty::is_known(inode, pid) {
        return;
    }
    // A thread that writes back dirties a page again when it cannot be written just then (`folio_redirty_for_writepage`). The
    // thread of the journal dirties the blocks that it has committed.
    let by = owner_here().unwrap_or(Dirtier { pid, tid });
    dirty::remember(inode, by);
}

/// `writeback_dirty_folio(struct folio *folio, struct address_space *mapping)`, from 5.18 on; once for each that was clean. The mapping
/// may be null.
#[btf_tracepoint(function = "writeback_dirty_folio")]
fn writeback_dirty_folio(ctx: BtfTracePointContext) -> i32 {
    dirtied(Mapping(ctx.arg(1)));
    0
}

/// `writeback_dirty_page(struct page *page, struct address_space *mapping)`, before 5.18.
#[btf_tracepoint(function = "writeback_dirty_page")]
fn writeback_dirty_page(ctx: BtfTracePointContext) -> i32 {
    dirtied(Mapping(ctx.arg(1)));
    0
}

/// A kernel thread begins to write a file back.
#[inline(always)]
fn writes_back(inode: u64) {
    if !is_kernel_thread() {
        return;
    }
    let (_, tid) = current();
    let writing = Writing {
        flags: IO_WRITEBACK,
        dirtier: dirty::written(inode),
        transaction: Transaction { dev: 0, number: 0 },
        bios: 0,
        inode: number(inode),
    };
    let _ = WRITING.insert(tid, writing, 0);
}

/// `writeback_single_inode_start(struct inode *inode, struct writeback_control *wbc, unsigned long nr_to_write)`, everywhere.
#[btf_tracepoint(function = "writeback_single_inode_start")]
fn writeback_single_inode_start(ctx: BtfTracePointContext) -> i32 {
    writes_back(ctx.arg::<*const u8>(0) as u64);
    0
}

/// `writeback_single_inode(struct inode *inode, struct writeback_control *wbc, unsigned long nr_to_write)`, everywhere. The
/// write-back of the file is done.
#[btf_tracepoint(function = "writeback_single_inode")]
fn writeback_single_inode(_: BtfTracePointContext) -> i32 {
    let _ = WRITING.remove(current().1);
    0
}

/// `jbd2_submit_inode_data(struct inode *inode)`, everywhere: the journal writes the file's data before the commit (`data=ordered`).
#[raw_tracepoint(tracepoint = "jbd2_submit_inode_data")]
fn jbd2_submit_inode_data(ctx: RawTracePointContext) -> i32 {
    writes_back(ctx.arg::<*const u8>(0) as u64);
    0
}

/// The thread of the journal writes the transaction itself from now on.
#[inline(always)]
fn commits(ctx: &RawTracePointContext) {
    let writing = Writing {
        flags: IO_JOURNAL,
        dirtier: Dirtier { pid: 0, tid: 0 },
        transaction: Transaction {
            dev: journal_dev(ctx.arg(0)),
            number: transaction_number(ctx.arg(1)),
        },
        bios: 0,
        inode: 0,
    };
    let _ = WRITING.insert(current().1, writing, 0);
    let _ = COMMITTING.insert(writing.transaction.dev, writing, 0);
}

/// `jbd2_commit_flushing(journal_t *journal, transaction_t *commit_transaction)`, everywhere; before the files' data.
#[raw_tracepoint(tracepoint = "jbd2_commit_flushing")]
fn jbd2_commit_flushing(ctx: RawTracePointContext) -> i32 {
    commits(&ctx);
    0
}

/// `jbd2_commit_logging(journal_t *journal, transaction_t *commit_transaction)`, everywhere; after the files' data.
#[raw_tracepoint(tracepoint = "jbd2_commit_logging")]
fn jbd2_commit_logging(ctx: RawTracePointContext) -> i32 {
    commits(&ctx);
    0
}

/// `jbd2_end_commit(journal_t *journal, transaction_t *commit_transaction)`, everywhere.
#[raw_tracepoint(tracepoint = "jbd2_end_commit")]
fn jbd2_end_commit(_: RawTracePointContext) -> i32 {
    let tid = current().1;
    if let Some(writing) = WRITING.get_ptr(tid) {
        // SAFETY: a map value; only this thread writes it.
        let done = unsafe { (*writing).transaction };
        let _ = TRANSACTIONS.remove(done);
    }
    let _ = WRITING.remove(tid);
    0
}

/// `jbd2_handle_stats(dev_t dev, tid_t tid, unsigned int type, unsigned int line_no, int interval, int sync, int requested_blocks,
/// int dirtied_blocks)`, everywhere (`tid` is wider before 5.11). A handle is done, in the context of its owner.
#[raw_tracepoint(tracepoint = "jbd2_handle_stats")]
fn jbd2_handle_stats(ctx: RawTracePointContext) -> i32 {
    let dirtied = ctx.arg::<u64>(7) as u32;
    if dirtied == 0 {
        return 0;
    }
    let Some(owner) = owner_here() else {
        return 0;
    };
    let key = Transaction {
        dev: ctx.arg::<u64>(0) as u32,
        number: ctx.arg::<u64>(1) as u32,
    };
    if TRANSACTIONS.get_ptr(key).is_none() {
        #[expect(
            clippy::needless_borrows_for_generic_args,
            reason = "by value it would lie on the stack"
        )]
        let _ = TRANSACTIONS.insert(key, &NO_HANDLES, 1);
    }
    if let Some(handles) = TRANSACTIONS.get_ptr_mut(key) {
        // SAFETY: a map value. Two handles that end at once on two CPUs may lose the blocks of one: an estimate suffers little.
        add(unsafe { &mut *handles }, owner, dirtied);
    }
    0
}
