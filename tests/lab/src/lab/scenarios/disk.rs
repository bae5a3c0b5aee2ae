//! Scenarios of one slow disk that others read too.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{self, disk::Disk, process::Program};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "disk-70-30",
        about: "two programs read the server's disk directly, one with seven threads, one with three",
        quick: true,
        make: seven_and_three,
    },
    Scenario {
        name: "disk-tar",
        about: "nginx serves cold files, tar reads the disk",
        quick: false,
        make: |stage| trees(stage, None, true, TAR),
    },
    Scenario {
        name: "disk-rsync",
        about: "rsync copies from the server's disk",
        quick: false,
        make: |stage| {
            let rsync =
                r#"for tree in "$1"/*; do rsync -a --whole-file "$tree" "$2"/ & done; wait"#;
            trees(stage, None, false, rsync)
        },
    },
    Scenario {
        name: "disk-cp",
        about: "cp copies from the server's disk",
        quick: false,
        make: |stage| {
            let cp = r#"for tree in "$1"/*; do cp -r "$tree" "$2"/ & done; wait"#;
            trees(stage, None, true, cp)
        },
    },
    Scenario {
        name: "disk-dd",
        about: "dd reads large files directly",
        quick: false,
        make: |stage| large(stage, None, DD),
    },
    Scenario {
        name: "disk-fio-direct",
        about: "fio reads directly with four jobs",
        quick: false,
        make: |stage| {
            let fio = FIO.to_owned() + " --ioengine=psync --rw=read --bs=128k --numjobs=4";
            large(stage, None, &fio)
        },
    },
    Scenario {
        name: "disk-fio-uring",
        about: "fio reads through io_uring, sixteen requests at a time",
        quick: false,
        make: |stage| {
            let fio = FIO.to_owned() + " --ioengine=io_uring --iodepth=16 --rw=randread --bs=64k";
            large(stage, None, &fio)
        },
    },
    Scenario {
        name: "disk-tar-mq-deadline",
        about: "tar reads the server's disk, which has the scheduler mq-deadline",
        quick: false,
        make: |stage| trees(stage, Some("mq-deadline"), false, TAR),
    },
    Scenario {
        name: "disk-fio-bfq",
        about: "fio reads the server's disk directly, which has the scheduler bfq",
        quick: false,
        make: |stage| {
            let fio = FIO.to_owned() + " --ioengine=psync --rw=read --bs=256k --numjobs=8";
            large(stage, Some("bfq"), &fio)
        },
    },
    Scenario {
        name: "disk-writer",
        about: "dd writes to the server's disk, 64 MiB at a time, and waits until they are there",
        quick: false,
        make: writer,
    },
    Scenario {
        name: "disk-bystander",
        about: "a large reader in the way, and beside it a small one that hardly is",
        quick: false,
        make: bystander,
    },
    Scenario {
        name: "disk-two-disks",
        about: "a reader of the server's disk is in the way; another reads another disk as hard",
        quick: false,
        make: two_disks,
    },
];

/// The server's files: small ones, as on web servers.
pub(crate) const SERVED: usize = 384;
pub(crate) const SERVED_BYTES: usize = 64 << 10;
/// Directories that are read in parallel, and their files.
const TREES: usize = 4;
const TREE_FILE_BYTES: usize = 16 << 20;
/// Files that are read directly, again and again.
pub(crate) const LARGE: usize = 10;
pub(crate) const LARGE_BYTES: usize = 8 << 20;
/// How busy a disk is at least on which somebody is in the way, in seconds per second.
pub(crate) const BUSY: f64 = 0.7;

/// `tar` to /dev/null would notice and not read at all.
pub(crate) const TAR: &str =
    r#"for tree in "$1"/*; do tar cf - "$tree" 2>/dev/null | cat >/dev/null & done; wait"#;
const DD: &str = r#"for file in "$1"/000[0-3]*; do
    while :; do dd if="$file" of=/dev/null bs=1M iflag=direct status=none; done & done; wait"#;
/// It replaces the shell. One file for all jobs; not by time of day.
const FIO: &str = r#"exec fio --name=backup --filename="$1/0000.txt" --readonly --direct=1 --time_based --runtime=300 --output=/dev/null"#;

/// A server of cold files on a slow disk with room for so many other bytes.
pub(crate) fn cold(
    stage: &Stage,
    scheduler: Option<&str>,
    real: bool,
    others: usize,
) -> Result<(Scene, Disk)> {
    let disk = stage.slow_disk("disk", SERVED * SERVED_BYTES + others, scheduler)?;
    Ok((cold_on(stage, &disk, real)?, disk))
}

/// A server of cold files on this disk.
pub(crate) fn cold_on(stage: &Stage, disk: &Disk, real: bool) -> Result<Scene> {
    let served = files_on(disk, "served", SERVED, SERVED_BYTES)?;
    let address = world::loopback()?;
    let server = if real {
        stage.room.nginx(address, &served, false)?
    } else {
        stage.room.server(address, &served, false)
    };
    let busy = Meter::DiskBusy(disk.name().to_owned());
    Ok(Scene::new(server, address, cold_client(stage, address, &served)).at_least(busy, BUSY))
}

