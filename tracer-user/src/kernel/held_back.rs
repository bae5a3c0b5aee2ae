//! The map of I/O that the limit of a cgroup held back and a kernel thread queues. Kernel side:
//! `tracer-ebpf/src/probes/block/held_back.rs`.

use aya::{Ebpf, maps::HashMap};
use tracer_common::block::{GroupOnDisk, HELD_BACK_MAP, HeldBack};

/// All entries; none if the map cannot be read.
pub(super) fn read(ebpf: &Ebpf) -> Vec<(GroupOnDisk, HeldBack)> {
    let map = ebpf
        .map(HELD_BACK_MAP)
        .map(HashMap::<_, GroupOnDisk, HeldBack>::try_from);
    let Some(Ok(map)) = map else {
        return Vec::new();
    };
    map.iter().flatten().collect()
}

/// Writes entries back, with the process found for each. Best effort: an entry that cannot be written stays with the kernel thread.
pub(super) fn write(ebpf: &mut Ebpf, found: &[(GroupOnDisk, HeldBack)]) {
    let Some(map) = ebpf.map_mut(HELD_BACK_MAP) else {
        return;
    };
    if let Ok(mut map) = HashMap::<_, GroupOnDisk, HeldBack>::try_from(map) {
        for (key, held) in found {
            let _ = map.insert(key, held, 0);
        }
    }
}
