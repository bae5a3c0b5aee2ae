//! Datagrams of a target that may be questions: from the send until something comes back on the same socket.
//!
//! Only on 6.3 and later, by the tracepoints of sends and receives.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_common::tcp::{QUESTION_DATAGRAM, QUESTION_LISTENS, QUESTION_MORE, QUESTION_OVER};

use crate::{
    filter::is_full_target,
    kernel::{AF_INET6, Route, Sock, current, now},
    probes::packets::Leaving,
    sockets::{emit_question, emit_question_to},
};

/// What was seen of a UDP socket of a target.
#[repr(C)]
#[derive(Clone, Copy)]
struct Talk {
    /// When the last question was emitted, ns; 0 before the first.
    asked_ns: u64,
    /// Own port, and the peer that it is connected to, if any: another socket may come to lie at the same address.
    ends: u64,
    /// Stands for the address of the last question; 0 if that is not known.
    to: u64,
    /// `IS_OPEN` and the like.
    flags: u32,
    /// Datagrams of the last question that have no answer yet.
    owed: u32,
}

/// The last question has no answer yet, or not all of them.
const IS_OPEN: u32 = 1;
/// It received before it sent: what it sends are answers.
const SERVES: u32 = 2;
/// The process has looked for the answer to the last question.
const LISTENS: u32 = 4;
/// The datagrams of the last question went to several addresses: the first answer is enough.
const SCATTERED: u32 = 8;
/// One of them is answered, which was emitted.
const PARTLY: u32 = 16;

/// Stands for the address of the one peer of a socket.
const PEER: u64 = 1;

/// By the socket's kernel address.
#[map]
static TALKS: LruHashMap<u64, Talk> = LruHashMap::with_max_entries(4096, 0);

/// The addresses of the last datagram of a target's socket that has no peer of its own, by the socket's kernel address.
#[map]
static ROUTES: LruHashMap<u64, Route> = LruHashMap::with_max_entries(1024, 0);

/// A question that is emitted while another one is open comes at least so long after it, ns. One look-up of a name sends several
/// datagrams at once, and who streams sends them all the time. What is sent sooner belongs to the same question. How many of its datagrams
/// are answered is counted here; user space knows which services answer each.
const APART_NS: u64 = 100_000;

/// The kernel gives no port below this to a socket that did not ask for it (`ip_local_port_range`, unless somebody has changed it). Who
/// asks for a port serves there. What is taken for a server's by mistake asks nothing.
const FIRST_FREE_PORT: u16 = 32_768;

/// `MSG_ERRQUEUE` of `socket.h`: the kernel itself tells something, and nobody answers.
const MSG_ERRQUEUE: u32 = 0x2000;
/// `EAGAIN`
const EAGAIN: i32 = 11;
/// `ENETUNREACH`, `ECONNREFUSED` and `EHOSTUNREACH` lie between these: somebody on the way has answered.
const FIRST_OF_NETWORK: i32 = 101;
const LAST_OF_NETWORK: i32 = 113;

/// A send returned, in its caller's context.
#[inline(always)]
pub(super) fn sent(sk: Sock, result: i32) {
    let (pid, tid) = current();
    if result <= 0 || !is_full_target(pid) || !sk.is_udp() || sk.local_port() < FIRST_FREE_PORT {
        return;
    }
    let Some(talk) = talk(sk) else { return };
    let now = now();
    let key = sk.key();
    let has_peer = sk.remote_port_be() != 0;
    let to = if has_peer { PEER } else { destination(key) };
    let asks = asks(talk, to, now);
    if has_peer {
        if asks {
            emit_question(sk, (pid, tid), QUESTION_DATAGRAM, now);
        }
        return;
    }
    if asks {
        emit_question_to(sk, (pid, tid), QUESTION_DATAGRAM, now, ROUTES.get_ptr(key));
    }
    // The next datagram may go elsewhere, and stand in a queue as its send returns. And another socket may come to lie there.
    let _ = ROUTES.remove(key);
}

/// Is a datagram to this address a question of its own? Else it belongs to the one before, or is an answer.
#[inline(always)]
fn asks(talk: &mut Talk, to: u64, now: u64) -> bool {
    if talk.flags & SERVES != 0 {
        return false;
    }
    let is_whole = talk.flags & (IS_OPEN | PARTLY) == IS_OPEN;
    if is_whole && now.wrapping_sub(talk.asked_ns) < APART_NS {
        if to != 0 && to == talk.to {
            talk.owed = talk.owed.wrapping_add(1);
        } else {
            talk.flags |= SCATTERED;
        }
        return false;
    }
    talk.asked_ns = now;
    talk.to = to;
    talk.flags = IS_OPEN;
    talk.owed = 1;
    true
}

