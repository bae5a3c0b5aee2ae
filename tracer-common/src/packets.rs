//! Packets: how many of each owner a CPU moved in its softirqs while a target thread was queued there.

use crate::{plain, record::Header};

/// Packets of each owner that each CPU moved in the current slice: [`Packets`] by [`PacketOwner`].
pub const PACKETS_MAP: &str = "PACKETS";
/// Processes that were sending as the trace began, by [`Sender`].
pub const SENDERS_MAP: &str = "SENDERS";

/// Length of a slice, ns: the same as for links.
pub const SLICE_NS: u64 = crate::tcp::LINK_SLICE_NS;

/// Packets of one owner that a CPU moved in one slice.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Packets {
    /// `ns` is the begin of the slice, a multiple of [`SLICE_NS`].
    pub header: Header,
    /// The CPU.
    pub cpu: u32,
    /// Process that owns the sockets; 0: not known.
    pub pid: u32,
    /// Packets that left the queue of an interface.
    pub sent: u32,
    /// Packets that came in. The owner of data is its sender if that is known here, else its receiver. The owner of an acknowledgement is
    /// the sender of the acknowledged data.
    pub received: u32,
    /// All packets that came in; counted with process 0 only.
    pub polled: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// Key of a [`Packets`] cell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PacketOwner {
    /// The CPU.
    pub cpu: u32,
    /// Process.
    pub pid: u32,
}

/// Key of a socket on which a process was sending as the trace began (map `SENDERS`). Two sockets with the same ports lead to different
/// addresses: they belong to one server, but for rare exceptions.
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
