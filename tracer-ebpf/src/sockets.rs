//! The state of each socket, and the record of a call on one.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap},
};
use tracer_common::{
    Kind,
    record::{Header, MapLoss},
    tcp::{CALL_CLOSE, CALL_POLLER, Call, Question, SOCKETS_MAP, SocketState},
};

use crate::{
    emit,
    kernel::{Route, Sock, now, polls_ring},
    shared::shared,
};

/// Socket states by the socket's kernel address.
#[map]
static SOCKETS: LruHashMap<u64, SocketState> = LruHashMap::with_max_entries(16_384, 0);

shared!(SOCKETS = SOCKETS_MAP);

/// The state of a new socket. Not on the stack: there, zeros are a loop over bytes to the verifier.
static UNSEEN: SocketState = SocketState {
    arrived_ns: 0,
    connected_ns: 0,
    began_ns: 0,
    sent_ns: 0,
    pid: 0,
    sent_seq: 0,
    ifindex: 0,
    announced: 0,
    netns: 0,
    flow_flags: 0,
    flow_ns: 0,
    retransmits: 0,
    hash: 0,
    left_ns: 0,
    waited_ns: 0,
    cpu: 0,
    client_pid: 0,
    queue: 0,
    flow_queue: 0,
    origin: 0,
    inode: 0,
    asks: 0,
    tid: 0,
    looked_ns: 0,
    flow_ifindex: 0,
    flow_settles: 0,
};

/// The state of a socket; a socket without one gets it. `None`, and counted, if there is no room.
#[inline(always)]
pub(crate) fn get_or_add(key: u64) -> Option<&'static mut SocketState> {
    if let Some(known) = get(key) {
        return Some(known);
    }
    add(key);
    get(key)
}

/// The state of a socket that has one.
#[inline(always)]
pub(crate) fn get(key: u64) -> Option<&'static mut SocketState> {
    // SAFETY: a map value; a race between CPUs loses one sample, never memory.
    SOCKETS.get_ptr_mut(key).map(|state| unsafe { &mut *state })
}

/// A function of its own: few of its callers ever meet a socket for the first time.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack"
)]
#[inline(never)]
fn add(key: u64) -> i32 {
    // BPF_NOEXIST: another CPU may have been faster.
    if SOCKETS.insert(key, &UNSEEN, 1).is_err() && SOCKETS.get_ptr(key).is_none() {
        emit::map_full(MapLoss::Sockets);
    }
    0
}

/// Words of [`GIVERS`], a power of two: a bit for each of 262,144 processes.
const GIVER_WORDS: u32 = 1 << 12;

/// The processes that handed a connection to a target: one bit for each, by the low bits of its id. Two that share a bit cost a reading
/// of the clock.
#[map]
static GIVERS: Array<u64> = Array::with_max_entries(GIVER_WORDS, 0);

#[inline(always)]
fn givers(pid: u32) -> Option<*mut u64> {
    GIVERS.get_ptr_mut(pid >> 6 & (GIVER_WORDS - 1))
}

/// Has this process handed a connection to a target? It may hand over the next one, too.
#[inline(always)]
pub(crate) fn hands_over(pid: u32) -> bool {
    // SAFETY: a map value.
    givers(pid).is_some_and(|word| unsafe { word.read_volatile() } >> (pid & 63) & 1 != 0)
}

/// A target has a connection on which another process made the last call. If another CPU writes the word at once, one bit is lost until
/// the next connection is handed over.
///
/// A function of its own: few connections are.
#[inline(never)]
pub(crate) fn handed_over(pid: u32) -> i32 {
    if let Some(word) = givers(pid) {
        // SAFETY: a map value.
        unsafe { word.write_volatile(word.read_volatile() | (1 << (pid & 63))) };
    }
    0
}

/// Forgets a socket.
#[inline(always)]
pub(crate) fn remove(key: u64) {
    let _ = SOCKETS.remove(key);
}

/// A connection begins on a socket. Nothing is left to it of one that had its address before.
#[inline(always)]
pub(crate) fn begin(key: u64, origin: u32) {
    ended(key);
    if let Some(state) = get_or_add(key) {
        state.origin = origin;
    }
}

/// A connection is over: forgets its socket. If user space knows it, the end is emitted.
///
/// A function of its own: few of its callers ever meet a socket that is known.
#[inline(never)]
pub(crate) fn ended(key: u64) -> i32 {
    let Some(state) = get(key) else { return 0 };
    let (announced, pid, ifindex) = (state.announced, state.pid, state.ifindex);
    remove(key);
    if announced != 0 {
        let call = Call {
            socket: key,
            pid,
            ifindex,
            flags: CALL_CLOSE,
            ..NO_CALL
        };
        emit_call(&call, now());
    }
    0
}

/// A call with no known values.
pub(crate) const NO_CALL: Call = Call {
    header: Header {
        kind: 0,
        cpu: 0,
        ns: 0,
    },
    socket: 0,
    result: 0,
    arrived_ns: 0,
    pid: 0,
    tid: 0,
    unsent_bytes: 0,
    unacked_bytes: 0,
    ifindex: 0,
    flags: 0,
};

/// The `CALL_*` bit of a call that `current` made. A poller is never the first thread of its process: of that one the kernel need not be
/// asked.
#[inline(always)]
pub(crate) fn caller((pid, tid): (u32, u32)) -> u32 {
    if pid != tid && polls_ring() {
        CALL_POLLER
    } else {
        0
    }
}

/// Emits the record of a call.
#[inline(always)]
pub(crate) fn emit_call(call: &Call, now: u64) {
    // SAFETY: a reservation of this size.
    emit::event::<Call>(Kind::Call, now, |record| unsafe {
        record.write(*call);
    });
}

/// Emits a question that thread `tid` of process `pid` asks on a socket, or its end.
#[inline(always)]
pub(crate) fn emit_question(sk: Sock, who: (u32, u32), flags: u32, now: u64) {
    emit_question_to(sk, who, flags, now, None);
}

/// The same of a datagram of a socket that has no peer of its own.
#[inline(always)]
pub(crate) fn emit_question_to(
    sk: Sock,
    (pid, tid): (u32, u32),
    flags: u32,
    now: u64,
    route: Option<*const Route>,
) {
    let family = sk.family();
    emit::event::<Question>(Kind::Question, now, |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.socket = sk.key();
        record.pid = pid;
        record.tid = tid;
        record.family = u32::from(family);
        record.local_port = u32::from(sk.local_port());
        record.remote_port = u32::from(u16::from_be(sk.remote_port_be()));
        record.flags = flags;
        let (local, remote) = (
            (&raw mut record.local).cast::<u32>(),
            (&raw mut record.remote).cast::<u32>(),
        );
        sk.write_addresses(family, local, remote);
        if let Some(route) = route {
            // SAFETY: a map value.
            let route = unsafe { &*route };
            record.remote_port = route.port;
            // SAFETY: both have room for 4 words.
            unsafe {
                local.cast::<[u32; 4]>().write_unaligned(route.from);
                remote.cast::<[u32; 4]>().write_unaligned(route.to);
            }
        }
    });
}
