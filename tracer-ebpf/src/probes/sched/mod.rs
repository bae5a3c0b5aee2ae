//! Scheduler: the waits of target threads, the holders of a CPU meanwhile, and the run-queue latency of every process.

mod slices;
mod smt;
mod stacks;
mod wakeup;
mod work;

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::HashMap,
    programs::BtfTracePointContext,
};
use tracer_common::{
    Kind,
    record::MapLoss,
    sched::{
        CpuState, LEAST_LONG_NS, Migrate, NOT_QUEUED, TASK_ASLEEP, TASK_QUEUED, TASK_RUNNING,
        TASKS_MAP, ThreadEnd, ThreadState, WAIT_FIRST, WAIT_IOWAIT, WAIT_LONG_ONLY, WAIT_MEMSTALL,
        WAIT_NO_WAKER, WAIT_RUNNABLE, Wait,
    },
};

use self::slices::{emit_kept, emit_running, emit_slice, emit_stolen, without_tracer};
use super::irq;
use crate::{
    cpus, emit,
    filter::{is_light, is_target},
    histograms,
    kernel::{CfsRq, TASK_DEAD, Task, UNKNOWN, config, now, throttled_on},
    quota,
    shared::shared,
    shed,
};

/// Target threads by tid. User space sets the size by the number of CPUs.
#[map]
static TASKS: HashMap<u32, ThreadState> = HashMap::with_max_entries(16_384, 0);

shared!(TASKS = TASKS_MAP);

/// `sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next[, unsigned int prev_state])`, 5.10 to 7.2.
/// Runs with the run queue's lock held and interrupts off; `current` is `prev`.
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let preempt = ctx.arg::<u64>(0) & 1 != 0;
    let prev = Task(ctx.arg(1));
    let next = Task(ctx.arg(2));
    let (now, cpu) = (now(), cpus::here());
    let prev_pid = prev.pid();
    let next_pid = next.pid();
    // Read here, where only one path leads. For each pointer read through a tracepoint's argument, the verifier searches all types
    // of the kernel by name (`btf_nested_type_is_trusted`). It does so on each path anew.
    let (prev_queue, next_queue) = (prev.cfs_rq(), next.cfs_rq());
    let Some(state) = cpus::state(cpu) else {
        return 0;
    };
    let came_ns = unseen_switch(state, (prev, prev_queue), now);
    if came_ns != 0 {
        end_slice(state, prev, prev, prev_queue, came_ns);
        if prev_pid != 0 {
            come_on_cpu(state, prev, prev_queue, prev_pid, came_ns);
        }
    }
    end_slice(state, prev, next, prev_queue, now);
    if config!(has_siblings) != 0 {
        smt::switched(cpu, next_pid, now);
    }
    if prev_pid != 0 && is_target(prev_pid) {
        leave_cpu(&ctx, (prev, prev_queue), prev_pid, preempt, cpu, now);
    }
    if next_pid != 0 {
        come_on_cpu(state, next, next_queue, next_pid, now);
    }
    0
}

/// When `prev` came on its CPU, ns, if no probe saw the switch that brought it; else 0.
///
/// A hardened kernel may run no tracing program while a process that it guards is `current`. Then the program sees the switch to
/// that process, but not the switch from it. Without this function the time of the next thread would be charged to the guarded
/// process.
#[inline(always)]
fn unseen_switch(state: *mut CpuState, (prev, queue): (Task, CfsRq), now: u64) -> u64 {
    // SAFETY: a map value, see `end_slice`.
    let (since_ns, task) = unsafe { ((*state).since_ns, (*state).task) };
    if since_ns == 0 || task == prev.address() {
        return 0;
    }
    // The scheduler stamps each thread that it brings, but not the idle thread. The idle thread is taken to have come at once.
    let ran_ns = queue.rq().clock().wrapping_sub(prev.last_arrival());
    let came_ns = now.wrapping_sub(ran_ns);
    if prev.pid() == 0 || came_ns < since_ns || came_ns > now {
        return since_ns;
    }
    // SAFETY: a map value, see `end_slice`.
    unsafe { (*state).unseen_ns += came_ns - since_ns };
    came_ns
}

