//! The stack in which a thread goes to sleep. A server sleeps in one place thousands of times a second: to capture that stack each time
//! would cost as much as all the rest of a switch.

use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::sched::ThreadState;

use crate::{kernel::Task, stack};

/// `TASK_INTERRUPTIBLE`
const INTERRUPTIBLE: u32 = 1;

/// A stack is captured anew after so long, ns, whatever the marks of its place say.
const KEPT_NS: u64 = 100_000_000;

/// Identity of the stack in which `prev`, which is `current`, goes to sleep. If the marks of the place are those of its last sleep, so is
/// the stack.
///
/// A sleep that no signal may end, or that stalls for I/O or memory, is captured each time: it may be anywhere below one system call.
#[inline(always)]
pub(super) fn of_sleep(
    ctx: &BtfTracePointContext,
    prev: Task,
    task: *mut ThreadState,
    (state, stall): (u32, u32),
    now: u64,
) -> u64 {
    let place = if state & INTERRUPTIBLE != 0 && stall == 0 {
        prev.place(ctx, state)
    } else {
        0
    };
    // SAFETY: a map value, see `super::leave_cpu`.
    let (last, known, captured_ns) =
        unsafe { ((*task).last_stack, (*task).place, (*task).captured_ns) };
    let is_fresh = last != 0 && now.wrapping_sub(captured_ns) < KEPT_NS;
    if place != 0 && place == known && is_fresh {
        return last;
    }
    // SAFETY: a map value, see `super::leave_cpu`.
    unsafe {
        (*task).place = place;
        (*task).captured_ns = now;
    }
    stack::of_current(ctx, last, now)
}
