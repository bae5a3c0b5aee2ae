//! Process family; kernel side: `tracer-ebpf/src/probes/proc.rs`.

use super::{Probe, optional, required};

/// What attaches.
pub const PROBES: &[Probe] = &[
    required(
        "sched_process_fork",
        &[
            "task_tid",
            "task_pid",
            "task_start",
            "task_comm",
            "task_signal",
            "signal_pids",
            "pid_number",
        ],
    ),
    optional(
        "sched_process_exec",
        &[
            "task_mm",
            "mm_arg_start",
            "mm_arg_end",
            "task_comm",
            "task_signal",
            "signal_pids",
            "pid_number",
        ],
        "programs started during the trace keep the name of what started them",
        None,
    ),
    optional(
        "sched_process_exit",
        &["task_signal", "signal_live"],
        "the end of processes is not seen",
        None,
    ),
];
