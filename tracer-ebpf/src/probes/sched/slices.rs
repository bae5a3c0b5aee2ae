//! Slices: the times that threads held a CPU while a target thread was queued there.

use tracer_common::{
    Kind,
    sched::{CpuState, LEAST_STOLEN_NS, Slice, Stolen},
};

use crate::{cpus, emit, kernel::config, probes::irq};

/// Emits the time that the hypervisor stole of a slice, if that is worth a record.
#[inline(always)]
pub(super) fn emit_stolen(begin_ns: u64, now: u64, stolen_ns: u64) {
    if stolen_ns < LEAST_STOLEN_NS || stolen_ns as i64 <= 0 {
        return;
    }
    emit::event::<Stolen>(Kind::Stolen, now, |record| {
        // SAFETY: a reservation of this size.
        unsafe {
            (*record).begin_ns = begin_ns;
            (*record).stolen_ns = stolen_ns;
        }
    });
}

/// Before a queued thread is taken from `cpu`, emits the time that its running thread held it so far.
///
/// At `sched_migrate_task` the caller holds the lock of the run queue from which the thread is taken. `sched_switch` holds the same lock.
/// The two exclude each other, so that the state of another CPU may be read and written here.
#[inline(always)]
pub(super) fn emit_running(cpu: u32, now: u64) {
    let Some(state) = cpus::state(cpu) else {
        return;
    };
    // SAFETY: a map value, under the lock named above.
    let (since_ns, begin_ns, opened_ns, running) = unsafe {
        let emitted_ns = core::mem::replace(&mut (*state).emitted_ns, now);
        let since_ns = (*state).since_ns;
        let running = ((*state).pid, (*state).tid);
        (
            since_ns,
            since_ns.max(emitted_ns),
            (*state).opened_ns,
            running,
        )
    };
    if since_ns != 0 && begin_ns < now {
        emit_slice(begin_ns, now, running, cpu);
        irq::emit_interrupts(cpu, begin_ns.max(opened_ns), now);
    }
}

/// Emits the slice that was kept for the record of a wait, if there is one: that record does not come.
#[inline(always)]
pub(super) fn emit_kept(state: *const CpuState, now: u64) -> i32 {
    // SAFETY: a map value, under the lock of this CPU's run queue.
    if unsafe { (*state).slice_begin_ns } != 0 {
        emit_alone(state, now);
    }
    0
}

/// A function of its own: it is hardly ever called.
#[inline(never)]
fn emit_alone(state: *const CpuState, now: u64) -> i32 {
    // SAFETY: a map value, see `emit_kept`.
    let (begin_ns, holder) = unsafe {
        (
            (*state).slice_begin_ns,
            ((*state).slice_pid, (*state).slice_tid),
        )
    };
    emit_slice(begin_ns, now, holder, cpus::here());
    0
}

/// Emits a slice.
#[inline(always)]
pub(super) fn emit_slice(begin_ns: u64, now: u64, (pid, tid): (u32, u32), cpu: u32) {
    emit::event::<Slice>(Kind::Slice, now, |record| {
        // SAFETY: a reservation of this size.
        unsafe {
            (*record).begin_ns = begin_ns;
            (*record).pid = pid;
            (*record).tid = tid;
            (*record).place = cpu;
            (*record).reserved = 0;
        }
    });
}

/// The part of a run-queue wait that was not behind the tracer itself, ns. The tracer reads a hundred times a second, and would watch
/// because it watches.
#[inline(always)]
pub(super) fn without_tracer(state: *const CpuState, wait_ns: u64, now: u64) -> u64 {
    // SAFETY: a map value, under the lock of this CPU's run queue.
    let (begin_ns, pid) = unsafe { ((*state).slice_begin_ns, (*state).slice_pid) };
    let turn_ns = if begin_ns != 0 && pid == config!(self_pid) {
        now.wrapping_sub(begin_ns)
    } else {
        0
    };
    wait_ns.saturating_sub(turn_ns)
}
