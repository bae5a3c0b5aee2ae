//! The queueing disciplines of the interfaces of this network namespace: `/sys/class/net`, and one dump over rtnetlink(7).

use std::{fs, io};

use super::netlink::{self, word};
use crate::standing::Interface;

/// `tcmsg.tcm_parent` of a qdisc at the root, `TC_H_ROOT` of `linux/pkt_sched.h`.
const ROOT: u32 = u32::MAX;
/// `TCA_KIND` of `linux/rtnetlink.h`.
const KIND: u16 = 1;
/// Roots that hold a discipline for each transmit queue, and queue nothing themselves.
const SHELLS: [&str; 2] = ["mq", "mqprio"];
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
    let all = numbers().into_iter();
    let mut interfaces: Vec<Interface> = all
        .map(|(name, ifindex)| interface(name, ifindex, &qdiscs))
        .collect();
    interfaces.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    interfaces
}

/// Names and numbers of the interfaces.
fn numbers() -> Vec<(String, u32)> {
    let entries = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    let number = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("ifindex")).ok()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, text.trim().parse().ok()?))
    };
    entries.filter_map(number).collect()
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

/// The disciplines from which the packets of one interface leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queueing {
    /// Name of the interface.
    pub(crate) interface: String,
    /// Kinds, each once, in order. Those of the transmit queues if the root is a shell around them.
    pub(crate) kinds: Vec<String>,
    /// Has each transmit queue a discipline of its own?
    pub(crate) by_queue: bool,
}

/// The interfaces of this network namespace that queue.
#[must_use]
pub(crate) fn queueing() -> Vec<Queueing> {
    let qdiscs = dump().unwrap_or_default();
    let mut all = Vec::new();
    for (interface, ifindex) in numbers() {
        all.extend(leaves(interface, ifindex, &qdiscs));
    }
    all.sort_unstable_by(|a, b| a.interface.cmp(&b.interface));
    all
}

fn leaves(interface: String, ifindex: u32, qdiscs: &[Qdisc]) -> Option<Queueing> {
    let here = || qdiscs.iter().filter(|qdisc| qdisc.ifindex == ifindex);
    let root = here().find(|qdisc| qdisc.parent == ROOT)?;
    let by_queue = SHELLS.contains(&root.kind.as_str());
    let mut kinds: Vec<String> = if by_queue {
        let below =
            |qdisc: &&Qdisc| qdisc.parent != ROOT && qdisc.parent >> 16 == root.handle >> 16;
        here()
            .filter(below)
            .map(|qdisc| qdisc.kind.clone())
            .collect()
    } else {
        vec![root.kind.clone()]
    };
    kinds.retain(|kind| kind != "noqueue");
    kinds.sort_unstable();
    kinds.dedup();
    (!kinds.is_empty()).then_some(Queueing {
        interface,
        kinds,
        by_queue,
    })
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
    fn a_shell_queues_as_what_it_holds_and_no_queue_is_none() {
        let queues = [
            of(0x0077_0002, 0, "pfifo_fast"),
            of(0x0077_0001, 0x000a_0000, "tbf"),
            of(0x000a_0001, 0x000b_0000, "bfifo"),
            of(ROOT, 0x0077_0000, "mq"),
        ];
        let found = leaves("eth0".to_owned(), 3, &queues).unwrap();
        assert_eq!(found.kinds, ["pfifo_fast", "tbf"]);
        assert!(found.by_queue);
        let plain = leaves("eth0".to_owned(), 3, &[of(ROOT, 0, "htb")]).unwrap();
        assert_eq!((plain.kinds[0].as_str(), plain.by_queue), ("htb", false));
        assert_eq!(leaves("lo".to_owned(), 3, &[of(ROOT, 0, "noqueue")]), None);
        assert_eq!(leaves("lo".to_owned(), 4, &queues), None);
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
