//! Scheduler records: the time of target threads off the CPU, and the holders of a CPU meanwhile.

use crate::{plain, record::Header};

/// State of each target thread, by thread: [`ThreadState`].
pub const TASKS_MAP: &str = "TASKS";
/// State of each CPU, by number: [`CpuState`].
pub const CPUS_MAP: &str = "CPUS";

/// Frames kept of a kernel stack.
pub const STACK_DEPTH: usize = 32;

/// The thread was still runnable when it left the CPU (preempted, or it yielded).
pub const WAIT_RUNNABLE: u32 = 1;
/// The thread slept in `io_schedule`.
pub const WAIT_IOWAIT: u32 = 2;
/// First sight of the thread: `off_ns` is not known (0), nor where it slept. Its waker is known if it was seen ([`WAIT_TASK_WAKER`]).
pub const WAIT_FIRST: u32 = 4;
/// The thread has not come back yet. Only user space sets this bit, from the map `TASKS`.
pub const WAIT_OPEN: u32 = 8;
/// The thread was woken from interrupt context or its waker was not seen: `waker_tid` is a bystander.
pub const WAIT_NO_WAKER: u32 = 16;
/// The kernel counts the sleep as a stall for memory (`task->in_memstall`). Such a disk wait is for a page that had been in use and
/// was evicted. Never set if the kernel does not account pressure (`CONFIG_PSI`).
pub const WAIT_MEMSTALL: u32 = 32;
/// `current` woke the thread in its own context, by the kernel's own count of interrupts. So `waker_tid` is the waker, and the
/// record has no stack of it. Without this bit and without [`WAIT_NO_WAKER`] only the waker's stack shows whether it is.
pub const WAIT_TASK_WAKER: u32 = 64;
/// Only long waits of the thread are emitted. Between `ran_since_ns` and `off_ns` it ran for `ran_ns`; the rest are short waits.
pub const WAIT_LONG_ONLY: u32 = 128;

/// Where every process is a target, its waits of at least this length are emitted, ns. A person feels a hundred of them, and no machine
/// has so many that they cannot be read.
pub const LEAST_LONG_NS: u64 = 1_000_000;

/// `__TASK_STOPPED` of `task->__state`: stopped by a signal.
pub const STATE_STOPPED: u32 = 4;
/// `__TASK_TRACED`: stopped by a debugger.
pub const STATE_TRACED: u32 = 8;
/// `TASK_FROZEN`, 6.1 and later. No state before that has this bit.
pub const STATE_FROZEN: u32 = 0x8000;

/// A target thread came back on a CPU. The record describes the whole interval off it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait {
    /// `ns` is the time at which the thread came on the CPU.
    pub header: Header,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// When it came on the CPU before, ns; 0 if that was not seen. Shows whether a record of this thread was lost.
    pub ran_since_ns: u64,
    /// Time that it really ran between `ran_since_ns` and `off_ns`, ns: `schedstat` field 1 grows by exactly this. It is less than
    /// the difference if the hypervisor stole the CPU.
    pub ran_ns: u64,
    /// When it left the CPU, ns; 0 with [`WAIT_FIRST`].
    pub off_ns: u64,
    /// Time in a run queue within the interval, ns: `schedstat` field 2 grows by exactly this.
    pub run_queue_ns: u64,
    /// Time within the run-queue part in which the thread's own CPU quota was exhausted, ns.
    pub throttled_ns: u64,
    /// When it was woken, ns; 0 if that was not seen.
    pub waking_ns: u64,
    /// Identity of the kernel stack it slept in, 0 for none; the frames are in a [`Stack`] record.
    pub stack: u64,
    /// Identity of the waker's kernel stack; 0 if the context of the waker is known without it.
    pub waker_stack: u64,
    /// Process of `current` at the wakeup.
    pub waker_pid: u32,
    /// Thread of `current` at the wakeup.
    pub waker_tid: u32,
    /// `task->__state` at switch-out.
    pub state: u32,
    /// `WAIT_*` bits.
    pub flags: u32,
    /// Begin of the [`Slice`] that ends as this thread comes on the CPU, ns; 0 if there is none, or it has a record of its own.
    pub slice_begin_ns: u64,
    /// Process that held the CPU in that slice; 0 is idle.
    pub slice_pid: u32,
    /// Its thread.
    pub slice_tid: u32,
}

