//! Threads of the kernel that work for others: the function that a kworker runs, or ran last, and pollers of rings.

use aya_ebpf::helpers::bpf_get_current_task;

use super::{Task, config, has, untyped};

/// `PF_WQ_WORKER`, 5.10 to 7.2.
const PF_WQ_WORKER: u32 = 0x20;
/// `PF_IO_WORKER`, 5.12 to 7.2: works for a ring of a process, as one of its threads.
const PF_IO_WORKER: u32 = 0x10;
/// How `io_sq_thread()` names itself, 5.12 to 7.2; the process follows.
const POLLER: u64 = u64::from_ne_bytes(*b"iou-sqp-");

impl Task {
    /// Is it a kworker, on a kernel that shows the functions of kworkers?
    #[inline(always)]
    pub(crate) fn is_worker(self) -> bool {
        shows_functions() && self.flags() & PF_WQ_WORKER != 0
    }

    /// Address of the function of a kworker, 0 if it is not known. A worker that goes to sleep has done its work: then the address
    /// is that of its last function.
    #[inline(always)]
    pub(crate) fn work_function(self) -> u64 {
        function(self.kthread())
    }
}

/// Address of the function that `current` runs, if it is a kworker; else 0.
#[inline(always)]
pub(crate) fn current_work_function() -> u64 {
    // SAFETY: a helper without arguments; its result has no type on 5.10.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    if !shows_functions() || untyped(task, config!(offsets.task_flags), 0) & PF_WQ_WORKER == 0 {
        return 0;
    }
    function(untyped(task, config!(offsets.task_kthread), 0))
}

/// Does `current` poll a ring of its process (`IORING_SETUP_SQPOLL`)? Before 5.12 such a thread belongs to no process.
#[inline(always)]
pub(crate) fn polls_ring() -> bool {
    if !has(config!(offsets.task_flags)) || !has(config!(offsets.task_comm)) {
        return false;
    }
    // SAFETY: a helper without arguments; its result has no type on 5.10.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    untyped(task, config!(offsets.task_flags), 0) & PF_IO_WORKER != 0
        && untyped(task, config!(offsets.task_comm), 0_u64) == POLLER
}

#[inline(always)]
fn shows_functions() -> bool {
    has(config!(offsets.task_flags))
        && has(config!(offsets.task_kthread))
        && has(config!(offsets.kthread_data))
        && has(config!(offsets.worker_function))
}

/// `kthread_data()` through pointers without a type, hence the helper. `set_child_tid` (`worker_private` from 5.17) leads to
/// `struct kthread`, and its `data` to `struct worker`.
#[inline(always)]
fn function(kthread: u64) -> u64 {
    let worker: u64 = untyped(kthread as *const u8, config!(offsets.kthread_data), 0);
    if worker == 0 {
        return 0;
    }
    let worker = worker as *const u8;
    let now = untyped(worker, config!(offsets.worker_function), 0);
    if now != 0 || !has(config!(offsets.worker_last_function)) {
        return now;
    }
    untyped(worker, config!(offsets.worker_last_function), 0)
}
