//! Control groups, version 1, version 2 or both: one group holds all that a scene starts, which makes ending it
//! certain, and slows what it reads from a disk.

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
    /// The `blkio` controller's own hierarchy.
    V1,
    V2,
}

impl Cgroup {
    /// Makes a group.
    pub fn make(name: &str) -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mounts").context("could not read the list of mounts")?;
        let hierarchy = hierarchy(&mounts, offers_io).context(
            "no control groups are mounted here: mount them (`mount -t cgroup2 none /sys/fs/cgroup`) or use a machine with systemd",
        )?;
        let path = hierarchy.root.join(name);
        let making = || {
            fs::create_dir(&path)
                .with_context(|| format!("could not make the group {}", path.display()))
        };
        ledger::make(Made::Cgroup(path.clone()), making)?;
        Ok(Self { path, hierarchy })
    }

    /// The file into which a process writes `0` to join.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Limits what the group reads from a whole disk (`major:minor`), in bytes per second.
    pub fn limit_reads(&self, disk: &str, bytes_per_second: u64) -> Result<()> {
        let (file, limit) = match self.hierarchy.version {
            Version::V1 => (
                "blkio.throttle.read_bps_device",
                format!("{disk} {bytes_per_second}"),
            ),
            Version::V2 => {
                self.enable_io()?;
                ("io.max", format!("{disk} rbps={bytes_per_second}"))
            }
        };
        let file = self.path.join(file);
        if !file.exists() {
            bail!(
                "this kernel cannot limit reads ({} is missing): it lacks CONFIG_BLK_DEV_THROTTLING",
                file.display()
            );
        }
        set(&file, &limit)
            .with_context(|| format!("could not write {limit:?} to {}", file.display()))
    }

    fn enable_io(&self) -> Result<()> {
        let root = &self.hierarchy.root;
        if words(&root.join("cgroup.subtree_control")).contains(&"io".to_owned()) {
            return Ok(());
        }
        let enabling = || {
            let control = root.join("cgroup.subtree_control");
            set(&control, "+io")
                .with_context(|| format!("could not switch io on in {}", control.display()))
        };
        ledger::make(Made::IoController(root.clone()), enabling)
    }
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

/// Switches the `io` controller off again for the groups below.
pub fn disable_io(root: &Path) -> Result<()> {
    gone(set(&root.join("cgroup.subtree_control"), "-io"))
}

/// The hierarchy that can limit I/O, else any that can hold a group.
fn hierarchy(mounts: &str, offers_io: impl Fn(&Path) -> bool) -> Option<Hierarchy> {
    let all: Vec<_> = mounts.lines().filter_map(cgroup_mount).collect();
    let limits = |found: &&Hierarchy| found.version == Version::V1 || offers_io(&found.root);
    all.iter().find(limits).or(all.first()).cloned()
}

fn cgroup_mount(line: &str) -> Option<Hierarchy> {
    let mut fields = line.split(' ').skip(1);
    let (root, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
    let version = match kind {
        "cgroup" if options.split(',').any(|option| option == "blkio") => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    Some(Hierarchy {
        root: root.into(),
        version,
    })
}

fn offers_io(root: &Path) -> bool {
    words(&root.join("cgroup.controllers"))
        .iter()
        .any(|word| word == "io")
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
        let found = hierarchy(HYBRID, |_| false).unwrap();
        assert_eq!(
            found,
            Hierarchy {
                root: "/sys/fs/cgroup/blkio".into(),
                version: Version::V1
            }
        );
    }

    #[test]
    fn on_a_unified_machine_there_is_one_hierarchy() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let found = hierarchy(mounts, |_| true).unwrap();
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
        assert_eq!(hierarchy("proc /proc proc rw 0 0\n", |_| true), None);
    }
}
