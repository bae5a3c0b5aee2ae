//! The parts that tasks share: installing, building, running other programs, booting guests. `tests/lab` uses them too.

pub mod build;
pub mod command;
pub mod paths;
pub mod setup;
pub mod toolchain;
pub mod vm;
