//! The place in which a thread sleeps, by marks that are read in a small part of the time that its stack takes.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_probe_read_kernel, programs::BtfTracePointContext,
};
use tracer_common::place::{FROM_TOP, WORDS, entry, mix};

use super::{Task, config, has, number};

/// Size of a kernel stack of x86_64 (`THREAD_SIZE`), bytes, and its alignment. It is larger with `CONFIG_KASAN`.
const STACK_BYTES: u64 = 16 << 10;

impl Task {
    /// Stands for the place in which this thread, which is `current`, goes to sleep: the instruction that entered the kernel, the system
    /// call and its first two arguments, the state of the sleep, and how deep the stack is. Two sleeps of a thread in which all of these
    /// are the same have come the same way, but for two ways below one call that happen to be as deep. 0 if it is not known ([`entry`]).
    #[inline(always)]
    pub(crate) fn place(self, ctx: &BtfTracePointContext, state: u32) -> u64 {
        if !has(config!(offsets.task_stack)) {
            return 0;
        }
        // The arguments of a tracepoint lie on the kernel stack, in a frame of always the same size.
        let at = number(ctx.as_ptr() as u64);
        place(number(self.stack()), at, state)
    }
}

/// Not inlined: its locals would add to those of the functions called next, and BPF has 512 bytes of stack.
#[inline(never)]
fn place(stack: u64, at: u64, state: u32) -> u64 {
    // A stack of any other size begins elsewhere.
    if at & !(STACK_BYTES - 1) != stack {
        return 0;
    }
    let mut words = MaybeUninit::<[u64; WORDS]>::uninit();
    // SAFETY: the helper checks the address, and writes as many bytes as there are.
    let failed = unsafe {
        bpf_probe_read_kernel(
            words.as_mut_ptr().cast(),
            size_of::<[u64; WORDS]>() as u32,
            (stack + STACK_BYTES - FROM_TOP) as *const _,
        )
    };
    if failed != 0 {
        return 0;
    }
    // SAFETY: the helper filled it.
    let entry = entry(unsafe { words.assume_init_ref() });
    if entry == 0 {
        return 0;
    }
    mix(mix(u64::from(state), at), entry) | 1
}
