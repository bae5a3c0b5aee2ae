//! The end of an interval of a trace of all processes.

use serde::{Deserialize, Serialize};

use super::{Io, Slice, Wait};
use crate::counters::Counters;

/// An interval of a trace of all processes ends: what the kernel has counted by then, and what is open. All records of the interval come
/// before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The end of the interval, ns.
    pub ns: u64,
    /// What the kernel counts by itself.
    pub counters: Counters,
    /// Threads that are off the CPU, but for those that have waited for work all the time.
    pub waits: Vec<Wait>,
    /// Requests in flight.
    pub requests: Vec<Io>,
    /// The holders of CPUs on which somebody queues.
    pub slices: Vec<Slice>,
    /// Records that the kernel half has lost since the trace began.
    pub lost: u64,
    /// CPU time of the tracer since it began, without its programs in the kernel, ns.
    pub cost_ns: u64,
}
