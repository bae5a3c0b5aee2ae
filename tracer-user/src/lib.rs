//! `tracer` tells which resource a process waits for, and who holds it.

pub mod assemble;
pub mod class;
pub mod cli;
pub mod cmd;
pub mod event;
pub mod kernel;
pub mod model;
pub mod probes;
pub mod recording;
pub mod render;
pub mod report;
pub mod units;
pub mod verdict;
