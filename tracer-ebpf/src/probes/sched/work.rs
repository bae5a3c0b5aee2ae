//! Kernel workers that held a CPU: for which function.

use tracer_common::{Kind, sched::Work};

use crate::{emit, kernel::Task};

/// Tells of a kworker's slice, after the slice.
#[inline(never)]
pub(super) fn tell(worker: Task, begin_ns: u64, now: u64) -> i32 {
    let function = worker.work_function();
    if function == 0 {
        return 0;
    }
    let pid = worker.pid();
    emit::event::<Work>(Kind::Work, now, |record| {
        // SAFETY: a reservation of this size.
        unsafe {
            (*record).begin_ns = begin_ns;
            (*record).function = function;
            (*record).pid = pid;
            (*record).reserved = 0;
        }
    });
    0
}
