//! Slow loop disks, and whole disks that the caller names.
//!
//! The limit is not on the loop device but on its *backing* disk, for the scene's group. The loop's worker reads that disk on
//! behalf of the reader. So the loop device is a slow disk with a real queue. Requests wait in it for each other, as in a slow SSD.
//! A limit on the loop device would hold the readers back before any queue.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tracer_tests::disk::{whole_disk_below, whole_disk_name_below};
use xtask::command::output;

use super::{
    Room, cgroup, ledger,
    made::{Made, set},
    tools::tool,
};

/// How far ahead of a reader the kernel reads, KiB. It is the usual value for disks; a loop device may have another.
const READ_AHEAD_KB: &str = "128";

/// A file system in memory, on all machines.
const IN_MEMORY: &str = "/dev/shm";

/// A mounted disk.
pub(crate) struct Disk {
    /// The block device.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Its file system.
    kind: FileSystem,
}

/// The kinds of file systems.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FileSystem {
    /// With a journal, by `jbd2`.
    Ext4,
    /// With a log of its own.
    Xfs,
    /// With a tree of logs, and transactions.
    Btrfs,
}

impl FileSystem {
    /// Its name for `mount`.
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The program that makes one, without the device.
    fn maker(self) -> Command {
        let mut mkfs = tool(&format!("mkfs.{}", self.name()));
        match self {
            // Nothing may be left to a thread that would write while we measure.
            Self::Ext4 => mkfs.args(["-q", "-F", "-m", "0", "-E"]).arg(EAGER),
            // Over one that is there, and without discarding it first.
            Self::Xfs | Self::Btrfs => mkfs.args(["-q", "-f", "-K"]),
        };
        mkfs
    }
}

/// Options of `mkfs.ext4`.
const EAGER: &str = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";

/// Bytes of a disk for so many bytes of files: a tenth and 32 MiB more, for the file system.
pub(crate) fn bytes_for(files: u64) -> u64 {
    files * 11 / 10 + (32 << 20)
}

/// A new, empty, mounted loop disk over a file of this name. It has no scheduler, as is usual for loop devices, unless one is
/// given.
pub(crate) fn attach(room: &Room, name: &str, bytes: u64, scheduler: Option<&str>) -> Result<Disk> {
    let device = device(&room.dir.join(name), bytes, scheduler)?;
    formatted(room, name, device, FileSystem::Ext4)
}

/// A whole disk of the machine, with a new file system.
pub(crate) fn attach_whole(
    room: &Room,
    name: &str,
    device: &Path,
    kind: FileSystem,
) -> Result<Disk> {
    formatted(room, name, device.display().to_string(), kind)
}

/// Lets the kernel swap memory out to a whole disk of the machine, until everything is removed.
pub(crate) fn swap_to(device: &Path) -> Result<()> {
    output(
        tool("mkswap").arg("--force").arg(device),
        "make swap space on a disk",
    )?;
    ledger::make(Made::Swap(device.to_owned()), || {
        output(tool("swapon").arg(device), "swap to a disk").map(drop)
    })
}

/// Has the kernel write back what is dirty as soon as it is so many bytes, until everything is removed. By itself it waits for half a
/// minute, or until it is a part of all memory, which is more on a large machine than a disk is written in that time.
pub(crate) fn write_back_from(bytes: u64) -> Result<()> {
    let [in_bytes, in_percent] = ["bytes", "ratio"]
        .map(|unit| PathBuf::from(format!("/proc/sys/vm/dirty_background_{unit}")));
    let read = |file: &PathBuf| {
        fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
    };
    // One of the two counts, and the other is 0.
    let was = match read(&in_bytes)?.trim() {
        "0" => Made::Setting(in_percent.clone(), read(&in_percent)?.trim().to_owned()),
        limit => Made::Setting(in_bytes.clone(), limit.to_owned()),
    };
    ledger::make(was, || {
        set(&in_bytes, &bytes.to_string())
            .with_context(|| format!("could not write {bytes} to {}", in_bytes.display()))
    })
}

/// A new disk over a file in memory: it shares no disk with any other.
pub(crate) fn attach_in_memory(room: &Room, name: &str, bytes: u64) -> Result<Disk> {
    let dir = Path::new(IN_MEMORY).join(super::name());
    ledger::make(Made::Dir(dir.clone()), || {
        fs::create_dir(&dir).with_context(|| format!("could not make {}", dir.display()))
    })?;
    let device = device(&dir.join(name), bytes, None)?;
    formatted(room, name, device, FileSystem::Ext4)
}

/// A disk over a file on another disk, with which it shares everything.
pub(crate) fn attach_on(room: &Room, below: &Disk, name: &str, bytes: u64) -> Result<Disk> {
    let device = device(&below.point.join(name), bytes, None)?;
    formatted(room, name, device, FileSystem::Ext4)
}

