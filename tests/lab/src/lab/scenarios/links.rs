//! Scenarios of links as they are met: IPv6, bridges, several of them, backups over ssh, backups that hold back.

use std::net::SocketAddr;

use anyhow::Result;

use super::network::{BACKED_UP_BYTES, FULL, SINK_PORT, net, sender, served_over, sink};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{
    link::{self, Link},
    nginx, python, ssh,
    upper::{self, Upper},
    web::{self, Protocol},
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "links-ipv6",
        about: "server and backup send through the link by IPv6",
        quick: false,
        make: ipv6,
    },
    Scenario {
        name: "links-bridge",
        about: "a backup in a network namespace sends through a bridge, and from there through nginx's link",
        quick: true,
        make: bridge,
    },
    Scenario {
        name: "links-two",
        about: "a backup fills the server's link; another one fills another link",
        quick: false,
        make: two,
    },
    Scenario {
        name: "links-other",
        about: "a backup fills a link that is not the server's",
        quick: false,
        make: other,
    },
    Scenario {
        name: "links-https",
        about: "nginx serves over HTTP/2 through the link, a backup sends four streams through it",
        quick: false,
        make: https,
    },
    Scenario {
        name: "links-ssh",
        about: "rsync sends over ssh through nginx's link",
        quick: false,
        make: over_ssh,
    },
    Scenario {
        name: "links-scp",
        about: "scp sends through the server's link",
        quick: false,
        make: scp,
    },
    Scenario {
        name: "links-bwlimit",
        about: "rsync --bwlimit leaves most of nginx's link to it",
        quick: false,
        make: limited,
    },
    Scenario {
        name: "links-tun",
        about: "the server sends into a tunnel of a process (tun), whose link a backup fills",
        quick: false,
        make: |stage| tunnelled(stage, &[TUN], true),
    },
    Scenario {
        name: "links-tun-apart",
        about: "the same, but the backup fills another link",
        quick: false,
        make: |stage| tunnelled(stage, &[TUN], false),
    },
    Scenario {
        name: "links-tap",
        about: "the server sends into a tunnel of a process that takes frames (tap), whose link a backup fills",
        quick: false,
        make: |stage| tunnelled(stage, &[TAP], true),
    },
    Scenario {
        name: "links-tap-apart",
        about: "the same, but the backup fills another link",
        quick: false,
        make: |stage| tunnelled(stage, &[TAP], false),
    },
    Scenario {
        name: "links-tun-twice",
        about: "the server sends into a tunnel of a process within that of another one, whose link a backup fills",
        quick: false,
        make: |stage| tunnelled(stage, &[TUN, TUN], true),
    },
    Scenario {
        name: "links-tun-twice-apart",
        about: "the same, but the backup fills another link",
        quick: false,
        make: |stage| tunnelled(stage, &[TUN, TUN], false),
    },
];

/// Tunnels that a process keeps up at each end, and the mode of their interfaces.
const TUN: (Upper, &str) = (Upper::Tun, "tun");
const TAP: (Upper, &str) = (Upper::Tap, "tap");

fn ipv6(stage: &Stage) -> Result<Scene> {
    let (near, far) = link::addresses()?;
    let link = link::link(near, far)?;
    let (near, far) = link::add_ipv6(&link)?;
    let far = SocketAddr::from((far, SINK_PORT));
    Ok(served_over(stage, &link, near.into(), false)?
        .with(sink(stage, far).in_netns(&link.netns))
        .guilty("backup", sender(stage, "backed-up", far, 4)?)
        .holds("network", None)
        .at_least(Meter::Sent(link.device), FULL))
}

