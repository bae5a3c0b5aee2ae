//! Scenarios of the server's own clients, and of a load so light that hardly anything is felt.

use std::net::SocketAddr;

use anyhow::Result;

use super::cpu::{QUEUED, compressing_for};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{self, link, process::Program};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "light-load",
        about: "eight clients ask for a small file ten times a second, on the server's CPU; a backup is busy elsewhere",
        quick: false,
        make: light_load,
    },
    Scenario {
        name: "light-load-hog",
        about: "two clients ask for a compressed file three times a second; a busy program on the server's CPU",
        quick: false,
        make: light_load_hog,
    },
    Scenario {
        name: "client-asks",
        about: "clients of another job ask without a pause, on the server's CPU",
        quick: false,
        make: client_asks,
    },
    Scenario {
        name: "client-compresses",
        about: "two processes ask ten times a second and compress all the time, on the server's CPU",
        quick: false,
        make: client_compresses,
    },
    Scenario {
        name: "client-elsewhere",
        about: "three connections of this machine and one of another read the server's slow disk, all alike",
        quick: false,
        make: client_elsewhere,
    },
];

const SERVED: usize = 16;
const SERVED_BYTES: usize = 4 << 10;
/// How busy a busy backup is at least, in seconds per second.
const BUSY: f64 = 0.5;

/// A server of small files in memory on its CPU, and its client there too.
fn small_files(stage: &Stage, client: [&str; 2]) -> Result<Scene> {
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let address = world::loopback()?;
    let room = &stage.room;
    let server = room
        .server(address, &served, false)
        .on_cpus(vec![stage.cpu]);
    let client = room
        .client(address, &served)
        .with(client)
        .on_cpus(vec![stage.cpu]);
    Ok(Scene::new(server, address, client))
}

/// Idle nearly all the time. What little it waits, it waits for its clients and for itself.
fn light_load(stage: &Stage) -> Result<Scene> {
    Ok(small_files(stage, ["--connections=8", "--think-ms=100"])?
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        .at_most(Meter::OnCpu(Who::Server), 0.1)
        .unharmed())
}

/// Idle most of the time too, but each request loses some ten milliseconds.
fn light_load_hog(stage: &Stage) -> Result<Scene> {
    Ok(
        compressing_for(stage, false, ["--connections=2", "--think-ms=300"])?
            .guilty("hog", stage.hog(3).on_cpus(vec![stage.cpu]))
            .holds("cpu", None)
            .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
            .at_most(Meter::OnCpu(Who::Server), 0.3),
    )
}

/// A second client in a job of its own. It takes most of the CPU, but does nothing else with it than ask.
fn client_asks(stage: &Stage) -> Result<Scene> {
    let scene = small_files(stage, ["--connections=2", "--think-ms=20"])?;
    let asking = scene
        .address
        .map(|address| asks_all_the_time(stage, address));
    Ok(scene
        .innocent("asking", asking.unwrap_or_else(|| stage.hog(1)))
        .asked_by_others()
        .at_least(Meter::OnCpu(Who::Backup(0)), 0.2)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

fn asks_all_the_time(stage: &Stage, address: SocketAddr) -> Program {
    stage
        .room
        .client(address, &stage.room.dir.join("served"))
        .with(["--connections=8", "--think-ms=0", "--for-ms=120000"])
        .on_cpus(vec![stage.cpu])
        .in_a_session()
}

/// Asks for a file ten times a second, and compresses what is no part of an answer.
const COMPRESSES: &str = r#"
import socket, sys, time, zlib
host, port = sys.argv[1].rsplit(":", 1)
data = bytes(range(256)) * 4096
with socket.create_connection((host, int(port))) as server:
    while True:
        server.sendall(b"GET /0000.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        server.recv(65536)
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            zlib.compress(data, 9)
"#;

fn client_compresses(stage: &Stage) -> Result<Scene> {
    let scene = compressing_for(stage, false, ["--connections=2", "--think-ms=40"])?;
    let script = stage.room.dir.join("compresses.py");
    std::fs::write(&script, COMPRESSES)?;
    let twice = r#"for lane in 1 2; do python3 "$1" "$2" & done; wait"#;
    let address = scene.address.map(|address| address.to_string());
    let backup = stage
        .room
        .script(twice, &script)
        .with([address.unwrap_or_default()]);
    Ok(scene
        .guilty("dump", backup.on_cpus(vec![stage.cpu]))
        .asked_by_others()
        .holds("cpu", None)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

/// Each of the four waits behind the other three: nobody is to blame more than the others.
fn client_elsewhere(stage: &Stage) -> Result<Scene> {
    const COLD: usize = 512;
    const COLD_BYTES: usize = 64 << 10;
    let (near, far) = link::addresses()?;
    // A line that is slower than the disk would make the one elsewhere unlike the others: it asks for a tenth of what they do.
    let line = link::unshaped(near, far, 1)?;
    let disk = stage.slow_disk("disk", COLD * COLD_BYTES, None)?;
    let served = files_on(&disk, "served", COLD, COLD_BYTES)?;
    let address = SocketAddr::from((near, 8080));
    let room = &stage.room;
    let cold = |connections: &str| {
        let client = room.client(address, &served);
        client.with(["--cold", connections, "--think-ms=0"])
    };
    let busy = Meter::DiskBusy(disk.name().to_owned());
    Ok(Scene::new(
        room.server(address, &served, false),
        address,
        cold("--connections=1").in_netns(&line.netns),
    )
    .innocent(
        "here",
        cold("--connections=3")
            .with(["--for-ms=120000"])
            .in_a_session(),
    )
    .asked_by_others()
    .at_least(busy, BUSY)
    .with_disk(disk))
}
