//! Process family; kernel side: `tracer-ebpf/src/probes/proc.rs`.

use tracer_common::proc::{CMDLINE, Exec, Exit, Fork};

use super::{
    frame::text,
    table::{Probe, optional, required},
};
use crate::event;

/// The probes of the family.
pub(super) const PROBES: &[Probe] = &[
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

pub(super) fn fork(r: &Fork) -> event::Fork {
    event::Fork {
        ns: r.header.ns,
        pid: r.pid,
        tid: r.tid,
        parent_pid: r.parent_pid,
        target: r.target != 0,
        sid: r.sid,
        pgid: r.pgid,
        start_ns: r.start_ns,
        comm: text(&r.comm),
    }
}

/// The thread that forked, if it is not the first one of a target's process.
pub(super) fn borne(r: &Fork) -> Option<event::Borne> {
    let is_told = r.target != 0 && r.parent_tid != r.parent_pid;
    is_told.then_some(event::Borne {
        ns: r.header.ns,
        pid: r.parent_pid,
        tid: r.parent_tid,
        child_tid: r.tid,
    })
}

pub(super) fn exec(r: &Exec) -> event::Exec {
    let length = (r.cmdline_len as usize).min(CMDLINE);
    event::Exec {
        ns: r.header.ns,
        pid: r.pid,
        sid: r.sid,
        pgid: r.pgid,
        start_ns: r.start_ns,
        comm: text(&r.comm),
        cmdline: String::from_utf8_lossy(&r.cmdline[..length])
            .trim_end_matches('\0')
            .replace('\0', " "),
    }
}

pub(super) fn exit(r: &Exit) -> event::Exit {
    event::Exit {
        ns: r.header.ns,
        pid: r.pid,
    }
}
