//! Control groups of v1 or v2, whichever this machine has. [`Hierarchy`] shows where they can be made and how they are limited,
//! also for the lab. A [`Group`] serves one test only.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// Length of a quota's period, µs.
const PERIOD_US: u64 = 100_000;
/// A member that was just killed is still there for a moment.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// A resource that groups divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Disks.
    Io,
    /// CPUs.
    Cpu,
    /// The right to run. In v2 every group has it, without a controller.
    Freezer,
    /// Memory.
    Memory,
}

impl Controller {
    /// Its name in v1, and in v2.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Io => ("blkio", "io"),
            Self::Cpu => ("cpu", "cpu"),
            Self::Freezer => ("freezer", "freezer"),
            Self::Memory => ("memory", "memory"),
        }
    }
}

/// The direction in which a group moves bytes: from a disk, or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From it.
    Read,
    /// To it.
    Write,
}

/// Where groups with a controller can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    root: PathBuf,
    unified: bool,
}

impl Hierarchy {
    /// The controller's own hierarchy of v1, else v2 where it can be had.
    #[must_use]
    pub fn of(controller: Controller) -> Option<Self> {
        let (_, name) = controller.names();
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let switched_on = |found: &Self| {
            let control = found.root.join("cgroup.subtree_control");
            fs::write(control, format!("+{name}")).is_ok()
        };
        Self::mounted(&mounts, controller)
            .into_iter()
            .find(|found| !found.unified || switched_on(found))
    }

    /// All hierarchies that may have the controller, in the order of `/proc/self/mounts`: its own of v1, and every v2.
    #[must_use]
    pub fn mounted(mounts: &str, controller: Controller) -> Vec<Self> {
        let (old, _) = controller.names();
        let hierarchy = |line: &str| {
            let mut fields = line.split(' ').skip(1);
            let (root, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let unified = match kind {
                "cgroup" if options.split(',').any(|option| option == old) => false,
                "cgroup2" => true,
                _ => return None,
            };
            Some(Self {
                root: root.into(),
                unified,
            })
        };
        mounts.lines().filter_map(hierarchy).collect()
    }

    /// Its top folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of a group, and the text that allows the group `percent` of one CPU in each period.
    #[must_use]
    pub fn cpu_quota(&self, percent: u64) -> (&'static str, String) {
        let quota = PERIOD_US * percent / 100;
        match self.unified {
            true => ("cpu.max", format!("{quota} {PERIOD_US}")),
            false => ("cpu.cfs_quota_us", quota.to_string()),
        }
    }

    /// The file of a group, and the text that allows the group `bytes` of memory.
    #[must_use]
    pub fn memory_limit(&self, bytes: u64) -> (&'static str, String) {
        match self.unified {
            true => ("memory.max", bytes.to_string()),
            false => ("memory.limit_in_bytes", bytes.to_string()),
        }
    }

    /// The file and the text that allow a group `bytes` a second from or to a device (`7:0`).
    #[must_use]
    pub fn disk_limit(&self, way: Way, device: &str, bytes: u64) -> (&'static str, String) {
        match (self.unified, way) {
            (true, Way::Read) => ("io.max", format!("{device} rbps={bytes}")),
            (true, Way::Write) => ("io.max", format!("{device} wbps={bytes}")),
            (false, Way::Read) => (
                "blkio.throttle.read_bps_device",
                format!("{device} {bytes}"),
            ),
            (false, Way::Write) => (
                "blkio.throttle.write_bps_device",
                format!("{device} {bytes}"),
            ),
        }
    }

    /// The file of a group that freezes it, and the words that freeze it and let it go.
    #[must_use]
    pub const fn freezer(&self) -> (&'static str, [&'static str; 2]) {
        match self.unified {
            true => ("cgroup.freeze", ["1", "0"]),
            false => ("freezer.state", ["FROZEN", "THAWED"]),
        }
    }

    /// Whether it is v2.
    #[must_use]
    pub const fn is_unified(&self) -> bool {
        self.unified
    }

    /// Makes a group with a name that begins so.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn group(&self, name: &str) -> Result<Group> {
        self.named(&format!("{name}-{}", std::process::id()))
    }

    /// Makes a group of just this name.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn named(&self, name: &str) -> Result<Group> {
        let folder = self.root.join(name);
        fs::create_dir(&folder)
            .with_context(|| format!("cannot make the group {}", folder.display()))?;
        Ok(Group {
            folder,
            hierarchy: self.clone(),
        })
    }

    /// A group that may use `percent` of one CPU, and one in it without a limit.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn limited(&self, name: &str, percent: u64) -> Result<Group> {
        let group = self.group(name)?;
        let inner = group.inner();
        fs::create_dir(&inner)
            .with_context(|| format!("cannot make the group {}", inner.display()))?;
        let (file, text) = self.cpu_quota(percent);
        group.set(file, &text)?;
        Ok(group)
    }
}

