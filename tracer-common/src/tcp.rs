//! TCP records: a target's socket calls, their acknowledgement, and who sent on a link.

use crate::{plain, record::Header};

/// State of each socket, by its kernel address: [`SocketState`].
pub const SOCKETS_MAP: &str = "SOCKETS";
/// What each owner sent through each interface in the current slice: [`Link`] by [`LinkOwner`].
pub const LINKS_MAP: &str = "LINKS";

/// The call was a send; otherwise a receive.
pub const CALL_SEND: u32 = 1;
/// After the call the socket waits for space (`SOCK_NOSPACE`): the rest could not be sent.
pub const CALL_NOSPACE: u32 = 2;
/// The connection is over (the socket was destroyed or its last data acknowledged while closing).
pub const CALL_CLOSE: u32 = 4;

/// A send or receive of a target on a TCP socket returned, or the socket ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    /// `ns` is the return.
    pub header: Header,
    /// The socket: its kernel address, unique while it lives.
    pub socket: u64,
    /// Bytes, or a negative errno.
    pub result: i64,
    /// Receive: when the first byte not yet received had arrived, 0 if that was not seen.
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

/// A target's socket was first seen, or its packets now leave through another queueing interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Socket {
    /// `ns` is when.
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
}

/// The receiver's window has no room for the next segment that waits.
pub const FLOW_WINDOW: u32 = 1;

/// A flow record comes at most so often from one socket, unless what holds it back changes.
pub const FLOW_NS: u64 = 10_000_000;

/// What holds a sending socket of a target back, as it was just before `ns`: since the record before nothing changed it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// `ns` is when an acknowledgement arrived or a send returned.
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
    /// What the receiver takes beyond the last byte acknowledged.
    pub window_bytes: u32,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
    /// `FLOW_*` bits.
    pub flags: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// All a target had sent on a socket is acknowledged.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Ack {
    /// `ns` is when the acknowledgement arrived.
    pub header: Header,
    /// The socket.
    pub socket: u64,
    /// When its last packet before left the queue of an interface; 0 if none did that queues.
    pub left_ns: u64,
}

/// Which process connected a Unix stream that a target accepted; sent as the stream is first used, and where that changes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// `ns` is when.
    pub header: Header,
    /// The socket.
    pub socket: u64,
    /// Process that accepted.
    pub pid: u32,
    /// Process that connected.
    pub client_pid: u32,
}

/// Length of a link slice. The value is 10 ms, as in the design: short against a human's idea of "slow",
/// long against a packet (1.2 ms for 1500 bytes at 10 Mbit/s).
pub const LINK_SLICE_NS: u64 = 10_000_000;

/// A packet that leaves so much later than TCP wanted it to has waited for the link. The value is above what a timer of `fq` is late
/// (10 µs of slack, and the way through a softirq), and below the millisecond of data that a paced socket keeps in a queue
/// (`sk_pacing_shift`): behind a full link a packet waits for its own socket's data at least.
pub const LATE_NS: u64 = 700_000;

/// What one owner sent through an interface that queues, in one slice.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// `ns` is the begin of the slice, a multiple of [`LINK_SLICE_NS`].
    pub header: Header,
    /// Interface.
    pub ifindex: u32,
    /// Network namespace (inode number).
    pub netns: u32,
    /// Process whose sockets sent.
    pub pid: u32,
    /// Packets.
    pub packets: u32,
    /// Wire bytes.
    pub bytes: u64,
    /// Smallest backlog, in packets, seen as packets of this owner left that had waited for the link; 0: the queue emptied; the
    /// largest number: none had waited for more than the time at which it was due.
    pub backlog_min: u32,
    /// The queue's drop counter at the last packet.
    pub drops: u32,
    /// Name of the interface.
    pub name: [u8; 16],
}

/// What the kernel half remembers of a socket (map `SOCKETS`, by address).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketState {
    /// When the first byte not yet received arrived.
    pub arrived_ns: u64,
    /// When the send call under way began; 0: there is none. The socket's lock lets one at a time.
    pub began_ns: u64,
    /// When the oldest send not yet acknowledged returned.
    pub sent_ns: u64,
    /// Process that last received or sent.
    pub pid: u32,
    /// Sequence number whose acknowledgement ends that send.
    pub sent_seq: u32,
    /// Interface its packets last left through, if it queues.
    pub ifindex: u32,
    /// 1 once a [`Socket`] record was sent.
    pub announced: u32,
    /// Network namespace (inode number) of that interface.
    pub netns: u32,
    /// `FLOW_*` bits of the last [`Flow`] record.
    pub flow_flags: u32,
    /// When that was sent; 0 before the first.
    pub flow_ns: u64,
    /// Segments sent again as it was sent.
    pub retransmits: u32,
    /// Hash of its packets, under which it is found where a packet has lost its socket; 0: not known.
    pub hash: u32,
    /// When its last packet left the queue of an interface; 0 before the first.
    pub left_ns: u64,
    /// CPU on which its last packet passed or left an interface.
    pub cpu: u32,
    /// Of a Unix stream: which process connected, as was told last.
    pub client_pid: u32,
}

/// Key of a link cell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkOwner {
    /// Network namespace (inode number).
    pub netns: u32,
    /// Interface.
    pub ifindex: u32,
    /// Process.
    pub pid: u32,
    /// Explicit padding.
    pub reserved: u32,
}

plain!(
    Call = 64,
    Socket = 72,
    Ack = 32,
    Client = 32,
    Link = 64,
    Flow = 56,
    SocketState = 80,
    LinkOwner = 16
);
