//! Scenarios of the disk that a file is on: who writes to another one is innocent, and so is who reads a disk that serves no file.

use anyhow::Result;
use tracer_tests::slow_disk::SPEED;

use super::{
    asynchronous::slowly_written,
    disk::{BUSY, LARGE, LARGE_BYTES, SERVED, SERVED_BYTES, cold_client, direct},
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{
    self,
    disk::{self, Disk},
    process::Program,
    python::{self, Form},
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "same-disk-writer",
        about: "a server writes short files and waits for each; another program writes large ones to the same disk",
        quick: false,
        make: |stage| on_same_disk(stage, "log", WRITES),
    },
    Scenario {
        name: "limited-disk-writer",
        about: "a limit on the server's disk is shared by the short files that it writes and another program's large ones",
        quick: false,
        make: |stage| limited(stage, true),
    },
    Scenario {
        name: "limited-disk-alone",
        about: "a limit on the server's disk leaves room for its short files; another program writes large ones to another disk",
        quick: false,
        make: |stage| limited(stage, false),
    },
    Scenario {
        name: "other-disk-writer",
        about: "a server writes short files and waits for each; another program writes large ones to another disk",
        quick: false,
        make: |stage| on_other_disk(stage, "log"),
    },
    Scenario {
        name: "same-disk-syncfs",
        about: "a server writes a disk out for each request; another program writes to the same disk",
        quick: false,
        make: |stage| on_same_disk(stage, "sync", DIRTIES),
    },
    Scenario {
        name: "other-disk-syncfs",
        about: "a server writes a disk out for each request; another program writes to another disk",
        quick: false,
        make: |stage| on_other_disk(stage, "sync"),
    },
    Scenario {
        name: "fuse-disk",
        about: "a process serves the server's files from a slow disk, which another program reads",
        quick: false,
        make: served_from_disk,
    },
    Scenario {
        name: "fuse-slow",
        about: "a process that is slow itself serves the server's files; another program reads a disk",
        quick: false,
        make: served_slowly,
    },
    Scenario {
        name: "discards",
        about: "a reader of the server's disk is in the way; another program discards large ranges there, which costs nothing",
        quick: false,
        make: discards,
    },
];

/// Room for the files that are written, in bytes, and no more than they need.
const WRITABLE: usize = 256 << 20;

/// A server that writes a short file to this disk for each answer (`work`).
pub(super) fn writing_to(stage: &Stage, work: &str, here: &Disk) -> Result<Scene> {
    let served = stage.files("served", 4, 4096)?;
    let notes = here.point.join("notes");
    std::fs::create_dir(&notes)?;
    let address = world::loopback()?;
    let room = &stage.room;
    // Who has a disk written out has a lock of it meanwhile: of two at a time, one would wait for the other.
    let connections = if work == "sync" { 1 } else { 2 };
    let work = format!("--work={work}");
    let log = format!("--log={}", notes.display());
    let server = python::server(
        room,
        Form::Threads,
        address,
        &served,
        [work.as_str(), log.as_str()],
    )?;
    let client = room
        .client(address, &served)
        .with([format!("--connections={connections}")])
        .with(["--think-ms=20"])
        .on_cpus(stage.elsewhere.clone());
    Ok(Scene::new(server.on_cpus(vec![stage.cpu]), address, client))
}

/// Beside it a program writes to the same disk, which is slow for all who write, the kernel's own threads too. A fast disk has
/// everything done before anybody waits.
fn on_same_disk(stage: &Stage, work: &str, script: &str) -> Result<Scene> {
    let [here, _below] = slowly_written(stage, "here", WRITABLE, SPEED)?;
    files_on(&here, "large", 2, 2 << 20)?;
    let scene = writing_to(stage, work, &here)?;
    let backup = writer(stage, script, &here);
    let busy = Meter::DiskBusy(here.name().to_owned());
    Ok(scene
        .guilty("backup", backup)
        .holds("disk", None)
        .at_least(busy, WRITTEN)
        .with_disk(here))
}

/// Beside it a program writes to a disk in memory. The server's own disk is as slow as where the program writes to it: what a fast one
/// takes differs from one time to the next.
fn on_other_disk(stage: &Stage, work: &str) -> Result<Scene> {
    let [here, _below] = slowly_written(stage, "here", WRITABLE, SPEED)?;
    let scene = beside_memory(stage, writing_to(stage, work, &here)?)?;
    Ok(scene.unharmed().with_disk(here))
}

/// A program writes to a disk in memory now and then.
pub(super) fn beside_memory(stage: &Stage, scene: Scene) -> Result<Scene> {
    let there = disk::attach_in_memory(&stage.room, "there", disk::bytes_for(192 << 20))?;
    let backup = writer(stage, LIGHT_WRITES, &there);
    let busy = Meter::DiskBusy(there.name().to_owned());
    Ok(scene
        .innocent("backup", backup)
        .at_least(busy, 0.005)
        .with_disk(there))
}

/// How much the server and the program beside it may write to the disk together, in bytes per second.
const LIMIT: u64 = 12 << 20;

/// The limit is in front of the disk: the device itself is idle most of the time. It is the group's of all programs here. Each of them
/// waits for its files by `fsync`, and so writes them itself: in version 1 a group has no part in what the kernel's threads write.
fn limited(stage: &Stage, same: bool) -> Result<Scene> {
    let here = disk::attach(&stage.room, "here", disk::bytes_for(WRITABLE as u64), None)?;
    let scene = writing_to(stage, "log", &here)?;
    stage.room.group.limit_writes(&here.number()?, LIMIT)?;
    if !same {
        let scene = beside_memory(stage, scene)?;
        return Ok(scene.unharmed().with_disk(here));
    }
    // The journal's thread writes what belongs to new files. This one is there before.
    files_on(&here, "large", 1, 4 << 20)?;
    let backup = writer(stage, SHORT_WRITES, &here);
    // The limit is used up, and it holds.
    let written = Meter::DiskWritten(here.name().to_owned());
    Ok(scene
        .guilty("backup", backup)
        .holds("disk", None)
        .at_least(written.clone(), 0.6 * LIMIT as f64)
        .at_most(written, 1.3 * LIMIT as f64)
        .with_disk(here))
}

