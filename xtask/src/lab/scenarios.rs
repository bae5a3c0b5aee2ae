//! All scenarios, by family.

mod cpu;
mod innocent;

use super::scenario::Scenario;

/// Families and their scenarios.
pub const ALL: &[(&str, &[Scenario])] = &[("cpu", cpu::ALL), ("innocent", innocent::ALL)];
