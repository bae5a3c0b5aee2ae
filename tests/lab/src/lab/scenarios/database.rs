//! Scenarios of databases beside what people run beside them.

use std::{ffi::OsString, net::SocketAddr, path::Path};

use anyhow::Result;

use super::{
    cpu::{QUEUED, each},
    disk::{BUSY, LARGE, LARGE_BYTES, TAR, Trees, direct},
    files::beside_memory,
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{self, database, disk::Disk, process::Program};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "postgres-reader",
        about: "PostgreSQL looks up cold rows, a backup reads its disk directly",
        quick: false,
        make: reader,
    },
    Scenario {
        name: "postgres-tar",
        about: "PostgreSQL looks up cold rows, tar reads the disk they are on",
        quick: false,
        make: tar,
    },
    Scenario {
        name: "postgres-tar-elsewhere",
        about: "PostgreSQL looks up cold rows, tar reads another disk",
        quick: false,
        make: tar_elsewhere,
    },
    Scenario {
        name: "postgres-pg-dump",
        about: "PostgreSQL looks up cold rows, pg_dump has it read four cold tables at once",
        quick: false,
        make: |stage| pg_dump(stage, false),
    },
    Scenario {
        name: "postgres-pg-dump-unix",
        about: "the same, with pg_dump at PostgreSQL's Unix socket",
        quick: false,
        make: |stage| pg_dump(stage, true),
    },
    Scenario {
        name: "postgres-commits",
        about: "PostgreSQL commits; dd writes to its disk and flushes, two at a time",
        quick: false,
        make: commits_beside_dd,
    },
    Scenario {
        name: "postgres-commits-rsync",
        about: "PostgreSQL commits; rsync writes to its disk and another program flushes what rsync wrote",
        quick: false,
        make: |stage| {
            // Held back a little, so that each rsync lives long enough for the lab to note its process.
            let rsync = r#"for lane in 1 2 3; do while :; do
                rsync --whole-file --ignore-times --inplace --bwlimit=16m "$2/0000.txt" "$1/copy-$lane"
                sync "$1/copy-$lane"; done & done; wait"#;
            commits(stage, rsync)
        },
    },
    Scenario {
        name: "postgres-cpu",
        about: "PostgreSQL scans a table in memory, two programs of busy threads on its CPU",
        quick: false,
        make: scan,
    },
    Scenario {
        name: "redis-cpu",
        about: "redis sorts, four gzip -9 on its CPU",
        quick: false,
        make: redis_gzip,
    },
    Scenario {
        name: "redis-log-dd",
        about: "redis has each change in its log before it answers; dd writes to its disk and flushes, two at a time",
        quick: false,
        make: |stage| {
            let (scene, disk) = logging(stage)?;
            Ok(beside_dd(stage, scene, disk))
        },
    },
    Scenario {
        name: "redis-log-elsewhere",
        about: "redis has each change in its log before it answers; another program writes to another disk",
        quick: false,
        make: |stage| {
            let (scene, disk) = logging(stage)?;
            flushes_elsewhere(stage, scene, disk)
        },
    },
    Scenario {
        name: "redis-bgsave",
        about: "redis saves itself by a child of its own; who asks for it is elsewhere",
        quick: false,
        make: bgsave,
    },
];

/// A row has a kilobyte.
pub(super) const ROWS: usize = 64 << 10;
pub(super) const ROW_BYTES: usize = 1 << 10;
/// Bytes that PostgreSQL takes without any tables of ours, its logs included.
pub(super) const EMPTY_BYTES: usize = 128 << 20;

/// A table of rows with numbers, which are all looked up in no time where it is in memory.
pub(super) fn table(name: &str, rows: usize) -> String {
    // 32 bytes each time; longer rows than these are compressed.
    format!(
        "CREATE TABLE {name} AS SELECT i AS id, repeat(md5(i::text), 30) AS pad FROM generate_series(0, {}) i;\n\
         CREATE UNIQUE INDEX ON {name} (id);\nVACUUM (FREEZE, ANALYZE) {name};\n",
        rows - 1
    )
}