/// It writes as much as a limit lets through, in pieces that take a part of a second.
const SHORT_WRITES: &str = r#"while :; do
    dd if=/dev/zero of="$1/large/0000.txt" bs=1M count=4 conv=notrunc,fsync status=none; done"#;

/// It writes as much as the disk takes, over and over, by kernel threads. Each piece takes the disk a twelfth of a second: a short file
/// waits for some of them, and still some dozens are written while tracer watches.
const WRITES: &str = r#"for file in "$1"/large/*; do while :; do
    dd if=/dev/zero of="$file" bs=1M count=2 conv=notrunc status=none
    sync -f "$1"; done & done; wait"#;

/// It leaves the writing to whoever has the disk written out, which the server does for each answer.
const DIRTIES: &str = r#"while :; do
    dd if=/dev/zero of="$1/large/0000.txt" bs=1M count=2 conv=notrunc status=none; sleep 0.05; done"#;

/// It writes now and then. The kernel's own work for a disk in memory would hold up the server's CPU, if it wrote all the time.
pub(super) const LIGHT_WRITES: &str = r#"while :; do
    dd if=/dev/zero of="$1/large" bs=1M count=4 conv=notrunc status=none
    sync -f "$1"; sleep 0.2; done"#;

/// A disk that is written and synced is busy for this part of the time: between two writes nothing is in flight.
pub(super) const WRITTEN: f64 = 0.4;

pub(super) fn writer(stage: &Stage, script: &str, disk: &Disk) -> Program {
    stage
        .room
        .script(script, &disk.point)
        .on_cpus(stage.elsewhere.clone())
}

/// A server of cold files that a process serves to it from a slow disk, with other large files there.
fn fuse(stage: &Stage, options: [&str; 1]) -> Result<(Scene, Disk, Program)> {
    let disk = stage.slow_disk("disk", SERVED * SERVED_BYTES + LARGE * LARGE_BYTES, None)?;
    let behind = files_on(&disk, "served", SERVED, SERVED_BYTES)?;
    let large = files_on(&disk, "large", LARGE, LARGE_BYTES)?;
    let point = stage.room.subdir("files")?;
    let address = world::loopback()?;
    let room = &stage.room;
    let served = python::file_system(room, &behind, &point, options)?;
    // The names are those behind it: the file system may not be there yet.
    let client = cold_client(stage, address, &behind);
    let server = room.server(address, &point, false);
    let backup = direct(stage, &large, 6);
    let scene = Scene::new(server, address, client)
        .with(served)
        .at_least(Meter::Read(Who::Backup(0)), 1e6);
    Ok((scene, disk, backup))
}

fn served_from_disk(stage: &Stage) -> Result<Scene> {
    let (scene, disk, backup) = fuse(stage, ["--sleep-ms=0"])?;
    Ok(scene
        .guilty("backup", backup)
        .holds("disk", None)
        .with_disk(disk))
}

/// The process takes a twentieth of a second for each read. It reads from memory; only the backup reads the disk.
fn served_slowly(stage: &Stage) -> Result<Scene> {
    let disk = stage.slow_disk("disk", LARGE * LARGE_BYTES, None)?;
    let large = files_on(&disk, "large", LARGE, LARGE_BYTES)?;
    let memory = disk::attach_in_memory(
        &stage.room,
        "behind",
        disk::bytes_for((64 * SERVED_BYTES) as u64),
    )?;
    let behind = files_on(&memory, "served", 64, SERVED_BYTES)?;
    let point = stage.room.subdir("files")?;
    let address = world::loopback()?;
    let room = &stage.room;
    let served = python::file_system(room, &behind, &point, ["--sleep-ms=50"])?;
    // The names are those behind it: the file system may not be there yet.
    let client = cold_client(stage, address, &behind);
    Ok(
        Scene::new(room.server(address, &point, false), address, client)
            .with(served)
            .innocent("reader", direct(stage, &large, 6))
            .at_least(Meter::DiskBusy(disk.name().to_owned()), BUSY)
            .unharmed()
            .with_disk(disk)
            .with_disk(memory),
    )
}

/// A hole is made into a file and filled again: the disk discards the range, at once.
const DISCARDS: &str = r#"while :; do
    fallocate -l 32M "$1/hole"; fallocate -p -l 32M "$1/hole"; rm "$1/hole"; fstrim "$1"; sleep 0.2; done"#;

fn discards(stage: &Stage) -> Result<Scene> {
    let room_for = SERVED * SERVED_BYTES + LARGE * LARGE_BYTES + (128 << 20);
    let disk = stage.slow_disk("disk", room_for, None)?;
    let served = files_on(&disk, "served", SERVED, SERVED_BYTES)?;
    let large = files_on(&disk, "large", LARGE, LARGE_BYTES)?;
    let address = world::loopback()?;
    let server = stage.room.server(address, &served, false);
    let scene = Scene::new(server, address, cold_client(stage, address, &served));
    Ok(scene
        .guilty("reader", direct(stage, &large, 6))
        .innocent("trim", stage.room.script(DISCARDS, &disk.point))
        .holds("disk", None)
        .at_least(Meter::DiskBusy(disk.name().to_owned()), BUSY)
        .with_disk(disk))
}
