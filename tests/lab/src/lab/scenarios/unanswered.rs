//! Scenarios of questions without an answer, or with a late one: to a resolver, to a machine that is not there, to a server of which
//! all threads have been stuck since before the trace.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};

use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{
    self,
    link::{self, Link},
    process::Program,
    python, web,
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "resolver-slow",
        about: "each request asks for the address of a name, and the resolver answers after 80 ms",
        quick: false,
        make: |stage| resolving(stage, &[SLOW], Some(60.0)),
    },
    Scenario {
        name: "resolver-never",
        about: "each request asks for the address of a name, and the resolver does not answer",
        quick: false,
        make: |stage| resolving(stage, &[NEVER], Some(4000.0)),
    },
    Scenario {
        name: "resolver-half",
        about: "each request asks for the addresses of a name, and the resolver answers for IPv4 at once and for IPv6 after 80 ms",
        quick: false,
        make: |stage| resolving(stage, &[SLOW, LATE_IPV6], Some(60.0)),
    },
    Scenario {
        name: "resolver-fast",
        about: "each request asks for the address of a name, and the resolver answers at once; a backup is busy elsewhere",
        quick: false,
        make: |stage| resolving(stage, &[AT_ONCE], None),
    },
    Scenario {
        name: "upstream-dead-nginx",
        about: "nginx passes requests on to a machine that is not there",
        quick: false,
        make: dead_behind_nginx,
    },
    Scenario {
        name: "upstream-dead-threads",
        about: "each of a server's threads connects to a machine that is not there",
        quick: false,
        make: dead_behind_threads,
    },
    Scenario {
        name: "upstream-alive",
        about: "nginx passes requests on to an application in another network namespace; a backup is busy elsewhere",
        quick: false,
        make: alive,
    },
    Scenario {
        name: "hung-lock",
        about: "all threads of the server have waited for a lock of their own since before the trace",
        quick: false,
        make: hung_at_a_lock,
    },
    Scenario {
        name: "hung-upstream",
        about: "all threads of the server have waited for another process's answer since before the trace",
        quick: false,
        make: hung_upstream,
    },
    Scenario {
        name: "hung-not",
        about: "clients had their answers before the trace and stay connected; a backup is busy elsewhere",
        quick: false,
        make: not_hung,
    },
];

/// Options of the resolver. What takes ten minutes never happens.
const SLOW: &str = "--sleep-ms=80";
const NEVER: &str = "--sleep-ms=600000";
const AT_ONCE: &str = "--sleep-ms=0";
/// The others answer at once.
const LATE_IPV6: &str = "--late-ipv6";
/// The most that a request usually takes where nobody is late, in milliseconds.
const FAST_MS: f64 = 30.0;

/// A port for questions, at an address that only this lab uses.
fn resolver_address() -> String {
    let [.., a, b] = std::process::id().to_be_bytes();
    format!("127.77.{a}.{}:53", b.max(1))
}

/// `$1` is the file that the rest finds in the place of the machine's own, in mounts of its own.
const WITH_RESOLVER: &str = r#"mount --bind "$1" /etc/resolv.conf || exit; shift; exec "$@""#;

/// A server that asks the resolver with these options. Each request takes so many milliseconds at least, or little.
fn resolving(stage: &Stage, options: &[&str], least_ms: Option<f64>) -> Result<Scene> {
    let room = &stage.room;
    let (address, at) = (world::loopback()?, resolver_address());
    let host = at.trim_end_matches(":53");
    let config = room.dir.join("resolv.conf");
    fs::write(&config, format!("nameserver {host}\noptions attempts:1\n"))
        .with_context(|| format!("could not write {}", config.display()))?;
    let mut server = room
        .program(["unshare", "--mount", "--propagation", "slave", "sh", "-c"])
        .with([WITH_RESOLVER, "server"])
        .with([config]);
    server
        .words
        .extend(python::asker(room, "resolver", address)?.words);
    let here = || vec![stage.cpu];
    let scene = Scene::new(server.on_cpus(here()), address, patient(stage, address)?);
    let resolver = python::asked(room, "resolver", &at)?
        .with(options.iter().copied())
        .on_cpus(here());
    Ok(match least_ms {
        Some(least_ms) => scene
            .waits_for(resolver)
            .waits_for_address(at)
            .takes(least_ms),
        None => scene.with(resolver).takes_at_most(FAST_MS).unharmed(),
    }
    .beside_hog(stage))
}

/// Eight connections of a client that waits for as long as it takes. It asks so rarely that the CPU which it shares is free.
fn patient(stage: &Stage, address: SocketAddr) -> Result<Program> {
    let client = python::client(&stage.room, address)?;
    Ok(client
        .with(["--connections=8", "--think-ms=200"])
        .on_cpus(vec![stage.cpu]))
}

