//! The system calls that a trace under way and a report make, by category. Every other one is refused. Those that the C library and the
//! runtime make are listed as glibc 2.31 to 2.42, std and tokio make them.

use libc::c_long;

use crate::machine::confine::{Allowed, With};

/// The calls of a trace that is attached: it reads maps, `/proc` and netlink, and starts threads. It opens no socket to anywhere but the
/// kernel, loads no program, and enters no namespace but that of a network.
pub(super) const TRACING: Allowed = Allowed {
    calls: &[
        &MEMORY,
        &LOCKED_MEMORY,
        &OPEN_FILES,
        &PATHS,
        PATHS_BEFORE,
        &ROOM,
        &NAMES,
        NAMES_BEFORE,
        &SOCKETS,
        &WAITS,
        WAITS_BEFORE,
        &PROCESSES,
        &THREADS,
        &ENDS,
    ],
    with: &[&FACTS, &[(libc::SYS_ioctl, 1, &TERMINALS)]],
};

/// The same with a live screen: the terminal is set to give each key at once, and set back, and its size is asked for.
pub(super) const WATCHING: Allowed = Allowed {
    with: &[
        &FACTS,
        &[
            (libc::SYS_ioctl, 1, &TERMINALS),
            (libc::SYS_ioctl, 1, &SCREEN),
        ],
    ],
    ..TRACING
};

/// The calls of a report: its files are open, and it starts no thread.
pub(super) const REPORTING: Allowed = Allowed {
    calls: &[&MEMORY, &OPEN_FILES, &NAMES, NAMES_BEFORE, &ENDS],
    with: &[&[(libc::SYS_ioctl, 1, &TERMINALS)]],
};

/// Maps, netlink, the network namespaces of others, and the states of their sockets.
const FACTS: [With; 4] = [
    (libc::SYS_bpf, 0, &READ_MAPS),
    (libc::SYS_ioctl, 1, &SOCKET_STATES),
    (libc::SYS_setns, 1, &[libc::CLONE_NEWNET as u32]),
    (libc::SYS_socket, 0, &[libc::AF_NETLINK as u32]),
];

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
const OPEN_FILES: [c_long; 11] = [
    libc::SYS_read,
    libc::SYS_pread64,
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

/// Everything that is allocated is locked.
const LOCKED_MEMORY: [c_long; 1] = [libc::SYS_mlockall];

/// How much a recording may take.
const ROOM: [c_long; 1] = [libc::SYS_fstatfs];

/// Reads of files and folders by path: `/proc`, `/sys`, an output that a thread has still to create, and the next file of a recording.
const PATHS: [c_long; 8] = [
    libc::SYS_openat,
    // Beneath the root of a process.
    libc::SYS_openat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_fchown,
];
/// The same, in the older calls of this processor.
#[cfg(target_arch = "x86_64")]
const PATHS_BEFORE: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_access,
];
#[cfg(not(target_arch = "x86_64"))]
const PATHS_BEFORE: &[c_long] = &[];

/// Netlink, copies of the sockets of processes, and the pair by which the runtime hears of signals.
const SOCKETS: [c_long; 9] = [
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_pidfd_getfd,
    libc::SYS_shutdown,
];

/// The runtime, and who waits for a thread.
const WAITS: [c_long; 9] = [
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_pipe2,
];
/// The same, in the older calls of this processor.
#[cfg(target_arch = "x86_64")]
const WAITS_BEFORE: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const WAITS_BEFORE: &[c_long] = &[];

/// What the kernel says about processes, this one too; and less of what this one may.
const PROCESSES: [c_long; 21] = [
    libc::SYS_pidfd_open,
    libc::SYS_process_vm_readv,
    libc::SYS_ioprio_get,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setscheduler,
    libc::SYS_fanotify_mark,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_prlimit64,
    libc::SYS_getrusage,
    libc::SYS_clock_getres,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
];

/// Threads begin.
const THREADS: [c_long; 7] = [
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    // Their names.
    libc::SYS_prctl,
    libc::SYS_membarrier,
];

/// Commands of bpf(2) that read and write maps, ask about programs and count their time (`enum bpf_cmd` of `linux/bpf.h`). None creates
/// anything.
const READ_MAPS: [u32; 11] = [
    // BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY
    1, 2, 3, 4,  // BPF_OBJ_GET_INFO_BY_FD
    15, // BPF_MAP_LOOKUP_AND_DELETE_ELEM
    21,
    // BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_AND_DELETE_BATCH, BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH
    24, 25, 26, 27, // BPF_ENABLE_STATS
    32,
];

/// Bytes that nobody has read (`FIONREAD`); which interface has an address (`SIOCGIFCONF`, `SIOCGIFINDEX`).
const SOCKET_STATES: [u32; 3] = [0x541b, 0x8912, 0x8933];

/// `TCSETS`, `TCSETSW`, `TCSETSF`, those of `struct termios2`, and `TIOCGWINSZ`.
const SCREEN: [u32; 7] = [
    0x5402,
    0x5403,
    0x5404,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
    0x5413,
];
