//! The only reader of kernel structures: plain loads at offsets that user space froze into [`CONFIG`].
//!
//! The verifier checks the type of such a load in a `tp_btf` program. At run time the load yields 0 for a bad pointer.

mod disk;
mod ends;
mod file;
mod lock;
mod net;
mod place;
mod run_queue;
mod work;

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    EbpfContext, Global,
    bindings::seq_file,
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel},
    },
    programs::BtfTracePointContext,
};
use tracer_common::config::{CONFIG_GLOBAL, Config, MISSING};

use crate::shared::shared;

pub(crate) use self::{
    disk::*,
    ends::{Ends, Route},
    file::Inode,
    lock::FileLock,
    net::*,
    run_queue::{CfsRq, Context, TaskGroup, UNKNOWN, context, throttled_on},
    work::{current_work_function, polls_ring},
};

/// The facts that user space found about this kernel.
#[unsafe(no_mangle)]
static CONFIG: Global<Config> = Global::new(Config::NONE);

shared!(CONFIG = CONFIG_GLOBAL);

/// Reads one field of [`CONFIG`]. The whole is too large for the stack, so `Global::load` cannot be used.
macro_rules! config {
    ($($field:ident).+) => {
        // SAFETY: `Global` is `repr(transparent)` over a `Config` that is initialised before the program is loaded.
        unsafe { (&raw const (*$crate::kernel::config_ptr()).$($field).+).read_volatile() }
    };
}
pub(crate) use config;

/// Address of [`CONFIG`].
#[inline(always)]
pub(crate) fn config_ptr() -> *const Config {
    (&raw const CONFIG).cast()
}

/// Does this kernel have the field at `offset`?
#[inline(always)]
pub(crate) fn has(offset: u32) -> bool {
    offset != MISSING
}

/// The address of a pointer, to compute with. The verifier forbids arithmetic on pointers, but takes the result of a negation for a number.
#[inline(always)]
pub(crate) fn number(pointer: u64) -> u64 {
    let mut negated = pointer;
    // SAFETY: touches this register only.
    unsafe { asm!("{0} = -{0}", inout(reg) negated, options(nomem, nostack, pure)) };
    negated.wrapping_neg()
}

/// Reads a field of a kernel structure.
#[inline(always)]
fn field<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the verifier checks the offset against the BTF of the type that `base` points to.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// Reads a field through a pointer of which the verifier knows no type. Returns `bad` if the address is bad.
///
/// Not an `Option`: LLVM would compute with the value of a `None`. The verifier refuses a register that was never written.
#[inline(always)]
pub(crate) fn untyped<T: Copy>(base: *const u8, offset: u32, bad: T) -> T {
    let mut value = bad;
    // SAFETY: the helper checks the address, and writes as many bytes as `T` has.
    let failed = unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            base.wrapping_add(offset as usize).cast(),
        )
    };
    if failed == 0 { value } else { bad }
}

/// A kernel pointer with typed accessors.
macro_rules! pointer {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $method:ident: $type:ty = $offset:ident;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(crate) *const u8);

        #[expect(clippy::allow_attributes, reason = "not every pointer has all kinds of accessors")]
        #[allow(dead_code, reason = "generated alike for all pointers")]
        impl $name {
            /// Is there none?
            #[inline(always)]
            pub(crate) fn is_null(self) -> bool {
                self.0.is_null()
            }
            /// The address, as a key.
            #[inline(always)]
            pub(crate) fn key(self) -> u64 {
                self.0 as u64
            }
            /// The address, to compute with.
            #[inline(always)]
            pub(crate) fn address(self) -> u64 {
                $crate::kernel::number(self.0 as u64)
            }
            $($(#[$fdoc])*
            #[inline(always)]
            pub(crate) fn $method(self) -> $type {
                field(self.0, config!(offsets.$offset))
            })*
        }
    };
}

use pointer;

pointer! {
    /// `struct task_struct`
    Task {
        tid: u32 = task_tid;
        pid: u32 = task_pid;
        flags: u32 = task_flags;
        cpu: u32 = task_cpu;
        start_ns: u64 = task_start;
        last_queued: u64 = task_last_queued;
        last_arrival: u64 = task_last_arrival;
        run_delay_ns: u64 = task_run_delay;
        exec_ns: u64 = task_exec;
        cfs_rq: CfsRq = task_cfs_rq;
        group: TaskGroup = task_group;
        signal: Signal = task_signal;
        parent: Task = task_parent;
        mm: Mm = task_mm;
        kthread: u64 = task_kthread;
        stack: u64 = task_stack;
    }
}

