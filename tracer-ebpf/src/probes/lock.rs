//! Locks on files (`flock`, `fcntl`, leases) and of the kernel: for whom a target thread sleeps, and who has what it is refused. Who
//! freezes a file system locks out its writers.
//!
//! All of it is read by a helper: the arguments may be null, and the lock in the way was another's until a moment ago.

use core::ptr::null;

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, map},
    maps::{HashMap, LruHashMap},
    programs::{BtfTracePointContext, FEntryContext},
};
use tracer_common::{
    Kind,
    lock::{
        LOCK_FROZEN, LOCK_GRANTED, LOCK_KERNEL, LOCK_REFUSED, LOCK_WAITS, LockReleased, LockTried,
    },
};

use super::sched;
use crate::{
    cpus, emit,
    filter::is_full_target,
    kernel::{FileLock, config, current, has, now, number, since_boot, untyped},
};

/// Threads that were refused a lock and have not got one since. An evicted one is only not seen to get it.
#[map]
static REFUSED: LruHashMap<u32, u8> = LruHashMap::with_max_entries(4096, 0);

/// `FILE_LOCK_DEFERRED` of `include/linux/filelock.h`: it sleeps now.
const DEFERRED: i32 = 1;
const EAGAIN: i32 = -11;

/// Most locks of a file that are looked through, and most waiters before a waiter.
const MOST: u32 = 8;

/// `posix_lock_inode(struct inode *inode, struct file_lock *fl, int ret)`, everywhere: at the end of each attempt.
#[btf_tracepoint(function = "posix_lock_inode")]
fn posix_lock_inode(ctx: BtfTracePointContext) -> i32 {
    tried(&ctx, config!(offsets.locks_posix))
}

/// `flock_lock_inode(struct inode *inode, struct file_lock *fl, int ret)`, everywhere: at the end of each attempt.
#[btf_tracepoint(function = "flock_lock_inode")]
fn flock_lock_inode(ctx: BtfTracePointContext) -> i32 {
    tried(&ctx, config!(offsets.locks_flock))
}

/// `list` is the offset of the file's locks of this kind.
#[inline(always)]
fn tried(ctx: &BtfTracePointContext, list: u32) -> i32 {
    let (pid, tid) = current();
    if !is_full_target(pid) {
        return 0;
    }
    let (inode, lock, result) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1), ctx.arg::<u64>(2));
    if inode == 0 || lock == 0 {
        return 0;
    }
    let (inode, lock) = (number(inode), FileLock(number(lock)));
    let (outcome, owner_pid) = match result as i32 {
        DEFERRED => (LOCK_WAITS, blocker(lock)),
        EAGAIN => {
            let _ = REFUSED.insert(tid, 0_u8, 0);
            (LOCK_REFUSED, in_the_way(inode, lock, list))
        }
        0 if !lock.is_release() && REFUSED.remove(tid).is_ok() => (LOCK_GRANTED, 0),
        _ => return 0,
    };
    emit_tried(inode, (pid, tid), (outcome, owner_pid));
    0
}

/// `break_lease_block(struct inode *inode, struct file_lock *fl)`, everywhere (from 6.9 on a `struct file_lease`, which begins alike):
/// who opens or cuts a file sleeps until the owner of a lease on it has given that up. `fl` is the sleeper's own, and waits.
#[btf_tracepoint(function = "break_lease_block")]
fn break_lease_block(ctx: BtfTracePointContext) -> i32 {
    let (pid, tid) = current();
    if !is_full_target(pid) {
        return 0;
    }
    let (inode, lock) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    if inode == 0 || lock == 0 {
        return 0;
    }
    let owner_pid = blocker(FileLock(number(lock)));
    emit_tried(number(inode), (pid, tid), (LOCK_WAITS, owner_pid));
    0
}

/// Emits the end of an attempt to lock a file: its outcome, and the process in the way.
#[inline(always)]
fn emit_tried(inode: u64, (pid, tid): (u32, u32), (outcome, owner_pid): (u32, u32)) {
    emit::event::<LockTried>(Kind::LockTried, now(), |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.inode = untyped(inode as *const u8, config!(offsets.inode_number), 0);
        record.pid = pid;
        record.tid = tid;
        record.owner_pid = owner_pid;
        record.owner_tid = 0;
        record.outcome = outcome;
        record.reserved = 0;
        record.frozen_ns = 0;
    });
}

/// The thread that has a lock of the kernel, or froze a file system.
#[derive(Clone, Copy)]
struct Owner {
    pid: u32,
    tid: u32,
    /// When it froze the file system, ns since boot; 0 of a lock. That may last for days after `fsfreeze` has ended.
    frozen_ns: u64,
}

/// Who froze each file system that is frozen, by the address of its `struct super_block`.
#[map]
static FROZEN: HashMap<u64, Owner> = HashMap::with_max_entries(64, 0);

/// `SB_FREEZE_LEVELS` of `include/linux/fs.h`.
const LEVELS: u32 = 3;

/// `int freeze_super(struct super_block *sb, …)`, 5.10 to 7.2: `fsfreeze`, a snapshot, a suspended device. One that is frozen already stays
/// the first one's.
#[fentry(function = "freeze_super")]
fn freeze_super(ctx: FEntryContext) -> i32 {
    let sb = number(ctx.arg(0));
    // An `int` before 6.6.
    if untyped(sb as *const u8, config!(offsets.sb_frozen), 1_u16) != 0 {
        return 0;
    }
    let (pid, tid) = current();
    let freezer = Owner {
        pid,
        tid,
        frozen_ns: since_boot(),
    };
    let _ = FROZEN.insert(sb, freezer, 0);
    0
}