/// A link, and an address beyond it that nobody has.
fn nobody() -> Result<(Link, SocketAddr)> {
    let (near, far) = link::addresses()?;
    let link = link::unshaped(near, far, 1)?;
    let address = SocketAddr::from((link::nobodys(&link)?, 81));
    Ok((link, address))
}

/// TCP asks twice in the three seconds that are given to it.
const GIVEN_UP_MS: f64 = 2500.0;

fn dead_behind_nginx(stage: &Stage) -> Result<Scene> {
    let (_link, dead) = nobody()?;
    let address = world::loopback()?;
    let server = web::proxy(&stage.room, address, &dead.to_string())?;
    Ok(without_answer(stage, server, address, dead)?.beside_hog(stage))
}

fn dead_behind_threads(stage: &Stage) -> Result<Scene> {
    let (_link, dead) = nobody()?;
    let address = world::loopback()?;
    let server = python::asker(&stage.room, "connect", address)?;
    let server = server.with(["--at", &dead.to_string()]);
    Ok(without_answer(stage, server, address, dead)?.beside_hog(stage))
}

fn without_answer(
    stage: &Stage,
    server: Program,
    address: SocketAddr,
    dead: SocketAddr,
) -> Result<Scene> {
    let server = server.on_cpus(vec![stage.cpu]);
    Ok(Scene::new(server, address, patient(stage, address)?)
        .waits_for_address(dead.to_string())
        .takes(GIVEN_UP_MS))
}

fn alive(stage: &Stage) -> Result<Scene> {
    let (link, _) = nobody()?;
    let room = &stage.room;
    let served = stage.files("served", 4, 4096)?;
    let upstream = SocketAddr::from((link.far, 81)).to_string();
    let application = python::gunicorn(room, &upstream, &served, "plain")?;
    let address = world::loopback()?;
    let server = web::proxy(room, address, &upstream)?.on_cpus(vec![stage.cpu]);
    let application = application.in_netns(&link.netns).on_cpus(vec![stage.cpu]);
    Ok(Scene::new(server, address, patient(stage, address)?)
        .with(application)
        .takes_at_most(FAST_MS)
        .unharmed()
        .beside_hog(stage))
}

/// What the server gets before the trace: a file that lets it hang, and then requests.
const HANGS: &str = r#"touch "$1"; shift; exec "$@""#;

/// A server that answers until a file is there, and clients whose requests come when it is.
fn hanging(stage: &Stage, server: Program, enough: &Path, address: SocketAddr) -> Result<Scene> {
    let mut asks = stage.room.script(HANGS, enough);
    asks.words
        .extend(python::clients(&stage.room, address, 16)?.words);
    let server = server.on_cpus(vec![stage.cpu]);
    // The client's own requests wait for all of its time.
    let quarter_ms = stage.window.as_secs_f64() * 1000.0 / 4.0;
    Ok(Scene::new(server, address, patient(stage, address)?)
        .innocent("who asks", asks.on_cpus(stage.elsewhere.clone()))
        .beside_hog(stage)
        .takes(quarter_ms))
}

fn hung_at_a_lock(stage: &Stage) -> Result<Scene> {
    let enough = stage.room.dir.join("enough");
    let address = world::loopback()?;
    let until = format!("--until={}", enough.display());
    let server = python::asker(&stage.room, "lock", address)?.with([until]);
    Ok(hanging(stage, server, &enough, address)?.owes_itself("lock"))
}

fn hung_upstream(stage: &Stage) -> Result<Scene> {
    let enough = stage.room.dir.join("enough");
    let (address, at) = (world::loopback()?, world::loopback()?.to_string());
    let until = format!("--until={}", enough.display());
    let service = python::asked(&stage.room, "service", &at)?.with([until]);
    let server = python::asker(&stage.room, "service", address)?.with(["--at", &at]);
    Ok(hanging(stage, server, &enough, address)?
        .waits_for(service.on_cpus(vec![stage.cpu]))
        .waits_for_address(at)
        .harmed())
}

fn not_hung(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let room = &stage.room;
    let server = python::asker(room, "nobody", address)?.on_cpus(vec![stage.cpu]);
    let stays = python::clients(room, address, 16)?.with(["--once"]);
    let mut scene = Scene::alone(server);
    scene.address = Some(address);
    Ok(scene
        .innocent("who stays", stays.on_cpus(stage.elsewhere.clone()))
        .beside_hog(stage)
        .at_most(Meter::OnCpu(Who::Server), 0.01)
        .waits_for_nothing())
}
