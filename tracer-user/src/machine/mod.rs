//! What this machine says of itself in `/proc`, `/sys` and over netlink, and how the tracer behaves on it. Nothing here names aya.

pub(crate) mod capability;
pub(crate) mod clocks;
pub(crate) mod evidence;
pub(crate) mod ingress;
pub(crate) mod priority;
pub(crate) mod proc;
pub(crate) mod siblings;
pub(crate) mod steal;

/// Gives freed memory back to the kernel, which the allocator would keep: work that is done once may take several times the memory that
/// is needed from then on.
pub(crate) fn give_back_memory() {
    // SAFETY: no arguments that matter.
    unsafe { libc::malloc_trim(0) };
}
