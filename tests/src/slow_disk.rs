//! A disk that is slow on any machine: its users wait for it far longer than for a busy CPU.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command},
};

use anyhow::{Context as _, Result};

use crate::{
    cgroup::Group,
    disk::{LoopDisk, whole_disk_below, written_file},
    harness::signed,
};

/// How fast the disk is, bytes per second: that of a tired hard disk.
pub const SPEED: u64 = 24 << 20;
/// Bytes of the disk: more than a trace reads, so that few programs start in one.
const SIZE: u64 = 256 << 20;

/// A loop disk that is slow for the processes in its group. The limit is on the disk below: it leaves the loop a queue in which
/// they wait for each other.
pub struct SlowDisk {
    /// The loop.
    pub disk: LoopDisk,
    group: Group,
}

impl SlowDisk {
    /// Makes one on a file in this folder, which has to outlive it.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn new(dir: &Path) -> Result<Self> {
        let file = dir.join("disk");
        written_file(&file, SIZE)?;
        let group = Group::for_disks()?;
        group.limit_reads(&whole_disk_below(&file)?, SPEED)?;
        Ok(Self {
            disk: LoopDisk::new(&file)?,
            group,
        })
    }

    /// Changes its scheduler.
    ///
    /// # Errors
    /// If the kernel has none of this name.
    pub fn scheduler(&self, name: &str) -> Result<()> {
        let path = format!("/sys/block/{}/queue/scheduler", self.disk.name());
        fs::write(&path, name).with_context(|| format!("this kernel has no {name}"))
    }

    /// Starts a command for which the disk is slow, with all that it starts.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, mut command: Command) -> Result<Readers> {
        // With its children, so that all end together.
        command.process_group(0);
        let members = self.group.members();
        // SAFETY: between fork and exec it only opens and writes a file, and one test runs at a time.
        unsafe { command.pre_exec(move || fs::write(&members, "0")) };
        Ok(Readers(command.spawn()?))
    }

    /// Reads the disk from its beginning again and again, so many bytes (`64k`) at a time, past the page cache.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn reading(&self, block: &str) -> Result<Readers> {
        let script = format!(
            "while :; do dd if={} of=/dev/null bs={block} iflag=direct status=none; done",
            self.disk.path()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        self.start(command)
    }
}

/// A process group that ends with its test.
pub struct Readers(pub Child);

impl Drop for Readers {
    fn drop(&mut self) {
        // SAFETY: no pointers; the group is that of a child that was not waited for.
        unsafe { libc::kill(-signed(self.0.id()), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}
