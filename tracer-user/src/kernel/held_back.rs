//! Finds for whom kernel threads queue what a limit of a group's I/O had held back.
//!
//! Kernel side: `tracer-ebpf/src/probes/block/held_back.rs`.

use std::collections::HashSet;

use aya::{Ebpf, maps::HashMap};
use tracer_common::block::{GroupOnDisk, HELD_BACK_MAP, HeldBack};

use super::proc;
use crate::standing::Means;

/// What a kworker runs that hands on what was held back (`blk-throttle.c`, 5.10 to 7.2). Others queue for groups too, such as a loop
/// device's, and for them a group does not say whose bio it is.
const HANDS_ON: &str = "blk_throtl_dispatch_work_fn";

/// Groups that were looked for.
#[derive(Debug, Default)]
pub struct Groups {
    looked_for: HashSet<GroupOnDisk>,
}

impl Groups {
    /// Looks for the processes of groups that are new in the map, and writes them there; `name` tells a kernel function by its address.
    pub fn look(&mut self, ebpf: &mut Ebpf, means: &Means, name: impl Fn(u64) -> String) {
        let Some(map) = ebpf.map_mut(HELD_BACK_MAP) else {
            return;
        };
        let Ok(mut map) = HashMap::<_, GroupOnDisk, HeldBack>::try_from(map) else {
            return;
        };
        let all: Vec<_> = map.iter().flatten().collect();
        let new = all
            .into_iter()
            .filter(|(key, held)| held.pid == 0 && self.looked_for.insert(*key));
        for (key, held) in new {
            if held.function == 0 || name(held.function) != HANDS_ON {
                continue;
            }
            let Some(pid) = proc::busiest_of_group(key.group, means) else {
                continue;
            };
            let found = HeldBack {
                pid: u64::from(pid),
                ..held
            };
            // Who cannot be written stays the kernel thread.
            let _ = map.insert(key, found, 0);
        }
    }
}
