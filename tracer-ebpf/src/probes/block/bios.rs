//! Bios in flight, by address.
//!
//! A hash map of the kernel would add and remove one entry for each bio of the machine. This alone took longer than all the other
//! work for a bio. A look-up in an array is a few inlined instructions. A bio may be at any place of its set. A new bio takes the
//! place of the oldest one in a full set. Some bios end untraced and would stay for ever.

use aya_ebpf::{helpers::bpf_get_smp_processor_id, macros::map, maps::Array};
use tracer_common::{
    block::{BIO_WAYS, BIOS_MAP, BioState, RequestState},
    record::MapLoss,
};

use crate::{
    emit,
    kernel::{Bio, config, now},
    shared::shared,
};

/// `BPF_F_MMAPABLE`: user space looks through all of it at once.
const MAPPED: u32 = 1 << 10;

/// User space sets the size by the number of possible CPUs.
#[map]
static BIOS: Array<BioState> = Array::with_max_entries(16_384, MAPPED);

shared!(BIOS = BIOS_MAP);

/// A bio that was queued this long ago, ns, has most likely ended unseen, and is no loss.
const IN_FLIGHT_NS: u64 = 1_000_000_000;

/// The first place of a bio's set. Bios are 64 bytes apart at least.
#[inline(always)]
fn set(key: u64) -> u32 {
    let hash = (key >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    hash as u32 & config!(bios_mask)
}

/// The index of a bio; beyond the array if it has none.
///
/// A global function, as is [`place_bio`]: see [`crate::histograms::record`].
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn find_bio(key: u64) -> u32 {
    if key == 0 {
        // A free place has this key.
        return u32::MAX;
    }
    let set = set(key);
    for way in 0..BIO_WAYS {
        if let Some(bio) = BIOS.get_ptr(set + way)
            // SAFETY: a map value.
            && unsafe { (*bio).key } == key
        {
            return set + way;
        }
    }
    u32::MAX
}

/// The index for a bio: its own, a free one, or that of the oldest bio.
///
/// CPUs begin at different places of a set. So two CPUs that search at the same time do not find the same free place.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn place_bio(key: u64) -> u32 {
    let set = set(key);
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    let (mut best, mut best_ns) = (set, u64::MAX);
    for way in 0..BIO_WAYS {
        let at = set + (cpu.wrapping_add(way) & (BIO_WAYS - 1));
        let Some(bio) = BIOS.get_ptr(at) else {
            continue;
        };
        // SAFETY: a map value.
        let (there, queue_ns) = unsafe { ((*bio).key, (*bio).request.queue_ns) };
        if there == key {
            return at;
        }
        let queue_ns = if there == 0 { 0 } else { queue_ns | 1 };
        if queue_ns < best_ns {
            (best, best_ns) = (at, queue_ns);
        }
    }
    if best_ns != 0 && now().wrapping_sub(best_ns) < IN_FLIGHT_NS {
        emit::map_full(MapLoss::Bios);
    }
    best
}

/// A bio that is known.
#[inline(always)]
pub(super) fn get(key: u64) -> Option<&'static mut BioState> {
    let bio = BIOS.get_ptr_mut(find_bio(key))?;
    // SAFETY: a map value; a bio has one owner at a time, and is written where it has none.
    Some(unsafe { &mut *bio })
}

/// The process that queued this bio, as a request; unowned if no probe saw that.
#[inline(always)]
pub(super) fn queued(bio: Bio) -> RequestState {
    match get(bio.address()) {
        Some(known) => known.request,
        None => RequestState::UNOWNED,
    }
}

/// Remembers a bio. The second value is the disk of the gate that the displaced bio held open, 0 if there is none.
#[inline(always)]
pub(super) fn insert(key: u64, known: &RequestState) -> (Option<&'static mut BioState>, u32) {
    let Some(bio) = BIOS.get_ptr_mut(place_bio(key)) else {
        return (None, 0);
    };
    // SAFETY: a map value; a bio has one owner at a time.
    let bio = unsafe { &mut *bio };
    let before = if bio.key == 0 { 0 } else { bio.request.gate };
    bio.request = *known;
    // Last, so that no CPU finds a bio that is half written.
    // SAFETY: a reference.
    unsafe { (&raw mut bio.key).write_volatile(key) };
    (Some(bio), before)
}

/// Forgets a bio, and returns the disk of the gate that it held open, 0 if none.
#[inline(always)]
pub(super) fn forget(bio: &mut BioState) -> u32 {
    bio.key = 0;
    bio.request.gate
}