/// `int thaw_super(struct super_block *sb, …)`, likewise.
#[fentry(function = "thaw_super")]
fn thaw_super(ctx: FEntryContext) -> i32 {
    let sb = number(ctx.arg(0));
    let _ = FROZEN.remove(sb);
    0
}

/// Who froze the file system whose writers wait for this semaphore; null if it is another one, or was frozen before the trace.
///
/// Not an `Option`, as for [`untyped`].
#[inline(always)]
fn freezer(semaphore: u64) -> *const Owner {
    let (first, end) = (config!(offsets.sb_writers), config!(offsets.sb_writers_end));
    // Then nobody was seen to freeze anything either.
    if !has(first) || !has(end) {
        return null();
    }
    let each = end.wrapping_sub(first) / LEVELS;
    let mut level = 0;
    while level < LEVELS {
        let sb = semaphore.wrapping_sub(u64::from(first + level * each));
        if let Some(freezer) = FROZEN.get_ptr(sb) {
            return freezer;
        }
        level += 1;
    }
    null()
}

/// Flags of `contention_begin` (`include/trace/events/lock.h`): reader or writer of a semaphore, a semaphore of which each CPU counts its
/// own readers, and a mutex. A thread that still spins has another flag besides.
const READ: u32 = 2;
const WRITE: u32 = 4;
const PER_CPU_READ: u32 = 16 | READ;
const MUTEX: u32 = 32;
/// Bits of the owner's word that are no address, and the one of a semaphore that readers own.
const FLAGS: u64 = 7;
const READERS: u64 = 1;

/// `contention_begin(void *lock, unsigned int flags)`, 5.19 and later: before the sleep. Also fires for spinlocks, which end here.
#[btf_tracepoint(function = "contention_begin")]
fn contention_begin(ctx: BtfTracePointContext) -> i32 {
    let flags = ctx.arg::<u64>(1) as u32;
    if flags != MUTEX && flags != READ && flags != WRITE && flags != PER_CPU_READ {
        return 0;
    }
    let (pid, tid) = current();
    if !is_full_target(pid) {
        return 0;
    }
    let lock = ctx.arg::<u64>(0) as *const u8;
    if flags == PER_CPU_READ {
        // Such a semaphore knows no owner.
        let freezer = freezer(number(lock as u64));
        if !freezer.is_null() {
            // SAFETY: a map value; it is written once, before writers wait.
            let freezer = unsafe { *freezer };
            emit_contends((pid, tid), freezer, LOCK_FROZEN);
        }
        return 0;
    }
    let word: u64 = if flags == MUTEX {
        untyped(lock, config!(offsets.mutex_owner), 0)
    } else {
        // The word names only the last of the readers, and it may be gone.
        match untyped(lock, config!(offsets.rwsem_owner), 0_u64) {
            word if word & READERS != 0 => 0,
            word => word,
        }
    };
    let owner = (word & !FLAGS) as *const u8;
    if owner.is_null() {
        return 0;
    }
    let owner_pid = untyped(owner, config!(offsets.task_pid), 0);
    let owner_tid = untyped(owner, config!(offsets.task_tid), 0);
    let owner = Owner {
        pid: owner_pid,
        tid: owner_tid,
        frozen_ns: 0,
    };
    emit_contends((pid, tid), owner, LOCK_KERNEL);
    sched::contends(tid);
    0
}

/// Emits that a target thread goes to sleep for a lock of the kernel.
#[inline(always)]
fn emit_contends((pid, tid): (u32, u32), owner: Owner, outcome: u32) {
    emit::event::<LockTried>(Kind::LockTried, now(), |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.inode = 0;
        record.pid = pid;
        record.tid = tid;
        record.owner_pid = owner.pid;
        record.owner_tid = owner.tid;
        record.outcome = outcome;
        record.reserved = 0;
        record.frozen_ns = owner.frozen_ns;
    });
}

/// `current` wakes a thread that slept for a lock of the kernel.
#[inline(always)]
pub(super) fn emit_released(pid: u32, tid: u32, now: u64) {
    let Some(state) = cpus::state(cpus::here()) else {
        return;
    };
    // SAFETY: a map value; `current` is on this CPU.
    let since_ns = unsafe { (*state).since_ns };
    emit::event::<LockReleased>(Kind::LockReleased, now, |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.since_ns = since_ns;
        record.pid = pid;
        record.tid = tid;
    });
}

/// The process for which a lock waits in the end: a waiter stands behind other waiters, and the first of them behind the owner.
#[inline(always)]
fn blocker(lock: FileLock) -> u32 {
    let mut owner = lock.blocker();
    if owner.0 == 0 {
        return 0;
    }
    let mut steps = 0;
    while steps < MOST {
        let next = owner.blocker();
        if next.0 == 0 {
            return owner.pid();
        }
        owner = next;
        steps += 1;
    }
    0
}

/// The process with the first lock of a file that keeps this one from being granted.
#[inline(always)]
fn in_the_way(inode: u64, lock: FileLock, list: u32) -> u32 {
    let locks: u64 = untyped(inode as *const u8, config!(offsets.inode_locks), 0);
    if locks == 0 {
        return 0;
    }
    let head = locks + u64::from(list);
    let mut entry: u64 = untyped(head as *const u8, 0, 0);
    let mut steps = 0;
    while steps < MOST {
        if entry == 0 || entry == head {
            return 0;
        }
        let other = FileLock(entry - u64::from(config!(offsets.lock_list)));
        if other.is_in_the_way_of(lock) {
            return other.pid();
        }
        entry = untyped(entry as *const u8, 0, 0);
        steps += 1;
    }
    0
}