pub(super) fn asks(stage: &Stage, protocol: &str, address: SocketAddr, question: &str) -> Program {
    stage
        .room
        .own("demo-query")
        .with(["--protocol", protocol])
        .with(["--address", &address.to_string()])
        .with(["--ask", question])
}

/// PostgreSQL on a slow disk, with room for `others` more bytes. Its rows are cold whenever one is looked up.
fn cold_rows(stage: &Stage, others: usize) -> Result<(Scene, Disk)> {
    cold_rows_and(stage, "", others)
}

/// The same, with more tables.
fn cold_rows_and(stage: &Stage, tables: &str, others: usize) -> Result<(Scene, Disk)> {
    let disk = stage.slow_disk("disk", 2 * ROWS * ROW_BYTES + EMPTY_BYTES + others, None)?;
    let address = world::loopback()?;
    let home = &disk.point;
    let server = database::postgres(
        &stage.room,
        address,
        home,
        &(table("items", ROWS) + tables),
        &["shared_buffers=1MB", "fsync=off"],
    )?;
    let client = lookups(stage, address, home);
    let busy = Meter::DiskBusy(disk.name().to_owned());
    Ok((
        Scene::new(server, address, client).at_least(busy, BUSY),
        disk,
    ))
}

pub(super) fn lookups(stage: &Stage, address: SocketAddr, cold: &Path) -> Program {
    let question = "SELECT sum(length(pad)) FROM items WHERE id IN ({n}, {n}, {n}, {n})";
    asks(stage, "postgres", address, question)
        .with(["--numbers", &ROWS.to_string(), "--cold"])
        .with([cold.join("postgres/base")])
        .with(["--connections=4", "--think-ms=20"])
}

fn reader(stage: &Stage) -> Result<Scene> {
    let (scene, disk) = cold_rows(stage, LARGE * LARGE_BYTES)?;
    let files = files_on(&disk, "large", LARGE, LARGE_BYTES)?;
    Ok(scene
        .guilty("backup", direct(stage, &files, 6))
        .holds("disk", None)
        .with_disk(disk))
}

fn tar(stage: &Stage) -> Result<Scene> {
    let trees = Trees::for_a_window(stage)?;
    let (scene, disk) = cold_rows(stage, trees.bytes())?;
    let backup = stage.room.script(TAR, &trees.plant(&disk)?);
    Ok(scene
        .guilty("backup", backup)
        .holds("disk", None)
        .with_disk(disk))
}

/// tar reads a disk that is not the server's, and leaves a CPU to the server. The server's own is hardly busy then.
fn tar_elsewhere(stage: &Stage) -> Result<Scene> {
    let trees = Trees::for_a_window(stage)?;
    let other = stage.slow_disk("other", trees.bytes(), None)?;
    let backed_up = trees.plant(&other)?;
    let (scene, disk) = cold_rows(stage, 0)?;
    let mut tar = stage.room.script(TAR, &backed_up);
    // The speed limit is a group's: each disk has its own readers'.
    tar.groups = vec![stage.other_group()?.procs()];
    let busy = |disk: &Disk| Meter::DiskBusy(disk.name().to_owned());
    let physics = Vec::new();
    Ok(Scene { physics, ..scene }
        .innocent("backup", tar.on_cpus(stage.elsewhere.clone()))
        .at_least(busy(&other), BUSY)
        .at_least(busy(&disk), USED)
        .unharmed()
        .with_disk(disk)
        .with_disk(other))
}

