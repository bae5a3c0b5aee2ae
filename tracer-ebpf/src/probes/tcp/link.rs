//! Links: the traffic that each process sent through an interface that queues.
//!
//! The owner of a packet is the process of its socket, never `current`. Packets leave in softirq, where `current` is a bystander.

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::{Array, LruHashMap},
    programs::BtfTracePointContext,
};
use tracer_common::{
    Kind,
    record::{Header, MapLoss},
    tcp::{
        LATE_NS, LINK_HANDED, LINK_SLICE_NS, LINK_UNREAD, LINKS_MAP, Link, LinkOwner, SocketState,
    },
};

use super::questions;
use crate::{
    emit,
    kernel::{Departed, NetDevice, Skb, UNREAD, now},
    probes::packets::{self, Leaving},
    shared::shared,
};

/// Traffic that each owner sent through each queue of each interface in the current slice.
#[map]
static LINKS: LruHashMap<LinkOwner, Link> = LruHashMap::with_max_entries(8192, 0);

/// A packet that left a queue.
#[repr(C)]
#[derive(Clone, Copy)]
struct Left {
    /// Its address. It keeps that on its way through several interfaces.
    packet: u64,
    /// When, ns.
    ns: u64,
}

/// Places for packets that left a queue, by some bits of their addresses.
const PLACES: u32 = 4096;
/// Addresses of packets differ above these bits.
const PACKET_BITS: u32 = 8;

/// The last packet of each place: before it leaves a second queue, as that below a tunnel with a shaper, it left the first one.
#[map]
static LEFT: Array<Left> = Array::with_max_entries(PLACES, 0);

shared!(LINKS = LINKS_MAP);

/// `net_dev_start_xmit(const struct sk_buff *skb, const struct net_device *dev)`, everywhere: a packet leaves the queue of `dev`. A
/// packet passes through a device without a queue (by default loopback, veth and bridge). So it counts once for each queue. A
/// packet that passes may be forwarded, so the program remembers its owner. The loopback forwards nothing.
#[btf_tracepoint(function = "net_dev_start_xmit")]
fn net_dev_start_xmit(ctx: BtfTracePointContext) -> i32 {
    let skb = Skb(ctx.arg(0));
    let dev = NetDevice(ctx.arg(1));
    let packet = Leaving::new(skb, dev);
    questions::leaves(packet);
    let departed = Departed::of(skb, dev, packet.root);
    if departed.queues {
        transmit(packet, departed);
    } else {
        packets::passed(packet, dev.ifindex() != LOOPBACK_IFINDEX);
    }
    0
}

/// `LOOPBACK_IFINDEX`: in every network namespace.
const LOOPBACK_IFINDEX: u32 = 1;

#[inline(always)]
fn transmit(packet: Leaving, departed: Departed) {
    let Leaving { skb, dev, net, .. } = packet;
    let now = now();
    let late_ns = late_here(skb, now);
    // The interfaces through which containers send queue nothing: a packet that leaves a queue is seldom forwarded again.
    let owner = packets::sender(packet, false);
    let key = LinkOwner {
        netns: net.inum(),
        ifindex: dev.ifindex(),
        pid: owner.pid,
        queue: departed.index,
    };
    if let Some(state) = owner.socket {
        goes_through(state, &key, late_ns, now);
    }
    packets::left(key.pid);
    let slice = now - now % LINK_SLICE_NS;
    let Some(cell) = link_cell(&key, dev, slice) else {
        return;
    };
    if cell.header.ns != slice {
        flush(cell);
        cell.header.ns = slice;
        cell.packets = 0;
        cell.bytes = 0;
        cell.backlog_min = u32::MAX;
        cell.late_ns = 0;
        cell.timed = 0;
        cell.flags &= LINK_HANDED;
    }
    cell.packets += 1;
    cell.bytes += u64::from(skb.len());
    if late_ns != packets::NOT_TIMED {
        cell.timed += 1;
        if late_ns > cell.late_ns {
            cell.late_ns = late_ns;
        }
    }
    cell.drops = departed.drops;
    let mut backlog = departed.backlog;
    if backlog == UNREAD {
        cell.flags |= LINK_UNREAD;
        if late_ns == packets::NOT_TIMED {
            return;
        }
        backlog = u32::from(late_ns >= LATE_NS);
    }
    // In a queue that paces (`fq`), packets wait for their own time, not for the link.
    if backlog < cell.backlog_min && (backlog == 0 || late_ns >= LATE_NS) {
        cell.backlog_min = backlog;
    }
}

