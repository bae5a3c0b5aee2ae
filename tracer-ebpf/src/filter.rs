//! The only answer to "is this task traced?"

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::config::TARGETS_MAP;

use crate::{atomic, kernel::config, shared::shared};

/// One bit for each possible process id: `PID_MAX_LIMIT` is 2^22. A bit test costs two instructions after an array look-up that the JIT
/// inlines. A hash map would cost twenty times as much on every switch of the machine.
const WORDS: u32 = 1 << 16;

/// User space marks the first targets, before any probe fires.
#[map]
static TARGETS: Array<u64> = Array::with_max_entries(WORDS, 0);

shared!(TARGETS = TARGETS_MAP);

#[inline(always)]
fn word(pid: u32) -> Option<*mut u64> {
    TARGETS.get_ptr_mut(pid >> 6)
}

/// Is this process a target?
#[inline(always)]
pub(crate) fn is_target(pid: u32) -> bool {
    let Some(word) = word(pid) else { return false };
    // SAFETY: a map value lives as long as the map.
    unsafe { word.read_volatile() >> (pid & 63) & 1 != 0 }
}

/// Makes a process a target, or ends that when its id is reused. The tracer itself never becomes one.
#[inline(always)]
pub(crate) fn set_target(pid: u32, target: bool) {
    if is_target(pid) == target || pid == config!(self_pid) {
        return;
    }
    let Some(word) = word(pid) else { return };
    let bit = 1_u64 << (pid & 63);
    // 5.10 has no atomic OR. Only the fork of this process changes its bit, so an addition or subtraction never carries.
    // SAFETY: a map value lives as long as the map and is 8-byte aligned.
    unsafe { atomic::add64(word, if target { bit } else { bit.wrapping_neg() }) };
}
