//! The process that takes the packets of an interface which software made (tun, tap), from the description of its descriptor.
//!
//! It sends them on by sockets of its own, as a VPN does. A virtual machine is left out: it keeps what it takes, and what it sends is its
//! own. Its packets have a header that lets the guest's driver do part of the work.

use std::{fs, path::Path};

use super::{SmallFiles, diag::open_in, netlink, numbers_in, socket::namespace};

/// The device of which such a process has a descriptor.
const DEVICE: &str = "/dev/net/tun";
/// Length of `struct ifinfomsg`, bytes.
const LINK_HEAD: usize = 16;
/// `IFLA_IFNAME` and `IFLA_LINKINFO` of `linux/if_link.h`; in the latter `IFLA_INFO_DATA`; in that `IFLA_TUN_TYPE` and
/// `IFLA_TUN_VNET_HDR`, 4.17 and later.
const NAME: u16 = 3;
const ABOUT: u16 = 18;
const DATA: u16 = 2;
const TYPE: u16 = 3;
const VNET_HEADER: u16 = 5;
/// `IFF_TUN` and `IFF_TAP` of `linux/if_tun.h`.
const TUN: u8 = 1;
const TAP: u8 = 2;

/// The process that takes the packets of this interface of a network namespace. `None` if there is none, or several that cannot be told
/// apart.
#[must_use]
pub(crate) fn taker(interface: &str, netns: u32) -> Option<u32> {
    let (own, netns) = (namespace(std::process::id())?, u64::from(netns));
    let is_within = |pid: &u32| namespace(*pid) == Some(netns);
    let within = match own == netns {
        true => Some(std::process::id()),
        false => numbers_in("/proc").find(is_within),
    };
    if !is_carried(within?, interface) {
        return None;
    }
    let mut files = SmallFiles::default();
    let mut found: Vec<u32> = numbers_in("/proc").collect();
    found.retain(|pid| takes(&mut files, *pid, interface));
    // Interfaces of other namespaces may have the same name.
    if found.len() > 1 || own != netns {
        found.retain(is_within);
    }
    match found[..] {
        [pid] => Some(pid),
        _ => None,
    }
}

/// May a process send on what it takes from this interface in the network namespace of `pid`?
fn is_carried(pid: u32, interface: &str) -> bool {
    let Ok(socket) = open_in(pid, libc::NETLINK_ROUTE) else {
        return false;
    };
    let mut is_carried = false;
    let asked = netlink::dump_through(&socket, libc::RTM_GETLINK, &[0; LINK_HEAD], |body| {
        is_carried |= carries(body, interface).unwrap_or(false);
    });
    asked.is_ok() && is_carried
}

/// Is this `struct ifinfomsg` with its attributes that of the interface, and one for whole packets or frames as they are?
fn carries(body: &[u8], interface: &str) -> Option<bool> {
    let find = |bytes, wanted| netlink::attributes(bytes).find(|(kind, _)| *kind == wanted);
    let attributes = body.get(LINK_HEAD..)?;
    let (_, name) = find(attributes, NAME)?;
    let (_, about) = find(attributes, ABOUT)?;
    let (_, data) = find(about, DATA)?;
    let number = |wanted| find(data, wanted)?.1.first().copied();
    let is_named = name.strip_suffix(b"\0").unwrap_or(name) == interface.as_bytes();
    let is_plain = match number(TYPE)? {
        TUN => true,
        TAP => number(VNET_HEADER)? == 0,
        _ => false,
    };
    Some(is_named && is_plain)
}

/// Has a process a descriptor of this interface?
fn takes(files: &mut SmallFiles, pid: u32, interface: &str) -> bool {
    numbers_in(&format!("/proc/{pid}/fd")).any(|descriptor| {
        let path = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"));
        path.is_ok_and(|path| path == Path::new(DEVICE))
            && files
                .read(format_args!("/proc/{pid}/fdinfo/{descriptor}"))
                .is_some_and(|info| is_of(&String::from_utf8_lossy(info), interface))
    })
}

/// Does a description have the line `iff:` with this name (`tun_chr_show_fdinfo`)?
fn is_of(info: &str, interface: &str) -> bool {
    let mut names = info.lines().filter_map(|line| line.strip_prefix("iff:"));
    names.any(|name| name.trim() == interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_of_the_interface_that_its_description_names() {
        let info = "pos:\t0\nflags:\t0104002\nmnt_id:\t26\nino:\t1\niff:\ttun0\n";
        assert!(is_of(info, "tun0"));
        assert!(!is_of(info, "tun"));
        assert!(!is_of("pos:\t0\n", "tun0"));
    }

    /// An attribute, and the padding behind it.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len() as u16;
        let mut all = length.to_ne_bytes().to_vec();
        all.extend(kind.to_ne_bytes());
        all.extend(value);
        all.resize(all.len().next_multiple_of(4), 0);
        all
    }

    #[test]
    fn packets_and_plain_frames_are_carried_and_those_of_a_virtual_machine_are_not() {
        let link = |kind: u8, header: u8| {
            let data = [attribute(TYPE, &[kind]), attribute(VNET_HEADER, &[header])].concat();
            let mut body = vec![0; LINK_HEAD];
            body.extend(attribute(NAME, b"tap0\0"));
            body.extend(attribute(ABOUT, &attribute(DATA, &data)));
            body
        };
        let all = [(TUN, 0), (TUN, 1), (TAP, 0), (TAP, 1), (9, 0)];
        let carried = all.map(|(kind, header)| carries(&link(kind, header), "tap0"));
        assert_eq!(carried, [true, true, true, false, false].map(Some));
        assert_eq!(carries(&link(TUN, 0), "tap"), Some(false));
        let whole = link(TAP, 0);
        assert!((0..whole.len()).all(|cut| carries(&whole[..cut], "tap0") != Some(true)));
    }

    #[test]
    fn an_interface_that_no_process_made_has_no_taker() {
        let own = namespace(std::process::id()).unwrap();
        assert_eq!(taker("lo", own as u32), None);
        assert_eq!(taker("no such interface", own as u32), None);
    }
}
