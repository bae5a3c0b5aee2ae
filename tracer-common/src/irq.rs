//! Interrupts: the time that they took of a CPU while a target thread was queued there. They run in nobody's name.

use crate::{plain, record::Header};

/// Sums of each CPU, by number: [`Sums`].
pub const INTERRUPTS_MAP: &str = "INTERRUPTS";

/// Names of the softirqs as `/proc/softirqs` has them: the order is the same from 5.10 to 7.2.
pub const SOFTIRQS: [&str; 10] = [
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU",
];

/// Index of devices' interrupts, behind the softirqs.
pub const HARD: usize = SOFTIRQS.len();

/// Number of sources: the softirqs and [`HARD`].
pub const SOURCES: usize = HARD + 1;

/// Time that interrupts took of a CPU while a target thread was queued there. The count begins at the last such record, or when the
/// thread was queued.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Interrupts {
    /// `ns` is the end.
    pub header: Header,
    /// Begin, ns.
    pub begin_ns: u64,
    /// By source, ns. The sum is at most the time between begin and end.
    pub ns: [u64; SOURCES],
    /// The CPU that was held, not always the one that wrote this.
    pub place: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// Sums of one CPU (map `INTERRUPTS`, by CPU).
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// By source, ns.
    pub ns: [u64; SOURCES],
    /// Of all sources, ns.
    pub all_ns: u64,
    /// The part of `ns` that records have reported.
    pub reported_ns: [u64; SOURCES],
    /// The part of `all_ns` that records have reported.
    pub reported_all_ns: u64,
    /// Time that interrupts took of target threads that ran here, by source, ns.
    pub own_ns: [u64; SOURCES],
    /// Keeps entries apart.
    pub reserved: [u64; 5],
}

const _: () = assert!(size_of::<Sums>() == 320);
// SAFETY: `repr(C)`, no padding (5 cache lines of 8 words), any bit pattern is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Sums {}

plain!(Interrupts = 32 + 8 * SOURCES);
