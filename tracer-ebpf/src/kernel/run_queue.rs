//! Run queues: their clocks, and the time that a group's CPU quota stopped them.

use super::{Group, Task, config, field, has, pointer, untyped};

pointer! {
    /// `struct task_group`
    TaskGroup {
        cfs_rqs: u64 = group_cfs_rqs;
        cgroup: Group = task_group_cgroup;
    }
}

impl Task {
    /// Number of its control group in the hierarchy that divides the CPU; 0 if there is none (an autogroup), or the kernel does not
    /// show it.
    #[inline(always)]
    pub(crate) fn cpu_group(self) -> u64 {
        if !has(config!(offsets.task_group))
            || !has(config!(offsets.task_group_cgroup))
            || !has(config!(offsets.folder_number))
        {
            return 0;
        }
        self.group().cgroup().folder().number()
    }
}

pointer! {
    /// `struct cfs_rq`
    CfsRq {
        rq: Rq = cfs_rq_rq;
        throttle_count: u32 = cfs_rq_throttle_count;
    }
}

impl CfsRq {
    /// Time that the hypervisor has stolen of its CPU so far, ns; 0 if the kernel does not count it.
    #[inline(always)]
    pub(crate) fn stolen_ns(self) -> u64 {
        if has(config!(offsets.rq_stolen)) {
            self.rq().stolen()
        } else {
            0
        }
    }

    /// Time this queue was throttled so far, an open interval included, ns; 0 if the kernel does not count it.
    ///
    /// An interval is stamped on the same clock as its sum. The clocks of a run queue drift apart by interrupts and stolen time.
    #[inline(always)]
    pub(crate) fn throttled_ns(self) -> u64 {
        if has(config!(offsets.cfs_rq_throttled_self)) {
            self.throttled(
                config!(offsets.cfs_rq_throttled_self),
                config!(offsets.cfs_rq_throttled_self_since),
                self.rq().clock(),
            )
        } else if has(config!(offsets.cfs_rq_throttled_pelt)) {
            self.throttled(
                config!(offsets.cfs_rq_throttled_pelt),
                config!(offsets.cfs_rq_throttled_pelt_since),
                // `rq_clock_pelt()`, 5.1 to 7.2.
                self.rq().clock_pelt().wrapping_sub(self.rq().lost_idle()),
            )
        } else if has(config!(offsets.cfs_rq_throttled_task)) {
            self.throttled(
                config!(offsets.cfs_rq_throttled_task),
                config!(offsets.cfs_rq_throttled_task_since),
                self.rq().clock_task(),
            )
        } else {
            0
        }
    }

    #[inline(always)]
    fn throttled(self, total: u32, since: u32, clock: u64) -> u64 {
        let total: u64 = field(self.0, total);
        if self.throttle_count() == 0 {
            return total;
        }
        let since: u64 = field(self.0, since);
        let open = clock.wrapping_sub(since);
        if since == 0 || (open as i64) < 0 {
            total
        } else {
            total + open
        }
    }
}

pointer! {
    /// `struct rq`
    Rq {
        clock: u64 = rq_clock;
        clock_task: u64 = rq_clock_task;
        clock_pelt: u64 = rq_clock_pelt;
        lost_idle: u64 = rq_lost_idle;
        stolen: u64 = rq_stolen;
    }
}

/// [`throttled_on`] of a queue that cannot be read.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// Closed throttled intervals of the run queue that a thread's group has on `cpu`, ns, or [`UNKNOWN`].
///
/// An array of pointers has no type to follow, hence the helper.
#[inline(always)]
pub(crate) fn throttled_on(task: Task, cpu: u32) -> u64 {
    let total = if has(config!(offsets.cfs_rq_throttled_self)) {
        config!(offsets.cfs_rq_throttled_self)
    } else if has(config!(offsets.cfs_rq_throttled_pelt)) {
        config!(offsets.cfs_rq_throttled_pelt)
    } else {
        config!(offsets.cfs_rq_throttled_task)
    };
    if !has(total) || !has(config!(offsets.group_cfs_rqs)) || !has(config!(offsets.task_group)) {
        return UNKNOWN;
    }
    let queues = task.group().cfs_rqs() as *const u8;
    let queue: u64 = untyped(queues, 8 * cpu, UNKNOWN);
    if queue == UNKNOWN {
        return UNKNOWN;
    }
    untyped(queue as *const u8, total, UNKNOWN)
}

/// `NMI_MASK | HARDIRQ_MASK | SOFTIRQ_OFFSET` of `preempt.h`, 5.10 to 7.2. These bits of the count are set while an interrupt is
/// served, not only held off.
const INTERRUPTS: u32 = 0x00f0_0000 | 0x000f_0000 | 0x100;

/// The context of a CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// Of the task that is `current`.
    Task,
    /// Of an interrupt: `current` is a bystander.
    Interrupt,
    /// It is not known.
    Unknown,
}

/// Context of the CPU with its run queue at this address.
///
/// `__preempt_count` and `runqueues` are both variables of each CPU. So the distance from one to the other is the same on every CPU.
#[inline(always)]
pub(crate) fn context(run_queue: u64) -> Context {
    let distance = config!(preempt_count);
    if !has(distance) || run_queue == 0 {
        return Context::Unknown;
    }
    let count = run_queue.wrapping_add(distance as i32 as u64) as *const u8;
    match untyped(count, 0, u32::MAX) {
        u32::MAX => Context::Unknown,
        count if count & INTERRUPTS != 0 => Context::Interrupt,
        _ => Context::Task,
    }
}
