//! The place in which a thread sleeps, by marks that are read in a small part of the time that its stack takes.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_probe_read_kernel, programs::BtfTracePointContext,
};

use super::{Task, config, has, number};

/// Size of a kernel stack of x86_64 (`THREAD_SIZE`), bytes, and its alignment. It is larger with `CONFIG_KASAN`.
const STACK_BYTES: u64 = 16 << 10;

/// The registers of user space (`struct pt_regs`) lie at the top of the stack; with `CONFIG_X86_FRED` (6.9 and later), two words below it.
/// Bytes from `di` in that case to the top.
const FROM_TOP: u64 = 72;

/// Words from there that are read. `di`, `orig_ax`, `ip` and `cs` are the first four, or the last four.
const WORDS: usize = 6;

/// The level of user space, in the low bits of `cs`.
const USER: u64 = 3;

impl Task {
    /// Stands for the place in which this thread, which is `current`, goes to sleep: the instruction that entered the kernel, the system
    /// call and its first argument, the state of the sleep, and how deep the stack is. Two sleeps of a thread in which all of these are the
    /// same have come the same way. 0 if it is not known, as of a thread of the kernel.
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
    let words = unsafe { words.assume_init_ref() };
    let (argument, call, instruction) = if words[5] & USER == USER {
        (words[2], words[3], words[4])
    } else if words[3] & USER == USER {
        (words[0], words[1], words[2])
    } else {
        return 0;
    };
    let place = mix(u64::from(state), at);
    let place = mix(mix(mix(place, argument), call), instruction);
    place | 1
}

#[inline(always)]
fn mix(place: u64, mark: u64) -> u64 {
    let mixed = (place ^ mark).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
