//! Scheduler family; kernel side: `tracer-ebpf/src/probes/sched/`.

use tracer_common::sched::{
    CPUS_MAP, CpuState, Migrate, STACK_DEPTH, Slice, Stack, Stolen, TASK_QUEUED, TASK_RUNNING,
    TASKS_MAP, ThreadEnd, ThreadState, WAIT_OPEN, WAIT_RUNNABLE, Wait, Work,
};

use super::{
    maps::Maps,
    table::{Probe, optional, required},
};
use crate::{
    event::{self, Event},
    units,
};

/// The probes of the family.
pub(super) const PROBES: &[Probe] = &[
    required(
        "sched_switch",
        &[
            "task_tid",
            "task_pid",
            "task_state",
            "task_last_queued",
            "task_last_arrival",
            "task_run_delay",
            "task_exec",
            "task_cfs_rq",
            "cfs_rq_rq",
            "rq_clock",
        ],
    ),
    required(
        "sched_wakeup",
        &["task_tid", "task_pid", "task_cpu", "task_cfs_rq"],
    ),
    required(
        "sched_wakeup_new",
        &["task_tid", "task_pid", "task_cpu", "task_cfs_rq"],
    ),
    optional(
        "sched_waking",
        &["task_tid", "task_pid"],
        "who woke a thread is unknown: waits for locks have no holder",
        None,
    ),
    optional(
        "sched_migrate_task",
        &["task_tid", "task_pid"],
        "run-queue waits that span two CPUs are charged to the last",
        None,
    ),
];

pub(super) fn wait(r: &Wait) -> event::Wait {
    event::Wait {
        ns: r.header.ns,
        cpu: r.header.cpu,
        pid: r.pid,
        tid: r.tid,
        ran_since_ns: r.ran_since_ns,
        ran_ns: r.ran_ns,
        off_ns: r.off_ns,
        run_queue_ns: r.run_queue_ns,
        throttled_ns: r.throttled_ns,
        waking_ns: r.waking_ns,
        stack: r.stack,
        waker_stack: r.waker_stack,
        waker_pid: r.waker_pid,
        waker_tid: r.waker_tid,
        state: r.state,
        flags: r.flags,
    }
}

/// The slice that ended as the thread of a wait came on the CPU.
pub(super) fn slice_of(r: &Wait) -> Option<event::Slice> {
    (r.slice_begin_ns != 0).then_some(event::Slice {
        ns: r.header.ns,
        cpu: r.header.cpu,
        begin_ns: r.slice_begin_ns,
        pid: r.slice_pid,
        tid: r.slice_tid,
    })
}

/// A thread that is still off the CPU at `ns`, from the kernel half's state.
fn open_wait(tid: u32, task: &ThreadState, ns: u64) -> Option<event::Wait> {
    (task.state != TASK_RUNNING && task.off_ns != 0).then(|| event::Wait {
        ns,
        cpu: task.cpu,
        pid: task.pid,
        tid,
        ran_since_ns: task.on_ns,
        ran_ns: task.ran_ns,
        off_ns: task.off_ns,
        run_queue_ns: match task.state {
            TASK_QUEUED if task.flags & WAIT_RUNNABLE != 0 => ns.saturating_sub(task.off_ns),
            TASK_QUEUED => ns.saturating_sub(task.waking_ns.max(task.off_ns)),
            _ => 0,
        },
        throttled_ns: 0,
        waking_ns: task.waking_ns,
        stack: task.stack(),
        waker_stack: task.waker_stack,
        waker_pid: task.waker_pid,
        waker_tid: task.waker_tid,
        state: task.kernel_state,
        flags: task.flags | WAIT_OPEN,
    })
}

pub(super) fn slice(r: &Slice) -> event::Slice {
    event::Slice {
        ns: r.header.ns,
        cpu: r.place,
        begin_ns: r.begin_ns,
        pid: r.pid,
        tid: r.tid,
    }
}

