//! Interrupts; kernel side: `tracer-ebpf/src/probes/irq.rs`.

use super::{Probe, optional};

const HARD: &str = "run-queue time that interrupts took is charged to those whom they interrupted";
const SOFT: &str = "run-queue time that softirqs took is charged to those whom they interrupted";

/// What attaches.
pub const PROBES: &[Probe] = &[
    optional("irq_handler_entry", &[], HARD, None),
    optional("irq_handler_exit", &[], HARD, None),
    optional("softirq_entry", &[], SOFT, None),
    optional("softirq_exit", &[], SOFT, None),
];
