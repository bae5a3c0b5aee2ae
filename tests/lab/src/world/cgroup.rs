//! Control groups, version 1, version 2 or both: one group holds all that a scene starts, which makes ending it
//! certain, and slows what it reads from a disk. A second one limits what a program may use of the CPUs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    ledger,
    made::{Made, gone, set},
};

/// A group of our own.
pub struct Cgroup {
    path: PathBuf,
    hierarchy: Hierarchy,
}

/// Where groups are made.
#[derive(Debug, Clone, PartialEq)]
struct Hierarchy {
    root: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Version {
    /// A hierarchy of a controller's own.
    V1,
    V2,
}

/// What a group can limit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Controller {
    Io,
    Cpu,
}

impl Controller {
    /// Its name in version 1, and in version 2.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Io => ("blkio", "io"),
            Self::Cpu => ("cpu", "cpu"),
        }
    }
}

impl Cgroup {
    /// Makes a group that can be slowed when it reads.
    pub fn make(name: &str) -> Result<Self> {
        Self::with(Controller::Io, name)
    }

    /// Makes a group that may use so much of one CPU's time, in percent, in each tenth of a second.
    pub fn with_cpu_quota(name: &str, percent: u32) -> Result<Self> {
        let group = Self::with(Controller::Cpu, name)?;
        // In microseconds; the period is the kernel's usual one.
        let (quota, period) = (percent * 1000, 100_000);
        match group.hierarchy.version {
            Version::V1 => group.write("cpu.cfs_quota_us", &quota.to_string())?,
            Version::V2 => group.write("cpu.max", &format!("{quota} {period}"))?,
        }
        Ok(group)
    }

    fn with(controller: Controller, name: &str) -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mounts").context("could not read the list of mounts")?;
        let hierarchy = hierarchy(&mounts, controller, |root| offers(root, controller)).context(
            "no control groups are mounted here: mount them (`mount -t cgroup2 none /sys/fs/cgroup`) or use a machine with systemd",
        )?;
        if hierarchy.version == Version::V2 && controller == Controller::Cpu {
            enable(&hierarchy.root, controller)?;
        }
        let path = hierarchy.root.join(name);
        let making = || {
            fs::create_dir(&path)
                .with_context(|| format!("could not make the group {}", path.display()))
        };
        ledger::make(Made::Cgroup(path.clone()), making)?;
        Ok(Self { path, hierarchy })
    }

    /// The file with the kernel's figures of the group's use of the CPUs.
    pub fn cpu_stat(&self) -> PathBuf {
        self.path.join("cpu.stat")
    }

    /// Ends every process in it.
    pub fn end_processes(&self) {
        end_processes(&self.path);
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.path.join(name);
        set(&file, text).with_context(|| format!("could not write {text:?} to {}", file.display()))
    }

    /// The file into which a process writes `0` to join.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Limits what the group reads from a whole disk (`major:minor`), in bytes per second.
    pub fn limit_reads(&self, disk: &str, bytes_per_second: u64) -> Result<()> {
        self.limit(disk, ("read", "rbps"), bytes_per_second)
    }

    /// Limits what the group writes to a whole disk (`major:minor`), in bytes per second.
    pub fn limit_writes(&self, disk: &str, bytes_per_second: u64) -> Result<()> {
        self.limit(disk, ("write", "wbps"), bytes_per_second)
    }

    /// By the words of version 1 and of version 2.
    fn limit(&self, disk: &str, (old, new): (&str, &str), bytes_per_second: u64) -> Result<()> {
        let (file, limit) = match self.hierarchy.version {
            Version::V1 => (
                format!("blkio.throttle.{old}_bps_device"),
                format!("{disk} {bytes_per_second}"),
            ),
            Version::V2 => {
                enable(&self.hierarchy.root, Controller::Io)?;
                (
                    "io.max".to_owned(),
                    format!("{disk} {new}={bytes_per_second}"),
                )
            }
        };
        let file = self.path.join(file);
        if !file.exists() {
            bail!(
                "this kernel cannot limit a group's use of disks ({} is missing): it lacks CONFIG_BLK_DEV_THROTTLING",
                file.display()
            );
        }
        set(&file, &limit)
            .with_context(|| format!("could not write {limit:?} to {}", file.display()))
    }
}

