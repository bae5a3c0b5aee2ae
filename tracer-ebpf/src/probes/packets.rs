//! Packets: their owners, and the number of each owner's packets that a CPU moves in softirqs. They count only while a target
//! thread is queued there.
//!
//! A softirq moves packets in nobody's name. While no target thread is queued, a packet costs one look-up in an array here. The
//! cost of a softirq grows with packets, not with bytes. It copies nothing, and a segment of 64 KiB passes as one packet.

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::{HashMap, LruHashMap},
    programs::BtfTracePointContext,
};
use tracer_common::{
    Kind,
    packets::{PACKETS_MAP, PacketOwner, Packets, SENDERS_MAP, SLICE_NS, Sender},
    record::{Header, MapLoss},
    shed::Group,
    tcp::{LATE_NS, SocketState},
};

use crate::{
    cpus, emit,
    kernel::{Net, NetDevice, Qdisc, Skb, Sock, now},
    probes::datagrams,
    shared::shared,
    shed, sockets,
};

/// Keys of sockets, by the hash of the packets they send.
#[map]
static HASHES: LruHashMap<u32, u64> = LruHashMap::with_max_entries(16_384, 0);

/// Processes that were sending as the trace began. A send that waits for room in its buffer may take seconds, and the probes see only
/// its return. User space writes this map.
#[map]
static SENDERS: HashMap<Sender, u32> = HashMap::with_max_entries(1024, 0);

/// Packets of each owner that each CPU moved in the current slice.
#[map]
static PACKETS: LruHashMap<PacketOwner, Packets> = LruHashMap::with_max_entries(4096, 0);

shared!(PACKETS = PACKETS_MAP, SENDERS = SENDERS_MAP);

/// Payload of a packet on the usual wire, bytes: Ethernet's 1500 less the headers of IP and TCP with the time stamp.
const SEGMENT_BYTES: u32 = 1448;

/// Headers of Ethernet, IPv4 and TCP with the time stamp, bytes.
const HEADERS_BYTES: u32 = 14 + 20 + 32;

/// A segment with no more payload than this, bytes, may be an acknowledgement. It has up to four blocks of SACK, or IPv6.
const LITTLE_BYTES: u32 = 60;

/// A packet that leaves an interface. Its pointers are read where only one path leads: see `sched_switch`.
#[derive(Clone, Copy)]
pub(super) struct Leaving {
    pub(super) skb: Skb,
    /// Its socket; null if it has lost that, or never had one.
    pub(super) sk: Sock,
    pub(super) dev: NetDevice,
    /// The network namespace of the interface.
    pub(super) net: Net,
    /// The root of its queueing disciplines.
    pub(super) root: Qdisc,
}

impl Leaving {
    #[inline(always)]
    pub(super) fn new(skb: Skb, dev: NetDevice) -> Self {
        Self {
            skb,
            sk: skb.sk(),
            dev,
            net: dev.net(),
            root: dev.qdisc(),
        }
    }
}

/// The sender of a packet.
pub(super) struct Owner {
    /// Process; 0 if it is not known.
    pub(super) pid: u32,
    /// Its socket, if that is TCP's and known.
    pub(super) socket: Option<&'static mut SocketState>,
}

impl Owner {
    #[inline(always)]
    fn of_datagram(pid: u32) -> Self {
        Self { pid, socket: None }
    }

    #[inline(always)]
    fn of_socket(state: &'static mut SocketState) -> Self {
        state.cpu = cpus::here();
        Self {
            pid: state.pid,
            socket: Some(state),
        }
    }
}

/// The sender of a packet. A forwarded packet has lost its socket (`skb_orphan()` in `ip_rcv_core()`), but not the hash of
/// `skb_set_hash_from_sk()`. An earlier device has remembered the socket under this hash.
#[inline(always)]
pub(super) fn sender(packet: Leaving, may_be_forwarded: bool) -> Owner {
    if packet.sk.is_null() {
        forwarded(packet.skb)
    } else {
        sent(packet, may_be_forwarded)
    }
}

#[inline(always)]
fn forwarded(skb: Skb) -> Owner {
    let owner = by_hash(skb);
    if owner.pid == 0 {
        Owner::of_datagram(datagrams::forwarded(skb))
    } else {
        owner
    }
}

