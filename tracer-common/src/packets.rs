//! Packets: whose they were that a CPU moved in its softirqs while a target thread was queued there.

use crate::{plain, record::Header};

/// What each owner's packets gave each CPU to do in the current slice: [`Packets`] by [`PacketOwner`].
pub const PACKETS_MAP: &str = "PACKETS";
/// Processes that were sending as the trace began, by [`Sender`].
pub const SENDERS_MAP: &str = "SENDERS";

/// Length of a slice, ns: that of a link's.
pub const SLICE_NS: u64 = crate::tcp::LINK_SLICE_NS;

/// What one owner's packets gave a CPU to do in one slice.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Packets {
    /// `ns` is the begin of the slice, a multiple of [`SLICE_NS`].
    pub header: Header,
    /// The CPU.
    pub cpu: u32,
    /// Process whose sockets they are of; 0: nobody's, as far as is known.
    pub pid: u32,
    /// Left the queue of an interface.
    pub sent: u32,
    /// Came in: data by who sent it, if that is known here, else by who received it; an acknowledgement by whose data it acknowledges.
    pub received: u32,
    /// Packets that came in at all; counted with process 0.
    pub polled: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// Key of such a cell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PacketOwner {
    /// The CPU.
    pub cpu: u32,
    /// Process.
    pub pid: u32,
}

/// Key of a socket on which somebody was sending as the trace began (map `SENDERS`, of processes). Two with the same ports lead to
/// different addresses and are one server's, or as good as never there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sender {
    /// Network namespace (inode number).
    pub netns: u32,
    /// Own port, host order.
    pub local_port: u16,
    /// Peer's port, host order.
    pub remote_port: u16,
}

plain!(Packets = 40, PacketOwner = 8, Sender = 8);