/// A process of the server's reads the rows for `pg_dump`, which asks for all of them.
fn pg_dump(stage: &Stage, over_unix: bool) -> Result<Scene> {
    let tables: String = (0..4)
        .map(|k| table(&format!("archive{k}"), ROWS / 2))
        .collect();
    let (scene, disk) = cold_rows_and(stage, &tables, 3 * ROWS * ROW_BYTES)?;
    let port = scene.address.map(|address| address.port().to_string());
    let host = match over_unix {
        true => disk.point.join(database::SOCKET_DIR).into_os_string(),
        false => "127.0.0.1".into(),
    };
    let dump = r#"for table in 0 1 2 3; do while :; do
        pg_dump -h "$3" -p "$2" -U postgres -t "archive$table" postgres >/dev/null || exit; done & done; wait"#;
    let dump = stage.room.script(dump, &disk.point);
    Ok(scene
        .guilty(
            "pg_dump",
            dump.with([port.unwrap_or_default()]).with([host]),
        )
        .asked_by_others()
        .holds("disk", None)
        .with_disk(disk))
}

/// Flushed in so short a time that some dozens of commits get through beside it.
const WRITTEN: usize = 2 << 20;

/// PostgreSQL that must have each commit on its slow disk, and that disk.
fn committing(stage: &Stage) -> Result<(Scene, Disk)> {
    let disk = stage.slow_disk("disk", 3 * WRITTEN + 2 * EMPTY_BYTES, None)?;
    stage.slow_writes()?;
    let address = world::loopback()?;
    let table = "CREATE TABLE log (id bigserial, what text);";
    let server = database::postgres(&stage.room, address, &disk.point, table, &[])?;
    let question = "INSERT INTO log (what) VALUES ('{n}')";
    let client =
        asks(stage, "postgres", address, question).with(["--connections=4", "--think-ms=20"]);
    Ok((Scene::new(server, address, client), disk))
}

/// The same beside a script, which sees the disk as `$1` and a directory elsewhere as `$2`.
fn commits(stage: &Stage, script: &str) -> Result<Scene> {
    let (scene, disk) = committing(stage)?;
    let source = stage.files("source", 1, WRITTEN)?;
    let backup = stage.script(script, &disk.point, &source);
    Ok(beside_flushes(scene, backup, disk))
}

/// A backup writes to the server's disk and flushes.
fn beside_flushes(scene: Scene, backup: Program, disk: Disk) -> Scene {
    let busy = Meter::DiskBusy(disk.name().to_owned());
    scene
        .guilty("backup", backup)
        .holds("disk", None)
        .at_least(busy, COMMITTING)
        .with_disk(disk)
}

/// The backup is `dd`, two at a time.
pub(super) fn beside_dd(stage: &Stage, scene: Scene, disk: Disk) -> Scene {
    let dd = r#"for lane in 1 2; do while :; do
        dd if=/dev/zero of="$1/dd-$lane" bs=1M count=2 conv=fsync,notrunc status=none; done & done; wait"#;
    let backup = stage.room.script(dd, &disk.point);
    beside_flushes(scene, backup, disk)
}

/// A backup writes to another disk. What the server changes has to be on its own.
pub(super) fn flushes_elsewhere(stage: &Stage, scene: Scene, disk: Disk) -> Result<Scene> {
    let used = Meter::DiskBusy(disk.name().to_owned());
    Ok(beside_memory(stage, scene)?
        .at_least(used, USED)
        .unharmed()
        .with_disk(disk))
}

/// How busy the server keeps its own disk at least, in seconds per second.
const USED: f64 = 0.01;

pub(super) fn commits_beside_dd(stage: &Stage) -> Result<Scene> {
    let (scene, disk) = committing(stage)?;
    Ok(beside_dd(stage, scene, disk))
}

pub(super) fn commits_elsewhere(stage: &Stage) -> Result<Scene> {
    let (scene, disk) = committing(stage)?;
    flushes_elsewhere(stage, scene, disk)
}

