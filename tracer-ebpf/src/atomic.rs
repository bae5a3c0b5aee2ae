//! Atomic addition without a result: the only atomic that 5.10 executes.
//!
//! `core`'s atomics have no `fetch_add` on this target, because it has no compare-and-swap. So the instruction is written out.

use core::arch::asm;

/// `*counter += by`, atomically; wraps, so that adding `u64::MAX` subtracts one.
///
/// # Safety
/// `counter` points into a map value and is 8-byte aligned.
#[inline(always)]
pub(crate) unsafe fn add64(counter: *mut u64, by: u64) {
    // SAFETY: by the caller.
    unsafe { asm!("lock *(u64 *)({} + 0) += {}", in(reg) counter, in(reg) by, options(nostack)) };
}

/// `*counter += by`, atomically.
///
/// # Safety
/// `counter` points into a map value and is 4-byte aligned.
#[inline(always)]
pub(crate) unsafe fn add32(counter: *mut u32, by: u32) {
    // SAFETY: by the caller.
    unsafe {
        asm!("lock *(u32 *)({} + 0) += {}", in(reg) counter, in(reg) u64::from(by), options(nostack));
    }
}
