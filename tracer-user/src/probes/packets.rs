//! Packets; kernel side: `tracer-ebpf/src/probes/packets.rs`.

use tracer_common::packets;

use super::{Probe, optional};
use crate::event;

/// What attaches. Whose packets they were is told by the probes of TCP.
pub const PROBES: &[Probe] = &[optional(
    "napi_poll",
    &[],
    "what softirqs took of a CPU for packets is charged to them by name, not to whose packets they were",
    None,
)];

/// A cell, from the ring or from the map.
#[must_use]
pub fn packets(r: &packets::Packets) -> event::Packets {
    event::Packets {
        ns: r.header.ns,
        cpu: r.cpu,
        pid: r.pid,
        sent: r.sent,
        received: r.received,
        polled: r.polled,
    }
}
