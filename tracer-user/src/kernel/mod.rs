//! Everything that names aya: what this kernel offers, loading, attaching, reading.

mod before;
mod bios;
pub mod btf;
mod clients;
mod evidence;
pub mod features;
mod follow;
mod held_back;
mod holders;
mod ingress;
pub mod load;
mod order;
mod own_time;
mod pace;
mod parents;
pub mod proc;
pub mod reader;
mod rings;
pub mod session;
mod smt;
pub mod steady;
mod steal;
pub mod symbols;
mod verify;

use std::time::Duration;

/// Now, on the clock of every record: nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of a clock.
#[must_use]
pub fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid pointer; the clocks used exist on every supported kernel.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of the calling thread.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    Duration::from_nanos(clock_ns(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// What is done once may take several times the memory that is needed from then on; the allocator keeps it otherwise.
fn give_back_memory() {
    // SAFETY: no arguments that matter.
    unsafe { libc::malloc_trim(0) };
}
