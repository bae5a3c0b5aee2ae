//! More scenarios in which nobody is to be accused: the server's own work, its upstreams, its supervision.

use anyhow::Result;

use super::{
    cpu::{SERVED, SERVED_BYTES, compressing, compressing_for},
    network::net,
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{
    self, disk,
    python::{self, Form},
    web,
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "slow-upstream",
        about: "nginx asks a slow application in another network namespace; a backup is busy elsewhere",
        quick: false,
        make: slow_upstream,
    },
    Scenario {
        name: "slow-device",
        about: "the server's disk is slow by itself; a backup reads another disk on another CPU",
        quick: false,
        make: slow_device,
    },
    Scenario {
        name: "restarted",
        about: "the server is killed and started anew every three seconds; a backup is busy elsewhere",
        quick: false,
        make: restarted,
    },
    Scenario {
        name: "reloaded",
        about: "nginx gets new workers every four seconds; a backup is busy elsewhere",
        quick: false,
        make: reloaded,
    },
    Scenario {
        name: "own-lock",
        about: "the server's threads wait for a lock that one of them has while it sleeps; a backup is busy elsewhere",
        quick: false,
        make: |stage| threads(stage, ["--work=lock", "--sleep-ms=15"]),
    },
    Scenario {
        name: "own-interpreter",
        about: "the server's threads wait for each other in Python's interpreter; a backup is busy elsewhere",
        quick: false,
        make: |stage| threads(stage, ["--work=interpret", "--sleep-ms=0"]),
    },
    Scenario {
        name: "long-poll",
        about: "the server answers each request after 0.8 s because nothing happens; a backup takes half of its CPU",
        quick: false,
        make: long_poll,
    },
    Scenario {
        name: "websocket",
        about: "the server pushes a message over each connection ten times a second; a backup is busy elsewhere",
        quick: false,
        make: websocket,
    },
    Scenario {
        name: "rsync-bwlimit",
        about: "rsync --bwlimit copies from the server's disk so slowly that it is hardly felt",
        quick: false,
        make: limited,
    },
];

/// How busy a busy backup is at least, in seconds per second.
const BUSY: f64 = 0.5;

/// A busy program on the CPUs that are not the server's.
fn busy_elsewhere(stage: &Stage, scene: Scene) -> Scene {
    scene
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        .unharmed()
}

fn slow_upstream(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let served = stage.room.dir.join("served");
    let upstream = net.far.to_string();
    let application = python::gunicorn(&stage.room, &upstream, &served, "sleep")?;
    let address = world::loopback()?;
    let server = web::proxy(&stage.room, address, &upstream)?.on_cpus(vec![stage.cpu]);
    let client = stage
        .room
        .client(address, &served)
        .with(["--connections=2", "--think-ms=40"])
        .on_cpus(vec![stage.cpu]);
    let scene = Scene::new(server, address, client).with(
        application
            .in_netns(&net.link.netns)
            .on_cpus(vec![stage.cpu]),
    );
    Ok(busy_elsewhere(stage, scene))
}

/// The limit is below the disk, and belongs to nobody: the disk itself is slow.
fn slow_device(stage: &Stage) -> Result<Scene> {
    const SERVED: usize = 256;
    const SERVED_BYTES: usize = 64 << 10;
    const BACKED_UP_BYTES: usize = 64 << 20;
    const TIRED: u64 = 1_500_000;
    let mine = stage.slow_disk("disk", SERVED * SERVED_BYTES, None)?;
    let other = stage.slow_disk("other", BACKED_UP_BYTES, None)?;
    let served = files_on(&mine, "served", SERVED, SERVED_BYTES)?;
    let backed_up = files_on(&other, "backed-up", 4, BACKED_UP_BYTES / 4)?;
    let room = &stage.room;
    room.group
        .limit_reads(&disk::whole_disk(&room.dir)?, TIRED)?;
    let address = world::loopback()?;
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=1", "--think-ms=5"])
        .on_cpus(vec![stage.cpu]);
    let server = room
        .server(address, &served, false)
        .on_cpus(vec![stage.cpu]);
    let mut backup = room
        .backup("read-direct", &backed_up)
        .on_cpus(stage.elsewhere.clone());
    // The speed limit is a group's: each disk has its own reader's.
    backup.groups = vec![stage.other_group()?.procs()];
    Ok(Scene::new(server, address, client)
        .innocent("reader", backup)
        .at_least(Meter::DiskBusy(other.name().to_owned()), BUSY)
        .at_least(Meter::DiskBusy(mine.name().to_owned()), 0.3)
        .unharmed()
        .with_disk(mine)
        .with_disk(other))
}

