//! The scene of the slow disk: server and backup read one loop disk with cold files.
//!
//! The loop device itself is not limited: its *backing* disk is, for the scene's group, and the loop's worker reads
//! it on behalf of whoever asked. So the loop device is a slow disk with a real queue in which requests wait for each
//! other, as they would in a slow SSD; a limit on the loop device would hold the readers back before any queue.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    ledger,
    made::{Made, set},
    tools::tool,
    world::{self, Disk, Room, World},
};
use crate::command::output;

/// The speed of the disk, in bytes per second: that of a tired hard disk.
const SPEED: u64 = 24 << 20;
/// What the server serves: small files, as web servers do.
const SERVED: usize = 384;
const SERVED_BYTES: usize = 64 << 10;
/// What the backup reads, in directories that are read in parallel.
const TREES: usize = 4;
const TREE_FILE_BYTES: usize = 16 << 20;
/// How far ahead of a reader the kernel reads: its usual value for disks, which a loop device does not always have.
const READ_AHEAD_KB: &str = "128";
/// How long the backup runs besides the tracer, in seconds, with room to spare.
const BESIDES_SECONDS: u64 = 10;

/// Makes the scene.
pub fn make(room: &Room<'_>) -> Result<World> {
    // The backup must not come to its end, and never read anything twice: the second time it would be in memory.
    let seconds = room.args.duration.as_secs() + BESIDES_SECONDS;
    let files_each = usize::try_from(SPEED * seconds)? / TREES / TREE_FILE_BYTES + 1;
    let disk_bytes = SERVED * SERVED_BYTES + TREES * files_each * TREE_FILE_BYTES;
    // A tenth and some more for what the file system itself needs.
    let disk = attach(room, disk_bytes as u64 * 11 / 10 + (32 << 20))?;

    let (served, trees) = (disk.point.join("served"), disk.point.join("trees"));
    fs::create_dir(&served)?;
    world::write_files(&served, SERVED, SERVED_BYTES)?;
    for tree in 0..TREES {
        let tree = trees.join(tree.to_string());
        fs::create_dir_all(&tree)?;
        world::write_files(&tree, files_each, TREE_FILE_BYTES)?;
    }
    room.group.limit_reads(&whole_disk(&room.dir)?, SPEED)?;

    let address = world::loopback()?;
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=4", "--think-ms=20"]);
    // `tar` to /dev/null would notice and not read at all.
    let tar =
        r#"for tree in "$1"/*; do tar cf - "$tree" 2>/dev/null | cat >/dev/null & done; wait"#;
    let backup = if room.args.real() {
        room.script(tar, &trees)
    } else {
        room.backup("read", &trees)
    };
    let server = room.server(address, &served, false)?;
    Ok(World {
        extras: Vec::new(),
        server,
        address,
        backup,
        client,
        disk: Some(disk),
    })
}

/// A new, empty, mounted loop disk.
fn attach(room: &Room<'_>, bytes: u64) -> Result<Disk> {
    let image = room.dir.join("disk");
    let file =
        File::create_new(&image).with_context(|| format!("could not make {}", image.display()))?;
    reserve(&file, bytes)?;
    let attaching = || {
        let mut losetup = tool("losetup");
        losetup
            .args(["--find", "--show", "--direct-io=on"])
            .arg(&image);
        output(
            &mut losetup,
            "attach a loop device (its file must lie on a real disk: see --scratch)",
        )
    };
    let device = ledger::make(Made::Loop(image.clone()), attaching)?
        .trim()
        .to_owned();
    read_ahead(&device)?;
    // Nothing may be left to a thread that would write while we measure.
    let eager = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
    output(
        tool("mkfs.ext4").args(["-q", "-F", "-m", "0", "-E", eager, &device]),
        "make a file system",
    )?;
    let disk = Disk {
        device,
        point: room.subdir("mnt")?,
    };
    ledger::make(Made::Mount(disk.point.clone()), || disk.mount())?;
    Ok(disk)
}

fn read_ahead(device: &str) -> Result<()> {
    let name = device.trim_start_matches("/dev/");
    let file = PathBuf::from(format!("/sys/block/{name}/queue/read_ahead_kb"));
    let setting = || format!("could not set {}", file.display());
    let was = fs::read_to_string(&file)
        .with_context(setting)?
        .trim()
        .to_owned();
    ledger::make(Made::Setting(file.clone(), was), || {
        set(&file, READ_AHEAD_KB).with_context(setting)
    })
}

impl Disk {
    /// Mounts it; reading does not write.
    fn mount(&self) -> Result<()> {
        let mut mount = tool("mount");
        mount
            .args(["-t", "ext4", "-o", "noatime", &self.device])
            .arg(&self.point);
        output(&mut mount, "mount the slow disk").map(drop)
    }

    /// Mounts it anew, which empties the page cache of its files.
    pub fn remount(&self) -> Result<()> {
        Made::Mount(self.point.clone()).remove()?;
        self.mount()
    }
}

/// Takes the space now, so that a full disk is an error here and not a riddle later.
fn reserve(file: &File, bytes: u64) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let length = libc::off_t::try_from(bytes)?;
    // SAFETY: the descriptor is open; the call touches no memory.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(()),
        error => Err(std::io::Error::from_raw_os_error(error)).with_context(|| {
            format!(
                "could not take {} MB for the slow disk (see --scratch)",
                bytes >> 20
            )
        }),
    }
}

/// The whole disk below a directory, as `major:minor`.
fn whole_disk(dir: &Path) -> Result<String> {
    let mut device = fs::metadata(dir)?.dev();
    if libc::major(device) == 0 {
        // Some file systems (btrfs) have a number of their own; their source is the device.
        let mut find = tool("findmnt");
        find.args([
            "--noheadings",
            "--nofsroot",
            "--output",
            "SOURCE",
            "--target",
        ])
        .arg(dir);
        let source = output(&mut find, "find the disk")?;
        device = fs::metadata(source.trim())
            .map(|meta| meta.rdev())
            .unwrap_or_default();
    }
    let numbers = format!("{}:{}", libc::major(device), libc::minor(device));
    let sysfs = PathBuf::from("/sys/dev/block").join(&numbers);
    let Ok(sysfs) = sysfs.canonicalize() else {
        bail!(
            "{} does not lie on a disk: name a directory that does with --scratch",
            dir.display()
        );
    };
    // Limits are for whole disks only; a partition's directory lies in its disk's.
    let disk = if sysfs.join("partition").exists() {
        sysfs.parent().context("a partition of nothing")?
    } else {
        &sysfs
    };
    let text = fs::read_to_string(disk.join("dev"))
        .with_context(|| format!("could not read {}", disk.display()))?;
    Ok(text.trim().to_owned())
}
