//! Facts about this machine from `/proc`, `/sys` and netlink, and the tracer's own priority, memory and privileges. Nothing here names aya.

pub(crate) mod capability;
pub(crate) mod clocks;
pub(crate) mod confine;
pub(crate) mod evidence;
pub(crate) mod ingress;
pub(crate) mod limits;
pub(crate) mod looks;
pub(crate) mod memory;
pub(crate) mod priority;
pub(crate) mod proc;
pub(crate) mod rounds;
pub(crate) mod siblings;
pub(crate) mod steal;

/// Gives freed memory back to the kernel; the allocator would keep it. Work that is done once may take several times the memory
/// that is needed afterwards.
pub(crate) fn give_back_memory() {
    // SAFETY: no arguments that matter.
    unsafe { libc::malloc_trim(0) };
}
