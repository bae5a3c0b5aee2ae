//! All scenarios, by family.

mod cpu;
mod disk;
mod form;
mod innocent;
mod links;
mod network;
mod own_doing;
mod pipeline;
mod web;

use super::scenario::Scenario;

/// Families and their scenarios.
pub const ALL: &[(&str, &[Scenario])] = &[
    ("disk", disk::ALL),
    ("cpu", cpu::ALL),
    ("network", network::ALL),
    ("links", links::ALL),
    ("pipeline", pipeline::ALL),
    ("form", form::ALL),
    ("web", web::ALL),
    ("innocent", innocent::ALL),
    ("own-doing", own_doing::ALL),
];
