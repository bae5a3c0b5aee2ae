//! The only answer to "is this task traced?"

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::config::{Marks, TARGETS_ENTRIES, TARGETS_MAP};

use crate::{atomic, kernel::config, shared::shared};

/// `BPF_F_MMAPABLE`: user space sets single bits, which no system call can do.
const MAPPED: u32 = 1 << 10;

/// A bit test costs few instructions after an array look-up that the JIT inlines. A hash map would cost ten times as much on every
/// switch of the machine. User space marks the first targets before any probe fires.
#[map]
static TARGETS: Array<Marks> = Array::with_max_entries(TARGETS_ENTRIES, MAPPED);

shared!(TARGETS = TARGETS_MAP);

#[inline(always)]
fn marks(pid: u32) -> Option<*mut Marks> {
    TARGETS.get_ptr_mut(pid >> 6)
}

/// Is this process a target?
#[inline(always)]
pub(crate) fn is_target(pid: u32) -> bool {
    let Some(marks) = marks(pid) else {
        return false;
    };
    is_marked(marks, pid)
}

/// Has a process a bit in either word of its entry?
#[inline(always)]
fn is_marked(marks: *mut Marks, pid: u32) -> bool {
    // SAFETY: a map value lives as long as the map.
    let both = unsafe {
        (&raw const (*marks).born).read_volatile() | (&raw const (*marks).found).read_volatile()
    };
    both >> (pid & 63) & 1 != 0
}

/// Are only the long waits of a process wanted, and no requests? Where every process is a target, user space marks those of which all is
/// wanted.
#[inline(always)]
pub(crate) fn is_light(pid: u32) -> bool {
    if config!(light) == 0 {
        return false;
    }
    let Some(marks) = marks(pid) else { return true };
    // SAFETY: a map value lives as long as the map.
    let found = unsafe { (&raw const (*marks).found).read_volatile() };
    found >> (pid & 63) & 1 == 0
}

/// Is this process a target of which all is wanted?
#[inline(always)]
pub(crate) fn is_full_target(pid: u32) -> bool {
    is_target(pid) && !is_light(pid)
}

/// Makes a process that is forked a target, or ends that when its id is reused. The tracer itself never becomes one. Where every process
/// is a target, all was wanted of whoever had this id before, and not of the new one.
#[inline(always)]
pub(crate) fn set_target(pid: u32, target: bool) {
    if pid == config!(self_pid) {
        return;
    }
    let Some(marks) = marks(pid) else { return };
    let bit = 1_u64 << (pid & 63);
    // SAFETY: a map value lives as long as the map, and its words are 8-byte aligned.
    let (born, found) = unsafe { (&raw mut (*marks).born, &raw mut (*marks).found) };
    if config!(light) != 0 {
        clear(found, bit);
    }
    if is_marked(marks, pid) == target {
        return;
    }
    if target {
        // Only the fork of this process sets its bit here, so the addition never carries.
        // SAFETY: as above.
        unsafe { atomic::add64(born, bit) };
    } else {
        clear(born, bit);
        clear(found, bit);
    }
}

/// Clears a bit of a word of a map value. Only the fork of the process clears its bits, so the subtraction never borrows.
#[inline(always)]
fn clear(word: *mut u64, bit: u64) {
    // SAFETY: a map value lives as long as the map, and its words are 8-byte aligned.
    unsafe {
        if word.read_volatile() & bit != 0 {
            atomic::add64(word, bit.wrapping_neg());
        }
    }
}