/// Adds the time that this CPU was held until `now` to its holder's total. While a target thread waits here, the time is also emitted as a
/// slice: by [`come_on_cpu`] if `next` is a target's. The holder is `prev`, unless that came unseen. `queue` is that of `prev`, read once
/// for all: see `sched_switch`.
///
/// Not inlined: its locals would add to those of the functions called next, and BPF has 512 bytes of stack.
#[inline(never)]
fn end_slice(state: *mut CpuState, prev: Task, next: Task, queue: CfsRq, now: u64) -> i32 {
    let stolen_ns = queue.stolen_ns();
    let next_pid = next.pid();
    // SAFETY: a map value. All but `queued` change only under the lock of this CPU's run queue, see `emit_running`.
    let (holder, is_prev) = unsafe {
        let is_prev = core::mem::replace(&mut (*state).task, next.address()) == prev.address();
        // The id of a thread may change when it executes a program.
        let holder = if is_prev {
            (prev.pid(), prev.tid())
        } else {
            ((*state).pid, (*state).tid)
        };
        (holder, is_prev)
    };
    // SAFETY: a map value, under the lock of this CPU's run queue.
    let (since_ns, stolen_at_ns, waited_ns) = unsafe {
        ((*state).pid, (*state).tid) = (next_pid, next.tid());
        (*state).slice_begin_ns = 0;
        let since_ns = core::mem::replace(&mut (*state).since_ns, now);
        (
            since_ns,
            core::mem::replace(&mut (*state).stolen_ns, stolen_ns),
            (*state).waited_ns,
        )
    };
    if since_ns == 0 {
        // SAFETY: a map value, under the same lock. This is the first switch seen on this CPU.
        unsafe { (*state).run_queue = queue.rq().key() };
        return 0;
    }
    if holder.0 != 0 {
        histograms::ran(holder.0, waited_ns, now.wrapping_sub(since_ns), now);
        if is_prev && quota::is_shared() {
            quota::used(prev.cpu_group(), holder.0, now.wrapping_sub(since_ns));
        }
    }
    // SAFETY: a map value, under the same lock; other CPUs add to `queued` atomically.
    let (queued, opened_ns, emitted_ns) = unsafe {
        (
            (&raw const (*state).queued).read_volatile(),
            (*state).opened_ns,
            (*state).emitted_ns,
        )
    };
    if queued as i64 <= 0 {
        return 0;
    }
    // Where only long waits are wanted, whoever has queued here for less may still have a short one.
    if config!(light) != 0 && (now.wrapping_sub(opened_ns) as i64) < LEAST_LONG_NS as i64 {
        return 0;
    }
    if holder.0 != config!(self_pid) {
        shed::stands(opened_ns, now);
    }
    let (begin_ns, cpu) = (since_ns.max(emitted_ns), cpus::here());
    if is_target(next_pid) {
        // SAFETY: a map value, under the same lock.
        unsafe {
            (*state).slice_begin_ns = begin_ns;
            ((*state).slice_pid, (*state).slice_tid) = holder;
        }
    } else {
        emit_slice(begin_ns, now, holder, cpu);
    }
    irq::emit_interrupts(cpu, begin_ns.max(opened_ns), now);
    if is_prev && prev.is_worker() {
        work::emit_work(prev, begin_ns, now);
    }
    emit_stolen(since_ns, now, stolen_ns.wrapping_sub(stolen_at_ns));
    0
}

/// A target thread leaves the CPU: remember the time, the reason and the stack.
#[inline(always)]
fn leave_cpu(
    ctx: &BtfTracePointContext,
    (prev, queue): (Task, CfsRq),
    pid: u32,
    preempt: bool,
    cpu: u32,
    now: u64,
) {
    let tid = prev.tid();
    let kernel_state = prev.state();
    if kernel_state & TASK_DEAD != 0 {
        return ended(pid, tid, now);
    }
    let Some(task) = known(tid, pid) else { return };
    let runnable = preempt || kernel_state == 0;
    // SAFETY: a map value.
    let last = unsafe { (*task).last_stack };
    let mut stall = if prev.in_iowait() { WAIT_IOWAIT } else { 0 };
    if prev.in_memstall() {
        stall |= WAIT_MEMSTALL;
    }
    let stack = if runnable {
        last
    } else {
        stacks::of_sleep(ctx, prev, task, (kernel_state, stall), now)
    };
    let throttled = queue.throttled_ns();
    // SAFETY: a map value. Only events of this thread write it, and the lock of the run queue keeps them apart.
    unsafe {
        if (*task).run_delay_ns == 0 {
            (*task).run_delay_ns = prev.run_delay_ns();
        }
        (*task).ran_ns = if (*task).on_ns == 0 {
            0
        } else {
            prev.exec_ns().wrapping_sub((*task).exec_ns)
        };
        (*task).off_ns = now;
        (*task).last_stack = stack;
        (*task).kernel_state = kernel_state;
        (*task).throttled_ns = throttled;
        (*task).waking_ns = 0;
        // `come_on_cpu` has set this one.
        let extent = (*task).flags & WAIT_LONG_ONLY;
        (*task).flags = if runnable {
            extent | WAIT_RUNNABLE
        } else {
            extent | stall | WAIT_NO_WAKER
        };
        (*task).state = if runnable { TASK_QUEUED } else { TASK_ASLEEP };
        (*task).cpu = cpu;
    }
    if runnable {
        cpus::queue(cpu, now);
    }
}

