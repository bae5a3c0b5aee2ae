//! Per-process histograms of every family, in one LRU map; an entry first touched in a new interval sends itself.

use aya_ebpf::{helpers::generated::bpf_probe_read_kernel, macros::map, maps::LruHashMap};
use tracer_common::{
    histogram::{BUCKETS, Cell, CellKey, EPOCH_SHIFT, Family, Snapshot, bucket},
    record::MapLoss,
};

use crate::{atomic, emit};

/// User space sets the size by the machine's.
#[map]
static HISTOGRAMS: LruHashMap<CellKey, Cell> = LruHashMap::with_max_entries(4096, 0);

/// What a new entry starts as: too large for the stack.
static EMPTY: Cell = Cell::EMPTY;

#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value a cell would not fit on the stack"
)]
#[inline(always)]
fn cell(key: CellKey) -> Option<*mut Cell> {
    if let Some(cell) = HISTOGRAMS.get_ptr_mut(key) {
        return Some(cell);
    }
    // BPF_NOEXIST: another CPU may have been faster.
    if HISTOGRAMS.insert(key, &EMPTY, 1).is_err() && HISTOGRAMS.get_ptr_mut(key).is_none() {
        emit::map_full(MapLoss::Histograms);
    }
    HISTOGRAMS.get_ptr_mut(key)
}

/// Counts `ns` in the histogram of a process.
///
/// A global function: the verifier walks its paths once, not once for each path that leads to a call (`sched_switch` loads ten times
/// as fast). Such a function takes and returns scalars.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn record(pid: u32, family: u32, ns: u64, now: u64) -> u32 {
    let key = CellKey { pid, family };
    let Some(cell) = cell(key) else { return 0 };
    let epoch = now >> EPOCH_SHIFT;
    // SAFETY: all pointers below are into a map value.
    unsafe {
        if (*cell).epoch != epoch {
            (*cell).epoch = epoch;
            emit::snapshot::<Snapshot>(now, |record| {
                (*record).key = key;
                // By the helper, which does not fail on a map: written out, the copy of a kilobyte is a loop over its bytes, which the
                // verifier goes through in each program that counts, and which takes longer.
                bpf_probe_read_kernel(
                    (&raw mut (*record).cell).cast(),
                    size_of::<Cell>() as u32,
                    cell.cast_const().cast(),
                );
            });
        }
        atomic::add64(&raw mut (*cell).count, 1);
        atomic::add64(&raw mut (*cell).sum_ns, ns);
        // Two CPUs may race here and the smaller value win; the buckets, which are exact, bound the error to one bucket.
        if ns > (*cell).max_ns {
            (*cell).max_ns = ns;
        }
        match bucket(ns) {
            None => atomic::add64(&raw mut (*cell).zero_count, 1),
            Some(i) => {
                let slot = &raw mut (*cell).buckets[(i as usize) & (BUCKETS - 1)];
                atomic::add32(slot, 1);
            }
        }
    }
    0
}

/// Adds to the CPU time that a process held.
#[inline(always)]
pub fn hold_cpu(pid: u32, ns: u64) {
    if let Some(cell) = cell(CellKey {
        pid,
        family: Family::RunQueue as u32,
    }) {
        // SAFETY: a map value.
        unsafe { atomic::add64(&raw mut (*cell).held_ns, ns) };
    }
}
