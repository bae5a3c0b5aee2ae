//! A shaped veth link into a network namespace of its own.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::{Context as _, Result};
use xtask::command::output;

use super::{
    ledger,
    made::{Made, set},
    tools::tool,
};

/// The shaper: a slow line with a queue of about 80 ms, as home and office routers have them.
pub(crate) const SHAPER: [&str; 7] = ["tbf", "rate", "50mbit", "burst", "64kb", "limit", "512kb"];

/// A link and where it leads.
pub(crate) struct Link {
    /// The namespace at its other end.
    pub(crate) netns: String,
    /// The device at our end, which has the shaper.
    pub(crate) device: String,
    /// The address at our end.
    pub(crate) near: Ipv4Addr,
    /// The address at the other end.
    pub(crate) far: Ipv4Addr,
    /// The device at the other end.
    pub(super) there: String,
}

/// A network namespace of our own.
pub(crate) fn namespace() -> Result<String> {
    let netns = super::name();
    ledger::make(Made::Netns(netns.clone()), || ip(&["netns", "add", &netns]))?;
    Ok(netns)
}

/// A namespace and a shaped link into it; the shaped end is ours.
pub(crate) fn link(near: Ipv4Addr, far: Ipv4Addr) -> Result<Link> {
    lay("tdemo", "link0", namespace()?, near, far)
}

/// The same with a device at our end that has so many transmit queues, and without a shaper.
pub(crate) fn unshaped(near: Ipv4Addr, far: Ipv4Addr, queues: usize) -> Result<Link> {
    lay_unshaped("tdemo", "link0", namespace()?, (near, far), queues)
}

/// The same into a namespace that is there already. `number` tells the links of a scene apart.
pub(crate) fn unshaped_into(netns: &str, number: u16, queues: usize) -> Result<Link> {
    let (here, there) = (format!("tdl{number}"), format!("link{number}"));
    lay_unshaped(&here, &there, netns.to_owned(), addresses()?, queues)
}

/// One more shaped link into the namespace to which the first one leads.
pub(crate) fn another(first: &Link) -> Result<Link> {
    let (near, far) = addresses()?;
    lay("tdlnk", "link1", first.netns.clone(), near, far)
}

/// The kernel allows 15 characters for a device's name; a process id has at most 7.
pub(super) fn device(kind: &str) -> String {
    format!("{kind}{}", std::process::id())
}

fn lay(kind: &str, there: &str, netns: String, near: Ipv4Addr, far: Ipv4Addr) -> Result<Link> {
    let link = lay_unshaped(kind, there, netns, (near, far), 1)?;
    let shape = ["qdisc", "add", "dev", &link.device, "root"];
    tc(&[&shape[..], &SHAPER].concat())?;
    Ok(link)
}

fn lay_unshaped(
    kind: &str,
    there: &str,
    netns: String,
    (near, far): (Ipv4Addr, Ipv4Addr),
    queues: usize,
) -> Result<Link> {
    let here = device(kind);
    pair(&here, there, &netns, queues)?;
    join(&[], &here, &format!("{near}/30"))?;
    join(&["-netns", &netns], there, &format!("{far}/30"))?;
    Ok(Link {
        netns,
        device: here,
        near,
        far,
        there: there.to_owned(),
    })
}

/// Two devices that are the ends of a line, one of them in a namespace, each with so many queues.
fn pair(here: &str, there: &str, netns: &str, queues: usize) -> Result<()> {
    let queues = &queues.to_string();
    let many = ["numtxqueues", queues, "numrxqueues", queues];
    let one = [&["link", "add", here][..], &many, &["type", "veth", "peer"]].concat();
    let other = [&["name", there][..], &many, &["netns", netns]].concat();
    ledger::make(Made::Link(here.to_owned()), || ip(&[one, other].concat()))
}

/// Gives a device an address and switches it on. `at` are the words that name its namespace: none for ours.
pub(super) fn join(at: &[&str], device: &str, address: &str) -> Result<()> {
    ip(&[at, &["address", "add", address, "dev", device]].concat())?;
    ip(&[at, &["link", "set", device, "up"]].concat())
}

