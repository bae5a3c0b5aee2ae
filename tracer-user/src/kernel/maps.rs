//! The values that user space writes into maps, and the memory that the maps take.

use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map},
};
use tracer_common::{
    block::{DISKS_MAP, DiskState},
    config::TARGETS_MAP,
    packets::{SENDERS_MAP, Sender},
};

/// Marks processes as targets; the first ones before any probe fires.
///
/// # Errors
/// If the map cannot be written.
pub(super) fn set_targets(ebpf: &mut Ebpf, targets: &[u32]) -> Result<()> {
    let map = ebpf
        .map_mut(TARGETS_MAP)
        .context("the object has no map TARGETS")?;
    let mut words: Array<_, u64> = Array::try_from(map)?;
    for pid in targets {
        let index = pid >> 6;
        let word = words.get(&index, 0)? | 1 << (pid & 63);
        words.set(index, word, 0)?;
    }
    Ok(())
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

/// Marks the disks under the target's mounts, where it may wait for kernel threads.
pub(super) fn watch_disks(ebpf: &mut Ebpf, disks: &[u32]) -> Result<()> {
    let map = ebpf
        .map_mut(DISKS_MAP)
        .context("the object has no map DISKS")?;
    let mut gates: HashMap<_, u32, DiskState> = HashMap::try_from(map)?;
    for dev in disks {
        let watched = DiskState {
            watched: 1,
            ..DiskState::default()
        };
        gates.insert(dev, watched, 0)?;
    }
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
