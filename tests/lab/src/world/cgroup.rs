//! Control groups, version 1, version 2 or both. One group holds all programs of a scene: it makes their end certain, and slows
//! their reads from a disk. A second one limits a program's use of the CPUs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tracer_tests::cgroup::{Controller, Hierarchy, Way};

use super::{
    ledger,
    made::{Made, gone, set},
};

/// A group of our own.
pub(crate) struct Cgroup {
    path: PathBuf,
    hierarchy: Hierarchy,
}

impl Cgroup {
    /// Makes a group that can be slowed when it reads.
    pub(crate) fn make(name: &str) -> Result<Self> {
        Self::with(Controller::Io, name)
    }

    /// Makes a group that may use so much of one CPU's time, in percent, in each tenth of a second.
    pub(crate) fn with_cpu_quota(name: &str, percent: u64) -> Result<Self> {
        let group = Self::with(Controller::Cpu, name)?;
        let (file, text) = group.hierarchy.cpu_quota(percent);
        group.write(file, &text)?;
        Ok(group)
    }

    /// The file with that quota, and the text for so much of one CPU's time, in percent.
    pub(crate) fn cpu_quota(&self, percent: u64) -> (PathBuf, String) {
        let (file, text) = self.hierarchy.cpu_quota(percent);
        (self.path.join(file), text)
    }

    /// Makes a group that can be frozen.
    pub(crate) fn to_freeze(name: &str) -> Result<Self> {
        Self::with(Controller::Freezer, name)
    }

