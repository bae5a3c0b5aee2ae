//! Scenarios of one shaped link that others send through too.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{
    link::{self, Link},
    nginx,
    process::Program,
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "network-rsync",
        about: "nginx serves through the link, several rsync send through it",
        quick: false,
        make: rsync,
    },
    Scenario {
        name: "network-bulk",
        about: "a backup sends four streams through the server's link",
        quick: true,
        make: bulk,
    },
    Scenario {
        name: "network-70-30",
        about: "two backups send through the link, one seven streams, one three",
        quick: false,
        make: seven_and_three,
    },
    Scenario {
        name: "network-download",
        about: "another server's client downloads a backup through the server's link, four files at a time",
        quick: false,
        make: download,
    },
    Scenario {
        name: "network-udp",
        about: "socat sends datagrams through the server's link",
        quick: false,
        make: datagrams,
    },
    Scenario {
        name: "network-media",
        about: "a program sends datagrams at a steady rate through a link, which a backup fills",
        quick: false,
        make: media_beside,
    },
    Scenario {
        name: "network-media-apart",
        about: "the same, but the backup fills another link",
        quick: false,
        make: media_apart,
    },
    Scenario {
        name: "network-other-way",
        about: "a backup receives through the link, which is shaped only where the server sends",
        quick: false,
        make: other_way,
    },
];

const SERVED: usize = 16;
const SERVED_BYTES: usize = 64 << 10;
const BACKED_UP: usize = 10;
pub(crate) const BACKED_UP_BYTES: usize = 8 << 20;
const SERVER_PORT: u16 = 8080;
/// Where sinks listen.
pub(crate) const SINK_PORT: u16 = 8873;
/// How many bytes per second a full link sends at least: nine tenths of its 50 Mbit/s.
pub(crate) const FULL: f64 = 0.9 * 50e6 / 8.0;

/// A link with the server at the near end and its client at the far one.
pub(crate) struct Net {
    /// Server and client.
    pub(crate) scene: Scene,
    /// Between them.
    pub(crate) link: Link,
    /// Where a sink at the near end may listen.
    pub(crate) near: SocketAddr,
    /// Where a sink at the far end may listen.
    pub(crate) far: SocketAddr,
}

/// A link with its server, a real one or the lab's own.
pub(crate) fn net(stage: &Stage, real: bool) -> Result<Net> {
    let (near, far) = link::addresses()?;
    net_over(stage, link::link(near, far)?, real)
}

/// The same over a link that is there already.
pub(crate) fn net_over(stage: &Stage, link: Link, real: bool) -> Result<Net> {
    Ok(Net {
        scene: served_over(stage, &link, link.near.into(), real)?,
        near: SocketAddr::from((link.near, SINK_PORT)),
        far: SocketAddr::from((link.far, SINK_PORT)),
        link,
    })
}

/// A server at this address of the near end of a link, with its client at the far end.
pub(crate) fn served_over(stage: &Stage, link: &Link, near: IpAddr, real: bool) -> Result<Scene> {
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let address = SocketAddr::from((near, SERVER_PORT));
    let client = stage
        .room
        .client(address, &served)
        .with(["--connections=4", "--think-ms=100"])
        .in_netns(&link.netns);
    let server = if real {
        stage.room.nginx(address, &served, false)?
    } else {
        stage.room.server(address, &served, false)
    };
    Ok(Scene::new(server, address, client))
}

/// A program that takes streams at an address.
pub(crate) fn sink(stage: &Stage, address: SocketAddr) -> Program {
    stage
        .room
        .own("demo-sink")
        .with(["--listen", &address.to_string()])
}

/// A backup that sends so many streams.
pub(crate) fn sender(stage: &Stage, name: &str, to: SocketAddr, streams: usize) -> Result<Program> {
    let files = stage.files(name, BACKED_UP, BACKED_UP_BYTES)?;
    Ok(stage
        .room
        .backup("send", &files)
        .with(["--to", &to.to_string()])
        .with(["--parallel", &streams.to_string()]))
}

fn rsync(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let files = stage.files("backed-up", 4, BACKED_UP_BYTES)?;
    let (receiver, backup) = nginx::rsync(&stage.room, net.far, &files)?;
    Ok(net
        .scene
        .with(receiver.in_netns(&net.link.netns))
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::HeldBack(net.link.device.clone()), 1.0)
        .at_least(Meter::Sent(net.link.device), FULL))
}