/// A thread left a CPU on which a target thread was queued, or the queued thread moved away from there. If the next thread is a target's,
/// its [`Wait`] brings the slice.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    /// `ns` is the end of the slice.
    pub header: Header,
    /// When the holder came on the CPU, ns.
    pub begin_ns: u64,
    /// Process that held the CPU; 0 is idle.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// The CPU that was held. Another CPU may have written the record.
    pub place: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The function of a kworker. Follows its slice.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// `ns` is the end of the slice.
    pub header: Header,
    /// Begin of the slice, ns.
    pub begin_ns: u64,
    /// Address of the function that the worker ran, or had run last.
    pub function: u64,
    /// The worker.
    pub pid: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The hypervisor ran something else within a slice. Follows that slice.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Stolen {
    /// `ns` is the end of the slice.
    pub header: Header,
    /// Begin of the slice, ns.
    pub begin_ns: u64,
    /// Stolen part of the slice, ns.
    pub stolen_ns: u64,
}

/// Shortest stolen time of a slice that is emitted, ns: less is not worth a record.
pub const LEAST_STOLEN_NS: u64 = 1_000;

/// A queued target thread was moved to another CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Migrate {
    /// `ns` is the time of the move.
    pub header: Header,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// CPU it was queued on.
    pub from_cpu: u32,
    /// CPU it is queued on now.
    pub to_cpu: u32,
}

/// The frames behind a stack identity, sent when it is first seen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// `ns` is the time of capture.
    pub header: Header,
    /// The identity that waits refer to.
    pub id: u64,
    /// Valid frames.
    pub depth: u64,
    /// Return addresses, innermost first.
    pub frames: [u64; STACK_DEPTH],
}

/// A target thread is gone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadEnd {
    /// `ns` is the time at which it left a CPU for the last time.
    pub header: Header,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
}

/// The state that the kernel half keeps of a target thread (map `TASKS`, by tid).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadState {
    /// `se.sum_exec_runtime` when it last came on a CPU, ns.
    pub exec_ns: u64,
    /// Time that it ran until it left the CPU, ns.
    pub ran_ns: u64,
    /// When it last came on a CPU, ns; 0 if that was never seen.
    pub on_ns: u64,
    /// When it left the CPU, ns; 0 if that was never seen.
    pub off_ns: u64,
    /// Stack identity of its last sleep.
    pub last_stack: u64,
    /// Stands for the place of that sleep, so that the next one there needs no capture; 0 if it is not known.
    pub place: u64,
    /// When that stack was last captured, ns.
    pub captured_ns: u64,
    /// Stack identity of the waker.
    pub waker_stack: u64,
    /// When it was woken, ns.
    pub waking_ns: u64,
    /// `sched_info.run_delay` up to the last time it came on a CPU, ns.
    pub run_delay_ns: u64,
    /// Throttled clock of its run queue when it became runnable, ns.
    pub throttled_ns: u64,
    /// Process of its waker.
    pub waker_pid: u32,
    /// Thread of its waker.
    pub waker_tid: u32,
    /// Process.
    pub pid: u32,
    /// One of `TASK_*`.
    pub state: u32,
    /// `task->__state` at switch-out.
    pub kernel_state: u32,
    /// `WAIT_*` bits known so far.
    pub flags: u32,
    /// CPU of the run queue in which it stands, while queued.
    pub cpu: u32,
    /// 1: it waits for a lock of the kernel, or did before it last slept.
    pub contends: u32,
}

impl ThreadState {
    /// Identity of the stack in which it sleeps, or slept before it became runnable; 0 if it did not sleep.
    #[inline(always)]
    #[must_use]
    pub fn stack(&self) -> u64 {
        if self.flags & WAIT_RUNNABLE != 0 {
            0
        } else {
            self.last_stack
        }
    }
}

