//! Kernel stacks by identity: a hash of the frames. The frames are emitted only when the hash is new.
//!
//! A BPF stack map would lose exactly the hot stacks to collisions. An id that it reuses names the wrong stack.

use core::mem::MaybeUninit;

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_stack, macros::map, maps::LruHashMap};
use tracer_common::{
    Kind,
    sched::{STACK_DEPTH, Stack},
};

use crate::emit;

/// Stacks that user space already knows.
#[map]
static STACKS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(4096, 0);

const BYTES: u32 = (STACK_DEPTH * 8) as u32;

/// Captures the kernel stack of `current` and returns its identity, 0 if there is none. `last` is an identity that was captured
/// before and needs no look-up. Most threads sleep again and again in the same place.
#[inline(never)]
pub(crate) fn capture(ctx: *mut core::ffi::c_void, last: u64, now: u64) -> u64 {
    let mut frames = MaybeUninit::<[u64; STACK_DEPTH]>::uninit();
    // SAFETY: the buffer has `BYTES` bytes.
    let written = unsafe { bpf_get_stack(ctx, frames.as_mut_ptr().cast(), BYTES, 0) };
    if written <= 0 {
        return 0;
    }
    let depth = written as u64 / 8;
    // SAFETY: the helper fills the unused part with zeros.
    let frames = unsafe { frames.assume_init_ref() };
    let mut id = 0xcbf2_9ce4_8422_2325_u64;
    for (i, frame) in frames.iter().enumerate() {
        if i as u64 >= depth {
            break;
        }
        id = (id ^ frame).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        id ^= id >> 29;
    }
    // SAFETY: only its existence is checked; the value is not read.
    if id != last && unsafe { STACKS.get(id) }.is_none() && !send(id, depth, frames, now) {
        // Its next sleep there sends it anew.
        return 0;
    }
    id
}

#[inline(always)]
fn send(id: u64, depth: u64, frames: &[u64; STACK_DEPTH], now: u64) -> bool {
    let sent = emit::event::<Stack>(Kind::Stack, now, |record| {
        // SAFETY: a reservation of this size.
        unsafe {
            (*record).id = id;
            (*record).depth = depth;
            let to = (&raw mut (*record).frames).cast::<u64>();
            for (i, frame) in frames.iter().enumerate() {
                // Volatile, or it would become a loop over bytes.
                to.add(i).write_volatile(*frame);
            }
        }
    });
    if sent {
        // A full LRU map evicts. After an error here the stack is only emitted once more.
        let _ = STACKS.insert(id, 1, 0);
    }
    sent
}

/// [`capture`] for any context.
#[inline(always)]
pub(crate) fn of_current(ctx: &impl EbpfContext, last: u64, now: u64) -> u64 {
    capture(ctx.as_ptr(), last, now)
}