/// redis that has each change in its log on a slow disk before it answers, and that disk.
fn logging(stage: &Stage) -> Result<(Scene, Disk)> {
    let disk = stage.slow_disk("disk", 3 * WRITTEN + EMPTY_BYTES, None)?;
    stage.slow_writes()?;
    let address = world::loopback()?;
    // Of two directories the last one counts.
    let server = database::redis(&stage.room, address, &["SET", "a", "b"])?
        .with([OsString::from("--dir"), disk.point.clone().into()])
        .with(["--appendonly", "yes", "--appendfsync", "always"]);
    let client = asks(stage, "redis", address, "SET k{n} v{n}").with([
        "--numbers=1000",
        "--connections=4",
        "--think-ms=20",
    ]);
    Ok((Scene::new(server, address, client), disk))
}

/// How busy the disk is at least, in seconds per second. A process that flushes waits between two writes, and so do the commits
/// behind it: the disk rests now and then.
const COMMITTING: f64 = 0.5;

fn scan(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let home = stage.room.subdir("home")?;
    let server = database::postgres(
        &stage.room,
        address,
        &home,
        &table("items", ROWS / 5),
        &[
            "shared_buffers=64MB",
            "fsync=off",
            "max_parallel_workers_per_gather=0",
        ],
    )?;
    let question = "SELECT sum(length(pad)) FROM items WHERE id % 97 < {n}";
    let client = asks(stage, "postgres", address, question)
        .with(["--numbers=97", "--connections=1", "--think-ms=5"])
        .on_cpus(stage.elsewhere.clone());
    Ok(Scene::new(server.on_cpus(vec![stage.cpu]), address, client)
        // PostgreSQL leads a session of its own. The kernel may divide a CPU between sessions: one beside it would have half.
        .guilty("hog", stage.hog(4).on_cpus(vec![stage.cpu]).in_a_session())
        .guilty(
            "other",
            stage.hog(4).on_cpus(vec![stage.cpu]).in_a_session(),
        )
        .holds("cpu", None)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

/// An event loop of one thread that sorts a list for each question.
fn sorting(stage: &Stage, fill: &str) -> Result<Scene> {
    let address = world::loopback()?;
    let server = database::redis(&stage.room, address, &["EVAL", fill, "0"])?;
    let client = asks(stage, "redis", address, "SORT list BY x:* LIMIT 0 10 ALPHA")
        .with(["--connections=2", "--think-ms=40"])
        .on_cpus(stage.elsewhere.clone());
    Ok(Scene::new(server.on_cpus(vec![stage.cpu]), address, client))
}

const LIST: &str =
    "for i = 1, 12000 do redis.call('RPUSH', 'list', tostring(i * 7919 % 12007)) end";

fn redis_gzip(stage: &Stage) -> Result<Scene> {
    let files = stage.files("backed-up", 4, 8 << 20)?;
    let gzip = stage.room.script(&each("gzip -9 -c"), &files);
    let backup = gzip.on_cpus(vec![stage.cpu]);
    Ok(sorting(stage, LIST)?
        .guilty("backup", backup)
        .holds("cpu", None)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

/// 300 MB of which each has its part in the child's work.
fn bgsave(stage: &Stage) -> Result<Scene> {
    let fill = format!(
        "{LIST}; local pad = string.rep('0123456789abcdef', 64); for i = 1, 300000 do redis.call('SET', 'k' .. i, i .. pad) end"
    );
    let scene = sorting(stage, &fill)?;
    let port = scene.address.map(|address| address.port().to_string());
    let asking = r#"while :; do redis-cli -p "$2" BGSAVE >/dev/null; sleep 0.5; done"#;
    let asking = stage
        .room
        .script(asking, &stage.room.dir)
        .with([port.unwrap_or_default()])
        .on_cpus(stage.elsewhere.clone());
    Ok(scene
        .innocent("who asks", asking)
        .at_least(Meter::OnCpu(Who::Server), BUSY)
        .at_least(Meter::Queued(Who::Server), 0.1))
}
