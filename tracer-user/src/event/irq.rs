//! Interrupts.

use serde::{Deserialize, Serialize};

use super::{ProbeGroup, Source};

/// See [`tracer_common::irq::Interrupts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Interrupts {
    pub ns: u64,
    pub cpu: u32,
    pub begin_ns: u64,
    pub took: Vec<(Source, u64)>,
}

/// Probes are shed from now on, because their facts cannot change the answer, or they are watched again. They are watched at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Since when, ns.
    pub ns: u64,
    /// The probes.
    pub group: ProbeGroup,
    /// Are they shed?
    pub is_shed: bool,
}