/// A forwarded packet has no socket where it is sent: its owner must have been seen at its first device.
fn bridge(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let netns = link::behind_a_bridge(&net.link)?;
    let backup = sender(stage, "backed-up", net.far, 4)?.in_netns(&netns);
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

/// A server with its client at the other end of a tunnel, and a backup beside it that fills the tunnel's link, or another one. Of several
/// tunnels each is within the one before.
fn tunnelled(stage: &Stage, tunnels: &[(Upper, &str)], on_its_link: bool) -> Result<Scene> {
    const PORT: u16 = 1194;
    let elsewhere = || stage.elsewhere.clone();
    let (near, far) = link::addresses()?;
    let below = link::link(near, far)?;
    let (mut tunnel, mut kept_up) = (None, Vec::new());
    for (number, (kind, mode)) in (1_u16..).zip(tunnels) {
        let around: &Link = tunnel.as_ref().unwrap_or(&below);
        let within = upper::put_on(around, *kind, number, &stage.room.dir)?;
        let [here, there] = [around.near, around.far].map(|end| SocketAddr::from((end, PORT)));
        let interface = upper::name(number);
        let at = |own, other| python::tunnel(&stage.room, (&interface, mode), own, other);
        kept_up.push(at(here, there)?.on_cpus(elsewhere()));
        let far = at(there, here)?.on_cpus(elsewhere());
        kept_up.push(far.in_netns(&below.netns));
        tunnel = Some(within);
    }
    let tunnel = tunnel.as_ref().unwrap_or(&below);
    let filled = match on_its_link {
        true => None,
        false => Some(link::another(&below)?),
    };
    let filled = filled.as_ref().unwrap_or(&below);
    let to = SocketAddr::from((filled.far, SINK_PORT));
    let backup = sender(stage, "backed-up", to, 4)?.on_cpus(elsewhere());
    let scene = served_over(stage, tunnel, tunnel.near.into(), false)?;
    let scene = kept_up.into_iter().fold(scene, Scene::with);
    let scene = scene
        .with(sink(stage, to).in_netns(&below.netns))
        .at_least(Meter::Sent(filled.device.clone()), FULL);
    Ok(match on_its_link {
        true => scene.guilty("backup", backup).holds("network", None),
        false => scene.innocent("backup", backup),
    })
}

fn two(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let other = link::another(&net.link)?;
    let there = SocketAddr::from((other.far, SINK_PORT));
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .with(sink(stage, there).in_netns(&other.netns))
        .guilty("here", sender(stage, "here", net.far, 4)?)
        .innocent("there", sender(stage, "there", there, 4)?)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL)
        .at_least(Meter::Sent(other.device), FULL))
}

fn other(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let other = link::another(&net.link)?;
    let there = SocketAddr::from((other.far, SINK_PORT));
    Ok(net
        .scene
        .with(sink(stage, there).in_netns(&other.netns))
        .innocent("there", sender(stage, "there", there, 4)?)
        .at_least(Meter::Sent(other.device), FULL)
        .unharmed())
}

/// Requests of a connection share it, and their answers queue behind each other too.
fn https(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let room = &stage.room;
    let address = SocketAddr::from((net.link.near, 8443));
    let served = room.dir.join("served");
    let server = web::tls(room, address, &served, Protocol::Two, false)?;
    let client = web::load(room, address, Protocol::Two, 4, 8.0)?.in_netns(&net.link.netns);
    Ok(Scene::new(server, address, client)
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .guilty("backup", sender(stage, "backed-up", net.far, 4)?)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

/// Every file whole and again each time, over two connections.
fn over_ssh(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let (server, reach) = ssh::server(&stage.room, net.far)?;
    let store = stage.room.subdir("received")?;
    let files = stage.files("backed-up", 2, BACKED_UP_BYTES)?;
    let script = format!(
        r#"for file in "$1"/*; do
            while :; do rsync --whole-file --ignore-times -e '{reach}' "$file" root@{}:"$2"/ || exit; done &
        done; wait"#,
        net.far.ip()
    );
    Ok(net
        .scene
        .with(server.in_netns(&net.link.netns))
        .guilty("backup", stage.script(&script, &files, &store))
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

fn scp(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let (server, reach) = ssh::server(&stage.room, net.far)?;
    let store = stage.room.subdir("received")?;
    let files = stage.files("backed-up", 1, 16 * BACKED_UP_BYTES)?;
    // The same options, but for the port's.
    let reach = reach.replace("ssh -p", "scp -q -P");
    let script = format!(r#"exec {reach} "$1"/* root@{}:"$2"/"#, net.far.ip());
    Ok(net
        .scene
        .with(server.in_netns(&net.link.netns))
        .guilty("backup", stage.script(&script, &files, &store))
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

/// 500 KB/s of 6250.
fn limited(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let files = stage.files("backed-up", 1, BACKED_UP_BYTES)?;
    let (receiver, _) = nginx::rsync(&stage.room, net.far, &files)?;
    let script = format!(
        r#"while :; do rsync --bwlimit=500 --whole-file --ignore-times "$1"/* rsync://{}/backup/ || exit; done"#,
        net.far
    );
    Ok(net
        .scene
        .with(receiver.in_netns(&net.link.netns))
        .innocent("backup", stage.room.script(&script, &files))
        .at_least(Meter::Taken(Who::Backup(0)), 2e5)
        .unharmed())
}
