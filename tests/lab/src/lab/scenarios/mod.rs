//! All scenarios, by family.

mod asked;
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
mod links_guest;
mod locks;
mod memory;
mod network;
mod own_doing;
mod parts;
mod pipeline;
mod pools;
mod pushes;
mod queues;
mod sessions;
mod stopped;
mod unanswered;
mod web;

use super::scenario::Scenario;

/// The family that needs whole disks.
pub(crate) const ON_WHOLE_DISKS: &str = "journal";
/// The family that needs whole disks, and so little memory that it can be filled.
pub(crate) const IN_LITTLE_MEMORY: &str = "memory";

/// The family that needs modules of the kernel.
pub(crate) const WITH_MODULES: &str = "links-guest";

/// Families and their scenarios.
pub(crate) const ALL: &[(&str, &[Scenario])] = &[
    ("disk", disk::ALL),
    ("files", files::ALL),
    (ON_WHOLE_DISKS, journal::ALL),
    (IN_LITTLE_MEMORY, memory::ALL),
    ("layout", layout::ALL),
    ("asynchronous", asynchronous::ALL),
    ("backup", backup::ALL),
    ("database", database::ALL),
    ("sessions", sessions::ALL),
    ("cpu", cpu::ALL),
    ("network", network::ALL),
    ("links", links::ALL),
    ("queues", queues::ALL),
    (WITH_MODULES, links_guest::ALL),
    ("locks", locks::ALL),
    ("pipeline", pipeline::ALL),
    ("form", form::ALL),
    ("pools", pools::ALL),
    ("pushes", pushes::ALL),
    ("asked", asked::ALL),
    ("unanswered", unanswered::ALL),
    ("web", web::ALL),
    ("stopped", stopped::ALL),
    ("clients", clients::ALL),
    ("innocent", innocent::ALL),
    ("own-doing", own_doing::ALL),
    ("limits", limits::ALL),
    ("parts", parts::ALL),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_little_memory_for_all_scenarios_that_need_it() {
        let names = memory::ALL.iter().map(|scenario| scenario.name);
        let names: Vec<&str> = [IN_LITTLE_MEMORY].into_iter().chain(names).collect();
        assert_eq!(names, xtask::vm::IN_LITTLE_MEMORY);
    }
}
