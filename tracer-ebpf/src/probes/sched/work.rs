//! Kernel workers that held a CPU: the function they ran.

use tracer_common::{Kind, sched::Work};

use crate::{emit, kernel::Task};

/// Emits the function of a kworker, after its slice.
#[inline(never)]
pub(super) fn emit_work(worker: Task, begin_ns: u64, now: u64) -> i32 {
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
