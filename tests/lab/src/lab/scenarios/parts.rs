//! Scenarios in which the server waits for itself, and one of its parts is the answer: a process of its own, or its work for a client
//! elsewhere. Nobody is to be accused.

use std::net::SocketAddr;

use anyhow::Result;

use super::{
    database::{EMPTY_BYTES, ROW_BYTES, ROWS, lookups, table},
    disk::BUSY,
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{self, database, disk::Disk, link};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "own-autovacuum",
        about: "PostgreSQL looks up cold rows; its own autovacuum workers read cold tables on the same disk",
        quick: false,
        make: autovacuum,
    },
    Scenario {
        name: "own-autovacuum-neighbour",
        about: "the same, and a backup reads another disk",
        quick: false,
        make: neighbour,
    },
    Scenario {
        name: "own-remote-report",
        about: "PostgreSQL looks up cold rows; a client on another machine has it read cold tables",
        quick: false,
        make: remote_report,
    },
    Scenario {
        name: "own-lookups-neighbour",
        about: "PostgreSQL looks up cold rows and does nothing else; a backup reads another disk",
        quick: false,
        make: lookups_alone,
    },
];

/// Tables that are read whole.
const ARCHIVES: usize = 3;

/// PostgreSQL with cold rows and cold archives on a slow disk.
fn with_archives(
    stage: &Stage,
    address: SocketAddr,
    settings: &[&str],
    least_busy: f64,
) -> Result<(Scene, Disk)> {
    let archives: String = (0..ARCHIVES)
        .map(|k| table(&format!("archive{k}"), ROWS))
        .collect();
    let rows_bytes = (ARCHIVES + 1) * ROWS * ROW_BYTES;
    let disk = stage.slow_disk("disk", 2 * rows_bytes + EMPTY_BYTES, None)?;
    let home = &disk.point;
    let all = ["shared_buffers=1MB", "fsync=off"].iter().chain(settings);
    let all: Vec<&str> = all.copied().collect();
    let sql = table("items", ROWS) + &archives;
    let server = database::postgres(&stage.room, address, home, &sql, &all)?;
    let client = lookups(stage, address, home);
    let busy = Meter::DiskBusy(disk.name().to_owned());
    let scene = Scene::new(server, address, client).at_least(busy, least_busy);
    Ok((scene, disk))
}

/// A row changed now and then is enough: each time a worker reads a sample of the table, which is all of a small one.
fn autovacuum(stage: &Stage) -> Result<Scene> {
    let settings = [
        "autovacuum=on",
        "autovacuum_naptime=1",
        "autovacuum_vacuum_cost_delay=0",
        "autovacuum_analyze_threshold=0",
        "autovacuum_analyze_scale_factor=0",
    ];
    let (scene, disk) = with_archives(stage, world::loopback()?, &settings, BUSY)?;
    let update = r#"while :; do for k in 0 1 2; do
        psql -q -h 127.0.0.1 -p "$2" -U postgres -c "UPDATE archive$k SET pad = 'x' WHERE id = 1" || exit; done; sleep 0.2; done"#;
    let port = scene.address.map(|address| address.port().to_string());
    let update = stage.room.script(update, &disk.point);
    Ok(scene
        .innocent("updates", update.with([port.unwrap_or_default()]))
        .asked_by_others()
        .owes("disk", "autovacuum worker")
        .with_disk(disk))
}

/// A program that reads another disk directly.
fn reads_another_disk(stage: &Stage, scene: Scene) -> Result<Scene> {
    const BACKED_UP_BYTES: usize = 64 << 20;
    let other = stage.slow_disk("other", BACKED_UP_BYTES, None)?;
    let backed_up = files_on(&other, "backed-up", 4, BACKED_UP_BYTES / 4)?;
    let mut backup = stage
        .room
        .backup("read-direct", &backed_up)
        .on_cpus(stage.elsewhere.clone());
    // The speed limit is a group's: each disk has its own reader's.
    backup.groups = vec![stage.other_group()?.procs()];
    Ok(scene
        .innocent("reader", backup)
        .at_least(Meter::DiskBusy(other.name().to_owned()), BUSY)
        .with_disk(other))
}

fn neighbour(stage: &Stage) -> Result<Scene> {
    reads_another_disk(stage, autovacuum(stage)?)
}

/// The answers are short: the link stays empty.
fn remote_report(stage: &Stage) -> Result<Scene> {
    let (near, far) = link::addresses()?;
    let link = link::link(near, far)?;
    let address = SocketAddr::from((near, world::loopback()?.port()));
    let settings = ["max_parallel_workers_per_gather=0"];
    let (scene, disk) = with_archives(stage, address, &settings, BUSY)?;
    let report = r#"for k in 0 1 2; do while :; do
        psql -q -h "$2" -p "$3" -U postgres -c "SELECT sum(length(pad)) FROM archive$k" >/dev/null || exit; done & done; wait"#;
    let report = stage.room.script(report, &disk.point);
    let report = report.with([near.to_string(), address.port().to_string()]);
    Ok(scene
        .innocent("report", report.in_netns(&link.netns))
        .asked_by_others()
        .owes("disk", far.to_string())
        .with_disk(disk))
}

/// The lookups alone leave the disk idle most of the time.
const LOOKED_UP: f64 = 0.05;

fn lookups_alone(stage: &Stage) -> Result<Scene> {
    let (scene, disk) = with_archives(stage, world::loopback()?, &[], LOOKED_UP)?;
    let scene = scene.at_least(Meter::Read(Who::Server), 1e5).unharmed();
    reads_another_disk(stage, scene.with_disk(disk))
}
