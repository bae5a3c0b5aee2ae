//! Scenarios in which nobody is to be accused: the server, its client or its machine make it slow, or nothing does.

use anyhow::Result;

use super::cpu::{QUEUED, compressing};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{self, cgroup::Cgroup};

/// The scenarios.
pub const ALL: &[Scenario] = &[
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
];

/// How busy a busy backup is at least, in seconds per second.
const BUSY: f64 = 0.5;

fn own_quota(stage: &Stage) -> Result<Scene> {
    let group = Cgroup::with_cpu_quota(&format!("{}-quota", world::name()), 20)?;
    let mut scene = compressing(stage)?;
    scene.server = scene.server.also_in(group.procs());
    Ok(scene
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::Throttled(group.cpu_stat()), QUEUED)
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        .unharmed())
}

fn slow_client(stage: &Stage) -> Result<Scene> {
    let (served, backed_up) = (
        stage.files("served", 16, 256 << 10)?,
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
            "--connections=4",
            "--think-ms=10",
            "--bytes-per-second=400000",
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
        .at_least(Meter::OnCpu(Who::Backup(0)), 0.2)
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
