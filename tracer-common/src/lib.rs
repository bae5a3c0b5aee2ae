//! What the kernel half and the user half of tracer agree on.
//!
//! One file per probe family holds its ring-buffer records; [`histogram`] holds the bucket scheme, which both halves compute;
//! [`config`] holds the facts about the running kernel that user space finds and freezes before load.
//!
//! `pid` is the process (the kernel's `tgid`), `tid` the thread (the kernel's `pid`). Times are nanoseconds of `CLOCK_MONOTONIC`.
#![no_std]

pub mod block;
pub mod config;
pub mod histogram;
pub mod irq;
pub mod packets;
pub mod proc;
pub mod record;
pub mod sched;
pub mod smt;
pub mod tcp;

/// Implements aya's `Pod` for plain records, and asserts their size where they are defined.
macro_rules! plain {
    ($($name:ty = $size:expr),+ $(,)?) => {$(
        const _: () = assert!(size_of::<$name>() == $size && align_of::<$name>() <= 8);
        // SAFETY: `repr(C)`, no padding (the size is asserted against the sum of the fields), any bit pattern is valid.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}
    )+};
}
pub(crate) use plain;
