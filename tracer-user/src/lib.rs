//! `tracer` tells which resource a process waits for, and who holds it.

pub mod class;
pub mod event;
pub mod kernel;
pub mod probes;
pub mod report;
