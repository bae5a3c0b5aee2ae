//! A shaped veth link into a network namespace of its own.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use super::{ledger, made::Made, tools::tool};
use crate::command::output;

/// The shaper: a slow line with a queue of about 80 ms, as home and office routers have them.
const SHAPER: [&str; 7] = ["tbf", "rate", "50mbit", "burst", "64kb", "limit", "512kb"];

/// A link and where it leads.
pub struct Link {
    /// The namespace at its other end.
    pub netns: String,
    /// The device at our end, which has the shaper.
    pub device: String,
}

/// A namespace and a shaped link into it; the shaped end is ours.
pub fn link(near: Ipv4Addr, far: Ipv4Addr) -> Result<Link> {
    let netns = super::name();
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
    Ok(Link {
        netns,
        device: here,
    })
}

fn ip(words: &[&str]) -> Result<()> {
    output(tool("ip").args(words), "make the link").map(drop)
}

/// Two addresses of a small net that nobody here uses, from the block reserved for measurements (RFC 2544).
pub fn addresses() -> Result<(Ipv4Addr, Ipv4Addr)> {
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