fn bulk(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let backup = sender(stage, "backed-up", net.far, 4)?;
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

fn seven_and_three(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let seven = sender(stage, "seven", net.far, 7)?;
    let three = sender(stage, "three", net.far, 3)?;
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .guilty("seven", seven)
        .guilty("three", three)
        .holds("network", Some(|backup| Meter::Taken(Who::Backup(backup))))
        .at_least(Meter::Sent(net.link.device), FULL))
}

/// Fetches each of the files again and again from the address that it sees as its first argument.
const FETCH: &str = r#"
import sys, threading, time, urllib.request

def fetch(file):
    while True:
        try:
            with urllib.request.urlopen(f"http://{sys.argv[1]}/{file}") as answer:
                while answer.read(1 << 16):
                    pass
        except OSError:
            time.sleep(0.1)

for file in sys.argv[2:]:
    threading.Thread(target=fetch, args=[file]).start()
"#;

/// A backup is fetched from the place where it lies: Python's file server sends it.
fn download(stage: &Stage) -> Result<Scene> {
    const FETCHED: usize = 4;
    let net = net(stage, true)?;
    let files = stage.files("backed-up", FETCHED, BACKED_UP_BYTES)?;
    let server = stage
        .room
        .program(["python3", "-m", "http.server", "--directory"])
        .with([files])
        .with(["--bind", &net.near.ip().to_string()])
        .with([net.near.port().to_string()]);
    let fetch = stage
        .room
        .program(["python3", "-c", FETCH, &net.near.to_string()])
        .with((0..FETCHED).map(|file| format!("{file:04}.txt")))
        .in_netns(&net.link.netns);
    Ok(net
        .scene
        .guilty("file server", server)
        .innocent("who fetches", fetch)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

/// Nobody listens where the datagrams arrive. The size of the sender's socket buffer holds it back.
fn datagrams(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let to = format!("UDP-SENDTO:{}", net.far);
    let backup = stage
        .room
        .program(["socat", "-u", "-b", "1400", "OPEN:/dev/zero", &to]);
    Ok(net
        .scene
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

/// Sends 20 Mbit/s of datagrams, or as much as its socket has room for: what is late is worth nothing, so that the room is small.
const MEDIA: &str = r#"
import socket, sys, time

out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
due = time.monotonic()
while True:
    for _ in range(9):
        out.sendto(b"x" * 1400, (sys.argv[1], int(sys.argv[2])))
    due = max(due + 0.005, time.monotonic() - 0.1)
    time.sleep(max(0, due - time.monotonic()))
"#;

/// How many bytes per second that is at least, where nothing is in the way.
const MEDIA_RATE: f64 = 0.9 * 20e6 / 8.0;

/// A program that sends datagrams through a link. Nobody listens where they arrive.
fn media(stage: &Stage) -> Result<(Scene, Link)> {
    let (near, far) = link::addresses()?;
    let link = link::link(near, far)?;
    let (to, port) = (link.far.to_string(), SERVER_PORT.to_string());
    let server = stage.room.program(["python3", "-c", MEDIA, &to, &port]);
    Ok((Scene::alone(server.on_cpus(vec![stage.cpu])), link))
}

fn media_beside(stage: &Stage) -> Result<Scene> {
    let (scene, link) = media(stage)?;
    let to = SocketAddr::from((link.far, SINK_PORT));
    let backup = sender(stage, "backed-up", to, 4)?.on_cpus(stage.elsewhere.clone());
    Ok(scene
        .with(sink(stage, to).in_netns(&link.netns))
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::Sent(link.device), FULL))
}

fn media_apart(stage: &Stage) -> Result<Scene> {
    let (scene, link) = media(stage)?;
    let other = link::another(&link)?;
    let to = SocketAddr::from((other.far, SINK_PORT));
    let backup = sender(stage, "backed-up", to, 4)?.on_cpus(stage.elsewhere.clone());
    let sink = sink(stage, to).on_cpus(stage.elsewhere.clone());
    Ok(scene
        .with(sink.in_netns(&other.netns))
        .innocent("backup", backup)
        .at_least(Meter::Sent(other.device), FULL)
        .at_least(Meter::Sent(link.device), MEDIA_RATE))
}

/// The sender is at the far end, and slow enough that its acknowledgements are no load and the CPUs neither.
fn other_way(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let backup = sender(stage, "backed-up", net.near, 1)?
        .in_netns(&net.link.netns)
        .on_cpus(stage.elsewhere.clone());
    Ok(net
        .scene
        .with(sink(stage, net.near).on_cpus(stage.elsewhere.clone()))
        .innocent("receiver", backup)
        .at_least(Meter::Taken(Who::Backup(0)), 1e6)
        .unharmed())
}
