//! Scenarios in which nobody is to be accused. The server, its client or its machine make it slow, or nothing does.

use anyhow::Result;

use super::cpu::{QUEUED, compressing, compressing_for};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{self, cgroup::Cgroup, disk};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "own-quota",
        about: "the server may use a fifth of a CPU; a backup keeps another CPU busy",
        quick: true,
        make: own_quota,
    },
    Scenario {
        name: "slow-client",
        about: "the client reads slowly through a small window; a backup streams over the loopback on another CPU",
        quick: true,
        make: slow_client,
    },
    Scenario {
        name: "other-disk",
        about: "the server reads its own slow disk; a backup reads another disk on another CPU",
        quick: false,
        make: other_disk,
    },
    Scenario {
        name: "own-io-limit",
        about: "the server's group may read 4 MB/s of its disk; a backup reads a little of the same disk",
        quick: false,
        make: own_io_limit,
    },
    Scenario {
        name: "own-threads",
        about: "the server's own threads fight for its CPU; a backup works a little on another one",
        quick: false,
        make: own_threads,
    },
    Scenario {
        name: "own-disk",
        about: "the server's many readers share a slow disk with nobody; a backup keeps a CPU busy",
        quick: false,
        make: own_disk,
    },
    Scenario {
        name: "busy-loop",
        about: "the target computes on its own CPU; a backup keeps another one busy",
        quick: false,
        make: busy_loop,
    },
    Scenario {
        name: "idle-server",
        about: "nobody asks the server; a backup keeps another CPU busy and reads a disk",
        quick: false,
        make: idle_server,
    },
    Scenario {
        name: "nice-19",
        about: "one compressor with nice 19 on the server's CPU",
        quick: false,
        make: nice_19,
    },
    Scenario {
        name: "rate-limited",
        about: "a reader of the server's disk that pauses so long that it is hardly felt",
        quick: false,
        make: rate_limited,
    },
];

/// How busy a busy backup is at least, in seconds per second.
const BUSY: f64 = 0.5;

fn own_quota(stage: &Stage) -> Result<Scene> {
    let group = Cgroup::with_cpu_quota(&format!("{}-quota", world::name()), 20)?;
    let mut scene = compressing(stage, false)?;
    scene.server = scene.server.also_in(group.procs());
    Ok(scene
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::Throttled(group.cpu_stat()), QUEUED)
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        .unharmed())
}

fn slow_client(stage: &Stage) -> Result<Scene> {
    let (served, backed_up) = (
        // More than the server's send buffer takes at once: it must wait until the client has read.
        stage.files("served", 4, 6 << 20)?,
        stage.files("backed-up", 1, 16 << 20)?,
    );
    let (address, sink) = (world::loopback()?, world::loopback()?);
    let room = &stage.room;
    let server = room
        .server(address, &served, false)
        .on_cpus(vec![stage.cpu]);
    let client = room
        .client(address, &served)
        .with([
            "--connections=2",
            "--think-ms=10",
            "--bytes-per-second=8000000",
        ])
        .on_cpus(vec![stage.cpu]);
    let backup = room
        .backup("send", &backed_up)
        .with(["--to", &sink.to_string()])
        .with(["--parallel=1"])
        .on_cpus(stage.elsewhere.clone());
    let receiver = room
        .own("demo-sink")
        .with(["--listen", &sink.to_string()])
        .on_cpus(stage.elsewhere.clone());
    Ok(Scene::new(server, address, client)
        .with(receiver)
        .innocent("sender", backup)
        // In bytes, six times as many as the clients read. The backup's CPU time depends on the machine, and fell below any bound.
        .at_least(Meter::Taken(Who::Backup(0)), 100e6)
        .unharmed())
}

fn other_disk(stage: &Stage) -> Result<Scene> {
    const SERVED: usize = 256;
    const SERVED_BYTES: usize = 64 << 10;
    const BACKED_UP_BYTES: usize = 64 << 20;
    let mine = stage.slow_disk("disk", SERVED * SERVED_BYTES, None)?;
    let other = stage.slow_disk("other", BACKED_UP_BYTES, None)?;
    let served = files_on(&mine, "served", SERVED, SERVED_BYTES)?;
    let backed_up = files_on(&other, "backed-up", 4, BACKED_UP_BYTES / 4)?;
    let address = world::loopback()?;
    let room = &stage.room;
    let server = room
        .server(address, &served, false)
        .on_cpus(vec![stage.cpu]);
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=2", "--think-ms=20"])
        .on_cpus(vec![stage.cpu]);
    let mut backup = room
        .backup("read-direct", &backed_up)
        .on_cpus(stage.elsewhere.clone());
    // The speed limit is a group's: each disk has its own reader's.
    backup.groups = vec![stage.other_group()?.procs()];
    Ok(Scene::new(server, address, client)
        .innocent("reader", backup)
        .at_least(Meter::DiskBusy(other.name().to_owned()), BUSY)
        .at_least(Meter::Read(Who::Server), 1e6)
        .unharmed()
        .with_disk(mine)
        .with_disk(other))
}

