//! Histograms of every process and family. An entry that is first touched in a new interval emits itself.

use aya_ebpf::{helpers::generated::bpf_probe_read_kernel, macros::map, maps::LruHashMap};
use tracer_common::{
    histogram::{
        BLOCK_HISTOGRAMS_MAP, BUCKETS, BlockCells, Cell, CellKey, EPOCH_SHIFT, Family,
        HISTOGRAMS_MAP, Snapshot, bucket,
    },
    record::MapLoss,
    sched::NOT_QUEUED,
};

use crate::{atomic, emit, kernel::config, lru, shared::shared};

/// Histograms by process and family. User space sets the sizes of both maps by the number of CPUs.
#[map]
static HISTOGRAMS: LruHashMap<CellKey, Cell> = LruHashMap::with_max_entries(4096, 0);

/// Both histograms of a process's disk requests, by process. Each request counts in both, and needs one look-up.
#[map]
static BLOCK_HISTOGRAMS: LruHashMap<u32, BlockCells> = LruHashMap::with_max_entries(1024, 0);

shared!(
    HISTOGRAMS = HISTOGRAMS_MAP,
    BLOCK_HISTOGRAMS = BLOCK_HISTOGRAMS_MAP
);

/// Does nobody read them? Where every process is a target, what matters are its long waits.
#[inline(always)]
fn are_left_out() -> bool {
    config!(light) != 0
}

/// New entries; too large for the stack.
static EMPTY: Cell = Cell::EMPTY;
static EMPTY_BLOCK: BlockCells = BlockCells::EMPTY;

/// Counts `ns` in the histogram of a process.
///
/// A global function: the verifier walks its paths once, not once for each path that leads to a call. So `sched_switch` loads ten
/// times as fast. Such a function takes and returns scalars.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn record(pid: u32, family: u32, ns: u64, now: u64) -> u32 {
    if are_left_out() {
        return 0;
    }
    let key = CellKey { pid, family };
    if let Some(cell) = lru::entry(&HISTOGRAMS, key, &EMPTY, MapLoss::Histograms) {
        count(cell, pid, family, ns, now);
    }
    0
}

/// Counts a disk request of a process: the time it was queued and the time the device had it, ns.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn record_block(pid: u32, queue_ns: u64, device_ns: u64, now: u64) -> u32 {
    if are_left_out() {
        return 0;
    }
    let loss = MapLoss::BlockHistograms;
    if let Some(cells) = lru::entry(&BLOCK_HISTOGRAMS, pid, &EMPTY_BLOCK, loss) {
        // SAFETY: a map value.
        let (queue, device) = unsafe { (&raw mut (*cells).queue, &raw mut (*cells).device) };
        count(queue, pid, Family::BlockIoQueue as u32, queue_ns, now);
        count(device, pid, Family::BlockIoDevice as u32, device_ns, now);
    }
    0
}

/// Counts in a cell, which lies in a map.
#[inline(always)]
fn count(cell: *mut Cell, pid: u32, family: u32, ns: u64, now: u64) {
    let epoch = now >> EPOCH_SHIFT;
    // SAFETY: all pointers below are into a map value.
    unsafe {
        if (*cell).epoch != epoch {
            (*cell).epoch = epoch;
            emit::snapshot::<Snapshot>(now, |record| {
                (*record).key = CellKey { pid, family };
                // The helper does not fail on a map. Written out, the copy of a kilobyte is a loop over bytes. It takes longer, and
                // the verifier walks it in each program that counts.
                bpf_probe_read_kernel(
                    (&raw mut (*record).cell).cast(),
                    size_of::<Cell>() as u32,
                    cell.cast_const().cast(),
                );
            });
        }
        atomic::add64(&raw mut (*cell).count, 1);
        atomic::add64(&raw mut (*cell).sum_ns, ns);
        // Two CPUs may race here, and the smaller value may win. The buckets are exact and bound the error to one bucket.
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
}

/// Counts the run-queue wait of a thread, ns or [`NOT_QUEUED`], and adds the CPU time that it then held, ns. Both happen as the thread
/// leaves the CPU, so that its process is looked up once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn ran(pid: u32, waited_ns: u64, held_ns: u64, now: u64) -> u32 {
    if are_left_out() {
        return 0;
    }
    let family = Family::RunQueue as u32;
    let key = CellKey { pid, family };
    if let Some(cell) = lru::entry(&HISTOGRAMS, key, &EMPTY, MapLoss::Histograms) {
        if waited_ns != NOT_QUEUED {
            count(cell, pid, family, waited_ns, now);
        }
        // SAFETY: a map value.
        unsafe { atomic::add64(&raw mut (*cell).held_ns, held_ns) };
    }
    0
}
