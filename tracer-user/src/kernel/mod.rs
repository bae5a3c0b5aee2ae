//! Everything that names aya: what this kernel offers, loading, attaching, reading.

mod bios;
pub(crate) mod btf;
pub(crate) mod features;
pub(crate) mod held_back;
pub(crate) mod load;
mod order;
pub(crate) mod pace;
mod parents;
pub(crate) mod reader;
pub(crate) mod rings;
pub(crate) mod self_time;
pub(crate) mod smt;
pub(crate) mod symbols;
mod verify;