pointer! {
    /// `struct bpf_iter_meta`
    IterMeta {}
}

impl IterMeta {
    /// The `seq_file` to which an iterator writes: the first member.
    #[inline(always)]
    pub(crate) fn seq(self) -> *mut seq_file {
        field(self.0, 0)
    }
}

/// `TASK_DEAD`: this switch is the thread's last.
pub(crate) const TASK_DEAD: u32 = 0x80;
/// `PF_KTHREAD`
pub(crate) const PF_KTHREAD: u32 = 0x0020_0000;

impl Task {
    /// The state, from the task itself: the tracepoint's argument is stale when a signal is pending (6.1, 6.6).
    #[inline(always)]
    pub(crate) fn state(self) -> u32 {
        if config!(state_is_long) != 0 {
            field::<u64>(self.0, config!(offsets.task_state)) as u32
        } else {
            field(self.0, config!(offsets.task_state))
        }
    }

    /// Does it sleep in `io_schedule`? A bit-field that moves between versions.
    #[inline(always)]
    pub(crate) fn in_iowait(self) -> bool {
        config!(has_iowait) != 0
            && u32::from(field::<u8>(self.0, config!(iowait_byte))) & config!(iowait_mask) != 0
    }

    /// Does its sleep count as a stall for memory (psi)? A bit-field beside `in_iowait`.
    #[inline(always)]
    pub(crate) fn in_memstall(self) -> bool {
        config!(memstall_mask) != 0
            && u32::from(field::<u8>(self.0, config!(memstall_byte))) & config!(memstall_mask) != 0
    }

    /// Reads the name byte by byte: a char array takes no wider load.
    #[inline(always)]
    pub(crate) fn comm(self) -> [u8; 16] {
        bytes16(self.0, config!(offsets.task_comm))
    }
}

/// Reads 16 chars.
#[inline(always)]
fn bytes16(base: *const u8, offset: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut i = 0;
    while i < 16 {
        bytes[i as usize] = field(base, offset + i);
        i += 1;
    }
    bytes
}

pointer! {
    /// `struct signal_struct`
    Signal { live: u32 = signal_live; }
}

impl Signal {
    /// Session and process group, as numbers of the initial namespace.
    #[inline(always)]
    pub(crate) fn session(self) -> (u32, u32) {
        let pids = config!(offsets.signal_pids);
        // enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID }: since 4.19.
        let pgid: Pid = field(self.0, pids + 2 * 8);
        let sid: Pid = field(self.0, pids + 3 * 8);
        (sid.number(), pgid.number())
    }
}

pointer! {
    /// `struct pid`
    Pid { number: u32 = pid_number; }
}

pointer! {
    /// `struct mm_struct`
    Mm {
        arg_start: u64 = mm_arg_start;
        arg_end: u64 = mm_arg_end;
    }
}

/// The pointer that is argument 0 or 1 of a tracepoint, by the frozen `index`.
///
/// The verifier takes no computed offset into the context, and LLVM would make one load of two. Hence two functions.
#[inline(always)]
pub(crate) fn argument(ctx: &BtfTracePointContext, index: u32) -> *const u8 {
    if index == 0 {
        first_argument(ctx.as_ptr())
    } else {
        second_argument(ctx.as_ptr())
    }
}

#[inline(never)]
fn first_argument(ctx: *mut c_void) -> *const u8 {
    BtfTracePointContext::new(ctx).arg(0)
}

#[inline(never)]
fn second_argument(ctx: *mut c_void) -> *const u8 {
    BtfTracePointContext::new(ctx).arg(1)
}

/// Process and thread of `current`.
#[inline(always)]
pub(crate) fn current() -> (u32, u32) {
    let both = bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}

/// Nanoseconds since boot, without suspend: the clock of every record (`CLOCK_MONOTONIC`).
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Nanoseconds since boot, with suspend: the clock of a task's start (`CLOCK_BOOTTIME`; the helper since 5.8).
#[inline(always)]
pub(crate) fn since_boot() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}
