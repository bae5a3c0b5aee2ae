//! The map of I/O that the limit of a cgroup held back and a kernel thread queues. Kernel side:
//! `tracer-ebpf/src/probes/block/held_back.rs`.

use aya::{Ebpf, maps::HashMap};
use tracer_common::block::{GroupOnDisk, HELD_BACK_MAP, HeldBack};

use crate::machine::proc::IoLimit;

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

/// Names the target of each group with a limit on a disk. Bios of that group which a kernel thread queues are that target's.
pub(super) fn limit(ebpf: &mut Ebpf, limits: &[IoLimit]) {
    let limited = limits.iter().map(|limit| {
        let key = GroupOnDisk {
            group: limit.group,
            dev: limit.dev,
            reserved: 0,
        };
        let pid = u64::from(limit.pid);
        (key, HeldBack { function: 0, pid })
    });
    write(ebpf, &limited.collect::<Vec<_>>());
}
