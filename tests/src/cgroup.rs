//! Cgroups that only a test uses, of v1 or v2, whichever this machine has: with a limit, or made by a command that is tried.

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

/// What a group divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Disks.
    Io,
    /// CPUs.
    Cpu,
}

impl Controller {
    /// Its name in v1, and in v2.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Io => ("blkio", "io"),
            Self::Cpu => ("cpu", "cpu"),
        }
    }
}

/// Where groups with a controller can be made.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    root: PathBuf,
    unified: bool,
}

impl Hierarchy {
    /// The controller's own hierarchy of v1, else v2 where it can be had.
    #[must_use]
    pub fn of(controller: Controller) -> Option<Self> {
        let (old, new) = controller.names();
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mut found = mounts.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let root = PathBuf::from(fields.get(1)?);
            let offers = || {
                let control = root.join("cgroup.subtree_control");
                fs::write(control, format!("+{new}")).is_ok()
            };
            match *fields.get(2)? {
                "cgroup" if fields.get(3)?.split(',').any(|option| option == old) => Some(Self {
                    root,
                    unified: false,
                }),
                "cgroup2" if offers() => Some(Self {
                    root,
                    unified: true,
                }),
                _ => None,
            }
        });
        found.next()
    }

    /// Is it v2?
    #[must_use]
    pub const fn is_unified(&self) -> bool {
        self.unified
    }

    /// Makes a group whose name begins so.
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
            unified: self.unified,
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
        let quota = PERIOD_US * percent / 100;
        match self.unified {
            true => group.set("cpu.max", &format!("{quota} {PERIOD_US}"))?,
            false => group.set("cpu.cfs_quota_us", &quota.to_string())?,
        }
        Ok(group)
    }
}

/// A group, removed whatever becomes of the test.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    unified: bool,
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
        Some(Self {
            unified: folder.join("cgroup.controllers").exists(),
            folder,
        })
    }

    /// Limits reads of a device (`7:0`), bytes per second.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn limit_reads(&self, device: &str, bytes: u64) -> Result<()> {
        match self.unified {
            true => self.set("io.max", &format!("{device} rbps={bytes}")),
            false => self.set(
                "blkio.throttle.read_bps_device",
                &format!("{device} {bytes}"),
            ),
        }
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.folder.join(file), value).with_context(|| format!("cannot set {file}"))
    }

    /// What stands in one of its files; nothing if it has no such file.
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
            .context("cpu.stat does not tell throttled time")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.inner());
        let above = self.folder.parent().unwrap_or(Path::new("/"));
        for _ in 0..TRIES {
            // Who is still in it, as a command that was tried may leave somebody, goes where the test itself is.
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
