//! Fork, exec and exit of every process: identity for short-lived holders, and children of a target become targets.
//!
//! An iterator emits the parent of every process that is there at attach. It takes milliseconds; the alternative is to read `/proc`
//! for each.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_probe_read_user, bpf_seq_write},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::warn;
use tracer_common::{
    Kind,
    proc::{CMDLINE, Exec, Exit, Fork, Parent},
};

use super::sched;
use crate::{
    emit,
    filter::{is_full_target, is_target, set_target},
    kernel::{IterMeta, Task, config, now},
};

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`, everywhere; also for a new thread.
#[btf_tracepoint(function = "sched_process_fork")]
fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent = Task(ctx.arg(0));
    let child = Task(ctx.arg(1));
    let (pid, tid) = (child.pid(), child.tid());
    let (parent_pid, parent_tid) = (parent.pid(), parent.tid());
    // Read where only one path leads: see `sched_switch`.
    let signal = parent.signal();
    let is_process = pid == tid;
    if is_process {
        // The id may have been that of a target that is dead.
        set_target(pid, config!(follow_children) != 0 && is_target(parent_pid));
    } else if !is_full_target(pid) {
        return 0;
    }
    let target = is_target(pid);
    // The child's `signal->pids` are filled only after this tracepoint. A fork inherits those of its parent.
    let (sid, pgid) = signal.session();
    let comm = child.comm();
    let sent = emit::event::<Fork>(Kind::Fork, now(), |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.pid = pid;
        record.tid = tid;
        record.parent_pid = parent_pid;
        record.target = u32::from(target);
        record.sid = sid;
        record.pgid = pgid;
        record.start_ns = child.start_ns();
        record.comm = comm;
        record.parent_tid = parent_tid;
        record.reserved = 0;
    });
    if !sent && target {
        // Rare, and costly to the books: the only message that the kernel half logs.
        warn!(&ctx, "fork of target {} was lost: events ring full", pid);
    }
    0
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`, everywhere; `old_pid` is the number that the
/// thread had before. `current` is `p`, and its new address space holds the arguments.
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg(0));
    let (pid, old_tid) = (task.pid(), ctx.arg::<u64>(1) as u32);
    let now = now();
    let mm = task.mm();
    let (begin, end) = (mm.arg_start(), mm.arg_end());
    let length = end.wrapping_sub(begin);
    let length = if length > CMDLINE as u64 {
        CMDLINE as u64
    } else {
        length
    };
    let (sid, pgid) = task.signal().session();
    let comm = task.comm();
    emit::event::<Exec>(Kind::Exec, now, |record| {
        // SAFETY: a reservation of this size, and a helper that checks its reads.
        unsafe {
            let failed = bpf_probe_read_user(
                (&raw mut (*record).cmdline).cast(),
                CMDLINE as u32,
                begin as *const _,
            ) != 0;
            (*record).pid = pid;
            (*record).cmdline_len = if failed { 0 } else { length as u32 };
            (*record).sid = sid;
            (*record).pgid = pgid;
            (*record).start_ns = task.start_ns();
            (*record).comm = comm;
        }
    });
    if old_tid != pid && is_target(pid) {
        sched::renamed(pid, old_tid, now);
    }
    0
}

/// `sched_process_exit(struct task_struct *p[, bool group_dead])`: for every thread; `signal->live` is already counted down.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg(0));
    if task.signal().live() != 0 {
        return 0;
    }
    emit::event::<Exit>(Kind::Exit, now(), |record| {
        // SAFETY: a reservation of this size.
        unsafe {
            (*record).pid = task.pid();
            (*record).reserved = 0;
        }
    });
    0
}

/// `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }`, 5.8 to 7.2. The kernel calls it once for each
/// thread, and at the end with none. aya has no attribute for iterators. Their arguments lie as those of a tracepoint do.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn parents(ctx: *mut c_void) -> i32 {
    let ctx = BtfTracePointContext::new(ctx);
    let (meta, task) = (IterMeta(ctx.arg(0)), Task(ctx.arg(1)));
    if task.is_null() {
        return 0;
    }
    let pid = task.pid();
    if task.tid() == pid {
        let parent = Parent {
            pid,
            parent_pid: task.parent().pid(),
        };
        // SAFETY: a helper that checks its arguments. When the buffer is full, the kernel runs this thread again with a larger one.
        unsafe {
            bpf_seq_write(
                meta.seq(),
                (&raw const parent).cast(),
                size_of::<Parent>() as u32,
            )
        };
    }
    0
}
