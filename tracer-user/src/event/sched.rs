//! Threads and CPUs.

use serde::{Deserialize, Serialize};

/// See [`tracer_common::sched::Wait`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Wait {
    pub ns: u64,
    pub cpu: u32,
    pub pid: u32,
    pub tid: u32,
    pub ran_since_ns: u64,
    pub ran_ns: u64,
    pub off_ns: u64,
    pub run_queue_ns: u64,
    pub throttled_ns: u64,
    pub waking_ns: u64,
    pub stack: u64,
    pub waker_stack: u64,
    pub waker_pid: u32,
    pub waker_tid: u32,
    pub state: u32,
    pub flags: u32,
}

/// See [`tracer_common::sched::Slice`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Slice {
    pub ns: u64,
    pub cpu: u32,
    pub begin_ns: u64,
    pub pid: u32,
    pub tid: u32,
}

/// See [`tracer_common::sched::Migrate`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Migrate {
    pub ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub from_cpu: u32,
    pub to_cpu: u32,
}

/// See [`tracer_common::sched::ThreadEnd`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct ThreadEnd {
    pub ns: u64,
    pub pid: u32,
    pub tid: u32,
}

/// See [`tracer_common::sched::Work`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Work {
    pub ns: u64,
    pub begin_ns: u64,
    pub pid: u32,
    /// Its name, or its address if there is none.
    pub function: String,
}

/// See [`tracer_common::sched::Stolen`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Stolen {
    pub ns: u64,
    pub cpu: u32,
    pub begin_ns: u64,
    pub stolen_ns: u64,
}

/// At the end: the time that a CPU was busy in the window, and the stolen part of that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// Number of the CPU.
    pub cpu: u32,
    /// Time that it was not idle, stolen time included, ns.
    pub busy_ns: u64,
    /// Stolen part of `busy_ns`, ns.
    pub stolen_ns: u64,
}

impl CpuTime {
    /// Part of the busy time that was stolen, 0 to 1.
    #[must_use]
    pub fn part(&self) -> f64 {
        self.stolen_ns as f64 / self.busy_ns.max(1) as f64
    }
}