/// The thread is on a CPU.
pub const TASK_RUNNING: u32 = 0;
/// The thread is runnable and waits for a CPU.
pub const TASK_QUEUED: u32 = 1;
/// The thread sleeps.
pub const TASK_ASLEEP: u32 = 2;

/// Per-CPU state of the scheduler probes (map `CPUS`, by CPU), on cache lines of its own.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuState {
    /// When the running thread came on, ns; 0 before the first switch.
    pub since_ns: u64,
    /// Target threads queued here. While it is not 0, slices of this CPU are emitted.
    pub queued: u64,
    /// End of the running thread's time that was emitted already, because a queued target thread moved away, ns. It may be older than
    /// `since_ns`.
    pub emitted_ns: u64,
    /// Process that runs, 0 is idle.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// When the first of the target threads in the queue was queued, ns.
    pub opened_ns: u64,
    /// When the hard interrupt under way began, ns, or [`UNTIMED`]; 0: none is under way.
    pub irq_ns: u64,
    /// When the softirq under way began, ns, or [`UNTIMED`]; 0: none is under way.
    pub softirq_ns: u64,
    /// Time that had been stolen of the CPU when the running thread came on, ns.
    pub stolen_ns: u64,
    /// Address of its run queue, as the first switch there showed it; 0 before.
    pub run_queue: u64,
    /// Run-queue wait of the running thread, ns, or [`NOT_QUEUED`]. It is counted when the thread leaves. Means nothing while `since_ns` is
    /// 0.
    pub waited_ns: u64,
    /// Address of the running thread's `task_struct`.
    pub task: u64,
    /// Run time of threads that left the CPU in a switch that the kernel did not show, ns.
    pub unseen_ns: u64,
    /// The slice that the next [`Wait`] record is to bring, as [`Wait::slice_begin_ns`].
    pub slice_begin_ns: u64,
    /// See [`Wait::slice_pid`].
    pub slice_pid: u32,
    /// See [`Wait::slice_tid`].
    pub slice_tid: u32,
    /// Sum of run-queue waits of target threads that ended here while interrupts were shed ([`crate::shed::weighed`]), ns. One that is
    /// left from before only makes the kernel half watch sooner.
    pub unwatched_ns: u64,
    /// Since when interrupts had been watched as that softirq began ([`crate::shed::WATCHED_MAP`]). One that ended while they were shed
    /// left its stamp.
    pub softirq_watch_ns: u64,
}

impl CpuState {
    /// Does the CPU run a softirq that was seen to begin? Interrupts are watched since `watched_ns`.
    #[inline(always)]
    #[must_use]
    pub fn in_softirq(&self, watched_ns: u64) -> bool {
        self.softirq_ns != 0 && self.softirq_watch_ns == watched_ns
    }
}

/// A run-queue wait that is not known, and not counted.
pub const NOT_QUEUED: u64 = u64::MAX;

/// Stands for the begin of an interrupt that needs no time. As it began, no target thread was queued or ran on its CPU.
pub const UNTIMED: u64 = 1;

const _: () = assert!(size_of::<CpuState>() == 128);
// SAFETY: `repr(C)`, explicit padding, any bit pattern is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for CpuState {}

plain!(
    Wait = 120,
    Slice = 40,
    Work = 40,
    Stolen = 32,
    Migrate = 32,
    Stack = 32 + 8 * STACK_DEPTH,
    ThreadEnd = 24,
    ThreadState = 120
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_softirq_that_ended_unwatched_is_not_under_way_once_it_is_watched_again() {
        let begun = CpuState {
            softirq_ns: UNTIMED,
            softirq_watch_ns: 0,
            ..CpuState::default()
        };
        assert!(begun.in_softirq(0));
        assert!(!begun.in_softirq(crate::shed::SHED));
        assert!(!begun.in_softirq(500));
        let again = CpuState {
            softirq_watch_ns: 500,
            ..begun
        };
        assert!(again.in_softirq(500));
        assert!(!CpuState::default().in_softirq(0));
    }
}
