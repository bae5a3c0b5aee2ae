//! Interfaces that stand on a link: VLANs, bonds, bridges, tunnels. They queue nothing, so what is sent through them waits in the queue of
//! the link. They are modules, which a machine's kernel may lack.

use std::{net::Ipv4Addr, path::Path};

use anyhow::Result;
use xtask::command::output;

use super::{
    ledger,
    link::{self, Link},
    made::Made,
    tools::tool,
};

/// The kinds of such interfaces.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Upper {
    /// Its packets have a tag.
    Vlan,
    /// One link of several, of which there is no other here.
    Bond,
    /// One more address of the link's own kind.
    Macvlan,
    /// A switch, with the link as its only port.
    Bridge,
    /// A tunnel: IP in IP.
    Ipip,
    /// A tunnel: Ethernet in UDP.
    Vxlan,
    /// A tunnel that encrypts.
    Wireguard,
    /// A tunnel that a process at each end is to keep up: packets of IP.
    Tun,
    /// The same, with frames of Ethernet.
    Tap,
}

/// One end of a link.
struct End<'a> {
    /// Its namespace, if that is not ours.
    netns: Option<&'a str>,
    /// The device that queues.
    below: &'a str,
    /// The interface on it; that device itself where there is none.
    above: String,
    /// The device's address, and that of the other end's.
    own: Ipv4Addr,
    other: Ipv4Addr,
}

/// The name of such an interface on the link of this number, at both ends.
pub(crate) fn name(number: u16) -> String {
    link::device(&format!("tdu{number}"))
}

/// Puts one on a link. What is returned is the same link, with the addresses of the interface on it. Files with keys go to `dir`.
pub(crate) fn put_on(below: &Link, kind: Upper, number: u16, dir: &Path) -> Result<Link> {
    let (near, far) = link::addresses()?;
    let there = if kind.is_at_both_ends() {
        name(number)
    } else {
        below.there.clone()
    };
    let ends = [
        End {
            netns: None,
            below: &below.device,
            above: name(number),
            own: below.near,
            other: below.far,
        },
        End {
            netns: Some(&below.netns),
            below: &below.there,
            above: there,
            own: below.far,
            other: below.near,
        },
    ];
    for end in &ends {
        kind.make(end, number)?;
    }
    if kind == Upper::Wireguard {
        exchange_keys(&ends, number, dir)?;
    }
    for (end, address) in ends.iter().zip([near, far]) {
        link::join(&end.at(), &end.above, &format!("{address}/30"))?;
    }
    Ok(Link {
        netns: below.netns.clone(),
        device: below.device.clone(),
        near,
        far,
        there: below.there.clone(),
    })
}

impl Upper {
    /// Does it take the device in, so that nothing else sends there?
    fn takes_in(self) -> bool {
        matches!(self, Self::Bond | Self::Bridge)
    }

    /// Must the far end have one, too? A plain device there understands what the others send.
    fn is_at_both_ends(self) -> bool {
        !self.takes_in() && self != Self::Macvlan
    }

    /// Makes what an end needs. A device that is taken in keeps no address, and a bond takes it only while it is off.
    fn make(self, end: &End<'_>, number: u16) -> Result<()> {
        let (below, above) = (end.below, &end.above);
        if self.takes_in() {
            end.ip(&format!("address flush dev {below}"))?;
        }
        if above == below {
            return Ok(());
        }
        let what = self.words(end, number);
        ledger::make(Made::Link(above.clone()), || end.ip(&what))?;
        if matches!(self, Self::Tun | Self::Tap) {
            // Room for the headers that the process's socket puts before a packet.
            end.ip(&format!("link set {above} mtu 1400"))?;
        }
        if self.takes_in() {
            end.ip(&format!("link set {below} down"))?;
            end.ip(&format!("link set {below} master {above}"))?;
            end.ip(&format!("link set {below} up"))?;
        }
        Ok(())
    }

    /// The words that make one.
    fn words(self, end: &End<'_>, number: u16) -> String {
        let End {
            below,
            above,
            own,
            other,
            ..
        } = end;
        match self {
            Self::Vlan => format!("link add link {below} name {above} type vlan id 7"),
            Self::Bond => format!("link add {above} type bond mode active-backup"),
            Self::Macvlan => format!("link add link {below} name {above} type macvlan mode bridge"),
            Self::Bridge => format!("link add {above} type bridge"),
            Self::Ipip => format!("link add {above} type ipip local {own} remote {other}"),
            Self::Vxlan => format!(
                "link add {above} type vxlan id {number} dstport 4789 local {own} remote {other} dev {below}"
            ),
            Self::Wireguard => format!("link add {above} type wireguard"),
            Self::Tun => format!("tuntap add dev {above} mode tun"),
            Self::Tap => format!("tuntap add dev {above} mode tap"),
        }
    }
}

impl End<'_> {
    /// The words by which `ip` finds the namespace.
    fn at(&self) -> Vec<&str> {
        self.netns
            .map_or_else(Vec::new, |netns| vec!["-netns", netns])
    }

    /// Runs `ip` there with the words of a line.
    fn ip(&self, line: &str) -> Result<()> {
        let mut words = self.at();
        words.extend(line.split(' '));
        link::ip(&words)
    }
}

/// Tells each end of a tunnel where the other one is, and its key.
fn exchange_keys(ends: &[End<'_>; 2], number: u16, dir: &Path) -> Result<()> {
    let port = 51_820 + number;
    let file = |side: usize| dir.join(format!("key-{number}-{side}"));
    let public = [key(&file(0))?, key(&file(1))?];
    for (side, end) in ends.iter().enumerate() {
        let mut wg = match end.netns {
            None => tool("wg"),
            Some(_) => tool("ip"),
        };
        if let Some(netns) = end.netns {
            wg.args(["netns", "exec", netns, "wg"]);
        }
        let endpoint = format!("{}:{port}", end.other);
        wg.args(["set", &end.above, "listen-port", &port.to_string()])
            .arg("private-key")
            .arg(file(side))
            .args(["peer", &public[1 - side], "endpoint", &endpoint])
            .args(["allowed-ips", "0.0.0.0/0"]);
        output(&mut wg, "set the tunnel up (wireguard-tools)")?;
    }
    Ok(())
}

/// Makes a private key in a file. Returns the public one.
fn key(file: &Path) -> Result<String> {
    const MAKE: &str = r#"umask 077; wg genkey >"$1" && wg pubkey <"$1""#;
    let mut make = tool("sh");
    make.args(["-c", MAKE, "key"]).arg(file);
    let public = output(&mut make, "make a tunnel's key (wireguard-tools)")?;
    Ok(public.trim().to_owned())
}
