//! Datagrams: the process of a socket that is not TCP's, and of its packets once they have lost the socket.
//!
//! A packet of TCP carries a hash that outlives the socket. One of an unconnected UDP socket has none at its first interface. There,
//! the program remembers the ends of the packet. Where it is forwarded, address translation may have changed them, and connection
//! tracking still has those of before.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap},
};

use crate::kernel::{AF_INET, AF_INET6, Ends, Skb, Sock, current};

/// Process that last sent on a socket, by the socket's kernel address.
#[map]
static DATAGRAMS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(16_384, 0);

/// Process that sends from one end to another, by [`Ends::key`].
#[map]
static ENDS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(16_384, 0);

/// 1 once `ENDS` has an entry. Without one a packet that is forwarded costs no more than a look here.
#[map]
static HAS_ENDS: Array<u32> = Array::with_max_entries(1, 0);

/// A socket that is not TCP's sends: from then on its packets have an owner.
#[inline(always)]
pub(super) fn sent_by(sk: Sock) {
    let family = sk.family();
    if family == AF_INET || family == AF_INET6 {
        set(&DATAGRAMS, sk.key(), current().0);
    }
}

/// The process that last sent on a socket; 0 if none was seen.
#[inline(always)]
pub(super) fn pid(socket: u64) -> u32 {
    get(&DATAGRAMS, socket)
}

/// A packet of process `pid` may lose its socket on the way, and has no hash: its ends are remembered.
#[inline(always)]
pub(super) fn passes(skb: Skb, pid: u32) {
    let ends = Ends::in_headers(skb);
    if !ends.is_datagram {
        return;
    }
    set(&ENDS, ends.key(), pid);
    if let Some(has) = HAS_ENDS.get_ptr_mut(0) {
        // SAFETY: a map value; every writer writes the same.
        unsafe { has.write_volatile(1) };
    }
}

/// The process that sent a forwarded packet; 0 if it is not known.
#[inline(always)]
pub(super) fn forwarded(skb: Skb) -> u32 {
    match HAS_ENDS.get_ptr(0) {
        // SAFETY: a map value.
        Some(has) if unsafe { has.read_volatile() } != 0 => by_ends(skb),
        _ => 0,
    }
}

#[inline(always)]
fn by_ends(skb: Skb) -> u32 {
    let tracked = Ends::before_translation(skb);
    let ends = if tracked.is_datagram {
        tracked
    } else {
        Ends::in_headers(skb)
    };
    if !ends.is_datagram {
        return 0;
    }
    match get(&ENDS, ends.key()) {
        // Connection tracking puts fragments together, and only there the ports are known.
        0 => get(&ENDS, ends.without_ports().key()),
        pid => pid,
    }
}

#[inline(always)]
fn get(map: &LruHashMap<u64, u32>, key: u64) -> u32 {
    match map.get_ptr(key) {
        // SAFETY: a map value.
        Some(pid) => unsafe { pid.read_volatile() },
        None => 0,
    }
}

#[inline(always)]
fn set(map: &LruHashMap<u64, u32>, key: u64, pid: u32) {
    match map.get_ptr_mut(key) {
        // SAFETY: a map value.
        Some(known) => unsafe {
            if known.read_volatile() != pid {
                known.write_volatile(pid);
            }
        },
        None => {
            let _ = map.insert(key, pid, 0);
        }
    }
}
