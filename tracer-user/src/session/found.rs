//! A process that was found to hold the target up, and is to be followed.

use crate::{
    event::{DATAGRAM_PORT, Event, Follow, NO_PORT},
    machine::clocks::now_ns,
};

/// How a process is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On this TCP port.
    Tcp(u32),
    /// By datagrams, on this UDP port.
    Udp(u32),
    /// Over a Unix socket, or for a file.
    Unix,
    /// Another one: it ends waits.
    Hand,
    /// For a lock in memory that both share.
    Lock,
}

/// A process to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Process to follow.
    pub(crate) pid: u32,
    /// Process that asks it.
    pub(crate) by_pid: u32,
    /// How.
    pub(crate) way: Way,
    /// Other TCP ports on which it is asked, by whomever.
    pub(crate) ports: Vec<u32>,
}

impl Found {
    /// A process of which the ports are not known.
    pub(crate) fn new(pid: u32, by_pid: u32, way: Way) -> Self {
        Self {
            pid,
            by_pid,
            way,
            ports: Vec::new(),
        }
    }

    /// The TCP ports on which it is asked.
    pub(crate) fn tcp_ports(&self) -> impl Iterator<Item = u32> {
        let asked_on = match self.way {
            Way::Tcp(port) => Some(port),
            Way::Udp(_) | Way::Unix | Way::Hand | Way::Lock => None,
        };
        asked_on.into_iter().chain(self.ports.iter().copied())
    }

    /// It is followed from now on.
    pub(super) fn follow(&self) -> Event {
        let follow = |by_pid, listening| Follow {
            ns: now_ns(),
            pid: self.pid,
            by_pid,
            listening,
        };
        let ports = || [&[NO_PORT][..], &self.ports[..]].concat();
        match self.way {
            Way::Tcp(port) => Event::Follow(follow(self.by_pid, vec![port])),
            Way::Udp(port) => Event::Follow(follow(self.by_pid, vec![DATAGRAM_PORT | port])),
            Way::Unix => Event::Follow(follow(self.by_pid, ports())),
            Way::Hand => Event::FollowHand(follow(self.by_pid, ports())),
            Way::Lock => Event::FollowOwner(follow(self.pid, Vec::new())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_on_no_port_is_known_to_ask_on_all_its_connections() {
        let ports = |ports: &[u32], way| {
            let found = Found {
                ports: ports.to_vec(),
                ..Found::new(7, 1, way)
            };
            let (Event::Follow(follow) | Event::FollowHand(follow)) = found.follow() else {
                panic!("it is followed");
            };
            (follow.known_tcp_ports(), follow.followed_ports())
        };
        assert_eq!(ports(&[], Way::Unix), (vec![NO_PORT], vec![]));
        // Others may ask it there.
        assert_eq!(ports(&[22], Way::Hand), (vec![NO_PORT, 22], vec![]));
        assert_eq!(ports(&[], Way::Tcp(80)), (vec![80], vec![80]));
        assert_eq!(ports(&[], Way::Udp(53)), (vec![], vec![]));
    }
}
