//! Signals that stop a target: who sent them. The kernel does not remember the sender.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_common::{
    Kind,
    signal::{FIRST_STOP, LAST_STOP, SIGNAL_BY_KERNEL, Signal},
};

use crate::{
    emit,
    filter::is_target,
    kernel::{Task, current, now},
};

/// `SEND_SIG_PRIV`: the kernel itself sends the signal. Then `info` is this number, and no address.
const BY_KERNEL: u64 = 1;

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`, 5.10 to 7.2. Runs in
/// the sender, at the end of sending. `info` may be no address, and is never followed.
#[btf_tracepoint(function = "signal_generate")]
fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    let number = ctx.arg::<u64>(0) as u32;
    if !(FIRST_STOP..=LAST_STOP).contains(&number) {
        return 0;
    }
    let task = Task(ctx.arg(2));
    let (pid, tid) = (task.pid(), task.tid());
    if !is_target(pid) {
        return 0;
    }
    let by_kernel = ctx.arg::<u64>(1) == BY_KERNEL;
    let (sender_pid, sender_tid) = current();
    emit::event::<Signal>(Kind::Signal, now(), |record| {
        // SAFETY: a reservation of this size.
        unsafe {
            (*record).pid = pid;
            (*record).tid = tid;
            (*record).sender_pid = sender_pid;
            (*record).sender_tid = sender_tid;
            (*record).number = number;
            (*record).flags = if by_kernel { SIGNAL_BY_KERNEL } else { 0 };
        }
    });
    0
}
