//! The interfaces of this network namespace that wrap or mark what is sent through them: two dumps over rtnetlink(7).

use std::{collections::BTreeMap, io, net::IpAddr};

use super::netlink::{self, word};
use crate::standing::Wrapping;

/// Kinds of interfaces (`ip link add type`): tunnels, and those that put something before a packet.
const KINDS: [&str; 19] = [
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "ip6erspan",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "macsec",
    "ppp",
    "sit",
    "vlan",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
    "xfrm",
];
/// `IFLA_IFNAME` of `linux/if_link.h`.
const NAME: u16 = 3;
/// `IFLA_LINKINFO`, and in it `IFLA_INFO_KIND`.
const ABOUT: u16 = 18;
const KIND: u16 = 1;
/// `IFA_LOCAL` of `linux/if_addr.h`: where the other end has an address, the own one. Else `IFA_ADDRESS` is that.
const OWN: u16 = 2;
const ADDRESS: u16 = 1;
/// Length of `struct ifinfomsg`, bytes.
const LINK_HEAD: usize = 16;
/// Length of `struct ifaddrmsg`, bytes.
const ADDRESS_HEAD: usize = 8;

/// The interfaces with their own addresses; none if the kernel does not tell.
#[must_use]
pub(crate) fn wrapping() -> Vec<Wrapping> {
    dump().unwrap_or_default()
}

fn dump() -> io::Result<Vec<Wrapping>> {
    let mut all: BTreeMap<u32, Wrapping> = BTreeMap::new();
    ask(libc::RTM_GETLINK, &[0; LINK_HEAD], |body| {
        all.extend(interface(body));
    })?;
    // Most machines have none.
    if all.is_empty() {
        return Ok(Vec::new());
    }
    ask(libc::RTM_GETADDR, &[0; ADDRESS_HEAD], |body| {
        if let Some((index, own)) = address(body)
            && let Some(interface) = all.get_mut(&index)
        {
            interface.addresses.push(own.to_string());
        }
    })?;
    Ok(all.into_values().collect())
}

/// The addresses of an interface of this network namespace, by its number; none if the kernel does not tell.
pub(super) fn addresses(index: u32) -> Vec<IpAddr> {
    let mut its = Vec::new();
    let asked = ask(libc::RTM_GETADDR, &[0; ADDRESS_HEAD], |body| {
        its.extend(address(body).filter(|(of, _)| *of == index));
    });
    let its = its.into_iter().map(|(_, own)| own);
    its.filter(|_| asked.is_ok()).collect()
}

fn ask(kind: u16, head: &[u8], each: impl FnMut(&[u8])) -> io::Result<()> {
    netlink::dump(libc::NETLINK_ROUTE, kind, head, each)
}

/// One `struct ifinfomsg` with its attributes: the number and the name of an interface that wraps.
fn interface(body: &[u8]) -> Option<(u32, Wrapping)> {
    let find = |bytes, wanted| netlink::attributes(bytes).find(|(kind, _)| *kind == wanted);
    let attributes = body.get(LINK_HEAD..)?;
    let (_, about) = find(attributes, ABOUT)?;
    let (_, kind) = find(about, KIND)?;
    let (_, name) = find(attributes, NAME)?;
    let wrapping = Wrapping {
        name: text(name),
        addresses: Vec::new(),
    };
    KINDS
        .contains(&text(kind).as_str())
        .then_some((word(body, 4)?, wrapping))
}

/// One `struct ifaddrmsg` with its attributes: the number of an interface, and an address of its own.
fn address(body: &[u8]) -> Option<(u32, IpAddr)> {
    let attributes = body.get(ADDRESS_HEAD..)?;
    let find = |wanted| netlink::attributes(attributes).find(|(kind, _)| *kind == wanted);
    let (_, own) = find(OWN).or_else(|| find(ADDRESS))?;
    let four = <[u8; 4]>::try_from(own).map(IpAddr::from);
    let any = four.or_else(|_| <[u8; 16]>::try_from(own).map(IpAddr::from));
    Some((word(body, 4)?, any.ok()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `struct nlattr`, with the zeros behind it.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A message about interface 7 with these attributes.
    fn message(head: usize, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![0; head];
        body[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        body.extend(attributes.concat());
        body
    }

    #[test]
    fn a_tunnel_wraps_and_a_bridge_does_not() {
        let of = |kind: &[u8]| {
            let about = attribute(ABOUT, &attribute(KIND, kind));
            message(LINK_HEAD, &[attribute(NAME, b"up0\0"), about])
        };
        let tunnel = of(b"wireguard\0");
        let found = interface(&tunnel).unwrap();
        assert_eq!((found.0, found.1.name.as_str()), (7, "up0"));
        assert_eq!(interface(&of(b"bridge\0")), None);
        for length in 0..tunnel.len() - 2 {
            assert_eq!(interface(&tunnel[..length]), None, "{length}");
        }
    }

    #[test]
    fn the_own_address_of_a_tunnel_is_not_that_of_its_other_end() {
        let ends = [
            attribute(ADDRESS, &[10, 0, 0, 2]),
            attribute(OWN, &[10, 0, 0, 1]),
        ];
        let found = address(&message(ADDRESS_HEAD, &ends));
        assert_eq!(found, Some((7, IpAddr::from([10, 0, 0, 1]))));
        let six = [attribute(ADDRESS, &[1; 16])];
        let found = address(&message(ADDRESS_HEAD, &six));
        assert_eq!(found, Some((7, IpAddr::from([1; 16]))));
        assert_eq!(address(&message(ADDRESS_HEAD, &[])), None);
        assert_eq!(address(&[0; 3]), None);
    }

    #[test]
    fn the_kernel_is_asked() {
        assert!(dump().is_ok());
    }
}
