//! The owner of a bio that an I/O limit of its control group held back. A kernel thread queues such a bio.
//!
//! The limit comes before `block_bio_queue`, so the probe does not see the submitter. The bio names its group. User space looks
//! into the folder of the group and finds the process.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::block::{GroupOnDisk, HELD_BACK_MAP, HeldBack};

use crate::{
    kernel::{QueueGroup, current_work_function},
    shared::shared,
};

/// Groups for which kernel threads queue. Read and written by user space.
#[map]
static HELD_BACK: LruHashMap<GroupOnDisk, HeldBack> = LruHashMap::with_max_entries(256, 0);

shared!(HELD_BACK = HELD_BACK_MAP);

/// The process for which a kernel thread queues a bio of this group on a disk, if user space has found it.
#[inline(always)]
pub(super) fn owner(group: QueueGroup, dev: u32) -> Option<u32> {
    let key = GroupOnDisk {
        group: group.number(),
        dev,
        reserved: 0,
    };
    if key.group == 0 {
        return None;
    }
    let Some(known) = HELD_BACK.get_ptr(key) else {
        let asked = HeldBack {
            function: current_work_function(),
            pid: 0,
        };
        // A full map forgets a group; its next bio asks again.
        let _ = HELD_BACK.insert(key, asked, 1);
        return None;
    };
    // SAFETY: a map value.
    let pid = unsafe { (*known).pid };
    (pid != 0).then_some(pid as u32)
}