/// Stands for the address to which a socket without a peer has just sent; 0 if that is not known.
#[inline(always)]
fn destination(key: u64) -> u64 {
    let Some(route) = ROUTES.get_ptr(key) else {
        return 0;
    };
    // SAFETY: a map value.
    let route = unsafe { &*route };
    let [a, b, c, d] = route.to;
    let address = a ^ b.rotate_left(8) ^ c.rotate_left(16) ^ d.rotate_left(24);
    u64::from(address) << 32 | u64::from(route.port)
}

/// A packet leaves through an interface. Without a queue before that, it does so within the call that sends it. The address to which a
/// socket without a peer sends stands nowhere else. A tunnel around it leaves within the same call.
#[inline(always)]
pub(super) fn leaves(packet: Leaving) {
    let Leaving { skb, sk, .. } = packet;
    if sk.is_null()
        || !sk.is_udp()
        || sk.remote_port_be() != 0
        || sk.local_port() < FIRST_FREE_PORT
        || !is_full_target(current().0)
    {
        return;
    }
    goes(
        sk.address(),
        u32::from(sk.family() == AF_INET6),
        Route::header(skb),
        u32::from(sk.local_port()),
    );
}

/// Not inlined: its locals would add to those of the functions called next, and BPF has 512 bytes of stack.
#[inline(never)]
fn goes(socket: u64, maps: u32, header: u64, from: u32) -> i32 {
    let route = Route::at(header, maps != 0, from);
    if route.port != 0 {
        let _ = ROUTES.insert(socket, route, 0);
    }
    0
}

/// A receive returned, in its caller's context.
#[inline(always)]
pub(super) fn received(sk: Sock, result: i32, flags: u32) {
    let (pid, tid) = current();
    if flags & MSG_ERRQUEUE != 0
        || !is_full_target(pid)
        || !sk.is_udp()
        || sk.local_port() < FIRST_FREE_PORT
    {
        return;
    }
    let Some(talk) = talk(sk) else { return };
    let failed = -result;
    let came = result > 0 || (FIRST_OF_NETWORK..=LAST_OF_NETWORK).contains(&failed);
    if came {
        // Of a connected socket the question may have been asked before the trace.
        let is_first = talk.asked_ns == 0;
        let is_connected = sk.remote_port_be() != 0;
        if is_first && !is_connected {
            talk.flags = SERVES;
        } else if is_first || talk.flags & IS_OPEN != 0 {
            answered(sk, (pid, tid), talk, result > 0);
        }
    } else if failed == EAGAIN && talk.flags & (IS_OPEN | LISTENS) == IS_OPEN {
        talk.flags |= LISTENS;
        let told = QUESTION_DATAGRAM | QUESTION_LISTENS;
        emit_question(sk, (pid, tid), told, now());
    }
}

/// Something came back. An answer is one of as many as datagrams were sent to that address; an error holds for all of them.
#[inline(always)]
fn answered(sk: Sock, who: (u32, u32), talk: &mut Talk, is_answer: bool) {
    let now = now();
    let is_known = talk.flags & PARTLY != 0;
    let is_part = is_answer && talk.owed > 1 && talk.flags & SCATTERED == 0;
    let mut told = QUESTION_DATAGRAM | QUESTION_OVER;
    if is_part {
        talk.owed = talk.owed.wrapping_sub(1);
        talk.flags |= PARTLY;
        told |= QUESTION_MORE;
    } else {
        talk.asked_ns = now;
        talk.flags = 0;
        talk.owed = 0;
    }
    // Who streams has thousands of answers: the first and the last one are enough.
    if !(is_part && is_known) {
        emit_question(sk, who, told, now);
    }
}

/// What was seen of a socket; a socket without an entry gets it. `None` if there is no room.
#[inline(always)]
fn talk(sk: Sock) -> Option<&'static mut Talk> {
    let peer = u64::from(sk.remote_port_be()) << 32 | u64::from(sk.remote4());
    let ends = u64::from(sk.local_port()) << 48 | peer;
    let key = sk.key();
    if TALKS.get_ptr(key).is_none() {
        let new = Talk {
            asked_ns: 0,
            ends,
            to: 0,
            flags: 0,
            owed: 0,
        };
        // A full map forgets the socket that was used longest ago.
        let _ = TALKS.insert(key, new, 0);
    }
    // SAFETY: a map value; a race between CPUs loses one question, never memory.
    let talk = TALKS.get_ptr_mut(key).map(|talk| unsafe { &mut *talk })?;
    if talk.ends != ends {
        talk.ends = ends;
        talk.asked_ns = 0;
        talk.flags = 0;
        talk.owed = 0;
    }
    Some(talk)
}
