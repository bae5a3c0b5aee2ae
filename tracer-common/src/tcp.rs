//! TCP records: the socket calls of a target, their acknowledgement, and the traffic that each process sent on a link.

use crate::{plain, record::Header};

/// State of each socket, by its kernel address: [`SocketState`].
pub const SOCKETS_MAP: &str = "SOCKETS";
/// Traffic that each owner sent through each interface in the current slice: [`Link`] by [`LinkOwner`].
pub const LINKS_MAP: &str = "LINKS";

/// The call was a send; otherwise a receive.
pub const CALL_SEND: u32 = 1;
/// After the call the socket waits for space (`SOCK_NOSPACE`): the rest could not be sent.
pub const CALL_NOSPACE: u32 = 2;
/// The connection is over: the socket was destroyed, or its last data was acknowledged while it closed.
pub const CALL_CLOSE: u32 = 4;
/// The thread is one of the kernel's that polls a ring of `io_uring` for the process (`IORING_SETUP_SQPOLL`).
pub const CALL_POLLER: u32 = 8;

/// A send or receive of a target on a TCP socket returned, or the socket ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    /// `ns` is the return.
    pub header: Header,
    /// The socket: its kernel address, unique while it lives.
    pub socket: u64,
    /// Bytes moved, or a negative errno.
    pub result: i64,
    /// Receive: when the first byte not yet received had arrived, ns; 0 if that was not seen.
    pub arrived_ns: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Bytes written to the socket and not yet sent.
    pub unsent_bytes: u32,
    /// Bytes sent and not yet acknowledged.
    pub unacked_bytes: u32,
    /// Interface its packets last left through, if it queues; else 0.
    pub ifindex: u32,
    /// `CALL_*` bits.
    pub flags: u32,
}

/// The peer connected, and this side accepted.
pub const ORIGIN_ACCEPTED: u32 = 1;
/// This side connected.
pub const ORIGIN_CONNECTED: u32 = 2;

/// The probes first saw a target's socket, or its packets now leave through another queueing interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Socket {
    /// `ns` is the time of the event.
    pub header: Header,
    /// The socket.
    pub socket: u64,
    /// Process.
    pub pid: u32,
    /// `AF_INET` or `AF_INET6`.
    pub family: u32,
    /// Own port, host order.
    pub local_port: u32,
    /// Peer's port, host order.
    pub remote_port: u32,
    /// Own address, network order; IPv4 in the first 4 bytes.
    pub local: [u8; 16],
    /// Peer's address.
    pub remote: [u8; 16],
    /// One of `ORIGIN_*`; 0 if the probes did not see the connection begin.
    pub origin: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The receiver's window has no room for the next segment that waits.
pub const FLOW_WINDOW: u32 = 1;

/// Shortest time between two flow records of one socket, ns, unless the `FLOW_*` bits or the number of retransmits changes.
pub const FLOW_NS: u64 = 10_000_000;

/// The same while the socket has nothing to send and is held back by nothing, ns. A change is told at once, behind a record of the last
/// look at which there was none.
pub const FLOW_QUIET_NS: u64 = 1_000_000_000;

/// So many records of a socket after a change still come every [`FLOW_NS`], whatever it has to send: a second's at least. For so long a
/// loss or a full buffer of the receiver explains what the socket waits for, and a longer span would be explained by it, too.
pub const FLOW_SETTLES: u32 = 100;

/// The limit on a sending socket of a target just before `ns`. It is valid since the record before.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// `ns` is the time at which an acknowledgement arrived or a send returned. A record of the last look comes late, behind younger ones
    /// of others.
    pub header: Header,
    /// The socket.
    pub socket: u64,
    /// Network namespace (inode number) of that interface.
    pub netns: u32,
    /// Interface its packets last left through, if it queues; else 0.
    pub ifindex: u32,
    /// Bytes written to the socket and not yet sent.
    pub unsent_bytes: u32,
    /// Bytes sent and not yet acknowledged.
    pub unacked_bytes: u32,
    /// Bytes that the receiver takes beyond the last byte acknowledged.
    pub window_bytes: u32,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
    /// `FLOW_*` bits.
    pub flags: u32,
    /// Its transmit queue, as in [`Link::queue`].
    pub queue: u32,
}

