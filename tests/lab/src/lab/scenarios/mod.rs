//! All scenarios, by family.

mod asynchronous;
mod backup;
mod clients;
mod cpu;
mod database;
mod disk;
mod files;
mod form;
mod innocent;
mod journal;
mod layout;
mod limits;
mod links;
mod locks;
mod network;
mod own_doing;
mod parts;
mod pipeline;
mod queues;
mod stopped;
mod web;

use super::scenario::Scenario;

/// The family that needs whole disks.
pub(crate) const ON_WHOLE_DISKS: &str = "journal";

/// Families and their scenarios.
pub(crate) const ALL: &[(&str, &[Scenario])] = &[
    ("disk", disk::ALL),
    ("files", files::ALL),
    (ON_WHOLE_DISKS, journal::ALL),
    ("layout", layout::ALL),
    ("asynchronous", asynchronous::ALL),
    ("backup", backup::ALL),
    ("database", database::ALL),
    ("cpu", cpu::ALL),
    ("network", network::ALL),
    ("links", links::ALL),
    ("queues", queues::ALL),
    ("locks", locks::ALL),
    ("pipeline", pipeline::ALL),
    ("form", form::ALL),
    ("web", web::ALL),
    ("stopped", stopped::ALL),
    ("clients", clients::ALL),
    ("innocent", innocent::ALL),
    ("own-doing", own_doing::ALL),
    ("limits", limits::ALL),
    ("parts", parts::ALL),
];
