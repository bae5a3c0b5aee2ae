//! Interrupts.

use serde::{Deserialize, Serialize};
use tracer_common::irq::SOFTIRQS;

/// What ran on a CPU in nobody's name.
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

/// See [`tracer_common::irq::Interrupts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Interrupts {
    pub ns: u64,
    pub cpu: u32,
    pub begin_ns: u64,
    pub took: Vec<(Source, u64)>,
}

/// At the end: what interrupted target threads while they ran, which is part of their time on a CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// By source, ns.
    pub took: Vec<(Source, u64)>,
}