/// A target thread is no more.
#[inline(always)]
fn ended(pid: u32, tid: u32, now: u64) {
    let _ = TASKS.remove(tid);
    emit::event::<ThreadEnd>(Kind::ThreadEnd, now, |record| {
        // SAFETY: a reservation of this size.
        unsafe {
            (*record).pid = pid;
            (*record).tid = tid;
        }
    });
}

/// A target thread executes a program, and has the number of its process from now on (`exchange_tids`). No switch ends its old number.
/// The entry of the new one may still be that of the first thread, which may get the old number for its last switch.
#[inline(always)]
pub(super) fn renamed(pid: u32, old_tid: u32, now: u64) {
    let _ = TASKS.remove(pid);
    ended(pid, old_tid, now);
}

/// A thread comes on the CPU. Its run-queue wait is kept until it leaves. For a target thread, the whole interval off the CPU is
/// emitted. A short one of a light target is not: it counts as if the thread had stayed on the CPU.
///
/// The wait is the kernel's own: `rq->clock - sched_info.last_queued`. `sched_info_switch` runs after this tracepoint, so the stamp is
/// still set. `schedstat` field 2 grows by exactly this wait. For a thread that came unseen, the field has grown already.
///
/// Not inlined: `sched_switch` calls it twice.
#[inline(never)]
fn come_on_cpu(state: *mut CpuState, next: Task, queue: CfsRq, pid: u32, now: u64) -> i32 {
    let last_queued = next.last_queued();
    let waited = queue.rq().clock().wrapping_sub(last_queued);
    let is_queued = last_queued != 0;
    let waited = if !is_queued || (waited as i64) < 0 {
        0
    } else {
        waited
    };
    // SAFETY: a map value, under the lock of this CPU's run queue.
    let remembered = unsafe { &mut (*state).waited_ns };
    *remembered = if is_queued { waited } else { NOT_QUEUED };
    if !is_target(pid) {
        // It may have been a target's when the slice ended.
        return emit_kept(state, now);
    }
    let tid = next.tid();
    let run_delay = next.run_delay_ns().wrapping_add(waited);
    let Some(task) = TASKS.get_ptr_mut(tid).or_else(|| known(tid, pid)) else {
        return emit_kept(state, now);
    };
    // SAFETY: a map value, see `leave_cpu`.
    let task = unsafe { &mut *task };
    // A thread that was moved between CPUs while queued waited in several pieces. `run_delay` already holds the earlier ones.
    let first = task.off_ns == 0;
    let run_queue_ns = if first {
        waited
    } else {
        let since = run_delay.wrapping_sub(task.run_delay_ns);
        // An entry of a thread that had this id before counts more than this one ever waited.
        *remembered = if (since as i64) < 0 { waited } else { since };
        *remembered
    };
    shed::waited(state, without_tracer(state, run_queue_ns, now), now);
    task.run_delay_ns = run_delay;
    let throttled_ns = queue.throttled_ns().wrapping_sub(task.throttled_ns);
    let light = is_light(pid);
    let is_left_out = light && (first || now.wrapping_sub(task.off_ns) < LEAST_LONG_NS);
    if is_left_out {
        emit_kept(state, now);
    } else {
        emit_wait(
            state,
            task,
            tid,
            run_queue_ns,
            if first || (throttled_ns as i64) < 0 {
                0
            } else {
                throttled_ns
            },
            now,
        );
    }
    if task.state == TASK_QUEUED {
        cpus::unqueue(task.cpu);
    }
    task.state = TASK_RUNNING;
    if config!(light) != 0 {
        // Of the next wait. `leave_cpu` has no stack left to ask.
        task.flags = if light { WAIT_LONG_ONLY } else { 0 };
    }
    if first || !is_left_out {
        task.on_ns = now;
        task.exec_ns = next.exec_ns();
    }
    0
}

