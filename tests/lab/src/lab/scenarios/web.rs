//! Forms of web servers as they are met: TLS, HTTP/2, in front of an application, under gunicorn.

use anyhow::Result;

use super::{
    cpu::{SERVED, SERVED_BYTES},
    form::{GZIP, beside},
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{
    self, python,
    web::{self, Protocol},
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "web-tls",
        about: "nginx compresses what it serves over TLS, gzip -9 on its CPU",
        quick: false,
        make: |stage| tls(stage, Protocol::One),
    },
    Scenario {
        name: "web-http2",
        about: "nginx compresses what it serves over HTTP/2, gzip -9 on its CPU",
        quick: false,
        make: |stage| tls(stage, Protocol::Two),
    },
    Scenario {
        name: "web-http2-elsewhere",
        about: "nginx compresses what it serves over HTTP/2, gzip -9 on another CPU",
        quick: false,
        make: http2_elsewhere,
    },
    Scenario {
        name: "web-gunicorn",
        about: "an application under gunicorn compresses, gzip -9 on its CPU",
        quick: false,
        make: gunicorn,
    },
    Scenario {
        name: "web-proxy",
        about: "nginx passes requests on to gunicorn, whose CPU gzip -9 keeps busy",
        quick: true,
        make: proxy,
    },
    Scenario {
        name: "web-unix-socket",
        about: "nginx passes requests on to gunicorn over a Unix socket, whose CPU gzip -9 keeps busy",
        quick: false,
        make: unix_socket,
    },
    Scenario {
        name: "web-slow-application",
        about: "nginx passes requests on to an application that is slow by itself; a backup is busy elsewhere",
        quick: false,
        make: slow_application,
    },
];

fn tls(stage: &Stage, protocol: Protocol) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let server = web::tls(&stage.room, address, &served, protocol, true)?;
    let client =
        web::load(&stage.room, address, protocol, 2, 15.0)?.on_cpus(stage.elsewhere.clone());
    let scene = Scene::new(server.on_cpus(vec![stage.cpu]), address, client);
    beside(stage, scene, GZIP)
}

/// The client shares the server's CPU, and not that of the backup.
fn http2_elsewhere(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let server = web::tls(&stage.room, address, &served, Protocol::Two, true)?;
    let here = || vec![stage.cpu];
    let client = web::load(&stage.room, address, Protocol::Two, 2, 15.0)?.on_cpus(here());
    let files = stage.files("backed-up", 4, 8 << 20)?;
    let backup = stage.room.script(GZIP, &files);
    Ok(Scene::new(server.on_cpus(here()), address, client)
        .innocent("backup", backup.on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::OnCpu(Who::Backup(0)), 0.3)
        .unharmed())
}

fn gunicorn(stage: &Stage) -> Result<Scene> {
    let (address, served) = (
        world::loopback()?,
        stage.files("served", SERVED, SERVED_BYTES)?,
    );
    let server = python::gunicorn(&stage.room, &address.to_string(), &served, "gzip")?
        .on_cpus(vec![stage.cpu]);
    let client = stage
        .room
        .client(address, &served)
        .with(["--connections=2", "--think-ms=40"])
        .on_cpus(stage.elsewhere.clone());
    beside(stage, Scene::new(server, address, client), GZIP)
}

/// nginx, the target, in front of an application, which is not. The application listens at `upstream`: an address, or `unix:` and a
/// path.
fn in_front(stage: &Stage, work: &str, upstream: &str) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let application =
        python::gunicorn(&stage.room, upstream, &served, work)?.on_cpus(vec![stage.cpu]);
    let server = web::proxy(&stage.room, address, upstream)?.on_cpus(stage.elsewhere.clone());
    let client = stage
        .room
        .client(address, &served)
        .with(["--connections=2", "--think-ms=40"])
        .on_cpus(stage.elsewhere.clone());
    Ok(Scene::new(server, address, client).with(application))
}

/// The application waits for the CPU, nginx for the application.
fn proxy(stage: &Stage) -> Result<Scene> {
    beside(
        stage,
        in_front(stage, "gzip", &world::loopback()?.to_string())?,
        GZIP,
    )
}

fn unix_socket(stage: &Stage) -> Result<Scene> {
    let socket = format!("unix:{}/application.sock", stage.room.dir.display());
    beside(stage, in_front(stage, "gzip", &socket)?, GZIP)
}

fn slow_application(stage: &Stage) -> Result<Scene> {
    let scene = in_front(stage, "sleep", &world::loopback()?.to_string())?;
    // Busy as well, but half of the time, so that the proxy beside it is not in need of anything.
    let hog = stage.hog(1).with(["--busy-ms=20", "--pause-ms=20"]);
    Ok(scene
        .innocent("hog", hog.on_cpus(vec![stage.cpu]))
        .at_least(Meter::OnCpu(Who::Backup(0)), 0.3)
        .unharmed())
}
