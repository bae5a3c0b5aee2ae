//! Workloads of known truth, and what the tests share.
//!
//! [`workload`] holds a small file-serving web server, a client that measures it, and a backup that gets in its way. Each is a
//! program of its own (`src/bin`), with a name and a pid by which a report can be judged. [`busy`] keeps a CPU busy. [`truth`]
//! compares a trace with the kernel's counters. [`disk`], [`slow_disk`] and [`cgroup`] are devices and limits of a test's own.
//! [`advice`] follows a report's advice. [`terminal`] and [`harness`] start and end tracers and workloads.

pub mod advice;
pub mod busy;
pub mod cgroup;
pub mod disk;
pub mod harness;
pub mod slow_disk;
pub mod terminal;
pub mod truth;
pub mod workload;
