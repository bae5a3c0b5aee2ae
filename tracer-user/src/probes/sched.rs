//! Scheduler family; kernel side: `tracer-ebpf/src/probes/sched.rs`.

use super::{Probe, optional, required};

/// What attaches.
pub const PROBES: &[Probe] = &[
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