#[inline(always)]
fn by_hash(skb: Skb) -> Owner {
    let hash = skb.hash();
    // SAFETY: the entry is copied at once.
    let Some(key) = unsafe { HASHES.get(hash) }.copied() else {
        return Owner::of_datagram(0);
    };
    match sockets::get(key) {
        Some(state) if state.hash == hash => Owner::of_socket(state),
        // The address is another socket's by now.
        Some(_) => Owner::of_datagram(0),
        None => Owner::of_datagram(datagrams::pid(key)),
    }
}

#[inline(always)]
fn sent(packet: Leaving, may_be_forwarded: bool) -> Owner {
    let Leaving { skb, sk, net, .. } = packet;
    let (key, hash) = (sk.key(), skb.hash());
    if !sk.is_tcp() {
        let pid = datagrams::pid(key);
        if may_be_forwarded && pid != 0 {
            if hash == 0 {
                datagrams::passes(skb, pid);
            } else {
                remember(hash, key);
            }
        }
        return Owner::of_datagram(pid);
    }
    let Some(state) = known(sk, net) else {
        return Owner::of_datagram(0);
    };
    if hash != 0 && state.hash != hash {
        state.hash = hash;
        let _ = HASHES.insert(hash, key, 0);
    }
    Owner::of_socket(state)
}

/// The state of a socket that sends. Nearly all have one that names their process, and need one look-up.
#[inline(always)]
fn known(sk: Sock, net: Net) -> Option<&'static mut SocketState> {
    let key = sk.key();
    if let Some(state) = sockets::get(key)
        && state.pid != 0
    {
        return Some(state);
    }
    adopt(sk, net);
    sockets::get(key)
}

/// Remembers a socket that keeps no hash.
#[inline(always)]
fn remember(hash: u32, key: u64) {
    // SAFETY: the entry is copied at once.
    if unsafe { HASHES.get(hash) }.copied() != Some(key) {
        let _ = HASHES.insert(hash, key, 0);
    }
}

/// Do packets count on this CPU? Only while a target thread is queued there and softirqs are watched: the counts say for whom these
/// worked.
#[inline(always)]
fn counts_here() -> bool {
    !shed::is_shed(Group::Interrupts) && cpus::has_queued_here()
}

/// `napi_poll(struct napi_struct *napi, int work, int budget)`, 5.10 to 7.2. `work` packets came in, from a device or from this
/// CPU's backlog. The packets of the loopback and of veth go through the backlog.
#[btf_tracepoint(function = "napi_poll")]
fn napi_poll(ctx: BtfTracePointContext) -> i32 {
    let work = ctx.arg::<u64>(1) as i32;
    if work > 0 && counts_here() {
        count(0, 0, 0, work as u32);
    }
    0
}

/// [`late_ns`] of a packet without a time at which it should leave. It counts as late.
pub(super) const NOT_TIMED: u64 = u64::MAX;
/// A packet that is later than this, ns, has the time of another clock: no queue holds one for so long.
const OTHER_CLOCK_NS: u64 = 60_000_000_000;

/// How much later than TCP wanted a packet leaves, ns; [`NOT_TIMED`] if that is not known. A forwarded packet may have the time of
/// another clock, or none.
#[inline(always)]
pub(super) fn late_ns(skb: Skb, now: u64) -> u64 {
    let due_ns = skb.due_ns();
    if due_ns == 0 {
        return NOT_TIMED;
    }
    if due_ns > now {
        // Timers of `fq` may be early by a little.
        return if due_ns - now < LATE_NS { 0 } else { NOT_TIMED };
    }
    let late_ns = now - due_ns;
    if late_ns < OTHER_CLOCK_NS {
        late_ns
    } else {
        NOT_TIMED
    }
}

/// A packet left the queue of an interface.
#[inline(always)]
pub(super) fn left(pid: u32) {
    if counts_here() {
        count(pid, 1, 0, 0);
    }
}

