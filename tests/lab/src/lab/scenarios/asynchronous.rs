//! Scenarios of asynchronous I/O, and of write-back whose owner is hard to find.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use tracer_tests::slow_disk::SPEED;

use super::disk::{BUSY, TAR, Trees};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, Truth, files_on},
};
use crate::world::{
    self,
    disk::{self, Disk},
    process::Program,
    python,
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "async-uring-tar",
        about: "a program reads by io_uring, tar reads its disk",
        quick: false,
        make: |stage| beside_tar(stage, "io_uring"),
    },
    Scenario {
        name: "async-libaio-tar",
        about: "a program reads by libaio, tar reads its disk",
        quick: false,
        make: |stage| beside_tar(stage, "libaio"),
    },
    Scenario {
        name: "async-uring-elsewhere",
        about: "a program reads by io_uring, tar reads another disk",
        quick: false,
        make: |stage| elsewhere(stage, "io_uring"),
    },
    Scenario {
        name: "async-libaio-elsewhere",
        about: "a program reads by libaio, tar reads another disk",
        quick: false,
        make: |stage| elsewhere(stage, "libaio"),
    },
    Scenario {
        name: "async-server-tar",
        about: "an event loop answers from a file that it reads by libaio, tar reads its disk",
        quick: false,
        make: server_beside_tar,
    },
    Scenario {
        name: "async-server-elsewhere",
        about: "an event loop answers from a file that it reads by libaio, tar reads another disk",
        quick: false,
        make: server_elsewhere,
    },
    Scenario {
        name: "async-ring-multishot-tar",
        about: "a server of one thread receives many times by one entry of its ring and reads by it, tar reads its disk",
        quick: false,
        make: |stage| with_tar_here(stage, |file| ring(stage, "--multishot", file)),
    },
    Scenario {
        name: "async-ring-multishot-elsewhere",
        about: "a server of one thread receives many times by one entry of its ring and reads by it, tar reads another disk",
        quick: false,
        make: |stage| ring_elsewhere(stage, "--multishot"),
    },
    Scenario {
        name: "async-ring-sqpoll-tar",
        about: "a thread of the kernel receives, reads and sends for a server, tar reads its disk",
        quick: false,
        make: |stage| with_tar_here(stage, |file| ring(stage, "--sqpoll", file)),
    },
    Scenario {
        name: "async-ring-sqpoll-elsewhere",
        about: "a thread of the kernel receives, reads and sends for a server, tar reads another disk",
        quick: false,
        make: |stage| ring_elsewhere(stage, "--sqpoll"),
    },
    Scenario {
        name: "dirty-small-files",
        about: "a program syncs its writes, tar unpacks tens of thousands of small files on its disk",
        quick: false,
        make: |stage| small_files(stage, true),
    },
    Scenario {
        name: "dirty-small-files-elsewhere",
        about: "a program syncs its writes, tar unpacks tens of thousands of small files on another disk",
        quick: false,
        make: |stage| small_files(stage, false),
    },
    Scenario {
        name: "dirty-before",
        about: "a program syncs its writes, another dirtied much of its disk before and has ended",
        quick: false,
        make: dirty_before,
    },
];

/// A program that reads one file directly, a hundred times a second if it can.
fn reader(stage: &Stage, engine: &str, file: &Path) -> Program {
    let job = "--name=server --size=64M --rw=randread --bs=4k --direct=1 --iodepth=4 --rate_iops=100 \
               --time_based --runtime=300 --output=/dev/null";
    let words = job.split_whitespace();
    stage
        .room
        .program(["fio"])
        .with(words)
        .with([format!("--ioengine={engine}")])
        .with([format!("--filename={}", file.display())])
}

/// A disk with the file of such a program, and room for so many other bytes.
fn read_disk(stage: &Stage, others: usize) -> Result<(Disk, PathBuf)> {
    let disk = stage.slow_disk("disk", (64 << 20) + others, None)?;
    let file = files_on(&disk, "read", 1, 64 << 20)?.join("0000.txt");
    Ok((disk, file))
}

