//! Groups of probes that user space sheds. One look here, in an array with a constant index, is all that a shed program costs.

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::shed::{GROUPS, Group, SHED, WATCHED_MAP};

use crate::shared::shared;

/// When user space last began to watch each group, ns, or [`SHED`].
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
