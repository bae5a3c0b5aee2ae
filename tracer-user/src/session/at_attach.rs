//! Facts that are read from `/proc`, `/sys` and the disk before anything is attached.

use std::thread::{self, JoinHandle};

use anyhow::{Result, bail};

use super::Settings;
use crate::{
    machine::proc::{self, IoLimit},
    standing::{Means, OwnLimit},
};

/// The state of the target and of the machine before anything is loaded.
pub(super) struct AtAttach {
    /// Device numbers of the disks under the target's mounts.
    pub(super) disks: Vec<u32>,
    /// Limits of the target's own I/O.
    pub(super) io_limits: Vec<IoLimit>,
    /// The means by which this machine can restrain a process. Reading them searches the disk for commands.
    pub(super) means: Means,
    /// The limits on the target.
    pub(super) limits: Vec<OwnLimit>,
}

/// The reading under way.
pub(super) struct Reading(JoinHandle<AtAttach>);

impl Reading {
    /// Begins to read, on a thread of its own.
    #[must_use]
    pub(super) fn begin(settings: &Settings) -> Self {
        let pids = settings.pids.clone();
        Self(thread::spawn(move || AtAttach::read(&pids)))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If the thread panicked.
    pub(super) fn end(self) -> Result<AtAttach> {
        match self.0.join() {
            Ok(read) => Ok(read),
            Err(_) => bail!("cannot read how the target stands"),
        }
    }
}

impl AtAttach {
    fn read(pids: &[u32]) -> Self {
        let means = proc::means();
        let memory = proc::memory_hierarchy();
        let (mut limits, mut io_limits) = (Vec::new(), Vec::new());
        for pid in pids {
            let own = proc::own_limits(*pid, &means, memory.as_ref());
            io_limits.extend(proc::io_limits(*pid, &means, &own));
            limits.extend(own);
        }
        limits.dedup();
        let mut disks: Vec<u32> = pids.iter().flat_map(|pid| proc::disks_of(*pid)).collect();
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