/// The peer has acknowledged all bytes that a target had sent on a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Ack {
    /// `ns` is the time at which the acknowledgement arrived.
    pub header: Header,
    /// The socket.
    pub socket: u64,
    /// When its last packet before `ns` left the queue of an interface, ns. If no interface queued one, when the socket last sent or
    /// received one before `ns`; 0 if that is not known.
    pub left_ns: u64,
}

/// The process that connected a Unix stream that a target accepted. Emitted as the stream is first used, and when the process changes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// `ns` is the time of the event.
    pub header: Header,
    /// The socket.
    pub socket: u64,
    /// Process that accepted.
    pub pid: u32,
    /// Process that connected.
    pub client_pid: u32,
}

/// The question is over: the peer answered, or nobody waits for that any more.
pub const QUESTION_OVER: u32 = 1;
/// A datagram (UDP), which may be no question: many are sent to whom it may concern.
pub const QUESTION_DATAGRAM: u32 = 2;
/// The process has looked for an answer, and found none yet.
pub const QUESTION_LISTENS: u32 = 4;
/// Beside [`QUESTION_OVER`]: one of several datagrams that were sent at once is answered, and the others are not.
pub const QUESTION_MORE: u32 = 8;

/// A target asks whoever is at an address, and has no answer yet: it connects, or sends a datagram. Or such a question is over.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Question {
    /// `ns` is the time at which it asks, or the end.
    pub header: Header,
    /// The socket.
    pub socket: u64,
    /// Process that asks.
    pub pid: u32,
    /// Thread that asks. At the end, the one that gave up; 0 if a packet or a timer of the kernel ended it.
    pub tid: u32,
    /// `AF_INET` or `AF_INET6`.
    pub family: u32,
    /// Own port, host order; 0 if the socket has none yet.
    pub local_port: u32,
    /// Peer's port, host order; 0 if it is not known to whom a datagram went.
    pub remote_port: u32,
    /// `QUESTION_*` bits.
    pub flags: u32,
    /// Own address, network order; IPv4 in the first 4 bytes.
    pub local: [u8; 16],
    /// Peer's address.
    pub remote: [u8; 16],
}

/// Length of a link slice, ns. 10 ms is short against a human's idea of "slow". It is long against a packet: 1500 bytes take 1.2 ms
/// at 10 Mbit/s.
pub const LINK_SLICE_NS: u64 = 10_000_000;

/// A packet that leaves this much later than TCP wanted, ns, has waited for the link. Timers of `fq` are late by less: 10 µs of
/// slack, and the way through a softirq. A paced socket keeps a millisecond of data in a queue (`sk_pacing_shift`). So behind a
/// full link a packet waits longer, at least for the data of its own socket.
pub const LATE_NS: u64 = 700_000;

/// Traffic that one owner sent through a queue of an interface, in one slice.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// `ns` is the begin of the slice, a multiple of [`LINK_SLICE_NS`].
    pub header: Header,
    /// Interface.
    pub ifindex: u32,
    /// Network namespace (inode number).
    pub netns: u32,
    /// Process that owns the sockets.
    pub pid: u32,
    /// Packets sent.
    pub packets: u32,
    /// Wire bytes.
    pub bytes: u64,
    /// Smallest backlog, packets, at the departure of this owner's packets that had waited for the link. 0: the queue emptied.
    /// `u32::MAX`: every packet left on time.
    pub backlog_min: u32,
    /// The queue's drop counter at the last packet.
    pub drops: u32,
    /// Name of the interface.
    pub name: [u8; 16],
    /// Longest time that one of these packets left after TCP wanted it to, or after it left another queue before, ns. Of those in `timed`
    /// alone.
    pub late_ns: u64,
    /// Packets of which it is known when TCP wanted them to leave.
    pub timed: u32,
    /// Transmit queue, from 0, if each has a queueing discipline of its own; else 0.
    pub queue: u32,
    /// `LINK_*` bits.
    pub flags: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// The backlog of the queue cannot be read. A packet that was late counts as a backlog of 1, one on time as none.