/// Two partitions of one disk, with so many bytes each.
pub(crate) fn attach_partitions(room: &Room, name: &str, bytes: u64) -> Result<[Disk; 2]> {
    const SECTOR: u64 = 512;
    /// Where partitions begin on disks of today, so that no block lies across two of the disk's.
    const ALIGNED: u64 = 2048;
    let device = device(&room.dir.join(name), 2 * bytes + (4 << 20), None)?;
    let sectors = bytes / SECTOR / ALIGNED * ALIGNED;
    let part = |number: u64| {
        let begin = ALIGNED + (number - 1) * sectors;
        let words = [number, begin, sectors].map(|word| word.to_string());
        // The kernel gets the partition without a table on the disk: it may be unable to read any.
        output(
            tool("addpart").arg(&device).args(words),
            "make a partition of the loop device",
        )?;
        formatted(
            room,
            &format!("{name}-{number}"),
            format!("{device}p{number}"),
            FileSystem::Ext4,
        )
    };
    Ok([part(1)?, part(2)?])
}

/// A loop device over a new file.
fn device(image: &Path, bytes: u64, scheduler: Option<&str>) -> Result<String> {
    let file =
        File::create_new(image).with_context(|| format!("could not make {}", image.display()))?;
    reserve(&file, bytes)?;
    let attaching = || {
        let mut losetup = tool("losetup");
        losetup
            .args(["--find", "--show", "--partscan", "--direct-io=on"])
            .arg(image);
        output(
            &mut losetup,
            "attach a loop device (its file must lie on a real disk: see --scratch)",
        )
    };
    let device = ledger::make(Made::Loop(image.to_owned()), attaching)?
        .trim()
        .to_owned();
    setting(&device, "read_ahead_kb", READ_AHEAD_KB)?;
    // A device that was used before keeps what it was given then.
    setting(&device, "scheduler", scheduler.unwrap_or("none"))?;
    cgroup::lift_limits(&number(device.trim_start_matches("/dev/"))?)?;
    Ok(device)
}

/// A file system on a device, mounted.
fn formatted(room: &Room, name: &str, device: String, kind: FileSystem) -> Result<Disk> {
    output(kind.maker().arg(&device), "make a file system")?;
    let disk = Disk {
        device,
        point: room.subdir(&format!("{name}-mnt"))?,
        kind,
    };
    ledger::make(Made::Mount(disk.point.clone()), || disk.mount())?;
    Ok(disk)
}

/// Changes a setting of the device's queue until everything is removed.
fn setting(device: &str, name: &str, value: &str) -> Result<()> {
    let disk = device.trim_start_matches("/dev/");
    let file = PathBuf::from(format!("/sys/block/{disk}/queue/{name}"));
    let doing = || format!("could not write {value:?} to {}", file.display());
    let was = fs::read_to_string(&file).with_context(doing)?;
    ledger::make(Made::Setting(file.clone(), chosen(&was)), || {
        set(&file, value).with_context(doing)
    })
}

/// The value of a setting: it is shown alone, or in brackets among all possible ones.
fn chosen(shown: &str) -> String {
    let shown = shown.trim();
    let marked = shown
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    marked.map_or(shown, |(chosen, _)| chosen).to_owned()
}

impl Disk {
    /// The device's name without its directory.
    pub(crate) fn name(&self) -> &str {
        self.device.trim_start_matches("/dev/")
    }

    /// Its number, as `major:minor`.
    pub(crate) fn number(&self) -> Result<String> {
        number(self.name())
    }

    /// Mounts it; reading does not write.
    fn mount(&self) -> Result<()> {
        let mut mount = tool("mount");
        mount
            .args(["-t", self.kind.name(), "-o", "noatime", &self.device])
            .arg(&self.point);
        output(&mut mount, "mount the slow disk").map(drop)
    }

    /// Mounts it anew, which empties the page cache of its files.
    pub(crate) fn remount(&self) -> Result<()> {
        Made::Mount(self.point.clone()).remove()?;
        self.mount()
    }
}

/// The number of the device of this name, as `major:minor`.
fn number(name: &str) -> Result<String> {
    let file = format!("/sys/class/block/{name}/dev");
    let number = fs::read_to_string(&file).with_context(|| format!("could not read {file}"))?;
    Ok(number.trim().to_owned())
}

/// A field of a disk's `stat`, counted from 1 as the kernel's documentation counts them (`Documentation/block/stat.rst`).
pub(crate) fn figure(disk: &str, field: usize) -> Result<f64> {
    let file = format!("/sys/class/block/{disk}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("could not read {file}"))?;
    let figure = text
        .split_whitespace()
        .nth(field - 1)
        .and_then(|figure| figure.parse::<f64>().ok());
    figure.with_context(|| format!("{file} has no field {field}"))
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

/// The advice for a directory that lies on no disk.
const ELSEWHERE: &str = "name a directory on a disk with --scratch";

/// The whole disk below a directory, as `major:minor`.
pub(crate) fn whole_disk(dir: &Path) -> Result<String> {
    whole_disk_below(dir).context(ELSEWHERE)
}

/// The name of the whole disk below a directory.
pub(crate) fn whole_disk_name(dir: &Path) -> Result<String> {
    whole_disk_name_below(dir).context(ELSEWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_put_back_to_the_chosen_value() {
        assert_eq!(chosen("none [mq-deadline] bfq\n"), "mq-deadline");
        assert_eq!(chosen("128\n"), "128");
    }
}