/// Switches a controller on for the groups below.
fn enable(root: &Path, controller: Controller) -> Result<()> {
    let (_, name) = controller.names();
    if words(&root.join("cgroup.subtree_control")).contains(&name.to_owned()) {
        return Ok(());
    }
    let enabling = || {
        let control = root.join("cgroup.subtree_control");
        set(&control, &format!("+{name}"))
            .with_context(|| format!("could not switch {name} on in {}", control.display()))
    };
    ledger::make(Made::Controller(root.to_owned(), name.to_owned()), enabling)
}

/// Ends every process in a group and removes the group. Fails while they are still ending.
pub fn remove(path: &Path) -> Result<()> {
    end_processes(path);
    gone(fs::remove_dir(path))
}

/// Ends every process in a group; they may take a moment.
pub fn end_processes(path: &Path) {
    for pid in words(&path.join("cgroup.procs")) {
        let Ok(pid) = pid.parse::<libc::pid_t>() else {
            continue;
        };
        // Only what we started is in a group that we made; a pid that is gone meanwhile is nobody's before it is
        // reaped by its parent, and reuse within this loop would need a full turn of the pid space.
        // SAFETY: kill touches no memory.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Switches a controller off again for the groups below.
pub fn disable(root: &Path, name: &str) -> Result<()> {
    gone(set(
        &root.join("cgroup.subtree_control"),
        &format!("-{name}"),
    ))
}

/// The hierarchy that has the controller, else any that can hold a group.
fn hierarchy(
    mounts: &str,
    controller: Controller,
    offers: impl Fn(&Path) -> bool,
) -> Option<Hierarchy> {
    let all: Vec<_> = mounts
        .lines()
        .filter_map(|line| cgroup_mount(line, controller))
        .collect();
    let limits = |found: &&Hierarchy| found.version == Version::V1 || offers(&found.root);
    all.iter().find(limits).or(all.first()).cloned()
}

fn cgroup_mount(line: &str, controller: Controller) -> Option<Hierarchy> {
    let mut fields = line.split(' ').skip(1);
    let (root, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
    let version = match kind {
        "cgroup"
            if options
                .split(',')
                .any(|option| option == controller.names().0) =>
        {
            Version::V1
        }
        "cgroup2" => Version::V2,
        _ => return None,
    };
    Some(Hierarchy {
        root: root.into(),
        version,
    })
}

fn offers(root: &Path, controller: Controller) -> bool {
    words(&root.join("cgroup.controllers"))
        .iter()
        .any(|word| word == controller.names().1)
}

/// The words in a file; none where it cannot be read.
fn words(file: &Path) -> Vec<String> {
    fs::read_to_string(file)
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                          cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                          cgroup /sys/fs/cgroup/blkio cgroup rw,relatime,blkio 0 0\n";

    #[test]
    fn on_a_hybrid_machine_the_group_is_where_io_can_be_limited() {
        let found = hierarchy(HYBRID, Controller::Io, |_| false).unwrap();
        assert_eq!(
            found,
            Hierarchy {
                root: "/sys/fs/cgroup/blkio".into(),
                version: Version::V1
            }
        );
    }

    #[test]
    fn on_a_hybrid_machine_a_quota_has_a_hierarchy_of_its_own() {
        let found = hierarchy(HYBRID, Controller::Cpu, |_| false).unwrap();
        assert_eq!(found.root, Path::new("/sys/fs/cgroup/cpu"));
    }

    #[test]
    fn on_a_unified_machine_there_is_one_hierarchy() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let found = hierarchy(mounts, Controller::Io, |_| true).unwrap();
        assert_eq!(
            found,
            Hierarchy {
                root: "/sys/fs/cgroup".into(),
                version: Version::V2
            }
        );
    }

    #[test]
    fn without_control_groups_there_is_none() {
        assert_eq!(
            hierarchy("proc /proc proc rw 0 0\n", Controller::Io, |_| true),
            None
        );
    }
}
