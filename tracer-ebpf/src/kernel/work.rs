//! Kernel workers: which function a kworker runs, or ran last.

use super::{Task, UNKNOWN, config, has, run_queue::read};

/// `PF_WQ_WORKER`, 5.10 to 7.2.
const PF_WQ_WORKER: u32 = 0x20;

impl Task {
    /// Is it a kworker whose function can be told?
    #[inline(always)]
    pub fn is_worker(self) -> bool {
        has(config!(offsets.task_flags))
            && has(config!(offsets.task_kthread))
            && has(config!(offsets.kthread_data))
            && has(config!(offsets.worker_function))
            && self.flags() & PF_WQ_WORKER != 0
    }

    /// Address of the function of a kworker; 0 if it is not known. A worker that goes to sleep has done its work: then it is the last.
    ///
    /// `kthread_data()` through pointers without a type, hence the helper: `set_child_tid` (`worker_private` from 5.17) leads to
    /// `struct kthread`, its `data` to `struct worker`.
    #[inline(always)]
    pub fn work_function(self) -> u64 {
        let worker = read(
            self.kthread()
                .wrapping_add(u64::from(config!(offsets.kthread_data))),
        );
        if worker == UNKNOWN {
            return 0;
        }
        let now = read(worker.wrapping_add(u64::from(config!(offsets.worker_function))));
        if now != 0 && now != UNKNOWN {
            return now;
        }
        if !has(config!(offsets.worker_last_function)) {
            return 0;
        }
        let last = read(worker.wrapping_add(u64::from(config!(offsets.worker_last_function))));
        if last == UNKNOWN { 0 } else { last }
    }
}
