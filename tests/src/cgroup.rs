//! A cgroup that only a test uses, with a limit for a disk: of v1 or v2, whichever this machine has.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// A group, removed whatever becomes of the test; its processes must have ended.
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
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mounted = |kind: &str, option: &str| {
            mounts.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                let found = fields.get(2) == Some(&kind)
                    && (option.is_empty() || fields.get(3)?.split(',').any(|o| o == option));
                found.then(|| PathBuf::from(fields[1]))
            })
        };
        let old = mounted("cgroup", "blkio");
        let unified = old.is_none();
        let root = old
            .or_else(|| mounted("cgroup2", ""))
            .context("no cgroup hierarchy divides the disks")?;
        if unified {
            fs::write(root.join("cgroup.subtree_control"), "+io")
                .context("the io controller cannot be enabled")?;
        }
        let folder = root.join(format!("tracer-test-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self { folder, unified })
    }

    /// Limits reads of a device (`7:0`), bytes per second.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn limit_reads(&self, device: &str, bytes: u64) -> Result<()> {
        let (file, line) = match self.unified {
            true => ("io.max", format!("{device} rbps={bytes}")),
            false => (
                "blkio.throttle.read_bps_device",
                format!("{device} {bytes}"),
            ),
        };
        Ok(fs::write(self.folder.join(file), line)?)
    }

    /// The file that takes a process into the group.
    #[must_use]
    pub fn members(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A member that was just killed is still there for a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
