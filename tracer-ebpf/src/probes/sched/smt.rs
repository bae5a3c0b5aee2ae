//! Hyperthreads: the time that a sibling ran another process while the target ran on its CPU. Only where there are siblings.

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::smt::{IDLE, OTHER, SiblingState, TARGET, THREADS_MAP};

use crate::{filter::is_target, shared::shared};

/// Sibling states by CPU number. User space sets the size to the number of possible CPUs, and writes the siblings.
#[map]
static THREADS: Array<SiblingState> = Array::with_max_entries(512, 0);

shared!(THREADS = THREADS_MAP);

/// A CPU goes on with another thread. Runs with interrupts off.
///
/// The sibling may write while this program reads, so a switch there may be seen in half. The time beside is cut to the time that
/// the target ran.
#[inline(never)]
pub(super) fn switched(cpu: u32, next_pid: u32, now: u64) -> i32 {
    let Some(state) = THREADS.get_ptr_mut(cpu) else {
        return 0;
    };
    // SAFETY: a map value, written by this CPU alone.
    let state = unsafe { &mut *state };
    let (since_ns, ran) = (state.since_ns, now.wrapping_sub(state.since_ns));
    let runs = if next_pid == 0 {
        IDLE
    } else if is_target(next_pid) {
        TARGET
    } else {
        OTHER
    };
    let beside = if runs == TARGET || state.runs == TARGET {
        beside(state.sibling, now)
    } else {
        0
    };
    if since_ns != 0 && state.runs == OTHER {
        state.other_ns += ran;
    }
    if since_ns != 0 && state.runs == TARGET {
        let both = beside.wrapping_sub(state.beside_at_ns);
        state.target_ns += ran;
        state.beside_ns += if (both as i64) < 0 {
            0
        } else if both > ran {
            ran
        } else {
            both
        };
    }
    state.beside_at_ns = beside;
    state.runs = runs;
    state.since_ns = now;
    0
}

#[inline(always)]
fn beside(sibling: u32, now: u64) -> u64 {
    match THREADS.get_ptr(sibling) {
        // SAFETY: a map value.
        Some(state) => unsafe { (*state).other_until(now) },
        None => 0,
    }
}
