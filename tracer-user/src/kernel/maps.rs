//! The values that user space writes into maps, and the memory that the maps take.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map},
};
use memmap2::MmapOptions;
use tracer_common::{
    block::{ANY_GATE_MAP, AnyGate, DISKS_MAP, DiskState, LINGERS_NS},
    config::{Marks, TARGETS_ENTRIES, TARGETS_MAP},
    packets::{SENDERS_MAP, Sender},
};

use crate::machine::clocks::now_ns;

/// Marks processes as targets; the first ones before any probe fires.
///
/// The map is mapped, because the kernel half changes the marks of other processes meanwhile: whoever reads 64 of them and writes them
/// back undoes that.
///
/// # Errors
/// If the map cannot be mapped.
pub(super) fn set_targets(ebpf: &Ebpf, targets: &[u32]) -> Result<()> {
    set(ebpf, targets, Word::Found)
}

/// The same as if they were born as children of targets. Where every process is a target, only the long waits of these are wanted.
///
/// # Errors
/// If the map cannot be mapped.
pub(super) fn set_light(ebpf: &Ebpf, targets: &[u32]) -> Result<()> {
    set(ebpf, targets, Word::Born)
}

/// A word of [`Marks`].
#[derive(Clone, Copy)]
enum Word {
    Born,
    Found,
}

fn set(ebpf: &Ebpf, targets: &[u32], word: Word) -> Result<()> {
    if targets.is_empty() {
        return Ok(());
    }
    let Some(Map::Array(map)) = ebpf.map(TARGETS_MAP) else {
        bail!("the object has no map TARGETS");
    };
    let fd = map.fd().as_fd().as_raw_fd();
    let bytes = TARGETS_ENTRIES as usize * size_of::<Marks>();
    let mapping = MmapOptions::new().len(bytes).map_raw(fd);
    let mapping = mapping.context("cannot map the map TARGETS")?;
    let marks = mapping.as_mut_ptr().cast::<Marks>();
    for pid in targets {
        // SAFETY: the mapping has that many entries, and lasts until the end of this function.
        unsafe { mark(marks, *pid, word) };
    }
    Ok(())
}

/// Marks one process; one that no kernel can have is left out.
///
/// # Safety
/// `marks` are [`TARGETS_ENTRIES`] entries, which others change by atomic instructions alone.
unsafe fn mark(marks: *mut Marks, pid: u32, word: Word) {
    let index = pid >> 6;
    if index < TARGETS_ENTRIES {
        // SAFETY: within the entries, and each word is 8-byte aligned.
        let word = unsafe {
            let marks = marks.add(index as usize);
            AtomicU64::from_ptr(match word {
                Word::Born => &raw mut (*marks).born,
                Word::Found => &raw mut (*marks).found,
            })
        };
        word.fetch_or(1 << (pid & 63), Ordering::Relaxed);
    }
}

/// Writes the process of each socket that was sending as the trace began. Best effort: without it, its packets have no owner until it
/// sends anew.
pub(super) fn set_senders(ebpf: &mut Ebpf, senders: &[(Sender, u32)]) {
    let Some(map) = ebpf.map_mut(SENDERS_MAP) else {
        return;
    };
    if let Ok(mut known) = HashMap::<_, Sender, u32>::try_from(map) {
        for (sender, pid) in senders {
            // It fails once the map is full.
            let _ = known.insert(sender, pid, 0);
        }
    }
}

/// Marks the disks under the target's mounts, where it may wait for kernel threads. It may also have waited there since before the trace:
/// their gates were open up to now for what is in flight.
pub(super) fn watch_disks(ebpf: &mut Ebpf, disks: &[u32]) -> Result<()> {
    let touched_ns = now_ns().saturating_sub(LINGERS_NS);
    let map = ebpf
        .map_mut(DISKS_MAP)
        .context("the object has no map DISKS")?;
    let mut gates: HashMap<_, u32, DiskState> = HashMap::try_from(map)?;
    for dev in disks {
        let watched = DiskState {
            open: 0,
            touched_ns,
            watched: 1,
        };
        gates.insert(dev, watched, 0)?;
    }
    let map = ebpf
        .map_mut(ANY_GATE_MAP)
        .context("the object has no map ANY_GATE")?;
    let mut any: Array<_, AnyGate> = Array::try_from(map)?;
    let open_up_to_now = AnyGate {
        open: 0,
        touched_ns,
    };
    any.set(0, open_up_to_now, 0)?;
    Ok(())
}

/// Memory of the maps, bytes: the kernel's own figure for each.
#[must_use]
pub(super) fn maps_bytes(ebpf: &Ebpf) -> u64 {
    ebpf.maps()
        .filter_map(|(_, map)| map_fd(map))
        .map(map_memory)
        .sum()
}

/// `memlock` of `/proc/self/fdinfo/FD`, bytes.
fn map_memory(fd: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    line.and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or(0)
}

fn map_fd(map: &Map) -> Option<i32> {
    let (Map::Array(map)
    | Map::HashMap(map)
    | Map::LruHashMap(map)
    | Map::PerCpuArray(map)
    | Map::RingBuf(map)) = map
    else {
        return None;
    };
    Some(map.fd().as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_process_is_marked_while_its_neighbours_come_and_go() {
        let mut all = vec![Marks::default(); TARGETS_ENTRIES as usize];
        let marks = all.as_mut_ptr();
        let neighbours = marks as usize;
        // Processes 64 to 95 come and go, as the kernel half has it.
        let kernel = thread::spawn(move || {
            let entry = (neighbours as *mut Marks).wrapping_add(1);
            // SAFETY: an entry that lives until this thread has ended; both halves change it by atomic instructions.
            let born = unsafe { AtomicU64::from_ptr(&raw mut (*entry).born) };
            for round in 0..64_000 {
                let bit = 1_u64 << (round / 2 % 32);
                let by = if round % 2 == 0 {
                    bit
                } else {
                    bit.wrapping_neg()
                };
                born.fetch_add(by, Ordering::Relaxed);
            }
        });
        for pid in 96..128 {
            // SAFETY: as many entries as there are.
            unsafe { mark(marks, pid, Word::Found) };
        }
        // SAFETY: the same; it lies beyond them.
        unsafe { mark(marks, u32::MAX, Word::Found) };
        kernel.join().unwrap();
        let Marks { born, found } = all[1];
        assert_eq!((born, found), (0, 0xffff_ffff_0000_0000));
    }
}
