//! Requests that the kernel merged from bios of several owners.

use aya_ebpf::{macros::map, maps::HashMap};
use tracer_common::block::{OWNERS, Parts, RequestState};

use super::bios::queued;
use crate::kernel::Bio;

/// Parts of requests in flight that have several owners, by address.
#[map]
static MERGED: HashMap<u64, Parts> = HashMap::with_max_entries(1024, 0);

/// The parts of a new request. Not on the stack: there, zeros are a loop over bytes to the verifier.
static NO_PARTS: Parts = Parts::NONE;

/// Bios of one request that are searched for several owners.
pub(super) const LOOKED_AT: usize = 16;

/// Was a bio of this request, from the second one on, queued by another process than the first one?
#[inline(always)]
pub(super) fn has_several_owners(second: Bio, pid: u32) -> bool {
    let mut bio = second;
    for _ in 1..LOOKED_AT {
        if bio.is_null() {
            return false;
        }
        if queued(bio).pid != pid {
            return true;
        }
        bio = bio.next();
    }
    false
}

/// Splits a request among the owners of its bios, by bytes. False if the parts cannot be kept.
///
/// The parts are added up in the map, where the verifier does not track values. On the stack it would track them on every path
/// through the loop.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack"
)]
#[inline(always)]
pub(super) fn split(key: u64, first: Bio, bytes: u32) -> bool {
    if MERGED.insert(key, &NO_PARTS, 0).is_err() {
        return false;
    }
    let Some(parts) = MERGED.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: a map value; no other CPU knows the request before it is issued.
    let parts = unsafe { &mut *parts };
    let mut bio = first;
    let mut seen = 0;
    for _ in 0..LOOKED_AT {
        if bio.is_null() {
            break;
        }
        let size = bio.bytes();
        seen += size;
        add_part(parts, &queued(bio), size);
        bio = bio.next();
    }
    if seen == 0 {
        return false;
    }
    // The remaining bios are assumed to divide in the same proportion.
    let scaled = |part: u32| (u64::from(part) * u64::from(bytes) / u64::from(seen)) as u32;
    let [a, b, c, d] = &mut parts.of;
    b.bytes = scaled(b.bytes);
    c.bytes = scaled(c.bytes);
    d.bytes = scaled(d.bytes);
    a.bytes = bytes.wrapping_sub(b.bytes + c.bytes + d.bytes);
    true
}

/// Adds a bio to its owner's part. An owner without a part of its own counts for the last one.
#[inline(never)]
fn add_part(parts: &mut Parts, owner: &RequestState, bytes: u32) {
    for i in 0..OWNERS {
        let part = &mut parts.of[i];
        if part.bytes == 0 {
            part.pid = owner.pid;
            part.tid = owner.tid;
            part.flags = owner.flags;
        }
        if part.bytes == 0 || part.pid == owner.pid || i == OWNERS - 1 {
            part.bytes += bytes;
            return;
        }
    }
}

/// Takes the parts of a request that completes.
#[inline(always)]
pub(super) fn take(key: u64) -> Option<Parts> {
    // SAFETY: the entry is copied at once.
    let parts = unsafe { MERGED.get(key) }.copied()?;
    let _ = MERGED.remove(key);
    Some(parts)
}
