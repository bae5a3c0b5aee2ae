//! Facts that are read from `/proc`, `/sys` and the disk before anything is attached.

use super::{
    Settings,
    aside::{PATIENCE, unread},
    stop::is_asked,
};
use crate::{
    class::Resource,
    event::MissingProbe,
    machine::{
        looks::Looks,
        proc::{self, IoLimit},
    },
    standing::{Means, OwnLimit},
};

/// Most processes of which the limits are read: those of one group have the same ones.
const MOST_LIMITED: usize = 64;

/// The state of the target and of the machine before anything is loaded.
pub(super) struct AtAttach {
    /// Device numbers of the disks under the target's mounts.
    pub(super) disks: Vec<u32>,
    /// Limits of the target's own I/O.
    pub(super) io_limits: Vec<IoLimit>,
    /// The means by which this machine can restrain a process.
    pub(super) means: Means,
    /// The limits on the target.
    pub(super) limits: Vec<OwnLimit>,
    /// What could not be read in time.
    pub(super) missing: Vec<MissingProbe>,
}

/// The control groups of the target.
#[derive(Default)]
struct Groups {
    means: Means,
    io_limits: Vec<IoLimit>,
    limits: Vec<OwnLimit>,
}

/// The reading under way. File systems that do not answer hold up only what lies on them.
pub(super) struct Reading {
    groups: Looks<(), Groups>,
    /// Commands of which it is known whether they are installed. Folders of `PATH` are searched for them.
    commands: Looks<&'static str, Option<&'static str>>,
    disks: Looks<u32, Vec<u32>>,
}

impl Reading {
    /// Begins to read, on threads of its own.
    #[must_use]
    pub(super) fn begin(settings: &Settings) -> Self {
        let pids = settings.pids.clone();
        Self {
            groups: Looks::begin(vec![()], move |()| Groups::read(&pids)),
            commands: Looks::begin(Means::COMMANDS.to_vec(), |command| {
                proc::is_installed(command).then_some(command)
            }),
            disks: Looks::begin(settings.pids.clone(), proc::disks_of),
        }
    }

    /// Waits for the end, but not for what hangs.
    #[must_use]
    pub(super) fn end(self) -> AtAttach {
        let mut groups = self.groups.end_within(PATIENCE, is_asked);
        let commands = self.commands.end_within(PATIENCE, is_asked);
        let disks = self.disks.end_within(PATIENCE, is_asked);
        let mut missing = Vec::new();
        if !groups.unread.is_empty() {
            let cost = "limits on the target are unknown, and what cgroups can do about it";
            missing.push(unread("cgroups", cost, None));
        }
        if !commands.unread.is_empty() {
            let cost = "remedies may name commands that are not installed";
            missing.push(unread("the folders of PATH", cost, None));
        }
        if !disks.unread.is_empty() {
            let cost = "waits for some of them are not seen";
            let disk = Some(Resource::Disk);
            missing.push(unread("the disks under the target's mounts", cost, disk));
        }
        let Groups {
            mut means,
            io_limits,
            limits,
        } = groups.found.pop().unwrap_or_default();
        let installed = commands.found.into_iter().flatten();
        let all = installed.chain(commands.unread).map(str::to_owned);
        means.commands = all.collect();
        let mut disks: Vec<u32> = disks.found.into_iter().flatten().collect();
        disks.sort_unstable();
        disks.dedup();
        AtAttach {
            disks,
            io_limits,
            means,
            limits,
            missing,
        }
    }
}

impl Groups {
    fn read(pids: &[u32]) -> Self {
        let means = proc::means();
        let memory = proc::memory_hierarchy();
        let (mut limits, mut io_limits) = (Vec::new(), Vec::new());
        for pid in pids.iter().take(MOST_LIMITED) {
            let own = proc::own_limits(*pid, &means, memory.as_ref());
            io_limits.extend(proc::io_limits(*pid, &means, &own));
            // The processes of a service or a container share their limits.
            for limit in own {
                if !limits.contains(&limit) {
                    limits.push(limit);
                }
            }
        }
        Self {
            means,
            io_limits,
            limits,
        }
    }
}
