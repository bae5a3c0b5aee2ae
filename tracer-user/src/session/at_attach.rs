//! What is asked of `/proc`, `/sys` and the disk before the window.

use super::Settings;
use crate::{
    machine::proc::{self, IoLimit},
    standing::{Means, OwnLimit},
};

/// What is known before anything is loaded.
pub(crate) struct Before {
    /// Disks under the mounts of those to be traced.
    pub(crate) disks: Vec<u32>,
    /// Limits of their own I/O.
    pub(crate) io_limits: Vec<IoLimit>,
    /// What this machine has to restrain somebody with; where commands are is asked of the disk.
    pub(crate) means: Means,
    /// The limits that the target is under.
    pub(crate) limits: Vec<OwnLimit>,
}

impl Before {
    /// Reads it.
    #[must_use]
    pub(crate) fn read(settings: &Settings) -> Self {
        let means = proc::means();
        let (mut limits, mut io_limits) = (Vec::new(), Vec::new());
        for pid in &settings.pids {
            let own = proc::own_limits(*pid, &means);
            io_limits.extend(proc::io_limits(*pid, &means, &own));
            limits.extend(own);
        }
        limits.dedup();
        let mut disks: Vec<u32> = settings
            .pids
            .iter()
            .flat_map(|pid| proc::disks_of(*pid))
            .collect();
        disks.sort_unstable();
        disks.dedup();
        Self {
            disks,
            io_limits,
            means,
            limits,
        }
    }
}

/// The processes that were asked for, and their children if they are followed; asked-for ones first. `parents` is asked only then: child
/// and parent of all.
#[must_use]
pub(crate) fn with_children(
    settings: &Settings,
    parents: impl FnOnce() -> Vec<(u32, u32)>,
) -> Vec<u32> {
    let mut pids = settings.pids.clone();
    if settings.follow_children {
        let parents = parents();
        let below = |pid: &u32| proc::descendants(*pid, parents.iter().copied());
        pids.extend(settings.pids.iter().flat_map(below));
    }
    let mut seen = std::collections::HashSet::new();
    pids.retain(|pid| *pid != std::process::id() && seen.insert(*pid));
    pids
}
