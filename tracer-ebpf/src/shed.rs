//! Groups of probes that user space sheds. One look here, in an array with a constant index, is all that a shed program costs.
//!
//! The scheduler's programs end the shedding once target threads queue. User space reads the map, and finds when that was.

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::{
    sched::CpuState,
    shed::{FULL_NS, GROUPS, Group, SHED, STANDS_NS, WATCHED_MAP, weighed},
};

use crate::shared::shared;

/// When each group was last begun to be watched, ns, or [`SHED`].
#[map]
static WATCHED: Array<u64> = Array::with_max_entries(GROUPS, 0);

shared!(WATCHED = WATCHED_MAP);

/// Since when a group is watched, ns, or [`SHED`]. What a program noted before that may be out of date.
///
/// Not an `Option`: it would have two values in place of one.
#[inline(always)]
pub(crate) fn watched_ns(group: Group) -> u64 {
    match WATCHED.get_ptr(group as u32) {
        // SAFETY: a map value.
        Some(since_ns) => unsafe { since_ns.read_volatile() },
        None => 0,
    }
}

/// Is a group not watched?
#[inline(always)]
pub(crate) fn is_shed(group: Group) -> bool {
    watched_ns(group) == SHED
}

/// A target thread comes on a CPU after it waited in run queues for `wait_ns`. Watches interrupts again once such waits on this CPU sum up.
///
/// A function of its own: its caller is short of registers.
#[inline(never)]
pub(crate) fn waited(state: *mut CpuState, wait_ns: u64, now: u64) -> i32 {
    let Some(watched) = WATCHED.get_ptr_mut(Group::Interrupts as u32) else {
        return 0;
    };
    // SAFETY: map values. The sum changes only under the lock of this CPU's run queue. Of two CPUs that watch again at once, either
    // stamp is right.
    unsafe {
        let sum_ns = if watched.read_volatile() == SHED {
            weighed((*state).unwatched_ns, wait_ns)
        } else {
            0
        };
        (*state).unwatched_ns = sum_ns;
        if sum_ns >= FULL_NS {
            watched.write_volatile(now);
        }
    }
    0
}

/// Target threads queue on a CPU since `queued_ns`. Watches interrupts again if that is long, although no wait has ended.
#[inline(always)]
pub(crate) fn stands(queued_ns: u64, now: u64) {
    // Another CPU may have written the stamp a moment ago.
    if (now.wrapping_sub(queued_ns) as i64) < STANDS_NS as i64 {
        return;
    }
    if let Some(watched) = WATCHED.get_ptr_mut(Group::Interrupts as u32) {
        // SAFETY: a map value, see `waited`.
        unsafe {
            if watched.read_volatile() == SHED {
                watched.write_volatile(now);
            }
        }
    }
}
