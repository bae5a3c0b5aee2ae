//! What this machine says of itself, in `/proc`, `/sys` and over netlink, and how the tracer behaves on it. Names no aya.

pub(crate) mod capability;
pub(crate) mod clocks;
pub(crate) mod evidence;
pub(crate) mod ingress;
pub(crate) mod priority;
pub(crate) mod proc;
pub(crate) mod siblings;
pub(crate) mod steal;

/// What is done once may take several times the memory that is needed from then on; the allocator keeps it otherwise.
pub(crate) fn give_back_memory() {
    // SAFETY: no arguments that matter.
    unsafe { libc::malloc_trim(0) };
}
