//! A process that was found to hold the target up, and is to be followed.

use crate::{
    event::{DATAGRAM_PORT, Event, Follow},
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Process to follow.
    pub(crate) pid: u32,
    /// Process that asks it.
    pub(crate) by_pid: u32,
    /// How.
    pub(crate) way: Way,
}

impl Found {
    /// The TCP port on which it is asked.
    pub(crate) fn port(&self) -> Option<u32> {
        match self.way {
            Way::Tcp(port) => Some(port),
            Way::Udp(_) | Way::Unix | Way::Hand | Way::Lock => None,
        }
    }

    /// It is followed from now on.
    pub(super) fn follow(&self) -> Event {
        let follow = |by_pid, listening| Follow {
            ns: now_ns(),
            pid: self.pid,
            by_pid,
            listening,
        };
        match self.way {
            Way::Tcp(port) => Event::Follow(follow(self.by_pid, vec![port])),
            Way::Udp(port) => Event::Follow(follow(self.by_pid, vec![DATAGRAM_PORT | port])),
            Way::Unix => Event::Follow(follow(self.by_pid, Vec::new())),
            Way::Hand => Event::FollowHand(follow(self.by_pid, Vec::new())),
            Way::Lock => Event::FollowOwner(follow(self.pid, Vec::new())),
        }
    }
}
