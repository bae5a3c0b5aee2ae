//! Interrupts.

use serde::{Deserialize, Serialize};

use super::Source;

/// See [`tracer_common::irq::Interrupts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Interrupts {
    pub ns: u64,
    pub cpu: u32,
    pub begin_ns: u64,
    pub took: Vec<(Source, u64)>,
}
