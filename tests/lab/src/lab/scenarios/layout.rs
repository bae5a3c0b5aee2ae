//! Scenarios of disks that are more than one device: partitions, devices on devices.

use anyhow::Result;

use super::disk::{
    BUSY, LARGE, LARGE_BYTES, SERVED, SERVED_BYTES, TAR, Trees, cold_client, cold_on, direct,
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{self, cgroup::Cgroup, disk};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "layout-partitions",
        about: "nginx has one partition of a slow disk, a backup reads the other one",
        quick: false,
        make: partitions,
    },
    Scenario {
        name: "layout-one-partition",
        about: "server and tar share a partition; nobody uses the other one",
        quick: false,
        make: one_partition,
    },
    Scenario {
        name: "layout-stacked",
        about: "server and backup share a disk whose file lies on another slow disk",
        quick: false,
        make: stacked,
    },
    Scenario {
        name: "layout-below",
        about: "the server's disk is a file on a slow disk that a backup reads itself",
        quick: false,
        make: below,
    },
    Scenario {
        name: "layout-root-disk",
        about: "server and a direct reader on a disk of this machine as it is, with no speed limit",
        quick: false,
        make: |stage| root_disk(stage, None),
    },
    Scenario {
        name: "layout-limited-backup",
        about: "the same, with a reader that a limit of its own group still leaves enough to be in the way",
        quick: false,
        make: |stage| root_disk(stage, Some(LIMITED)),
    },
];

/// Bytes of the files of server and backup.
const BYTES: usize = SERVED * SERVED_BYTES + LARGE * LARGE_BYTES;

fn partitions(stage: &Stage) -> Result<Scene> {
    let [mine, other] = stage.slow_partitions("disk", BYTES)?;
    let files = files_on(&other, "large", LARGE, LARGE_BYTES)?;
    Ok(cold_on(stage, &mine, true)?
        .guilty("backup", direct(stage, &files, 6))
        .holds("disk", None)
        .at_least(Meter::DiskBusy(other.name().to_owned()), BUSY)
        .with_disk(mine)
        .with_disk(other))
}

fn one_partition(stage: &Stage) -> Result<Scene> {
    let trees = Trees::for_a_window(stage)?;
    let files_bytes = SERVED * SERVED_BYTES + trees.bytes();
    let [mine, _unused] = stage.slow_partitions("disk", files_bytes)?;
    let backup = stage.room.script(TAR, &trees.plant(&mine)?);
    Ok(cold_on(stage, &mine, false)?
        .guilty("backup", backup)
        .holds("disk", None)
        .with_disk(mine))
}

/// The lower disk's pages are never used: the upper one reads around them.
fn stacked(stage: &Stage) -> Result<Scene> {
    let lower = stage.slow_disk("lower", BYTES + (64 << 20), None)?;
    let bytes = disk::bytes_for(BYTES as u64);
    let upper = disk::attach_on(&stage.room, &lower, "upper", bytes)?;
    let files = files_on(&upper, "large", LARGE, LARGE_BYTES)?;
    Ok(cold_on(stage, &upper, false)?
        .guilty("backup", direct(stage, &files, 6))
        .holds("disk", None)
        .at_least(Meter::DiskBusy(lower.name().to_owned()), BUSY)
        .with_disk(upper))
}

fn below(stage: &Stage) -> Result<Scene> {
    let lower = stage.slow_disk("lower", BYTES + (64 << 20), None)?;
    let bytes = disk::bytes_for((SERVED * SERVED_BYTES) as u64);
    let upper = disk::attach_on(&stage.room, &lower, "upper", bytes)?;
    let files = files_on(&lower, "large", LARGE, LARGE_BYTES)?;
    Ok(cold_on(stage, &upper, false)?
        .guilty("backup", direct(stage, &files, 6))
        .holds("disk", None)
        .at_least(Meter::DiskBusy(lower.name().to_owned()), BUSY)
        .with_disk(upper))
}

/// Bytes per second: more than a tired disk has, less than the disk of a machine.
const LIMITED: u64 = 200 << 20;

/// The limit lets requests through at once; they are soon done, and then the disk rests.
const BUSY_WITH_LIMIT: f64 = 0.2;

/// Only the disk itself holds the server back. A limit, if there is one, holds the backup back: a kernel thread queues its requests
/// in the end.
fn root_disk(stage: &Stage, limit: Option<u64>) -> Result<Scene> {
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let files = stage.files("large", 32, LARGE_BYTES)?;
    let address = world::loopback()?;
    let server = stage.room.server(address, &served, false);
    let mut backup = direct(stage, &files, 32).with(["--request-bytes=1048576"]);
    let disk_busy = Meter::DiskBusy(disk::whole_disk_name(&stage.room.dir)?);
    let client = cold_client(stage, address, &served);
    let mut scene = Scene::new(server, address, client);
    let mut busy = BUSY;
    if let Some(limit) = limit {
        let group = Cgroup::make(&format!("{}-limited", world::name()))?;
        group.limit_reads(&disk::whole_disk(&stage.room.dir)?, limit)?;
        backup.groups = vec![group.procs()];
        scene = scene.at_most(Meter::Read(Who::Backup(0)), 1.2 * limit as f64);
        busy = BUSY_WITH_LIMIT;
    }
    Ok(scene
        .guilty("backup", backup)
        .holds("disk", None)
        .at_least(disk_busy, busy))
}