/// The disk itself is as fast as the one that holds its file. Only the limit holds the server back.
fn own_io_limit(stage: &Stage) -> Result<Scene> {
    const SERVED: usize = 384;
    const SERVED_BYTES: usize = 64 << 10;
    const BACKED_UP_BYTES: usize = 16 << 20;
    const LIMIT: u64 = 4_000_000;
    let bytes = SERVED * SERVED_BYTES + BACKED_UP_BYTES;
    let disk = disk::attach(&stage.room, "disk", disk::bytes_for(bytes as u64), None)?;
    let served = files_on(&disk, "served", SERVED, SERVED_BYTES)?;
    let backed_up = files_on(&disk, "backed-up", 1, BACKED_UP_BYTES)?;
    let group = Cgroup::make(&format!("{}-limit", world::name()))?;
    group.limit_reads(&disk::whole_disk(&served)?, LIMIT)?;
    let address = world::loopback()?;
    let room = &stage.room;
    let mut server = room.server(address, &served, false);
    server.groups = vec![group.procs()];
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=4", "--think-ms=20"]);
    let backup = room.backup("read-direct", &backed_up).with([
        "--parallel=1",
        "--request-bytes=65536",
        "--pause-ms=20",
    ]);
    Ok(Scene::new(server, address, client)
        .innocent("reader", backup)
        .at_least(Meter::Read(Who::Server), 0.8 * LIMIT as f64)
        .at_least(Meter::Read(Who::Backup(0)), 1e6)
        .unharmed()
        .with_disk(disk))
}

fn own_threads(stage: &Stage) -> Result<Scene> {
    // Eight requests at a time, with hardly a pause: more than a CPU's worth.
    let scene = compressing_for(stage, false, ["--connections=8", "--think-ms=5"])?;
    let backup = stage.hog(1).with(["--busy-ms=5", "--pause-ms=95"]);
    Ok(scene
        .innocent("hog", backup.on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::Queued(Who::Server), 1.0)
        .unharmed())
}

fn own_disk(stage: &Stage) -> Result<Scene> {
    const SERVED: usize = 512;
    const SERVED_BYTES: usize = 256 << 10;
    let disk = stage.slow_disk("disk", SERVED * SERVED_BYTES, None)?;
    let served = files_on(&disk, "served", SERVED, SERVED_BYTES)?;
    let address = world::loopback()?;
    let room = &stage.room;
    let server = room
        .server(address, &served, false)
        .on_cpus(vec![stage.cpu]);
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=8", "--think-ms=10"])
        .on_cpus(vec![stage.cpu]);
    Ok(Scene::new(server, address, client)
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::DiskBusy(disk.name().to_owned()), BUSY)
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        .unharmed()
        .with_disk(disk))
}

fn busy_loop(stage: &Stage) -> Result<Scene> {
    Ok(Scene::alone(stage.hog(1).on_cpus(vec![stage.cpu]))
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::OnCpu(Who::Server), BUSY)
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY))
}

fn idle_server(stage: &Stage) -> Result<Scene> {
    const BACKED_UP_BYTES: usize = 64 << 20;
    let other = stage.slow_disk("other", BACKED_UP_BYTES, None)?;
    let backed_up = files_on(&other, "backed-up", 4, BACKED_UP_BYTES / 4)?;
    let served = stage.files("served", 4, 4096)?;
    let address = world::loopback()?;
    let room = &stage.room;
    let mut scene = Scene::alone(
        room.server(address, &served, false)
            .on_cpus(vec![stage.cpu]),
    );
    scene.address = Some(address);
    let reader = room
        .backup("read-direct", &backed_up)
        .on_cpus(stage.elsewhere.clone());
    Ok(scene
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .innocent("reader", reader)
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        .at_least(Meter::DiskBusy(other.name().to_owned()), BUSY)
        .at_most(Meter::OnCpu(Who::Server), 0.01)
        .with_disk(other))
}

/// A nice 19 thread weighs 15 where one of nice 0 weighs 1024 (`sched_prio_to_weight`).
fn nice_19(stage: &Stage) -> Result<Scene> {
    let files = stage.files("backed-up", 1, 8 << 20)?;
    let script = r#"while :; do gzip -9 -c "$1"/0000.txt >/dev/null; done"#;
    let backup = stage.room.script(script, &files).nice(19);
    Ok(compressing(stage, false)?
        .innocent("gzip", backup.on_cpus(vec![stage.cpu]))
        .at_least(Meter::OnCpu(Who::Backup(0)), 0.1)
        .unharmed())
}

/// Two small requests per second.
fn rate_limited(stage: &Stage) -> Result<Scene> {
    const SERVED: usize = 384;
    const SERVED_BYTES: usize = 64 << 10;
    const BACKED_UP_BYTES: usize = 16 << 20;
    let disk = stage.slow_disk("disk", SERVED * SERVED_BYTES + BACKED_UP_BYTES, None)?;
    let served = files_on(&disk, "served", SERVED, SERVED_BYTES)?;
    let backed_up = files_on(&disk, "backed-up", 1, BACKED_UP_BYTES)?;
    let address = world::loopback()?;
    let room = &stage.room;
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=4", "--think-ms=20"]);
    let backup = room.backup("read-direct", &backed_up).with([
        "--parallel=1",
        "--request-bytes=65536",
        "--pause-ms=500",
    ]);
    Ok(
        Scene::new(room.server(address, &served, false), address, client)
            .innocent("reader", backup)
            .at_least(Meter::Read(Who::Backup(0)), 1e5)
            .unharmed()
            .with_disk(disk),
    )
}