/// How late a packet leaves, ns, of the time in this queue alone. One that stood in another queue before is due here since it left that.
#[inline(always)]
fn late_here(skb: Skb, now: u64) -> u64 {
    let late_ns = packets::late_ns(skb, now);
    let packet = skb.address();
    let Some(left) = LEFT.get_ptr_mut((packet >> PACKET_BITS) as u32 % PLACES) else {
        return late_ns;
    };
    // SAFETY: a map value; a race between CPUs spoils one time, never memory.
    let left = unsafe { &mut *left };
    let since_ns = now.wrapping_sub(left.ns);
    let left_before = left.packet == packet;
    (left.packet, left.ns) = (packet, now);
    // Another packet at the same address left before this one was due.
    if left_before && late_ns != packets::NOT_TIMED && since_ns < late_ns {
        since_ns
    } else {
        late_ns
    }
}

/// A socket waits for the queue in which its packets stand, and for none that they pass at once. Does a packet that was on time show
/// another way? Only if none was late in another interface lately.
#[inline(always)]
fn goes_through(state: &mut SocketState, key: &LinkOwner, late_ns: u64, now: u64) {
    let is_late = late_ns != packets::NOT_TIMED && late_ns >= LATE_NS;
    let same = state.netns == key.netns && state.ifindex == key.ifindex;
    if is_late || same || now.wrapping_sub(state.waited_ns) > STAYS_NS {
        state.ifindex = key.ifindex;
        state.netns = key.netns;
        state.queue = key.queue;
    }
    if is_late {
        state.waited_ns = now;
    }
    state.left_ns = now;
}

/// For so long after a late packet, ns, the interface that it left is the socket's. A slow line of 120 kbit/s sends one in that time.
const STAYS_NS: u64 = 100_000_000;

/// The cell of an owner. The queue's lock is held by the one CPU that transmits, so there is one writer for each queue. Nearly always the
/// cell is there, and one look-up finds it.
#[inline(always)]
fn link_cell(key: &LinkOwner, dev: NetDevice, slice: u64) -> Option<&'static mut Link> {
    let cell = LINKS.get_ptr_mut(key).or_else(|| add(key, dev, slice));
    // SAFETY: a map value.
    cell.map(|cell| unsafe { &mut *cell })
}

/// A new cell. `None`, and counted, if there is no room.
#[inline(always)]
fn add(key: &LinkOwner, dev: NetDevice, slice: u64) -> Option<*mut Link> {
    let new = Link {
        header: Header {
            kind: Kind::Link as u32,
            cpu: 0,
            ns: slice,
        },
        ifindex: key.ifindex,
        netns: key.netns,
        pid: key.pid,
        packets: 0,
        bytes: 0,
        backlog_min: u32::MAX,
        drops: 0,
        name: dev.name(),
        late_ns: 0,
        timed: 0,
        queue: key.queue,
        flags: if dev.hands_over() { LINK_HANDED } else { 0 },
        reserved: 0,
    };
    if LINKS.insert(key, new, 1).is_err() {
        emit::map_full(MapLoss::Links);
    }
    LINKS.get_ptr_mut(key)
}

/// Emits a cell at the end of its slice.
#[inline(always)]
fn flush(cell: &Link) {
    if cell.packets > 0 {
        // SAFETY: a reservation of this size.
        emit::event::<Link>(Kind::Link, cell.header.ns, |record| unsafe {
            record.write(*cell);
        });
    }
}