/// A group, removed whatever becomes of the test.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    hierarchy: Hierarchy,
}

impl Group {
    /// Makes one in the hierarchy that divides the disks.
    ///
    /// # Errors
    /// If there is no such hierarchy, or it cannot be written.
    pub fn for_disks() -> Result<Self> {
        Hierarchy::of(Controller::Io)
            .context("no cgroup hierarchy divides the disks")?
            .group("tracer-test")
    }

    /// The group that a command makes (`mkdir -p GROUP`); `None` if it makes none.
    #[must_use]
    pub fn made_by(command: &str) -> Option<Self> {
        let made = command.split("mkdir -p ").nth(1)?;
        let folder = PathBuf::from(made.split_whitespace().next()?);
        let hierarchy = Hierarchy {
            root: folder.parent()?.to_owned(),
            unified: folder.join("cgroup.controllers").exists(),
        };
        Some(Self { folder, hierarchy })
    }

    /// Limits reads of a device (`7:0`), bytes per second.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn limit_reads(&self, device: &str, bytes: u64) -> Result<()> {
        let (file, text) = self.hierarchy.disk_limit(Way::Read, device, bytes);
        self.set(file, &text)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.folder.join(file), value).with_context(|| format!("cannot set {file}"))
    }

    /// The text of one of its files; empty if it has no such file.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// The file that takes a process into the group.
    #[must_use]
    pub fn members(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    fn inner(&self) -> PathBuf {
        self.folder.join("inner")
    }

    /// Moves a process with its threads into the group, or the one within if it has one.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn take(&self, pid: u32) -> Result<()> {
        let inner = self.inner().join("cgroup.procs");
        let members = if inner.exists() {
            inner
        } else {
            self.members()
        };
        fs::write(members, pid.to_string())
            .with_context(|| format!("cannot move {pid} into its group"))
    }

    /// How long the kernel stopped the group so far, on all CPUs together, ns.
    ///
    /// # Errors
    /// If `cpu.stat` lacks it.
    pub fn throttled_ns(&self) -> Result<u64> {
        let stat = self.file("cpu.stat");
        let find = |name: &str, unit: u64| {
            let value = stat.lines().find_map(|line| line.strip_prefix(name))?;
            Some(unit * value.trim().parse::<u64>().ok()?)
        };
        find("throttled_time ", 1)
            .or_else(|| find("throttled_usec ", 1000))
            .context("cpu.stat lacks the throttled time")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.inner());
        let above = self.folder.parent().unwrap_or(Path::new("/"));
        for _ in 0..TRIES {
            // A tried command may have left processes in the group. They go where the test itself is.
            for pid in self.file("cgroup.procs").lines() {
                let _ = fs::write(above.join("cgroup.procs"), pid);
            }
            if fs::remove_dir(&self.folder).is_ok() || !self.folder.exists() {
                return;
            }
            thread::sleep(BETWEEN_TRIES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hierarchy_of_v1_counts_only_for_its_controller() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/blkio cgroup rw,relatime,blkio 0 0\n";
        let roots = |controller| {
            let found = Hierarchy::mounted(mounts, controller);
            found
                .into_iter()
                .map(|found| (found.root, found.unified))
                .collect::<Vec<_>>()
        };
        let unified = || ("/sys/fs/cgroup/unified".into(), true);
        assert_eq!(
            roots(Controller::Cpu),
            [("/sys/fs/cgroup/cpu".into(), false), unified()]
        );
        assert_eq!(
            roots(Controller::Io),
            [unified(), ("/sys/fs/cgroup/blkio".into(), false)]
        );
    }

    #[test]
    fn limits_are_written_in_the_words_of_their_version() {
        let of = |unified| Hierarchy {
            root: "/".into(),
            unified,
        };
        let said = |(file, text): (&str, String)| format!("{file}: {text}");
        assert_eq!(said(of(true).cpu_quota(20)), "cpu.max: 20000 100000");
        assert_eq!(said(of(false).cpu_quota(20)), "cpu.cfs_quota_us: 20000");
        assert_eq!(
            said(of(true).disk_limit(Way::Write, "7:0", 5)),
            "io.max: 7:0 wbps=5"
        );
        assert_eq!(
            said(of(false).disk_limit(Way::Write, "7:0", 5)),
            "blkio.throttle.write_bps_device: 7:0 5"
        );
    }
}
