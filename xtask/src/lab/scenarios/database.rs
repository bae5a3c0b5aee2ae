//! Scenarios of databases beside what people run beside them.

use crate::lab::scenario::Scenario;

/// The scenarios.
pub const ALL: &[Scenario] = &[];
