//! Files with pages that were dirty before the trace began: how much of each was written back since, and to which disk.
//!
//! Nobody knows who dirtied them. The file itself tells its name, and whether somebody still has it open for writing.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::block::{EARLIER_MAP, EarlierFile, FileOnDisk};

use crate::{atomic, kernel::Inode, shared::shared};

/// Such files. User space sets the size by the number of CPUs. A file that is forgotten is missing in the sum over all of them. The
/// records of requests have that sum, too.
#[map]
static EARLIER: LruHashMap<FileOnDisk, EarlierFile> = LruHashMap::with_max_entries(512, 0);

shared!(EARLIER = EARLIER_MAP);

/// A new file. Not on the stack: there, zeros are a loop over bytes to the verifier.
static NEW: EarlierFile = EarlierFile::NONE;

/// Counts what is written to a disk of a file, given the address of its inode. Address 0 is none.
///
/// A global function: see [`crate::histograms::record`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn count_earlier(inode: u64, dev: u32, bytes: u32) -> u32 {
    if inode == 0 {
        return 0;
    }
    let inode = Inode(inode);
    let key = FileOnDisk {
        inode: inode.number(),
        fs_dev: inode.fs_dev(),
        dev,
    };
    if EARLIER.get_ptr(key).is_none() {
        let new: &EarlierFile = &NEW;
        // BPF_NOEXIST: another CPU may have been faster.
        let _ = EARLIER.insert(key, new, 1);
        if let Some(file) = EARLIER.get_ptr_mut(key) {
            // SAFETY: a map value. CPUs that are here at once write the same.
            unsafe {
                (*file).is_disk = u32::from(inode.is_disk());
                inode.name(&raw mut (*file).name);
            }
        }
    }
    if let Some(file) = EARLIER.get_ptr_mut(key) {
        // SAFETY: a map value, 8-byte aligned.
        unsafe {
            (*file).open = u32::from(inode.is_written());
            atomic::add64(&raw mut (*file).bytes, u64::from(bytes));
        }
    }
    0
}
