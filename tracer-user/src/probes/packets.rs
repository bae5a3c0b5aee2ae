//! Packets; kernel side: `tracer-ebpf/src/probes/packets.rs`.

use tracer_common::{
    packets::{PACKETS_MAP, PacketOwner, Packets},
    shed::Group,
};

use super::{
    maps::Maps,
    table::{Probe, optional},
};
use crate::event::{self, Event};

/// The module with the types of tracked connections, unless the kernel itself has them. A packet that is forwarded behind an address
/// translation shows there where it came from.
pub(crate) const TRACKING: &str = "nf_conntrack";

/// The probes of the family. Those of TCP see the owners of the packets.
pub(super) const PROBES: &[Probe] = &[optional(
    "napi_poll",
    &[],
    "what softirqs took of a CPU for packets is charged to them by name, not to whose packets they were",
    None,
)
.shed_with(Group::Interrupts)];

/// A cell, from the ring or from the map.
pub(super) fn packets(r: &Packets) -> event::Packets {
    event::Packets {
        ns: r.header.ns,
        cpu: r.cpu,
        pid: r.pid,
        sent: r.sent,
        received: r.received,
        polled: r.polled,
    }
}

/// The slices that are not over; none, if the map cannot be read.
pub(super) fn cells(maps: &impl Maps) -> Vec<Event> {
    let mut events = Vec::new();
    let _unreadable = maps.each(PACKETS_MAP, |_: PacketOwner, cell| {
        events.push(Event::Packets(packets(&cell)));
    });
    events
}
