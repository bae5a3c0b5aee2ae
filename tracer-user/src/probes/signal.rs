//! Signal family; kernel side: `tracer-ebpf/src/probes/signal.rs`.

use tracer_common::signal::{SIGNAL_BY_KERNEL, Signal};

use super::table::{Probe, optional};
use crate::event;

/// The probes of the family.
pub(super) const PROBES: &[Probe] = &[optional(
    "signal_generate",
    &["task_tid", "task_pid"],
    "who stops the target with a signal is unknown",
    None,
)];

pub(super) fn signal(r: &Signal) -> event::Signal {
    event::Signal {
        ns: r.header.ns,
        pid: r.pid,
        tid: r.tid,
        sender_pid: r.sender_pid,
        sender_tid: r.sender_tid,
        number: r.number,
        by_kernel: r.flags & SIGNAL_BY_KERNEL != 0,
    }
}
