//! Files with dirty pages: the process that last dirtied each.
//!
//! A job that unpacks an archive dirties tens of thousands of files before the first is written back. The map has no room for all of
//! them, and forgets the oldest. So the number of each process's dirty files is kept beside it, for each file system. A file that is
//! forgotten belongs to one of these processes, in proportion.
//!
//! A file that was dirty before the trace began belongs to nobody known. It tells itself when it became dirty.

use aya_ebpf::{
    helpers::bpf_jiffies64,
    macros::map,
    maps::{Array, LruHashMap},
};
use tracer_common::block::{BEFORE, DIRTIERS_MAP, Dirtier, DirtyFile, DirtyFiles};

use super::owners::{NONE, add, share, take_one};
use crate::{
    kernel::{config, has, now, number, untyped},
    shared::shared,
};

/// The last thread that dirtied a file, by the address of its inode. User space sets the size by the number of CPUs.
#[map]
static DIRTIERS: LruHashMap<u64, DirtyFile> = LruHashMap::with_max_entries(16_384, 0);

shared!(DIRTIERS = DIRTIERS_MAP);

/// The processes with dirty files, by the address of the super block.
#[map]
static DIRTY_FILES: LruHashMap<u64, DirtyFiles> = LruHashMap::with_max_entries(1024, 0);

/// When the first dirty page or write-back was seen, in jiffies; 0: none was.
#[map]
static FIRST_SEEN: Array<u64> = Array::with_max_entries(1, 0);

/// No files. Not on the stack, see [`super::owners::NO_HANDLES`].
static NO_FILES: DirtyFiles = DirtyFiles {
    halved_ns: 0,
    files: NONE,
};

/// Dirty pages are written back after 30 s (`dirty_expire_centisecs`). Files that were removed instead still count: halving them
/// this often, ns, forgets them.
const HALVED_AFTER_NS: u64 = 30_000_000_000;

/// When the first dirty page or write-back was seen, in jiffies: now, if none was before.
#[inline(always)]
fn first_seen() -> u64 {
    let Some(first) = FIRST_SEEN.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a map value, 8-byte aligned. CPUs that are here at once write the same.
    unsafe {
        if *first == 0 {
            *first = bpf_jiffies64();
        }
        *first
    }
}

/// Was the file dirty before the trace began?
#[inline(always)]
fn is_older(inode: u64) -> bool {
    if !has(config!(offsets.inode_dirtied_when)) {
        return false;
    }
    let first = first_seen();
    let when = untyped(
        inode as *const u8,
        config!(offsets.inode_dirtied_when),
        first,
    );
    (when.wrapping_sub(first) as i64) < 0
}

#[inline(always)]
fn super_block(inode: u64) -> u64 {
    if has(config!(offsets.inode_sb)) {
        untyped(inode as *const u8, config!(offsets.inode_sb), 0)
    } else {
        0
    }
}

/// Is this process known to have dirtied the file last, since it was written back?
#[inline(always)]
pub(super) fn is_known(inode: u64, pid: u32) -> bool {
    let Some(known) = DIRTIERS.get_ptr(inode) else {
        return false;
    };
    // SAFETY: a map value.
    unsafe { (*known).by.pid == pid && (*known).counted != 0 }
}

/// A thread dirtied a file that it was not known to have dirtied.
#[inline(always)]
pub(super) fn remember(inode: u64, by: Dirtier) {
    first_seen();
    let sb = super_block(inode);
    if let Some(known) = DIRTIERS.get_ptr(inode) {
        // SAFETY: a map value.
        let known = unsafe { *known };
        if known.counted != 0 {
            uncount(sb, known.by.pid);
        }
    }
    let file = DirtyFile {
        by,
        counted: 1,
        reserved: 0,
    };
    let _ = DIRTIERS.insert(inode, file, 0);
    count(sb, by);
}

/// One more dirty file of a process.
#[inline(always)]
fn count(sb: u64, by: Dirtier) {
    if DIRTY_FILES.get_ptr(sb).is_none() {
        #[expect(
            clippy::needless_borrows_for_generic_args,
            reason = "by value it would lie on the stack"
        )]
        let _ = DIRTY_FILES.insert(sb, &NO_FILES, 1);
    }
    let Some(dirty) = DIRTY_FILES.get_ptr_mut(sb) else {
        return;
    };
    // SAFETY: a map value. Two CPUs that add at once may lose one file: an estimate suffers little.
    let dirty = unsafe { &mut *dirty };
    let now = now();
    if now.wrapping_sub(dirty.halved_ns) > HALVED_AFTER_NS {
        dirty.halved_ns = now;
        for number in &mut dirty.files.blocks {
            *number /= 2;
        }
    }
    add(&mut dirty.files, by, 1);
}

/// A dirty file of a process is written back.
#[inline(always)]
fn uncount(sb: u64, pid: u32) {
    if let Some(dirty) = DIRTY_FILES.get_ptr_mut(sb) {
        // SAFETY: a map value, see `count`.
        take_one(unsafe { &mut (*dirty).files }, pid);
    }
}

/// A kernel thread begins to write a file back. Returns the process to charge: pid 0 if none is known, [`BEFORE`] if it was before
/// the trace.
#[inline(always)]
pub(super) fn written(inode: u64) -> Dirtier {
    let sb = super_block(inode);
    if let Some(known) = DIRTIERS.get_ptr_mut(inode) {
        // SAFETY: a map value; a file is written back by one thread at a time.
        let known = unsafe { &mut *known };
        if known.counted != 0 {
            known.counted = 0;
            uncount(sb, known.by.pid);
        }
        return known.by;
    }
    unknown(sb, inode)
}

/// The process that dirtied a file, of which a page is written just now: see [`written`].
#[inline(always)]
pub(super) fn dirtier(inode: u64) -> Dirtier {
    // SAFETY: the entry is copied at once.
    match unsafe { DIRTIERS.get(inode) }.copied() {
        Some(known) => known.by,
        None => unknown(super_block(inode), inode),
    }
}

/// The owner of a file that the map does not hold.
#[inline(always)]
fn unknown(sb: u64, inode: u64) -> Dirtier {
    if !is_older(inode) {
        return forgotten(sb, inode);
    }
    let by = Dirtier {
        pid: BEFORE,
        tid: 0,
    };
    let file = DirtyFile {
        by,
        counted: 0,
        reserved: 0,
    };
    // The kernel may set the time anew when it has written a part of the file.
    let _ = DIRTIERS.insert(inode, file, 0);
    by
}

/// A file that the map has forgotten: its place in memory draws one of the processes with dirty files.
#[inline(always)]
fn forgotten(sb: u64, inode: u64) -> Dirtier {
    let nobody = Dirtier { pid: 0, tid: 0 };
    let Some(dirty) = DIRTY_FILES.get_ptr_mut(sb) else {
        return nobody;
    };
    // SAFETY: a map value, see `count`.
    let files = unsafe { &mut (*dirty).files };
    let by = share(files, (number(inode) >> 3) as u32);
    if by.pid != 0 {
        take_one(files, by.pid);
    }
    by
}
