//! What the tracer may still do once it traces. From then on it reads what other processes wrote: their names, their arguments, their
//! memory.

use super::output::Files;
use crate::machine::capability::{Capability, keep_only};

/// What a trace under way needs.
const TRACING: [Capability; 5] = [
    // The maps are read. Up to 5.18 every call of bpf(2) asks for it where `kernel.unprivileged_bpf_disabled` is set.
    Capability::Bpf,
    // In `/proc`, of other users: descriptors, system calls, memory. Copies of their sockets (pidfd_getfd(2)).
    Capability::SysPtrace,
    Capability::DacReadSearch,
    // Kernel stacks in `/proc`, the network namespaces of containers, the run time of the tracer's own programs.
    Capability::SysAdmin,
    // The window begins with locking memory, and what is allocated later is locked, too.
    Capability::IpcLock,
];

/// To give files in a folder of somebody else their names.
const FOREIGN_FOLDERS: [Capability; 2] = [Capability::DacOverride, Capability::Fowner];

/// Gives up what a trace no longer needs once everything is attached, and before a thread of the trace is started. The thread that writes
/// the recording was there before, and gives up everything itself.
pub(super) fn reduce(files: &Files) {
    let mut kept = TRACING.to_vec();
    if files.are_in_foreign_folders() {
        kept.extend(FOREIGN_FOLDERS);
    }
    if let Err(error) = keep_only(&kept) {
        log::warn!("the tracer keeps all its capabilities: {error}");
    }
}
