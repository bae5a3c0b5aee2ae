//! Disks that only a test uses, and the kernel's own figures of them.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// A loop device on a file of its own.
pub struct LoopDisk(String);

impl LoopDisk {
    /// Attaches one, without a page cache of its own.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn new(file: &Path) -> Result<Self> {
        let output = Command::new("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .arg(file)
            .output()?;
        ensure!(
            output.status.success(),
            "losetup: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self(String::from_utf8(output.stdout)?.trim().to_owned()))
    }

    /// Its path in `/dev`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Its name in `/sys/block`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.trim_start_matches("/dev/")
    }

    /// Reads and writes completed, and bytes of both, from `/proc/diskstats`.
    ///
    /// # Errors
    /// If the kernel does not list it.
    pub fn stats(&self) -> Result<[u64; 4]> {
        let text = fs::read_to_string("/proc/diskstats")?;
        let mut lines = text.lines().map(|line| line.split_whitespace().collect());
        let line: Vec<&str> = lines
            .find(|line: &Vec<&str>| line.get(2) == Some(&self.name()))
            .context("not in /proc/diskstats")?;
        let field = |n: usize| line[n].parse::<u64>();
        Ok([field(3)?, field(7)?, 512 * field(5)?, 512 * field(9)?])
    }

    /// Device number as the kernel packs it, from sysfs.
    ///
    /// # Errors
    /// If sysfs lacks it.
    pub fn dev(&self) -> Result<u32> {
        let text = fs::read_to_string(format!("/sys/block/{}/dev", self.name()))?;
        let (major, minor) = text.trim().split_once(':').context("no device number")?;
        Ok(major.parse::<u32>()? << 20 | minor.parse::<u32>()?)
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Makes a file of so many bytes, all of them written: a read of unwritten extents costs no disk time.
///
/// # Errors
/// If it cannot be written.
pub fn written_file(path: &Path, bytes: u64) -> Result<()> {
    let mut file = File::create_new(path)?;
    let chunk = [0xA5; 1 << 16];
    for _ in 0..bytes / chunk.len() as u64 {
        file.write_all(&chunk)?;
    }
    Ok(file.sync_all()?)
}

/// The whole disk on which a file or folder lies, as `major:minor`.
///
/// # Errors
/// If it lies on none.
pub fn whole_disk_below(path: &Path) -> Result<String> {
    let text = fs::read_to_string(sysfs_below(path)?.join("dev"))?;
    Ok(text.trim().to_owned())
}

/// The name of the whole disk on which a file or folder lies, such as `sda`.
///
/// # Errors
/// If it lies on none.
pub fn whole_disk_name_below(path: &Path) -> Result<String> {
    let disk = sysfs_below(path)?;
    let name = disk.file_name().context("a disk without a name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// The folder in which the kernel shows the whole disk below a file.
fn sysfs_below(path: &Path) -> Result<PathBuf> {
    let mut device = fs::metadata(path)?.dev();
    if libc::major(device) == 0 {
        // Some file systems (btrfs) have a number of their own; their source is the device.
        let mut find = Command::new("findmnt");
        find.args(["--noheadings", "--nofsroot", "--output", "SOURCE"]);
        let found = find.arg("--target").arg(path).output()?;
        let source = String::from_utf8_lossy(&found.stdout);
        device = fs::metadata(source.trim())
            .map(|meta| meta.rdev())
            .unwrap_or_default();
    }
    let numbers = format!(
        "/sys/dev/block/{}:{}",
        libc::major(device),
        libc::minor(device)
    );
    let mut folder = fs::canonicalize(&numbers)
        .with_context(|| format!("{} does not lie on a disk", path.display()))?;
    // A partition's folder lies in its disk's.
    if folder.join("partition").exists() {
        folder.pop();
    }
    Ok(folder)
}

/// A mounted file system that is unmounted whatever becomes of the test.
pub struct Mounted<'a>(pub &'a Path);

impl<'a> Mounted<'a> {
    /// Makes ext4 on a disk, and mounts it.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn ext4(disk: &LoopDisk, point: &'a Path) -> Result<Self> {
        fs::create_dir_all(point)?;
        // Without the thread that fills the inode tables later, for somebody else.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-E", options, disk.path()])?;
        let target = point.to_str().context("no text")?;
        run("mount", &["-o", "noatime", disk.path(), target])?;
        Ok(Self(point))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// Runs a program to its end.
///
/// # Errors
/// If it fails.
pub fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program).args(args).output()?;
    ensure!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
