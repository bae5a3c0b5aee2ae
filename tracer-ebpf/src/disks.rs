//! The state of each disk: its gate, and the facts that user space writes. Target bios in flight hold the gate open.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use tracer_common::block::{
    ANY_GATE_MAP, AnyGate, DISKS_MAP, DiskState, LINGERS_LIGHT_NS, LINGERS_NS, RequestState,
};

use crate::{
    atomic,
    kernel::{config, now},
    shared::shared,
};

/// Disk states by device number.
#[map]
static DISKS: HashMap<u32, DiskState> = HashMap::with_max_entries(1024, 0);

/// The gates of all disks together: if no target does I/O, no disk needs to be looked up.
#[map]
static ANY_GATE: Array<AnyGate> = Array::with_max_entries(1, 0);

shared!(DISKS = DISKS_MAP, ANY_GATE = ANY_GATE_MAP);

/// A target bio is on its way to a disk. Until it completes, and [`LINGERS_NS`] longer, all requests there are emitted.
#[inline(always)]
pub(crate) fn open_gate(dev: u32, now: u64) {
    touch(dev, 1, now);
}

/// A request took long where every process is a target: all requests there are emitted from now on, and [`LINGERS_LIGHT_NS`] longer.
///
/// A function of its own: most requests take less.
#[inline(never)]
pub(crate) fn linger(dev: u32, now: u64) -> i32 {
    touch(dev, 0, now);
    0
}

/// So many more bios hold the gate of a disk open.
#[inline(always)]
fn touch(dev: u32, by: u64, now: u64) {
    if DISKS.get_ptr(dev).is_none() {
        let _ = DISKS.insert(
            dev,
            DiskState {
                open: 0,
                touched_ns: now,
                watched: 0,
            },
            1,
        );
    }
    if let Some(disk) = DISKS.get_ptr_mut(dev) {
        // SAFETY: a map value, 8-byte aligned.
        unsafe {
            (*disk).touched_ns = now;
            atomic::add64(&raw mut (*disk).open, by);
        }
    }
    touch_any(by, now);
}

/// The target bio that held the gate of this disk open is done. `dev` is 0 if the bio held none.
#[inline(always)]
pub(crate) fn shut_gate(dev: u32) {
    if dev == 0 {
        return;
    }
    let now = now();
    if let Some(disk) = DISKS.get_ptr_mut(dev) {
        // SAFETY: a map value, 8-byte aligned; -1 as two's complement.
        unsafe {
            (*disk).touched_ns = now;
            atomic::add64(&raw mut (*disk).open, u64::MAX);
        }
    }
    touch_any(u64::MAX, now);
}

#[inline(always)]
fn touch_any(by: u64, now: u64) {
    if let Some(any) = ANY_GATE.get_ptr_mut(0) {
        // SAFETY: a map value, 8-byte aligned.
        unsafe {
            (*any).touched_ns = now;
            atomic::add64(&raw mut (*any).open, by);
        }
    }
}

/// Did a target use the disk of this request when it was queued, or since? Where every process is a target: did one wait there for long?
#[inline(always)]
pub(crate) fn gate_was_open(request: &RequestState) -> bool {
    let lingers_ns = if config!(light) == 0 {
        LINGERS_NS
    } else {
        LINGERS_LIGHT_NS
    };
    if let Some(any) = ANY_GATE.get_ptr(0) {
        // SAFETY: a map value.
        let (open, touched_ns) = unsafe { ((*any).open as i64, (*any).touched_ns) };
        if open <= 0 && touched_ns + lingers_ns < request.queue_ns {
            return false;
        }
    }
    let Some(disk) = DISKS.get_ptr(request.dev) else {
        return false;
    };
    // SAFETY: a map value.
    let (open, touched_ns) = unsafe { ((*disk).open as i64, (*disk).touched_ns) };
    open > 0 || (touched_ns != 0 && touched_ns + lingers_ns >= request.queue_ns)
}

/// Does the disk lie under a mount of the target? Then a target may wait for the work of a kernel thread there.
#[inline(always)]
pub(crate) fn is_under_target(dev: u32) -> bool {
    let Some(disk) = DISKS.get_ptr(dev) else {
        return false;
    };
    // SAFETY: a map value.
    unsafe { (*disk).watched != 0 }
}
