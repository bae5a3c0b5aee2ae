//! What the tracer may still do once it traces or reads a recording. From then on it reads what others wrote: the names, arguments and
//! memory of processes, a file from anywhere.

use libc::c_long;

use super::output::Files;
use crate::machine::{
    capability::{Capability, keep_only},
    confine::{self, Allowed},
};

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
pub(super) fn to_trace(files: &Files) {
    keep(&TRACING, files);
}

/// Leaves what it takes to judge the recording that is open, and to write these files: they are open, too. Nothing can be opened after
/// this, nor sent anywhere.
pub(super) fn to_report(files: &Files) {
    keep(&[], files);
    if !files.are_open() {
        // A pipe that nobody reads yet is opened by a thread, which must still be allowed to.
        return;
    }
    if let Err(error) = confine::allow_only(&REPORTING) {
        log::info!("system calls are not confined: {error:#}");
    }
}

fn keep(needed: &[Capability], files: &Files) {
    let mut kept = needed.to_vec();
    if files.are_in_foreign_folders() {
        kept.extend(FOREIGN_FOLDERS);
    }
    if let Err(error) = keep_only(&kept) {
        log::warn!("the tracer keeps all its capabilities: {error}");
    }
}

/// The system calls of a report: its files are open, and it starts no thread.
const REPORTING: Allowed = Allowed {
    calls: &[&MEMORY, &OPEN_FILES, &NAMES, NAMES_BEFORE, &ENDS],
    with: &[(libc::SYS_ioctl, 1, &TERMINALS)],
};

/// The allocator, and the stack of the main thread.
const MEMORY: [c_long; 6] = [
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
];

/// Reads and writes by descriptor. `newfstatat` and `statx` also take a path, of which they only say what lies there.
const OPEN_FILES: [c_long; 10] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_close,
];

/// A file that is whole takes its name; one that never was is removed.
const NAMES: [c_long; 3] = [libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_unlinkat];
/// The same, in the older calls of this processor.
#[cfg(target_arch = "x86_64")]
const NAMES_BEFORE: &[c_long] = &[libc::SYS_rename, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const NAMES_BEFORE: &[c_long] = &[];

/// Locks, clocks, chance, signals, and the end. An abort sends itself a signal.
const ENDS: [c_long; 15] = [
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// `TCGETS` and `TCGETS2` of `asm-generic/ioctls.h`: is it a terminal?
const TERMINALS: [u32; 2] = [0x5401, 0x802c_542a];
