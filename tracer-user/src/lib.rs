//! `tracer` reports which resource a process waits for, and which process holds it.
//!
//! Modules in reading order; data flows one way through them:
//!
//! - [`probes`] what attaches and what its absence costs; a record becomes an [`event`]
//! - `machine` what `/proc`, `/sys` and netlink say of this machine
//! - `kernel` everything that names aya: BTF, features, loading, attaching, reading
//! - `session` one trace: its window, and what is looked for beside it
//! - [`model`] a pure fold of events into books: which thread waited for what, and which process held it
//! - [`figures`] what events and books both carry, so that a verdict names no event
//! - [`verdict`] from books to an answer; the thresholds, each with its reason
//! - [`assemble`] books and verdict become the [`report`], which [`render`] shows
//! - [`recording`] events in a file: `attach` writes it, `report` reads it, the verdict is the same
//! - [`standing`] what remedies are checked against: this machine, and how a holder stands on it
//! - [`cli`] and [`cmd`] what can be typed, and what it does

pub mod assemble;
pub mod class;
pub mod cli;
pub mod cmd;
pub mod event;
pub mod figures;
pub mod file_system;
mod kernel;
pub mod loss;
mod machine;
pub mod model;
pub mod probes;
pub mod recording;
pub mod render;
pub mod report;
mod session;
pub mod standing;
pub mod units;
pub mod verdict;
