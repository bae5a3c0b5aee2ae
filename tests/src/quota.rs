//! A control group with a CPU quota, of either version.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Length of a quota's period, µs.
const PERIOD_US: u64 = 100_000;

/// Where groups with a CPU controller can be made.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    root: PathBuf,
    v2: bool,
}

impl Hierarchy {
    /// The hierarchy of the CPU controller, if there is one that can limit groups below its root.
    #[must_use]
    pub fn find() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let root = PathBuf::from(words.next()?);
            match words.next()? {
                "cgroup" if root.join("cpu.cfs_quota_us").exists() => {
                    Some(Self { root, v2: false })
                }
                "cgroup2" => {
                    let on = fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
                    on.split_whitespace()
                        .any(|name| name == "cpu")
                        .then_some(Self { root, v2: true })
                }
                _ => None,
            }
        })
    }

    /// A group that may use `percent` of one CPU, and one in it without a limit.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn limited(&self, name: &str, percent: u64) -> Result<Group> {
        let group = Group {
            path: self.root.join(format!("{name}-{}", std::process::id())),
        };
        let inner = group.inner();
        fs::create_dir_all(&inner)
            .with_context(|| format!("cannot make the group {}", inner.display()))?;
        let quota = PERIOD_US * percent / 100;
        let (file, value) = if self.v2 {
            ("cpu.max", format!("{quota} {PERIOD_US}"))
        } else {
            ("cpu.cfs_quota_us", quota.to_string())
        };
        fs::write(group.path.join(file), value).with_context(|| format!("cannot set {file}"))?;
        Ok(group)
    }
}

/// A limited group, removed on drop; its processes must be gone by then.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
}

impl Group {
    fn inner(&self) -> PathBuf {
        self.path.join("inner")
    }

    /// Moves a process with its threads into the group within the limited one.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn take(&self, pid: u32) -> Result<()> {
        fs::write(self.inner().join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("cannot move {pid} into its group"))
    }

    /// How long the kernel stopped the group so far, on all CPUs together, ns.
    ///
    /// # Errors
    /// If `cpu.stat` lacks it.
    pub fn throttled_ns(&self) -> Result<u64> {
        let stat = fs::read_to_string(self.path.join("cpu.stat")).context("no cpu.stat")?;
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
        let _ = fs::remove_dir(&self.path);
    }
}