/// A packet passed an interface without a queue. If it `may_be_forwarded`, the program remembers its owner.
///
/// A VLAN, a bond, a bridge or a tunnel passes it on to another interface, and there it is seen again. From the loopback and one end of
/// a pair it comes in again on this CPU, unless the kernel steers packets (`rps_cpus`), and counts here. On arrival, TCP may leave it to
/// a receiver that is at work on another CPU. An acknowledgement counts where it comes in: only there the sender of the acknowledged
/// data is known.
#[inline(always)]
pub(super) fn passed(packet: Leaving, may_be_forwarded: bool) {
    let watched = counts_here();
    if !watched && !may_be_forwarded {
        return;
    }
    let Leaving { skb, sk, dev, .. } = packet;
    let owner = if sk.is_null() && !watched {
        // What only passes on has been seen where it was sent.
        by_hash(skb)
    } else {
        sender(packet, may_be_forwarded)
    };
    let acknowledges = !sk.is_null() && sk.is_tcp() && skb.len() <= HEADERS_BYTES + LITTLE_BYTES;
    if watched && owner.pid != 0 && !acknowledges && (!may_be_forwarded || dev.is_paired()) {
        count(owner.pid, 0, 1, 0);
    }
}

/// A segment came in for a TCP socket of process `pid`.
///
/// Data from outside came in packets of the wire's size, although TCP sees them merged. Data from this machine comes as it was
/// sent.
#[inline(always)]
pub(super) fn received(skb: Skb, payload: u32, pid: u32) {
    if !counts_here() {
        return;
    }
    if payload <= LITTLE_BYTES {
        count(pid, 0, 1, 0);
        return;
    }
    // A segment that TCP left to the receiver came in elsewhere, or is counted.
    if !cpus::in_softirq() {
        return;
    }
    let (sender, from_cpu) = remembered(skb.hash());
    if sender == 0 {
        count(pid, 0, 1 + (payload - 1) / SEGMENT_BYTES, 0);
    } else if from_cpu != cpus::here() {
        count(sender, 0, 1, 0);
    }
}

/// Learns the process of a socket that sends although no probe saw a call on it. It was sending as the trace began.
#[inline(always)]
fn adopt(sk: Sock, net: Net) {
    let key = Sender {
        netns: net.inum(),
        local_port: sk.local_port(),
        remote_port: u16::from_be(sk.remote_port_be()),
    };
    let Some(pid) = SENDERS.get_ptr(key) else {
        return;
    };
    if let Some(state) = sockets::get_or_add(sk.key()) {
        // SAFETY: a map value.
        state.pid = unsafe { pid.read_volatile() };
    }
}

/// The process of the socket that sends packets of this hash, and the CPU of the last one. 0: not known.
#[inline(always)]
fn remembered(hash: u32) -> (u32, u32) {
    let Some(key) = HASHES.get_ptr(hash) else {
        return (0, 0);
    };
    // SAFETY: a map value.
    match sockets::get(unsafe { key.read_volatile() }) {
        Some(state) if state.hash == hash => (state.pid, state.cpu),
        _ => (0, 0),
    }
}

/// A new cell of an owner on this CPU. `None`, and counted, if there is no room.
#[inline(always)]
fn add(key: PacketOwner, slice: u64) -> Option<*mut Packets> {
    let new = Packets {
        header: Header {
            kind: Kind::Packets as u32,
            cpu: key.cpu,
            ns: slice,
        },
        cpu: key.cpu,
        pid: key.pid,
        sent: 0,
        received: 0,
        polled: 0,
        reserved: 0,
    };
    if PACKETS.insert(key, new, 1).is_err() {
        emit::map_full(MapLoss::Packets);
    }
    PACKETS.get_ptr_mut(key)
}

/// Counts packets on this CPU. A count that is interrupted here by another one may be lost.
///
/// A function of its own: each of its callers is verified without it.
#[inline(never)]
fn count(pid: u32, sent: u32, received: u32, polled: u32) -> i32 {
    let (cpu, now) = (cpus::here(), now());
    let key = PacketOwner { cpu, pid };
    let slice = now - now % SLICE_NS;
    // Nearly always it is there, and one look-up finds it.
    let Some(cell) = PACKETS.get_ptr_mut(key).or_else(|| add(key, slice)) else {
        return 0;
    };
    // SAFETY: a map value.
    let cell = unsafe { &mut *cell };
    if cell.header.ns != slice {
        // SAFETY: a reservation of this size.
        emit::event::<Packets>(Kind::Packets, cell.header.ns, |record| unsafe {
            record.write(*cell);
        });
        cell.header.ns = slice;
        (cell.sent, cell.received, cell.polled) = (0, 0, 0);
    }
    cell.sent += sent;
    cell.received += received;
    cell.polled += polled;
    0
}
