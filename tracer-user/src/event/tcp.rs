//! Socket calls, connections, and links.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracer_common::tcp::QUESTION_DATAGRAM;

/// See [`tracer_common::tcp::Call`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Call {
    pub ns: u64,
    pub socket: u64,
    pub result: i64,
    pub arrived_ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub unsent_bytes: u32,
    pub unacked_bytes: u32,
    pub ifindex: u32,
    pub flags: u32,
}

/// See [`tracer_common::tcp::Socket`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Socket {
    pub ns: u64,
    pub socket: u64,
    pub pid: u32,
    pub local: String,
    pub local_port: u32,
    pub remote: String,
}

impl Socket {
    /// Can both ends be of this machine?
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_local(&self.local, &self.remote)
    }

    /// Address of the peer, without its port and in one form (`::ffff:10.0.0.2` is `10.0.0.2`); `None` if it has none.
    #[must_use]
    pub fn peer(&self) -> Option<String> {
        let remote: SocketAddr = self.remote.parse().ok()?;
        Some(remote.ip().to_canonical().to_string())
    }
}

/// The side that opened a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Nobody saw it begin.
    #[default]
    Unknown,
    /// The peer connected, to a port on which somebody of this side listened.
    Accepted,
    /// This side connected.
    Connected,
}

impl Origin {
    /// Does this side answer? Where nobody saw who connected, it does if it `listens` on its own port.
    #[must_use]
    pub fn serves(self, listens: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Unknown => listens(),
            Self::Accepted => true,
            Self::Connected => false,
        }
    }
}

/// [`Socket`] of a connection of which the probes saw the begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The connection.
    pub socket: Socket,
    /// Who opened it.
    pub origin: Origin,
}

/// Can both ends be of this machine? A connection to an own address has that address at both ends.
#[must_use]
pub fn is_local(local: &str, remote: &str) -> bool {
    let ends = local
        .parse::<SocketAddr>()
        .ok()
        .zip(remote.parse::<SocketAddr>().ok());
    ends.is_some_and(|(local, remote)| {
        local.ip() == remote.ip() || (local.ip().is_loopback() && remote.ip().is_loopback())
    })
}

/// The process of this machine that has the other end of a connection that a target accepted. An earlier event has shown the
/// connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// When the process became known, ns.
    pub ns: u64,
    /// The target's socket.
    pub socket: u64,
    /// Process that the client asks.
    pub pid: u32,
    /// Process that asks.
    pub client_pid: u32,
}

/// A process of one thread has one connection that it accepted, since before the window: until it receives or sends again, it works for
/// the process at the other end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoleClient {
    /// When this became known, ns.
    pub ns: u64,
    /// Process that the client asks.
    pub pid: u32,
    /// Process that asks.
    pub client_pid: u32,
}

/// See [`tracer_common::tcp::Ack`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Ack {
    pub ns: u64,
    pub socket: u64,
}

/// See [`tracer_common::tcp::Question`]. One without a `socket` was asked before the trace, at `ns`, or nobody knows when (0). If it has no
/// `tid` either, nobody knows which thread of the process asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Question {
    pub ns: u64,
    pub socket: u64,
    pub pid: u32,
    pub tid: u32,
    pub local: String,
    pub remote: String,
    pub flags: u32,
}

/// Ports of services that answer each datagram: name service, Kerberos, time, SNMP, RADIUS (IANA's list).
const ANSWER_ALL: [&str; 6] = ["53", "88", "123", "161", "1812", "1813"];

impl Question {
    /// Is it a datagram?
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        self.flags & QUESTION_DATAGRAM != 0
    }

    /// Is it a question, whatever the process does after it? A datagram to a service that does not answer each may be none.
    #[must_use]
    pub fn surely_asks(&self) -> bool {
        !self.is_datagram() || self.is_answered_each()
    }

    /// Is it a datagram to a service that answers each?
    #[must_use]
    pub fn is_answered_each(&self) -> bool {
        let port = self.remote.rsplit(':').next();
        self.is_datagram() && port.is_some_and(|port| ANSWER_ALL.contains(&port))
    }
}

/// See [`tracer_common::tcp::Ack`]: one with a `left_ns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record `Ack`")]
pub struct Delivered {
    pub ns: u64,
    pub socket: u64,
    pub left_ns: u64,
}

/// See [`tracer_common::tcp::Link`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Link {
    pub ns: u64,
    pub ifindex: u32,
    pub netns: u32,
    pub name: String,
    pub pid: u32,
    pub packets: u32,
    pub bytes: u64,
    pub backlog_min: u32,
    pub drops: u32,
}

/// See [`tracer_common::tcp::Flow`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Flow {
    pub ns: u64,
    pub socket: u64,
    pub netns: u32,
    pub ifindex: u32,
    pub unsent_bytes: u32,
    pub unacked_bytes: u32,
    pub window_bytes: u32,
    pub retransmits: u32,
    pub flags: u32,
}

/// See [`tracer_common::tcp::Link`]: a slice of one transmit queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record `Link`")]
pub struct Queue {
    pub link: Link,
    pub queue: u32,
    pub timed: u32,
    pub late_ns: u64,
    pub flags: u32,
}

impl From<&Link> for Queue {
    /// A slice of an interface of which nothing is known about lateness.
    fn from(link: &Link) -> Self {
        Self {
            link: link.clone(),
            ..Self::default()
        }
    }
}

/// See [`tracer_common::tcp::Flow`]: one with a `queue`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record `Flow`")]
pub struct QueuedFlow {
    pub flow: Flow,
    pub queue: u32,
}

/// A process takes the packets of an interface (tun), and sends them on by sockets of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// When it was found, ns.
    pub ns: u64,
    /// Network namespace of the interface.
    pub netns: u32,
    /// Number of the interface.
    pub ifindex: u32,
    /// The process.
    pub pid: u32,
}

/// Bytes that arrived for a target, not received at the end: a request that no thread has picked up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The end, ns.
    pub ns: u64,
    /// The target's socket.
    pub socket: u64,
    /// Process that last received or sent there.
    pub pid: u32,
    /// When the first of these bytes arrived, ns.
    pub arrived_ns: u64,
}

/// Data that the target had sent on a connection before attach, of which the peer acknowledged nothing in the window. At the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Process that has the connection.
    pub pid: u32,
    /// Own address and port, as text.
    pub local: String,
    /// Own port.
    pub local_port: u32,
    /// Peer's address and port, as text.
    pub remote: String,
    /// Network namespace (inode number) of the process.
    pub netns: u32,
    /// Interface with the own address there; 0 if none was found.
    pub ifindex: u32,
    /// How often TCP has doubled its timer for these data.
    pub backoff: u32,
    /// How long the receiver's window held them back in the trace's window, ns.
    pub limited_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn both_ends_of_a_local_connection_are_of_this_machine() {
        assert!(is_local("127.0.0.1:40000", "127.0.0.1:80"));
        assert!(is_local("127.0.0.1:40000", "127.0.0.2:80"));
        assert!(is_local("10.0.0.1:40000", "10.0.0.1:80"));
        assert!(!is_local("10.0.0.1:40000", "10.0.0.2:80"));
        assert!(!is_local("", "10.0.0.2:80"));
    }
}