/// A client that asks for files which it has thrown out of the page cache before.
pub(crate) fn cold_client(stage: &Stage, address: SocketAddr, served: &Path) -> Program {
    stage
        .room
        .client(address, served)
        .with(["--cold", "--connections=4", "--think-ms=20"])
}

/// Trees of files that are read in parallel, once.
pub(crate) struct Trees {
    /// Files in each.
    each: usize,
}

impl Trees {
    /// As many files as last for a window.
    pub(crate) fn for_a_window(stage: &Stage) -> Result<Self> {
        let each = stage.files_to_read(TREE_FILE_BYTES)? / TREES + 1;
        Ok(Self { each })
    }

    /// The bytes that they need on a disk.
    pub(crate) fn bytes(&self) -> usize {
        TREES * self.each * TREE_FILE_BYTES
    }

    /// Writes them, and says where they are.
    pub(crate) fn plant(&self, disk: &Disk) -> Result<PathBuf> {
        for tree in 0..TREES {
            files_on(disk, &format!("trees/{tree}"), self.each, TREE_FILE_BYTES)?;
        }
        Ok(disk.point.join("trees"))
    }
}

/// A script reads trees of files, which it sees as `$1`. It may write below `$2`, which is on another disk.
pub(crate) fn trees(
    stage: &Stage,
    scheduler: Option<&str>,
    real: bool,
    script: &str,
) -> Result<Scene> {
    let files = Trees::for_a_window(stage)?;
    let (scene, disk) = cold(stage, scheduler, real, files.bytes())?;
    let trees = files.plant(&disk)?;
    let copies = stage.room.subdir("copies")?;
    Ok(scene
        .guilty("backup", stage.script(script, &trees, &copies))
        .holds("disk", None)
        .with_disk(disk))
}

/// A script reads large files, which it sees below `$1`, around the page cache.
fn large(stage: &Stage, scheduler: Option<&str>, script: &str) -> Result<Scene> {
    let (scene, disk, files) = with_large(stage, scheduler)?;
    Ok(scene
        .guilty("backup", stage.room.script(script, &files))
        .holds("disk", None)
        .with_disk(disk))
}

fn with_large(stage: &Stage, scheduler: Option<&str>) -> Result<(Scene, Disk, PathBuf)> {
    let (scene, disk) = cold(stage, scheduler, false, LARGE * LARGE_BYTES)?;
    let files = files_on(&disk, "large", LARGE, LARGE_BYTES)?;
    Ok((scene, disk, files))
}

pub(crate) fn direct(stage: &Stage, files: &Path, parallel: usize) -> Program {
    stage
        .room
        .backup("read-direct", files)
        .with(["--parallel", &parallel.to_string()])
}

/// Each thread has one request of the same size in flight. So a program's share of the disk is its share of the threads.
fn seven_and_three(stage: &Stage) -> Result<Scene> {
    let (scene, disk, files) = with_large(stage, None)?;
    Ok(scene
        .guilty("seven", direct(stage, &files, 7))
        .guilty("three", direct(stage, &files, 3))
        .holds("disk", Some(|backup| Meter::Read(Who::Backup(backup))))
        .with_disk(disk))
}

/// Again and again into the same files, from the beginning, so that the disk never fills.
const WRITER: &str = r#"for file in "$1"/*; do while :; do
    dd if=/dev/zero of="$file" bs=1M count=64 conv=notrunc,fdatasync status=none; done & done; wait"#;

/// The files are there before. The journal's thread writes what belongs to new ones, and in version 1 the limit of the programs' group
/// is not for it: the disk would be fast in the first seconds.
fn writer(stage: &Stage) -> Result<Scene> {
    const WRITTEN_BYTES: usize = 64 << 20;
    stage.slow_writes()?;
    let room_for = LARGE * LARGE_BYTES + 2 * WRITTEN_BYTES;
    let (scene, disk) = cold(stage, None, false, room_for)?;
    let files = files_on(&disk, "written", 2, WRITTEN_BYTES)?;
    let backup = stage.room.script(WRITER, &files);
    Ok(scene
        .guilty("backup", backup)
        .holds("disk", None)
        .with_disk(disk))
}

fn bystander(stage: &Stage) -> Result<Scene> {
    let (scene, disk, files) = with_large(stage, None)?;
    let small = direct(stage, &files, 1).with(["--request-bytes=4096", "--pause-ms=40"]);
    Ok(scene
        .guilty("large", direct(stage, &files, 6))
        .innocent("small", small)
        .holds("disk", None)
        .at_least(Meter::Read(Who::Backup(1)), 4096.0)
        .with_disk(disk))
}

fn two_disks(stage: &Stage) -> Result<Scene> {
    let other = stage.slow_disk("other", LARGE * LARGE_BYTES, None)?;
    let (scene, disk, files) = with_large(stage, None)?;
    let others = files_on(&other, "large", LARGE, LARGE_BYTES)?;
    let mut elsewhere = direct(stage, &others, 6);
    // The speed limit is a group's: each disk has its own readers'.
    elsewhere.groups = vec![stage.other_group()?.procs()];
    Ok(scene
        .guilty("here", direct(stage, &files, 6))
        .innocent("elsewhere", elsewhere)
        .holds("disk", None)
        .at_least(Meter::DiskBusy(other.name().to_owned()), BUSY)
        .with_disk(disk)
        .with_disk(other))
}
