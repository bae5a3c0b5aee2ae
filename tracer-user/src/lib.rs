//! `tracer` reports which resource a process waits for, and which process holds it.
//!
//! Modules in reading order; data flows one way through them:
//!
//! - [`probes`] the probes and the cost of a missing one; a record becomes an [`event`]
//! - `machine` facts about this machine from `/proc`, `/sys` and netlink
//! - `kernel` all code that names aya: BTF, features, loading, attaching, reading
//! - `session` one trace: its window, and the searches beside it
//! - [`gate`] refuses events that no kernel sends, before they reach the model
//! - [`model`] a pure fold of events into books: the waits of each thread, and the processes that held the resource
//! - `largest` sums by id of which the largest matter, bounded
//! - [`counters`] what the kernel counts by itself (`/proc/diskstats` and the like), as plain values
//! - [`figures`] figures that events and books both carry, so that a verdict names no event
//! - [`verdict`] from books to an answer; the thresholds, each with its reason
//! - [`assemble`] books and verdict become the [`report`], which [`render`] shows
//! - [`top`] a fold of the events of a whole machine: interval by interval the worst victims, judged as a report judges one
//! - [`recording`] events in a file: `attach` writes it, `report` reads it, the verdict is the same; `diff` compares two
//! - `new_file` the files that are written for the user: private, and whole before they replace an older one
//! - [`standing`] the facts against which remedies are checked: this machine, and the standing of a holder on it; where a process belongs
//! - [`cli`] and [`cmd`] the arguments, and the commands that they run

pub mod assemble;
pub mod class;
pub mod cli;
pub mod cmd;
pub mod counters;
pub mod event;
pub mod figures;
pub mod file_system;
mod functions;
pub mod gate;
mod kernel;
mod largest;
pub mod loss;
mod machine;
pub mod model;
mod new_file;
pub mod probes;
pub mod recording;
pub mod render;
pub mod report;
mod session;
pub mod standing;
pub mod top;
pub mod units;
pub mod verdict;