/// IPv6 addresses for both ends, from the block for private use (RFC 4193).
pub(crate) fn add_ipv6(link: &Link) -> Result<(Ipv6Addr, Ipv6Addr)> {
    let [.., net, _] = link.near.octets();
    let of = |end| Ipv6Addr::new(0xfd74, 0x7261, 0x6365, net.into(), 0, 0, 0, end);
    let (near, far) = (of(1), of(2));
    let add = |netns: &[&str], address: Ipv6Addr, device: &str| {
        let address = format!("{address}/64");
        // Nobody else is there, so that the kernel need not ask whether the address is in use.
        let words = ["-6", "address", "add", &address, "dev", device, "nodad"];
        ip(&[netns, &words].concat())
    };
    add(&[], near, &link.device)?;
    add(&["-netns", &link.netns], far, &link.there)?;
    Ok((near, far))
}

/// A namespace of its own behind a bridge, as containers have. Its way to the far end of `link` leads through us.
pub(crate) fn behind_a_bridge(link: &Link) -> Result<String> {
    const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
    let (netns, bridge) = (format!("{}-box", super::name()), device("tdbrg"));
    let (gateway, inside) = addresses()?;
    ledger::make(Made::Netns(netns.clone()), || ip(&["netns", "add", &netns]))?;
    let making = || ip(&["link", "add", &bridge, "type", "bridge"]);
    ledger::make(Made::Link(bridge.clone()), making)?;
    ip(&["address", "add", &format!("{gateway}/30"), "dev", &bridge])?;
    ip(&["link", "set", &bridge, "up"])?;
    let here = device("tdbox");
    pair(&here, "box0", &netns, 1)?;
    ip(&["link", "set", &here, "master", &bridge, "up"])?;
    join(&["-netns", &netns], "box0", &format!("{inside}/30"))?;
    let gateway = gateway.to_string();
    ip(&["-netns", &netns, "route", "add", "default", "via", &gateway])?;
    let (inside, near) = (inside.to_string(), link.near.to_string());
    ip(&["-netns", &link.netns, "route", "add", &inside, "via", &near])?;
    let was =
        fs::read_to_string(FORWARD).context("could not read whether packets are forwarded")?;
    let setting = Made::Setting(FORWARD.into(), was.trim().to_owned());
    ledger::make(setting, || {
        set(Path::new(FORWARD), "1").context("could not have packets forwarded")
    })?;
    Ok(netns)
}

/// Has what is forwarded through a link leave in our name, as the packets of containers do.
pub(crate) fn masquerade(link: &Link) -> Result<()> {
    let table = device("tdnat");
    let nft = |words: &[&str]| {
        output(tool("nft").args(words), "translate addresses (nftables)").map(drop)
    };
    ledger::make(Made::Table(table.clone()), || {
        nft(&["add", "table", "ip", &table])
    })?;
    let hook = "{ type nat hook postrouting priority 100 ; }";
    nft(&["add", "chain", "ip", &table, "out", hook])?;
    let to = ["oifname", &link.device, "masquerade"];
    nft(&[&["add", "rule", "ip", &table, "out"][..], &to].concat())
}

/// Has TCP hand over each packet of the wire by itself. Where packets need no time on their way, it hands over 64 KiB at once: on a slow
/// link that cannot divide them, each takes a tenth of a second.
pub(crate) fn packets_of_the_wire(device: &str) -> Result<()> {
    ip(&["link", "set", "dev", device, "gso_max_segs", "1"])
}

/// An address beyond the far end of a link that nobody has: what is sent there is lost without a word.
pub(crate) fn nobodys(link: &Link) -> Result<Ipv4Addr> {
    let (_, nobodys) = addresses()?;
    let (to, via) = (nobodys.to_string(), link.far.to_string());
    ip(&["route", "add", &to, "via", &via, "dev", &link.device])?;
    ip(&["-netns", &link.netns, "route", "add", "blackhole", &to])?;
    Ok(nobodys)
}

/// Runs `tc`.
pub(crate) fn tc(words: &[&str]) -> Result<()> {
    let doing = "shape the link (the kernel needs CONFIG_NET_SCH_TBF and CONFIG_NET_SCH_HTB)";
    output(tool("tc").args(words), doing).map(drop)
}

/// Runs `ip`.
pub(super) fn ip(words: &[&str]) -> Result<()> {
    output(tool("ip").args(words), "make the link").map(drop)
}

/// Two addresses of a small net that nobody here uses, from the block reserved for measurements (RFC 2544).
pub(crate) fn addresses() -> Result<(Ipv4Addr, Ipv4Addr)> {
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
