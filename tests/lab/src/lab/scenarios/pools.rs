//! Servers whose connections are served by an event loop or by a runtime, while other threads wait: for the disk, for the CPU, for one
//! log of all.

use anyhow::{Context as _, Result};

use super::{
    backup::served_cold,
    cpu::{compressors, each},
    database::{beside_dd, flushes_elsewhere},
    disk::{BUSY, SERVED, SERVED_BYTES, TAR, Trees, cold_client, trees},
    network::{FULL, net, sender, sink},
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{
    self,
    disk::Disk,
    etcd,
    runtimes::{Make, asyncio, caddy, java, nginx_threads, node, node_gzip, tokio, tokio_gzip},
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "pool-node-tar",
        about: "node serves cold files, tar reads the disk",
        quick: false,
        make: |stage| beside_tar(stage, node),
    },
    Scenario {
        name: "pool-node-elsewhere",
        about: "node serves cold files, tar reads another disk",
        quick: false,
        make: |stage| elsewhere(stage, node),
    },
    Scenario {
        name: "pool-node-gzip",
        about: "node compresses what it serves, four gzip -9 on its CPU",
        quick: false,
        make: |stage| beside_gzip(stage, node_gzip),
    },
    Scenario {
        name: "pool-caddy-tar",
        about: "Caddy serves cold files, tar reads the disk",
        quick: false,
        make: |stage| beside_tar(stage, caddy),
    },
    Scenario {
        name: "pool-caddy-elsewhere",
        about: "Caddy serves cold files, tar reads another disk",
        quick: false,
        make: |stage| elsewhere(stage, caddy),
    },
    Scenario {
        name: "pool-caddy-link",
        about: "Caddy serves through the link, a backup sends four streams through it",
        quick: false,
        make: |stage| through_link(stage, caddy),
    },
    Scenario {
        name: "pool-nginx-tar",
        about: "nginx with threads serves cold files, tar reads the disk",
        quick: false,
        make: |stage| beside_tar(stage, nginx_threads),
    },
    Scenario {
        name: "pool-nginx-elsewhere",
        about: "nginx with threads serves cold files, tar reads another disk",
        quick: false,
        make: |stage| elsewhere(stage, nginx_threads),
    },
    Scenario {
        name: "pool-tokio-tar",
        about: "a server of tokio's serves cold files, tar reads the disk",
        quick: false,
        make: |stage| beside_tar(stage, tokio),
    },
    Scenario {
        name: "pool-tokio-elsewhere",
        about: "a server of tokio's serves cold files, tar reads another disk",
        quick: false,
        make: |stage| elsewhere(stage, tokio),
    },
    Scenario {
        name: "pool-tokio-gzip",
        about: "a server of tokio's compresses what it serves, four gzip -9 on its CPU",
        quick: false,
        make: |stage| beside_gzip(stage, tokio_gzip),
    },
    Scenario {
        name: "pool-asyncio-tar",
        about: "a Python event loop has cold files read by an executor, tar reads the disk",
        quick: false,
        make: |stage| beside_tar(stage, asyncio),
    },
    Scenario {
        name: "pool-asyncio-elsewhere",
        about: "a Python event loop has cold files read by an executor, tar reads another disk",
        quick: false,
        make: |stage| elsewhere(stage, asyncio),
    },
    Scenario {
        name: "pool-java-tar",
        about: "a web server of the JVM with a pool of threads serves cold files, tar reads the disk",
        quick: false,
        make: |stage| beside_tar(stage, java),
    },
    Scenario {
        name: "pool-java-elsewhere",
        about: "a web server of the JVM with a pool of threads serves cold files, tar reads another disk",
        quick: false,
        make: |stage| elsewhere(stage, java),
    },
    Scenario {
        name: "pool-etcd-dd",
        about: "etcd puts all clients' values into one log; dd writes to its disk and flushes, two at a time",
        quick: false,
        make: etcd_beside_dd,
    },
    Scenario {
        name: "pool-etcd-elsewhere",
        about: "etcd puts all clients' values into one log; dd writes to another disk",
        quick: false,
        make: etcd_elsewhere,
    },
];

/// The scene's server is another one, for the same files of its disk.
fn served_by(stage: &Stage, mut scene: Scene, server: Make) -> Result<Scene> {
    let (address, served) = served_cold(&scene)?;
    scene.server = server(&stage.room, address, &served)?;
    Ok(scene)
}

pub(super) fn beside_tar(stage: &Stage, server: Make) -> Result<Scene> {
    served_by(stage, trees(stage, None, false, TAR)?, server)
}

/// tar reads a disk that is not the server's, and leaves a CPU to the server.
pub(super) fn elsewhere(stage: &Stage, server: Make) -> Result<Scene> {
    let files = Trees::for_a_window(stage)?;
    let other = stage.slow_disk("other", files.bytes(), None)?;
    let backed_up = files.plant(&other)?;
    let disk = stage.slow_disk("disk", SERVED * SERVED_BYTES, None)?;
    let served = files_on(&disk, "served", SERVED, SERVED_BYTES)?;
    let address = world::loopback()?;
    let client = cold_client(stage, address, &served);
    let mut tar = stage
        .room
        .script(TAR, &backed_up)
        .on_cpus(stage.elsewhere.clone());
    // The speed limit is a group's: each disk has its own readers'.
    tar.groups = vec![stage.other_group()?.procs()];
    Ok(
        Scene::new(server(&stage.room, address, &served)?, address, client)
            .innocent("backup", tar)
            .at_least(Meter::DiskBusy(other.name().to_owned()), BUSY)
            .at_least(Meter::Read(Who::Server), 1e6)
            .unharmed()
            .with_disk(disk)
            .with_disk(other),
    )
}

fn beside_gzip(stage: &Stage, server: Make) -> Result<Scene> {
    let mut scene = compressors(stage, false, &each("gzip -9 -c"), |script| script)?;
    let address = scene.address.context("the server listens")?;
    let served = stage.room.dir.join("served");
    scene.server = server(&stage.room, address, &served)?.on_cpus(vec![stage.cpu]);
    Ok(scene)
}

fn through_link(stage: &Stage, server: Make) -> Result<Scene> {
    let mut net = net(stage, false)?;
    let address = net.scene.address.context("the server listens")?;
    let served = stage.room.dir.join("served");
    net.scene.server = server(&stage.room, address, &served)?;
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .guilty("backup", sender(stage, "backed-up", net.far, 4)?)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

/// etcd on a disk to which all write slowly, and that disk.
fn etcd_alone(stage: &Stage) -> Result<(Scene, Disk)> {
    /// What a backup writes there.
    const WRITTEN: usize = 64 << 20;
    let disk = stage.slow_disk("disk", etcd::BYTES + WRITTEN, None)?;
    stage.slow_writes()?;
    let address = world::loopback()?;
    let (server, client) = etcd::etcd(&stage.room, address, &disk.point)?;
    let client = client.with(["--connections=4", "--think-ms=20"]);
    Ok((Scene::new(server, address, client), disk))
}

fn etcd_beside_dd(stage: &Stage) -> Result<Scene> {
    let (scene, disk) = etcd_alone(stage)?;
    Ok(beside_dd(stage, scene, disk))
}

fn etcd_elsewhere(stage: &Stage) -> Result<Scene> {
    let (scene, disk) = etcd_alone(stage)?;
    flushes_elsewhere(stage, scene, disk)
}
