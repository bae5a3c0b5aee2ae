//! The only user of the ring buffers: it reserves and writes, or counts a drop. Nothing is lost silently.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use tracer_common::{
    KINDS, Kind,
    record::{
        COUNTERS_MAP, Counter, EVENTS_MAP, Header, MAP_ADDED_MAP, MAP_FULL_MAP, MAP_LOSSES,
        MapLoss, SNAPSHOTS_MAP,
    },
};

use crate::shared::shared;

/// All records but histogram snapshots. User space polls on a timer, so that the tracer never traces its own wakeups.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Histogram snapshots. They have a ring of their own because they are large. Losing one is harmless: user space reads the map
/// again at the end.
#[map]
static SNAPSHOTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Records sent and dropped, by kind.
#[map]
static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(KINDS as u32, 0);

/// Facts lost because a map was full, by [`MapLoss`].
#[map]
static MAP_FULL: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAP_LOSSES as u32, 0);

/// Entries added to maps that evict the least recently used one, by [`MapLoss`]. An entry that is missing at the end was evicted.
#[map]
static MAP_ADDED: PerCpuArray<u64> = PerCpuArray::with_max_entries(MAP_LOSSES as u32, 0);

shared!(
    EVENTS = EVENTS_MAP,
    SNAPSHOTS = SNAPSHOTS_MAP,
    COUNTERS = COUNTERS_MAP,
    MAP_FULL = MAP_FULL_MAP,
    MAP_ADDED = MAP_ADDED_MAP
);

#[inline(always)]
fn write<T: 'static>(ring: &RingBuf, kind: Kind, ns: u64, fill: impl FnOnce(*mut T)) -> bool {
    let counter = COUNTERS.get_ptr_mut(kind as u32);
    let Some(mut entry) = ring.reserve::<T>(0) else {
        if let Some(counter) = counter {
            // SAFETY: a per-CPU value.
            unsafe { (*counter).dropped += 1 };
        }
        return false;
    };
    let record = entry.as_mut_ptr();
    fill(record);
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    let header = Header {
        kind: kind as u32,
        cpu,
        ns,
    };
    // SAFETY: every record is `repr(C)` and begins with a `Header`.
    unsafe { record.cast::<Header>().write(header) };
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    if let Some(counter) = counter {
        // SAFETY: a per-CPU value.
        unsafe { (*counter).sent += 1 };
    }
    true
}

/// Emits a record; its header is written here. `false`: the ring was full, and the drop is counted.
#[inline(always)]
pub(crate) fn event<T: 'static>(kind: Kind, ns: u64, fill: impl FnOnce(*mut T)) -> bool {
    write(&EVENTS, kind, ns, fill)
}

/// Emits a histogram snapshot.
#[inline(always)]
pub(crate) fn snapshot<T: 'static>(ns: u64, fill: impl FnOnce(*mut T)) -> bool {
    write(&SNAPSHOTS, Kind::Snapshot, ns, fill)
}

/// Counts a fact as dropped that was part of another record.
#[inline(always)]
pub(crate) fn dropped(kind: Kind) {
    if let Some(counter) = COUNTERS.get_ptr_mut(kind as u32) {
        // SAFETY: a per-CPU value.
        unsafe { (*counter).dropped += 1 };
    }
}

/// Counts a fact lost because a map was full.
#[inline(always)]
pub(crate) fn map_full(loss: MapLoss) {
    count(&MAP_FULL, loss);
}

/// Counts a new entry of a map that evicts old ones.
#[inline(always)]
pub(crate) fn map_added(map: MapLoss) {
    count(&MAP_ADDED, map);
}

#[inline(always)]
fn count(counts: &PerCpuArray<u64>, loss: MapLoss) {
    if let Some(count) = counts.get_ptr_mut(loss as u32) {
        // SAFETY: a per-CPU value.
        unsafe { *count += 1 };
    }
}