fn beside_tar(stage: &Stage, engine: &str) -> Result<Scene> {
    let files = Trees::for_a_window(stage)?;
    let (disk, file) = read_disk(stage, files.bytes())?;
    let trees = files.plant(&disk)?;
    let busy = Meter::DiskBusy(disk.name().to_owned());
    Ok(guilty(Scene::alone(reader(stage, engine, &file)))
        .guilty("backup", stage.room.script(TAR, &trees))
        .at_least(busy, BUSY)
        .with_disk(disk))
}

fn elsewhere(stage: &Stage, engine: &str) -> Result<Scene> {
    let alone = |file: &Path| Ok(Scene::alone(reader(stage, engine, file)));
    let (scene, other) = with_tar_elsewhere(stage, alone)?;
    Ok(scene
        .at_least(Meter::Read(Who::Server), 200_000.0)
        .with_disk(other))
}

/// The target in `scene` reads a file of its own disk; tar reads another one, which is returned.
pub(super) fn with_tar_elsewhere(
    stage: &Stage,
    scene: impl FnOnce(&Path) -> Result<Scene>,
) -> Result<(Scene, Disk)> {
    let files = Trees::for_a_window(stage)?;
    let other = stage.slow_disk("other", files.bytes(), None)?;
    let trees = files.plant(&other)?;
    let (disk, file) = read_disk(stage, 0)?;
    let busy = Meter::DiskBusy(other.name().to_owned());
    let mut tar = stage.room.script(TAR, &trees);
    // The speed limit is a group's: each disk has its own readers'.
    tar.groups = vec![stage.other_group()?.procs()];
    let scene = scene(&file)?
        .innocent("backup", tar)
        .at_least(busy, BUSY)
        .with_disk(disk);
    Ok((scene, other))
}

/// A server with its clients.
fn served(stage: &Stage, server: Program, address: SocketAddr) -> Result<Scene> {
    let asked = stage.files("asked", 4, 4096)?;
    let client = stage.room.client(address, &asked);
    let client = client.with(["--connections=4", "--think-ms=20"]);
    Ok(Scene::new(server, address, client))
}

/// An event loop with its clients; the file lies on this disk.
fn server(stage: &Stage, file: &Path) -> Result<Scene> {
    let address = world::loopback()?;
    served(stage, python::aio(&stage.room, address, file)?, address)
}

/// A server over a ring of `io_uring` in this mode, with its clients; the file lies on this disk.
fn ring(stage: &Stage, mode: &str, file: &Path) -> Result<Scene> {
    let address = world::loopback()?;
    let server = stage.room.own("demo-ring");
    let server = server.with([mode, "--listen", &address.to_string()]);
    let server = server.with([OsString::from("--file"), file.into()]);
    served(stage, server, address)
}

fn ring_elsewhere(stage: &Stage, mode: &str) -> Result<Scene> {
    let (scene, other) = with_tar_elsewhere(stage, |file| ring(stage, mode, file))?;
    Ok(scene.unharmed().with_disk(other))
}

fn server_beside_tar(stage: &Stage) -> Result<Scene> {
    with_tar_here(stage, |file| server(stage, file))
}

/// The target in `scene`, or whom it asks, reads a file; tar reads the same disk.
pub(super) fn with_tar_here(
    stage: &Stage,
    scene: impl FnOnce(&Path) -> Result<Scene>,
) -> Result<Scene> {
    let files = Trees::for_a_window(stage)?;
    let (disk, file) = read_disk(stage, files.bytes())?;
    let trees = files.plant(&disk)?;
    let busy = Meter::DiskBusy(disk.name().to_owned());
    Ok(scene(&file)?
        .guilty("backup", stage.room.script(TAR, &trees))
        .holds("disk", None)
        .at_least(busy, BUSY)
        .with_disk(disk))
}

fn server_elsewhere(stage: &Stage) -> Result<Scene> {
    let (scene, other) = with_tar_elsewhere(stage, |file| server(stage, file))?;
    Ok(scene.unharmed().with_disk(other))
}