/// The holder of a CPU at `ns` if a target thread is queued there, from the kernel half's state.
pub(super) fn open_slice(cpu: u32, state: &CpuState, ns: u64) -> Option<event::Slice> {
    let begin_ns = state.since_ns.max(state.emitted_ns);
    let holds = state.queued as i64 > 0 && state.since_ns != 0 && begin_ns < ns;
    holds.then_some(event::Slice {
        ns,
        cpu,
        begin_ns,
        pid: state.pid,
        tid: state.tid,
    })
}

pub(super) fn migrate(r: &Migrate) -> event::Migrate {
    event::Migrate {
        ns: r.header.ns,
        pid: r.pid,
        tid: r.tid,
        from_cpu: r.from_cpu,
        to_cpu: r.to_cpu,
    }
}

pub(super) fn stack(r: &Stack, symbol: impl Fn(u64) -> String) -> event::Stack {
    let depth = (r.depth as usize).min(STACK_DEPTH);
    let frames = r.frames[..depth]
        .iter()
        .map(|address| symbol(*address))
        .collect();
    event::Stack {
        ns: r.header.ns,
        id: r.id,
        frames,
    }
}

pub(super) fn thread_end(r: &ThreadEnd) -> event::ThreadEnd {
    event::ThreadEnd {
        ns: r.header.ns,
        pid: r.pid,
        tid: r.tid,
    }
}

pub(super) fn work(r: &Work, symbol: impl Fn(u64) -> String) -> event::Work {
    event::Work {
        ns: r.header.ns,
        begin_ns: r.begin_ns,
        pid: r.pid,
        function: symbol(r.function),
    }
}

pub(super) fn stolen(r: &Stolen) -> event::Stolen {
    event::Stolen {
        ns: r.header.ns,
        cpu: r.header.cpu,
        begin_ns: r.begin_ns,
        stolen_ns: r.stolen_ns,
    }
}

/// The state of each CPU, by number; none, if the map cannot be read.
pub(super) fn cpus(maps: &impl Maps) -> Vec<CpuState> {
    maps.array(CPUS_MAP).unwrap_or_default()
}

/// The holders of the CPUs on which target threads are queued at `ns`.
pub(super) fn open_slices(cpus: &[CpuState], ns: u64) -> Vec<Event> {
    let all = (0..).zip(cpus);
    let slices = all.filter_map(|(cpu, state)| open_slice(cpu, state, ns));
    slices.map(Event::Slice).collect()
}

/// Since when target threads queue on a CPU without a pause, ns: the longest of all CPUs.
pub(crate) fn queued_ns(maps: &impl Maps) -> Option<u64> {
    let all = cpus(maps);
    let queues = all.iter().filter(|state| state.queued as i64 > 0);
    queues.map(|state| state.opened_ns).min()
}

/// Target threads that are off the CPU at `ns`; none, if the map cannot be read.
pub(super) fn open_waits(maps: &impl Maps, ns: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let _unreadable = maps.each(TASKS_MAP, |tid, thread: ThreadState| {
        events.extend(open_wait(tid, &thread, ns).map(Event::Wait));
    });
    events
}

/// One line of evidence, if the kernel showed nothing for more than a hundredth of a CPU's time.
pub(crate) fn unseen(maps: &impl Maps, window_ns: u64) -> Option<String> {
    let most = cpus(maps).iter().map(|state| state.unseen_ns).max()?;
    unseen_line(most, window_ns)
}

fn unseen_line(most_ns: u64, window_ns: u64) -> Option<String> {
    let share = most_ns as f64 / window_ns as f64;
    (share > 0.01).then(|| {
        format!(
            "this kernel shows nothing while a process that it guards runs, {} of a CPU's time: wakeups and interrupts meanwhile were not \
             seen",
            units::share(share)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_hides_is_evidence_from_a_hundredth_of_a_cpu_on() {
        assert_eq!(unseen_line(10_000_000, 1_000_000_000), None);
        let line = unseen_line(30_000_000, 1_000_000_000).unwrap();
        assert!(line.contains("runs, 3 % of a CPU's time"), "{line}");
    }
}
