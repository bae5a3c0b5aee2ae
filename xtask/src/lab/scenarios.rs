//! All scenarios, by family.

mod backup;
mod cpu;
mod database;
mod disk;
mod form;
mod innocent;
mod layout;
mod network;
mod pipeline;

use super::scenario::Scenario;

/// Families and their scenarios.
pub const ALL: &[(&str, &[Scenario])] = &[
    ("disk", disk::ALL),
    ("layout", layout::ALL),
    ("backup", backup::ALL),
    ("database", database::ALL),
    ("cpu", cpu::ALL),
    ("network", network::ALL),
    ("pipeline", pipeline::ALL),
    ("form", form::ALL),
    ("innocent", innocent::ALL),
];