    /// The file that freezes the group, and the words that freeze it and let it go.
    pub(crate) fn freezer(&self) -> (PathBuf, [&'static str; 2]) {
        let (file, words) = self.hierarchy.freezer();
        (self.path.join(file), words)
    }

    /// Makes a group that may use so much memory, in bytes.
    pub(crate) fn with_memory_limit(name: &str, bytes: u64) -> Result<Self> {
        let group = Self::with(Controller::Memory, name)?;
        let (file, text) = group.hierarchy.memory_limit(bytes);
        group.write(file, &text)?;
        Ok(group)
    }

    /// Makes a group inside this one.
    pub(crate) fn below(&self, name: &str) -> Result<Self> {
        if self.hierarchy.is_unified() {
            enable(&self.path, Controller::Cpu)?;
        }
        Self::at(self.path.join(name), self.hierarchy.clone())
    }

    fn with(controller: Controller, name: &str) -> Result<Self> {
        let hierarchy = hierarchy(controller)?;
        if hierarchy.is_unified() && controller != Controller::Io {
            enable(hierarchy.root(), controller)?;
        }
        Self::at(hierarchy.root().join(name), hierarchy)
    }

    fn at(path: PathBuf, hierarchy: Hierarchy) -> Result<Self> {
        let making = || {
            fs::create_dir(&path)
                .with_context(|| format!("could not make the group {}", path.display()))
        };
        ledger::make(Made::Cgroup(path.clone()), making)?;
        Ok(Self { path, hierarchy })
    }

    /// The file with the kernel's figures of the group's CPU time.
    pub(crate) fn cpu_stat(&self) -> PathBuf {
        self.path.join("cpu.stat")
    }

    /// The file with the number of times that the group was full.
    pub(crate) fn memory_stat(&self) -> PathBuf {
        self.path.join(match self.hierarchy.is_unified() {
            true => "memory.events",
            false => "memory.failcnt",
        })
    }

    /// Ends every process in it.
    pub(crate) fn end_processes(&self) {
        end_processes(&self.path);
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.path.join(name);
        set(&file, text).with_context(|| format!("could not write {text:?} to {}", file.display()))
    }

    /// The file into which a process writes `0` to join.
    pub(crate) fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Limits what the group reads from a whole disk (`major:minor`), in bytes per second.
    pub(crate) fn limit_reads(&self, disk: &str, bytes_per_second: u64) -> Result<()> {
        self.limit(Way::Read, disk, bytes_per_second)
    }

    /// Limits what the group writes to a whole disk (`major:minor`), in bytes per second.
    pub(crate) fn limit_writes(&self, disk: &str, bytes_per_second: u64) -> Result<()> {
        self.limit(Way::Write, disk, bytes_per_second)
    }

    /// Limits what the kernel's own threads write to a whole disk (`major:minor`), until everything is removed. In version 2 they write
    /// for the group that dirtied the pages: its own limit is enough.
    pub(crate) fn limit_write_back(&self, disk: &str, bytes_per_second: u64) -> Result<()> {
        if self.hierarchy.is_unified() {
            return self.limit_writes(disk, bytes_per_second);
        }
        let (name, limit) = self
            .hierarchy
            .disk_limit(Way::Write, disk, bytes_per_second);
        let file = self.hierarchy.root().join(name);
        let (_, unlimited) = self.hierarchy.disk_limit(Way::Write, disk, 0);
        ledger::make(Made::Setting(file.clone(), unlimited), || {
            set(&file, &limit)
                .with_context(|| format!("could not write {limit:?} to {}", file.display()))
        })
    }

    fn limit(&self, way: Way, disk: &str, bytes_per_second: u64) -> Result<()> {
        if self.hierarchy.is_unified() {
            enable(self.hierarchy.root(), Controller::Io)?;
        }
        let (file, limit) = self.hierarchy.disk_limit(way, disk, bytes_per_second);
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

/// Where groups with a controller are made here.
fn hierarchy(controller: Controller) -> Result<Hierarchy> {
    let mounts =
        fs::read_to_string("/proc/self/mounts").context("could not read the list of mounts")?;
    let mounted = Hierarchy::mounted(&mounts, controller);
    chosen(mounted, |root| offers(root, controller)).context(
        "no control groups are mounted here: mount them (`mount -t cgroup2 none /sys/fs/cgroup`) or use a machine with systemd",
    )
}

/// Lifts the limits of what the kernel's own threads read from a disk (`major:minor`) and write to it. A loop device keeps those that
/// an earlier user left there. Only version 1 has such limits.
pub(crate) fn lift_limits(disk: &str) -> Result<()> {
    let hierarchy = hierarchy(Controller::Io)?;
    for way in [Way::Read, Way::Write] {
        let (name, unlimited) = hierarchy.disk_limit(way, disk, 0);
        let file = hierarchy.root().join(name);
        // A file that is not there has no words.
        if words(&file).iter().any(|word| word == disk) {
            set(&file, &unlimited)
                .with_context(|| format!("could not lift the limit in {}", file.display()))?;
        }
    }
    Ok(())
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
pub(crate) fn remove(path: &Path) -> Result<()> {
    end_processes(path);
    gone(fs::remove_dir(path))
}

/// Ends every process in a group; they may take a moment.
pub(crate) fn end_processes(path: &Path) {
    // With v1 of the freezer a frozen process does not even end. Other groups have no such file.
    let frozen = path.join("freezer.state");
    if frozen.exists() {
        // If it cannot be let go, its processes do not end, and `remove` fails and says so.
        let _ = fs::write(frozen, "THAWED");
    }
    for pid in words(&path.join("cgroup.procs")) {
        let Ok(pid) = pid.parse::<libc::pid_t>() else {
            continue;
        };
        // A group that we made holds only processes that we started. A process that ended meanwhile keeps its pid until its parent
        // reaps it. Reuse within this loop would need a full turn of the pid space.
        // SAFETY: kill touches no memory.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Switches a controller off again for the groups below.
pub(crate) fn disable(root: &Path, name: &str) -> Result<()> {
    gone(set(
        &root.join("cgroup.subtree_control"),
        &format!("-{name}"),
    ))
}

/// The hierarchy that has the controller, else any that can hold a group.
fn chosen(mounted: Vec<Hierarchy>, offers: impl Fn(&Path) -> bool) -> Option<Hierarchy> {
    let limits = |found: &&Hierarchy| !found.is_unified() || offers(found.root());
    mounted.iter().find(limits).or(mounted.first()).cloned()
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

    const HYBRID: &str = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                          cgroup /sys/fs/cgroup/blkio cgroup rw,relatime,blkio 0 0\n";

    fn root(mounts: &str, offers: bool) -> Option<PathBuf> {
        let found = chosen(Hierarchy::mounted(mounts, Controller::Io), |_| offers)?;
        Some(found.root().to_owned())
    }

    #[test]
    fn on_a_hybrid_machine_the_group_is_where_io_can_be_limited() {
        assert_eq!(root(HYBRID, false), Some("/sys/fs/cgroup/blkio".into()));
        assert_eq!(root(HYBRID, true), Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn without_the_controller_a_group_can_still_be_made() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        assert_eq!(root(mounts, false), Some("/sys/fs/cgroup".into()));
    }

    #[test]
    fn without_control_groups_there_is_none() {
        assert_eq!(root("proc /proc proc rw 0 0\n", true), None);
    }
}