/// A script runs it, as supervisors run services. The program that kills it is no backup either.
fn restarted(stage: &Stage) -> Result<Scene> {
    let mut scene = compressing(stage, false)?;
    let pid = stage.room.dir.join("server.pid");
    let supervise = r#"pid=$1; shift; while :; do "$@" & echo $! >"$pid"; wait $!; done"#;
    let mut supervised = stage.room.script(supervise, &pid).on_cpus(vec![stage.cpu]);
    supervised.words.extend(scene.server.words);
    scene.server = supervised;
    let killer = r#"while sleep 3; do kill "$(cat "$1")"; done"#;
    let killer = stage.room.script(killer, &pid);
    Ok(busy_elsewhere(stage, scene).innocent("killer", killer.on_cpus(stage.elsewhere.clone())))
}

fn reloaded(stage: &Stage) -> Result<Scene> {
    // So many requests that those which meet a change of workers are fewer than one in a hundred.
    let scene = compressing_for(stage, true, ["--connections=2", "--think-ms=10"])?;
    let reload = r#"while sleep 4; do kill -HUP "$(cat "$1"/nginx.pid)"; done"#;
    let reload = stage.room.script(reload, &stage.room.dir);
    Ok(busy_elsewhere(stage, scene).innocent("reload", reload.on_cpus(stage.elsewhere.clone())))
}

/// Six connections to a server of threads.
fn threads(stage: &Stage, options: [&str; 2]) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let room = &stage.room;
    let server = python::server(room, Form::Threads, address, &served, options)?;
    let client = room
        .client(address, &served)
        .with(["--connections=6", "--think-ms=20"])
        .on_cpus(vec![stage.cpu]);
    let scene = Scene::new(server.on_cpus(vec![stage.cpu]), address, client);
    Ok(busy_elsewhere(stage, scene))
}

fn long_poll(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, 1 << 10)?;
    let room = &stage.room;
    let options = ["--work=poll", "--sleep-ms=800"];
    let server = python::server(room, Form::Loop, address, &served, options)?;
    let client = room
        .client(address, &served)
        .with(["--connections=12", "--think-ms=10"])
        .on_cpus(stage.elsewhere.clone());
    let hog = stage.hog(1).with(["--busy-ms=10", "--pause-ms=10"]);
    Ok(Scene::new(server.on_cpus(vec![stage.cpu]), address, client)
        .innocent("hog", hog.on_cpus(vec![stage.cpu]))
        .at_least(Meter::OnCpu(Who::Backup(0)), 0.3)
        .unharmed())
}

fn websocket(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let (server, client) = python::push(&stage.room, address)?;
    let client = client.on_cpus(vec![stage.cpu]);
    let scene = Scene::new(server.on_cpus(vec![stage.cpu]), address, client);
    Ok(busy_elsewhere(stage, scene))
}

/// 1 MB/s of 25.
fn limited(stage: &Stage) -> Result<Scene> {
    const SERVED: usize = 384;
    const SERVED_BYTES: usize = 64 << 10;
    const BACKED_UP_BYTES: usize = 64 << 20;
    let disk = stage.slow_disk("disk", SERVED * SERVED_BYTES + BACKED_UP_BYTES, None)?;
    let served = files_on(&disk, "served", SERVED, SERVED_BYTES)?;
    let backed_up = files_on(&disk, "backed-up", 4, BACKED_UP_BYTES / 4)?;
    let copies = stage.room.subdir("copies")?;
    let address = world::loopback()?;
    let room = &stage.room;
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=4", "--think-ms=20"]);
    let script = r#"exec rsync -a --whole-file --bwlimit=1000 "$1" "$2"/"#;
    Ok(
        Scene::new(room.server(address, &served, false), address, client)
            .innocent("rsync", stage.script(script, &backed_up, &copies))
            .at_least(Meter::Read(Who::Backup(0)), 4e5)
            .unharmed()
            .with_disk(disk),
    )
}
