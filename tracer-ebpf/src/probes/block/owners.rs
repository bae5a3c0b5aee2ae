//! A few owners of many things: of the blocks of a transaction, of the dirty files of a file system.

use tracer_common::block::{Dirtier, Handles, OWNERS};

/// No owners.
pub(super) const NONE: Handles = Handles {
    owners: [Dirtier { pid: 0, tid: 0 }; OWNERS],
    blocks: [0; OWNERS],
};

/// The same. Not on the stack: there, zeros are a loop over bytes to the verifier.
pub(super) static NO_HANDLES: Handles = NONE;

/// The owner of the `n`-th thing. Multiples of the golden ratio fall evenly. So each owner gets things in proportion to its number,
/// however many are asked for.
#[inline(always)]
pub(super) fn share(handles: &Handles, n: u32) -> Dirtier {
    /// 2^32 divided by the golden ratio.
    const STEP: u32 = 0x9e37_79b9;
    let [a, b, c, d] = handles.blocks.map(u64::from);
    let place = (u64::from(n.wrapping_mul(STEP)) * (a + b + c + d)) >> 32;
    if place < a {
        handles.owners[0]
    } else if place < a + b {
        handles.owners[1]
    } else if place < a + b + c {
        handles.owners[2]
    } else {
        handles.owners[3]
    }
}

/// Adds to an owner's number. An owner without a place takes that of the smallest one, with its number ("space saving", Metwally et
/// al. 2005). So an owner of many is never lost. The error is at most the number of the smallest.
#[inline(always)]
pub(super) fn add(handles: &mut Handles, owner: Dirtier, number: u32) {
    let mut place = 0;
    for i in 0..OWNERS {
        if handles.owners[i].pid == owner.pid {
            place = i;
            break;
        }
        if handles.blocks[i] < handles.blocks[place & (OWNERS - 1)] {
            place = i;
        }
    }
    let place = place & (OWNERS - 1);
    handles.owners[place] = owner;
    handles.blocks[place] = handles.blocks[place].wrapping_add(number);
}

/// Takes one thing from an owner's number.
#[inline(always)]
pub(super) fn take_one(handles: &mut Handles, pid: u32) {
    for i in 0..OWNERS {
        if handles.owners[i].pid == pid {
            handles.blocks[i] = handles.blocks[i].saturating_sub(1);
            return;
        }
    }
}