/// Emits the interval off the CPU that ends, and the slice that ends with it. To put both in one record saves a place in the ring for
/// each wakeup.
#[inline(always)]
fn emit_wait(
    state: *const CpuState,
    task: &ThreadState,
    tid: u32,
    run_queue_ns: u64,
    throttled_ns: u64,
    now: u64,
) {
    // SAFETY: a map value, under the lock of this CPU's run queue.
    let (slice_begin_ns, slice_pid, slice_tid) = unsafe {
        (
            (*state).slice_begin_ns,
            (*state).slice_pid,
            (*state).slice_tid,
        )
    };
    let is_sent = emit::event::<Wait>(Kind::Wait, now, |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.slice_begin_ns = slice_begin_ns;
        record.slice_pid = slice_pid;
        record.slice_tid = slice_tid;
        record.pid = task.pid;
        record.tid = tid;
        record.ran_since_ns = task.on_ns;
        record.ran_ns = task.ran_ns;
        record.off_ns = task.off_ns;
        record.run_queue_ns = run_queue_ns;
        record.throttled_ns = throttled_ns;
        record.waking_ns = task.waking_ns;
        record.stack = task.stack();
        record.waker_stack = task.waker_stack;
        record.waker_pid = task.waker_pid;
        record.waker_tid = task.waker_tid;
        record.state = task.kernel_state;
        record.flags = if task.off_ns == 0 {
            WAIT_FIRST | task.flags
        } else {
            task.flags
        };
    });
    if !is_sent && slice_begin_ns != 0 {
        emit::dropped(Kind::Slice);
    }
}

/// A target thread is about to sleep for a lock of the kernel.
#[inline(always)]
pub(super) fn contends(tid: u32) {
    if let Some(task) = TASKS.get_ptr_mut(tid) {
        // SAFETY: a map value. Only this thread writes the field while it is on a CPU.
        unsafe { (*task).contends = 1 };
    }
}

/// The entry of a target thread; a new thread gets one.
#[inline(always)]
fn known(tid: u32, pid: u32) -> Option<*mut ThreadState> {
    if let Some(task) = TASKS.get_ptr_mut(tid) {
        return Some(task);
    }
    let new = ThreadState {
        pid,
        flags: WAIT_NO_WAKER,
        ..EMPTY
    };
    if TASKS.insert(tid, new, 0).is_err() {
        emit::map_full(MapLoss::Tasks);
    }
    TASKS.get_ptr_mut(tid)
}

const EMPTY: ThreadState = ThreadState {
    place: 0,
    captured_ns: 0,
    exec_ns: 0,
    ran_ns: 0,
    on_ns: 0,
    off_ns: 0,
    last_stack: 0,
    waker_stack: 0,
    waking_ns: 0,
    run_delay_ns: 0,
    throttled_ns: 0,
    waker_pid: 0,
    waker_tid: 0,
    pid: 0,
    state: TASK_RUNNING,
    kernel_state: 0,
    flags: 0,
    cpu: 0,
    contends: 0,
};

/// `sched_migrate_task(struct task_struct *p, int dest_cpu)`, everywhere. Also fires for sleepers and when nothing moves.
#[btf_tracepoint(function = "sched_migrate_task")]
fn sched_migrate_task(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg(0));
    if is_target(task.pid()) {
        migrate(task, ctx.arg::<u64>(1) as u32);
    }
    0
}

/// Carries over the throttled part of this wait on the old CPU. The run queue of each CPU has a throttled clock of its own.
///
/// The scheduler moves no thread to a queue that is throttled (`throttled_lb_pair`). So closed intervals are enough on the new CPU.
#[inline(always)]
fn move_throttled(task: Task, known: &mut ThreadState, to_cpu: u32) {
    let growth = task
        .cfs_rq()
        .throttled_ns()
        .wrapping_sub(known.throttled_ns);
    let there = throttled_on(task, to_cpu);
    known.throttled_ns = if there != UNKNOWN && growth as i64 >= 0 {
        there.wrapping_sub(growth)
    } else {
        // Not known: the growth is 0 from here on.
        u64::MAX >> 1
    };
}

#[inline(always)]
fn migrate(task: Task, to_cpu: u32) {
    let tid = task.tid();
    let Some(known) = TASKS.get_ptr_mut(tid) else {
        return;
    };
    // SAFETY: a map value, see `leave_cpu`.
    let known = unsafe { &mut *known };
    let from_cpu = known.cpu;
    if known.state != TASK_QUEUED || from_cpu == to_cpu {
        return;
    }
    known.cpu = to_cpu;
    move_throttled(task, known, to_cpu);
    let now = now();
    emit_running(from_cpu, now);
    cpus::unqueue(from_cpu);
    cpus::queue(to_cpu, now);
    let pid = known.pid;
    emit::event::<Migrate>(Kind::Migrate, now, |record| {
        // SAFETY: a reservation of this size.
        unsafe {
            (*record).pid = pid;
            (*record).tid = tid;
            (*record).from_cpu = from_cpu;
            (*record).to_cpu = to_cpu;
        }
    });
}