/// The backups hold the disk. There is no client that could feel it.
fn guilty(scene: Scene) -> Scene {
    let truth = Truth::Guilty {
        resource: "disk",
        used: None,
    };
    Scene { truth, ..scene }
}

/// A program that writes small pieces and has each put on the disk.
const SYNCS: &str = "--name=server --size=8M --rw=randwrite --bs=4k --ioengine=psync --fsync=1 --rate_iops=50 \
                     --time_based --runtime=300 --output=/dev/null";

fn syncing(stage: &Stage, disk: &Disk) -> Program {
    stage
        .room
        .program(["fio"])
        .with(SYNCS.split_whitespace())
        .with([format!("--directory={}", disk.point.display())])
}

/// Unpacks an archive of small files into new directories, again and again.
const UNPACK: &str = r#"for n in $(seq 9); do mkdir "$1/out-$n"
    tar cf - -C "$2" . | tar xf - -C "$1/out-$n" && sync -f "$1"; done; sleep 300"#;
/// More than the kernel half remembers on a small machine.
const SMALL_FILES: usize = 30_000;

/// A disk with so many bytes, to which everybody writes so many bytes a second, the kernel's threads too. They are in no group of
/// ours. So the disk lies on another one, to which they may write only so much.
pub(super) fn slowly_written(
    stage: &Stage,
    name: &str,
    bytes: usize,
    speed: u64,
) -> Result<[Disk; 2]> {
    let bytes = disk::bytes_for(bytes as u64);
    let below = disk::attach(
        &stage.room,
        &format!("below-{name}"),
        bytes + (64 << 20),
        None,
    )?;
    let disk = disk::attach_on(&stage.room, &below, name, bytes - (64 << 20))?;
    let group = &stage.room.group;
    group.limit_write_back(&below.number()?, speed)?;
    Ok([disk, below])
}

/// Half as fast as the slow disk that others read.
const HALF_SPEED: u64 = SPEED / 2;

fn small_files(stage: &Stage, here: bool) -> Result<Scene> {
    const ROOM: usize = 1500 << 20;
    let [disk, _below] = slowly_written(stage, "disk", ROOM, HALF_SPEED)?;
    let server = syncing(stage, &disk);
    let archive = stage.files("archive", SMALL_FILES, 64)?;
    if here {
        let tar = stage.script(UNPACK, &disk.point, &archive);
        let busy = Meter::DiskBusy(disk.name().to_owned());
        return Ok(guilty(Scene::alone(server))
            .guilty("backup", tar)
            .at_least(busy, BUSY)
            .with_disk(disk));
    }
    let [other, _below] = slowly_written(stage, "other", ROOM, HALF_SPEED)?;
    let tar = stage.script(UNPACK, &other.point, &archive);
    let busy = Meter::DiskBusy(other.name().to_owned());
    Ok(Scene::alone(server)
        .innocent("backup", tar)
        .at_least(busy, BUSY)
        .with_disk(disk)
        .with_disk(other))
}

/// What was dirtied before belongs to nobody who lives.
fn dirty_before(stage: &Stage) -> Result<Scene> {
    /// How long it is written back besides the window, with room to spare.
    const BESIDES_SECONDS: u64 = 15;
    /// Bytes besides, for what the server writes.
    const BESIDES_BYTES: usize = 400 << 20;
    let dirtied = HALF_SPEED * (stage.window.as_secs() + BESIDES_SECONDS);
    let room_for = usize::try_from(dirtied)? + BESIDES_BYTES;
    let [disk, _below] = slowly_written(stage, "disk", room_for, HALF_SPEED)?;
    disk::write_back_from(4 << 20)?;
    let server = format!(
        r#"dd if=/dev/zero of="$1/big" bs=1M count={} status=none
        exec fio --directory="$1" {SYNCS}"#,
        dirtied >> 20
    );
    let server = stage.room.script(&server, &disk.point);
    let busy = Meter::DiskBusy(disk.name().to_owned());
    Ok(Scene::alone(server)
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .at_least(busy, BUSY)
        .with_disk(disk))
}
