//! Wakeups of target threads: the waker, and the CPU on which they are queued from then on.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_common::sched::{TASK_ASLEEP, TASK_QUEUED, WAIT_IOWAIT, WAIT_NO_WAKER, WAIT_TASK_WAKER};

use super::{TASKS, known};
use crate::{
    cpus,
    filter::is_target,
    kernel::{Context, Task, current, now},
    probes::lock,
    stack,
};

/// `sched_waking(struct task_struct *p)`, everywhere. Runs in the waker, with `p->pi_lock` held.
#[btf_tracepoint(function = "sched_waking")]
fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg(0));
    let pid = task.pid();
    if is_target(pid) {
        waking(&ctx, pid, task.tid());
    }
    0
}

/// A thread that has slept since before attach has no entry so far. Its first record tells who woke it. If the thread ran instead (it was
/// about to sleep), it overwrites what is noted here when it leaves the CPU.
#[inline(always)]
fn waking(ctx: &BtfTracePointContext, pid: u32, tid: u32) {
    let Some(task) = known(tid, pid) else {
        return;
    };
    // SAFETY: a map value, see `super::leave_cpu`.
    let is_first = unsafe { (*task).on_ns == 0 && (*task).off_ns == 0 };
    // SAFETY: a map value, see `super::leave_cpu`.
    if !is_first && unsafe { (*task).state } != TASK_ASLEEP {
        return;
    }
    let now = now();
    // SAFETY: a map value, see `super::leave_cpu`.
    if unsafe { core::mem::replace(&mut (*task).contends, 0) } != 0 {
        // SAFETY: a map value, see `super::leave_cpu`.
        lock::emit_released(unsafe { (*task).pid }, tid, now);
    }
    let (waker_pid, waker_tid) = current();
    // SAFETY: a map value, see `super::leave_cpu`.
    let waits_for_io = unsafe { (*task).flags } & WAIT_IOWAIT != 0;
    let (known, tells) = match cpus::context_here() {
        // An interrupt ends a wait for a disk here. Who ends one in his own context brings what comes from elsewhere.
        Context::Task => (WAIT_TASK_WAKER, waits_for_io),
        Context::Interrupt => (WAIT_NO_WAKER, false),
        Context::Unknown => (0, true),
    };
    let waker_stack = if tells {
        stack::of_current(ctx, 0, now)
    } else {
        0
    };
    // SAFETY: a map value, see `super::leave_cpu`.
    unsafe {
        (*task).waking_ns = now;
        (*task).waker_pid = waker_pid;
        (*task).waker_tid = waker_tid;
        (*task).waker_stack = waker_stack;
        (*task).flags = (*task).flags & !WAIT_NO_WAKER | known;
    }
}

/// `sched_wakeup(struct task_struct *p)`, everywhere. Also fires for threads that never slept: the program ignores those.
#[btf_tracepoint(function = "sched_wakeup")]
fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    queued(Task(ctx.arg(0)));
    0
}

/// `sched_wakeup_new(struct task_struct *p)`: a new thread's first time in a run queue.
#[btf_tracepoint(function = "sched_wakeup_new")]
fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    queued(Task(ctx.arg(0)));
    0
}

/// A target thread became runnable.
#[inline(always)]
fn queued(task: Task) {
    let pid = task.pid();
    if !is_target(pid) {
        return;
    }
    let tid = task.tid();
    let Some(known) = TASKS.get_ptr_mut(tid) else {
        return;
    };
    let cpu = task.cpu();
    let throttled = task.cfs_rq().throttled_ns();
    // SAFETY: a map value, see `super::leave_cpu`. A wakeup that changes a sleeper holds the lock of the run queue.
    unsafe {
        if (*known).state != TASK_ASLEEP {
            return;
        }
        (*known).state = TASK_QUEUED;
        (*known).cpu = cpu;
        (*known).throttled_ns = throttled;
    }
    cpus::queue(cpu, now());
}
