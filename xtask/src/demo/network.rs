//! The scene of the full link: server and backup send through one shaped veth link, to a client and a sink at its
//! other end, which lies in a network namespace of its own.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};

use super::{
    ledger,
    made::Made,
    tools::tool,
    world::{self, Room, World},
};
use crate::command::output;

/// The shaper: a slow line with a queue of about 80 ms, as home and office routers have them.
const SHAPER: [&str; 7] = ["tbf", "rate", "50mbit", "burst", "64kb", "limit", "512kb"];
const SERVED: usize = 16;
const SERVED_BYTES: usize = 64 << 10;
const BACKED_UP: usize = 4;
const BACKED_UP_BYTES: usize = 16 << 20;
const SERVER_PORT: u16 = 8080;
const SINK_PORT: u16 = 8873;

/// Makes the scene.
pub fn make(room: &Room<'_>) -> Result<World> {
    let (near, far) = addresses()?;
    let netns = link(near, far)?;
    let (served, backed_up) = (room.subdir("served")?, room.subdir("backed-up")?);
    world::write_files(&served, SERVED, SERVED_BYTES)?;
    world::write_files(&backed_up, BACKED_UP, BACKED_UP_BYTES)?;

    let address = SocketAddr::from((near, SERVER_PORT));
    let sink = SocketAddr::from((far, SINK_PORT));
    let client = room
        .client(address, &served)
        .with(["--connections=4", "--think-ms=100"]);
    let (receiver, backup) = if room.args.real() {
        super::nginx::rsync(room, sink, &backed_up)?
    } else {
        let receiver = room.own("demo-sink").with(["--listen", &sink.to_string()]);
        (
            receiver,
            room.backup("send", &backed_up)
                .with(["--to", &sink.to_string()]),
        )
    };
    Ok(World {
        extras: vec![receiver.in_netns(&netns)],
        server: room.server(address, &served, false)?,
        address,
        backup,
        client: client.in_netns(&netns),
        disk: None,
    })
}

/// A namespace and a shaped link into it; returns the namespace's name.
fn link(near: Ipv4Addr, far: Ipv4Addr) -> Result<String> {
    let netns = world::name();
    // The kernel allows 15 characters; a process id has at most 7.
    let (here, there) = (format!("tdemo{}", std::process::id()), "link0");
    ledger::make(Made::Netns(netns.clone()), || ip(&["netns", "add", &netns]))?;
    let pair = [
        "link", "add", &here, "type", "veth", "peer", "name", there, "netns", &netns,
    ];
    ledger::make(Made::Link(here.clone()), || ip(&pair))?;
    ip(&["address", "add", &format!("{near}/30"), "dev", &here])?;
    ip(&["link", "set", &here, "up"])?;
    ip(&[
        "-netns",
        &netns,
        "address",
        "add",
        &format!("{far}/30"),
        "dev",
        there,
    ])?;
    ip(&["-netns", &netns, "link", "set", there, "up"])?;
    let shape = ["qdisc", "add", "dev", &here, "root"];
    output(
        tool("tc").args(shape).args(SHAPER),
        "shape the link (the kernel needs CONFIG_NET_SCH_TBF)",
    )?;
    Ok(netns)
}

fn ip(words: &[&str]) -> Result<()> {
    output(tool("ip").args(words), "make the link").map(drop)
}

/// Two addresses of a small net that nobody here uses, from the block reserved for measurements (RFC 2544).
fn addresses() -> Result<(Ipv4Addr, Ipv4Addr)> {
    let free = |third: &u8| {
        let net = format!("198.18.{third}.0/30");
        // A route of the same or a narrower net would be somebody's; the default route is no obstacle.
        let shown = |what: &[&str]| {
            output(
                tool("ip")
                    .args(["-4", "route", "show", "table", "all"])
                    .args(what),
                "list routes",
            )
        };
        shown(&["root", &net]).is_ok_and(|text| text.trim().is_empty())
            && shown(&["match", &net])
                .is_ok_and(|text| text.lines().all(|line| line.starts_with("default")))
    };
    let third = (0..=255)
        .find(free)
        .context("all nets of 198.18.0.0/16 are in use here")?;
    Ok((
        Ipv4Addr::new(198, 18, third, 1),
        Ipv4Addr::new(198, 18, third, 2),
    ))
}
