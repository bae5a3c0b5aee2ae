//! Figures of the kernel that books carry as they came. Both an event and the verdict know them, so they belong to neither.

use serde::{Deserialize, Serialize};
use tracer_common::{histogram::Family, irq::SOFTIRQS};

/// A histogram since attach. The latest one of a process and family counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// When it was taken, ns.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Index in [`Family::ALL`].
    pub family: u32,
    /// Values.
    pub count: u64,
    /// Values that count as zero.
    pub zero_count: u64,
    /// Sum, ns.
    pub sum_ns: u64,
    /// Largest, ns.
    pub max_ns: u64,
    /// CPU time that the process held, ns, for [`Family::RunQueue`].
    pub held_ns: u64,
    /// Index of the first bucket kept.
    pub first: u32,
    /// Values per bucket from there on, without trailing zeros.
    pub buckets: Vec<u32>,
}

impl Histogram {
    /// Is it of this family?
    #[must_use]
    pub fn is(&self, family: Family) -> bool {
        self.family == family as u32
    }
}

/// A source of interrupts: it runs in nobody's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// Devices' interrupts.
    Irq,
    /// A softirq, by its index in [`tracer_common::irq::SOFTIRQS`].
    Softirq(u32),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Irq => f.write_str("irq"),
            Self::Softirq(number) => match SOFTIRQS.get(*number as usize) {
                Some(name) => write!(f, "softirq:{name}"),
                None => write!(f, "softirq:{number}"),
            },
        }
    }
}

/// At the end: time that interrupts took of running target threads. It is part of their time on a CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// By source, ns.
    pub took: Vec<(Source, u64)>,
}

/// At the end: the time that the target ran, and the part in which the sibling ran another process. Only where CPUs have siblings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Siblings {
    /// Time of the target on a CPU, ns.
    pub target_ns: u64,
    /// The part of `target_ns` in which the sibling ran another process, ns.
    pub beside_ns: u64,
}
