//! The state of each CPU: its running thread, and its gate. Target threads in its run queue hold the gate open.

use aya_ebpf::{helpers::bpf_get_smp_processor_id, macros::map, maps::Array};
use tracer_common::{
    sched::{CPUS_MAP, CpuState},
    shed::Group,
};

use crate::{
    atomic,
    kernel::{Context, context},
    shared::shared,
    shed,
};

/// CPU states by CPU number. User space sets the size to the number of possible CPUs.
#[map]
static CPUS: Array<CpuState> = Array::with_max_entries(512, 0);

shared!(CPUS = CPUS_MAP);

/// The CPU that executes this program.
#[inline(always)]
pub(crate) fn here() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_smp_processor_id() as u32 }
}

/// The state of a CPU.
#[inline(always)]
pub(crate) fn state(cpu: u32) -> Option<*mut CpuState> {
    CPUS.get_ptr_mut(cpu)
}

/// A target thread enters the run queue of a CPU. Slices of the CPU are emitted while one is there.
#[inline(always)]
pub(crate) fn queue(cpu: u32, now: u64) {
    if let Some(state) = state(cpu) {
        // SAFETY: a map value, 8-byte aligned. If two threads come first at once, either stamp is right.
        unsafe {
            if (&raw const (*state).queued).read_volatile() == 0 {
                (*state).opened_ns = now;
            }
            atomic::add64(&raw mut (*state).queued, 1);
        }
    }
}

/// A target thread leaves the run queue of a CPU.
#[inline(always)]
pub(crate) fn unqueue(cpu: u32) {
    if let Some(state) = state(cpu) {
        // SAFETY: a map value, 8-byte aligned; -1 as two's complement.
        unsafe { atomic::add64(&raw mut (*state).queued, u64::MAX) };
    }
}

/// Is a target thread queued on the CPU of this state?
#[inline(always)]
pub(crate) fn has_queued(state: *mut CpuState) -> bool {
    // SAFETY: a map value; other CPUs add to it atomically.
    (unsafe { (&raw const (*state).queued).read_volatile() }) as i64 > 0
}

/// Is a target thread queued on this CPU?
#[inline(always)]
pub(crate) fn has_queued_here() -> bool {
    match state(here()) {
        Some(state) => has_queued(state),
        None => false,
    }
}

/// Does this CPU run a softirq? False if no probe saw it begin: none sees softirqs, or they are shed.
#[inline(always)]
pub(crate) fn in_softirq() -> bool {
    let watched_ns = shed::watched_ns(Group::Interrupts);
    match state(here()) {
        // SAFETY: a map value.
        Some(state) => unsafe { &*state }.in_softirq(watched_ns),
        None => false,
    }
}

/// The context of this CPU, if it is known without a stack. A stack costs a microsecond.
#[inline(always)]
pub(crate) fn context_here() -> Context {
    // SAFETY: a map value.
    state(here()).map_or(Context::Unknown, |state| unsafe {
        context((*state).run_queue)
    })
}
