//! Scenarios of connections that stay, and over which the server speaks whenever it has something to say. Beside them it has requests.

use anyhow::{Context as _, Result};

use super::{
    cpu::SERVED,
    database::{commits_beside_dd, commits_elsewhere},
    pools::{beside_tar, elsewhere},
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{
    self, database,
    python::{self, Form},
    runtimes::asyncio,
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "push-events-tar",
        about: "a server pushes events over twenty connections and serves cold files, tar reads the disk",
        quick: false,
        make: |stage| watched(stage, beside_tar(stage, asyncio)?, "events"),
    },
    Scenario {
        name: "push-events-elsewhere",
        about: "a server pushes events over twenty connections and serves cold files, tar reads another disk",
        quick: false,
        make: |stage| watched(stage, elsewhere(stage, asyncio)?, "events"),
    },
    Scenario {
        name: "push-websocket-tar",
        about: "a server pushes frames over twenty WebSockets and serves cold files, tar reads the disk",
        quick: false,
        make: |stage| watched(stage, beside_tar(stage, asyncio)?, "websocket"),
    },
    Scenario {
        name: "push-fed",
        about: "a server pushes what redis tells it over twenty connections, and serves a few files; a backup is busy elsewhere",
        quick: false,
        make: fed,
    },
    Scenario {
        name: "push-replica-dd",
        about: "PostgreSQL commits, and pushes its log to a replica; dd writes to its disk and flushes, two at a time",
        quick: false,
        make: |stage| replicated(stage, commits_beside_dd(stage)?),
    },
    Scenario {
        name: "push-replica-elsewhere",
        about: "PostgreSQL commits, and pushes its log to a replica; another program writes to another disk",
        quick: false,
        make: |stage| replicated(stage, commits_elsewhere(stage)?),
    },
];

/// Five pushes a second over each of their connections take at least so much of a CPU, in seconds per second.
const HEARD: f64 = 0.002;

/// With clients that stay connected to the scene's server, for pushes of this kind.
fn watched(stage: &Stage, scene: Scene, kind: &str) -> Result<Scene> {
    let address = scene.address.context("the server listens")?;
    let heard = Meter::OnCpu(Who::Backup(scene.backups.len()));
    let watchers = python::watchers(&stage.room, address, kind, 20)?;
    Ok(scene
        .innocent("watchers", watchers.on_cpus(stage.elsewhere.clone()))
        .at_least(heard, HEARD))
}

/// With a program to which PostgreSQL pushes its log, as to a replica. It keeps that in memory.
fn replicated(stage: &Stage, scene: Scene) -> Result<Scene> {
    let address = scene.address.context("the server listens")?;
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let replica = stage
        .room
        .program(["pg_receivewal", "--no-sync", "-D", "/dev/shm"])
        .with(["-h", &ip, "-p", &port, "-U", "postgres"])
        .with_own_shared_memory();
    Ok(scene.innocent("replica", replica.on_cpus(stage.elsewhere.clone())))
}

/// What is pushed comes from redis, which has nothing to say most of the time. Nobody waits for that.
fn fed(stage: &Stage) -> Result<Scene> {
    let (address, news) = (world::loopback()?, world::loopback()?);
    let room = &stage.room;
    let served = stage.files("served", SERVED, 1 << 10)?;
    let feed = format!("--feed={news}");
    let server = python::server(room, Form::Loop, address, &served, [feed.as_str()])?;
    let client = room
        .client(address, &served)
        .with(["--connections=2", "--think-ms=200"])
        .on_cpus(vec![stage.cpu]);
    let redis = database::redis(room, news, &["SET", "a", "b"])?;
    let tells = r#"while :; do redis-cli -p "$2" PUBLISH news x >/dev/null; sleep 0.2; done"#;
    let tells = room
        .script(tells, &room.dir)
        .with([news.port().to_string()]);
    let scene = Scene::new(server.on_cpus(vec![stage.cpu]), address, client)
        .with(redis.on_cpus(vec![stage.cpu]))
        .innocent("who tells", tells.on_cpus(stage.elsewhere.clone()));
    Ok(watched(stage, scene, "events")?
        .beside_hog(stage)
        .waits_for_nothing()
        .unharmed())
}