pub const LINK_UNREAD: u32 = 1;
/// The interface hands its packets to a process (tun, tap), which sends them on by a socket of its own.
pub const LINK_HANDED: u32 = 2;

/// The state that the kernel half keeps of a socket (map `SOCKETS`, by address).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketState {
    /// When the first byte not yet received arrived, ns; 0: none was seen.
    pub arrived_ns: u64,
    /// When a peer's connection was complete on which nobody has received yet, ns; 0: somebody has, or it was not seen. The first bytes
    /// may have come with it.
    pub connected_ns: u64,
    /// When the send call under way began, ns; 0: there is none. The socket's lock lets one at a time.
    pub began_ns: u64,
    /// When the oldest send not yet acknowledged returned, ns; 0: there is none.
    pub sent_ns: u64,
    /// Process that last received or sent.
    pub pid: u32,
    /// The send of `sent_ns` ends when the peer acknowledges this sequence number.
    pub sent_seq: u32,
    /// Interface its packets last left through, if it queues. Of several, one behind the other: that in which they stand.
    pub ifindex: u32,
    /// 1 once user space knows the socket: a [`Socket`] record was emitted, or a call on a Unix stream.
    pub announced: u32,
    /// Network namespace (inode number) of that interface.
    pub netns: u32,
    /// `FLOW_*` bits of the last [`Flow`] record.
    pub flow_flags: u32,
    /// When the last [`Flow`] record was emitted, ns; 0 before the first.
    pub flow_ns: u64,
    /// Segments sent again until `flow_ns`.
    pub retransmits: u32,
    /// Hash of its packets: finds the socket of a packet that has lost it. 0: not known.
    pub hash: u32,
    /// When its last packet left the queue of an interface, ns; 0 before the first.
    pub left_ns: u64,
    /// When a packet of it last left a queue late ([`LATE_NS`]), ns; 0 before the first.
    pub waited_ns: u64,
    /// CPU on which its last packet passed or left an interface.
    pub cpu: u32,
    /// Of a Unix stream: the process that connected, as last emitted; 0 before.
    pub client_pid: u32,
    /// Transmit queue of that interface, as in [`Link::queue`].
    pub queue: u32,
    /// The queue of the last [`Flow`] record.
    pub flow_queue: u32,
    /// One of `ORIGIN_*`; 0 if its begin was not seen.
    pub origin: u32,
    /// Of a Unix stream: the number of its inode. A socket that gets the same address has another one. 0: not known.
    pub inode: u32,
    /// 1 while a [`Question`] of the socket has no answer.
    pub asks: u32,
    /// Thread of a target that last sent or received; 0 before.
    pub tid: u32,
    /// When the limit on it was last looked at, ns; 0 before.
    pub looked_ns: u64,
    /// The interface of the last [`Flow`] record.
    pub flow_ifindex: u32,
    /// How many of [`FLOW_SETTLES`] records are still to come.
    pub flow_settles: u32,
}

/// Key of a [`Link`] cell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkOwner {
    /// Network namespace (inode number).
    pub netns: u32,
    /// Interface.
    pub ifindex: u32,
    /// Process.
    pub pid: u32,
    /// Transmit queue, as in [`Link::queue`].
    pub queue: u32,
}

plain!(
    Call = 64,
    Socket = 80,
    Ack = 32,
    Client = 32,
    Question = 80,
    Link = 88,
    Flow = 56,
    SocketState = 136,
    LinkOwner = 16
);
