//! The queueing disciplines of the interfaces of this network namespace: `/sys/class/net`, and one dump over rtnetlink(7).

use std::{fs, io};

use super::netlink::{self, word};
use crate::standing::Interface;

/// `tcmsg.tcm_parent` of a qdisc at the root, `TC_H_ROOT` of `linux/pkt_sched.h`.
const ROOT: u32 = u32::MAX;
/// `TCA_KIND` of `linux/rtnetlink.h`.
const KIND: u16 = 1;
/// Length of `struct tcmsg`, bytes.
const TC_HEAD: usize = 20;

/// One queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Qdisc {
    ifindex: u32,
    handle: u32,
    parent: u32,
    kind: String,
}

/// The interfaces with their root qdiscs. The call does not see other network namespaces.
#[must_use]
pub(crate) fn interfaces() -> Vec<Interface> {
    let qdiscs = dump().unwrap_or_default();
    let entries = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    let interface = |entry: fs::DirEntry| {
        let ifindex = fs::read_to_string(entry.path().join("ifindex"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some(interface(
            entry.file_name().to_string_lossy().into_owned(),
            ifindex,
            &qdiscs,
        ))
    };
    let mut interfaces: Vec<Interface> = entries.filter_map(interface).collect();
    interfaces.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    interfaces
}

fn interface(name: String, ifindex: u32, qdiscs: &[Qdisc]) -> Interface {
    let mut here = qdiscs.iter().filter(|qdisc| qdisc.ifindex == ifindex);
    let Some(root) = here.clone().find(|qdisc| qdisc.parent == ROOT) else {
        return Interface {
            name,
            ..Interface::default()
        };
    };
    let inner = here.find(|qdisc| root.handle != 0 && qdisc.parent == root.handle | 1);
    Interface {
        name,
        qdisc: root.kind.clone(),
        major: (root.handle >> 16) as u16,
        inner: inner.map(|qdisc| qdisc.kind.clone()).unwrap_or_default(),
    }
}

/// Asks for all qdiscs.
fn dump() -> io::Result<Vec<Qdisc>> {
    let mut all = Vec::new();
    netlink::dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETQDISC,
        &[0; TC_HEAD],
        |body| all.extend(qdisc(body)),
    )?;
    Ok(all)
}

/// One `struct tcmsg` with its attributes.
fn qdisc(body: &[u8]) -> Option<Qdisc> {
    let (_, kind) = netlink::attributes(body.get(TC_HEAD..)?).find(|(kind, _)| *kind == KIND)?;
    Some(Qdisc {
        ifindex: word(body, 4)?,
        handle: word(body, 8)?,
        parent: word(body, 12)?,
        kind: String::from_utf8_lossy(kind)
            .trim_end_matches('\0')
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parent: u32, handle: u32, kind: &str) -> Qdisc {
        Qdisc {
            ifindex: 3,
            handle,
            parent,
            kind: kind.to_owned(),
        }
    }

    #[test]
    fn the_root_and_what_it_holds_are_told_apart() {
        let qdiscs = [
            of(0x8001_0001, 0x000a_0000, "bfifo"),
            of(ROOT, 0x8001_0000, "tbf"),
        ];
        let found = interface("veth".to_owned(), 3, &qdiscs);
        assert_eq!(
            (found.qdisc.as_str(), found.major, found.inner.as_str()),
            ("tbf", 0x8001, "bfifo")
        );
        assert_eq!(interface("lo".to_owned(), 1, &qdiscs).qdisc, "");
    }

    #[test]
    fn a_message_is_read_at_every_length() {
        let mut body = vec![0_u8; TC_HEAD];
        body.extend([8, 0, 1, 0]);
        body.extend(b"tbf\0");
        body[4..8].copy_from_slice(&3_u32.to_ne_bytes());
        body[12..16].copy_from_slice(&ROOT.to_ne_bytes());
        for length in 0..body.len() {
            assert_eq!(qdisc(&body[..length]), None);
        }
        assert_eq!(qdisc(&body), Some(of(ROOT, 0, "tbf")));
    }

    #[test]
    fn the_loopback_is_an_interface_here() {
        assert!(interfaces().iter().any(|interface| interface.name == "lo"));
    }
}
