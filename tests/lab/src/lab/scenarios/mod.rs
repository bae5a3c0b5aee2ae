//! All scenarios, by family.

mod asynchronous;
mod backup;
mod cpu;
mod database;
mod disk;
mod form;
mod innocent;
mod layout;
mod links;
mod network;
mod own_doing;
mod pipeline;
mod web;

use super::scenario::Scenario;

/// Families and their scenarios.
pub(crate) const ALL: &[(&str, &[Scenario])] = &[
    ("disk", disk::ALL),
    ("layout", layout::ALL),
    ("asynchronous", asynchronous::ALL),
    ("backup", backup::ALL),
    ("database", database::ALL),
    ("cpu", cpu::ALL),
    ("network", network::ALL),
    ("links", links::ALL),
    ("pipeline", pipeline::ALL),
    ("form", form::ALL),
    ("web", web::ALL),
    ("innocent", innocent::ALL),
    ("own-doing", own_doing::ALL),
];
