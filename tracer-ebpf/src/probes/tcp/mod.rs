//! TCP: the sends and receives of a target, and their acknowledgement.

mod calls;
mod connect;
mod flow;
mod link;
mod questions;
mod unix;

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_common::{
    Kind,
    histogram::Family,
    sched::LEAST_LONG_NS,
    tcp::{
        Ack, CALL_NOSPACE, CALL_SEND, Call, ORIGIN_ACCEPTED, ORIGIN_CONNECTED,
        Socket as Announcement, SocketState,
    },
};

use super::{datagrams, packets};
use crate::{
    emit,
    filter::{is_full_target, is_light, is_target},
    histograms,
    kernel::{SOCK_NOSPACE, Skb, Sock, Tcp, current, now},
    sockets::{self, NO_CALL, caller, emit_call},
};

/// `sock_send_length(struct sock *sk, int ret, int flags)`, 6.3 and later: a send of any family returned, in its caller's context.
#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    let sk = Sock(ctx.arg(0));
    if sk.is_tcp() {
        sent(sk, ctx.arg::<u64>(1) as i32);
    } else {
        datagrams::sent_by(sk);
        questions::sent(sk, ctx.arg::<u64>(1) as i32);
        unix::called(sk, ctx.arg::<u64>(1) as i32, CALL_SEND);
    }
    0
}

/// A send returned, in its caller's context.
#[inline(always)]
fn sent(sk: Sock, result: i32) {
    // Read where only one path leads: see `sched_switch`.
    let socket = sk.socket();
    let (pid, tid) = current();
    let now = now();
    let Some(state) = sockets::get_or_add(sk.key()) else {
        return;
    };
    let began_ns = core::mem::replace(&mut state.began_ns, 0);
    if began_ns != 0 {
        histograms::record(
            pid,
            Family::TcpSendCall as u32,
            now.wrapping_sub(began_ns),
            now,
        );
    }
    let before = core::mem::replace(&mut state.pid, pid);
    if !is_target(pid) {
        return;
    }
    // Of a light target no requests are wanted, but the socket on which it waits for room.
    if is_light(pid) && (began_ns == 0 || now.wrapping_sub(began_ns) < LEAST_LONG_NS) {
        return;
    }
    comes_from(before, pid);
    let Some(tcp) = sk.tcp() else { return };
    let write_seq = tcp.write_seq();
    if result > 0 && state.sent_ns == 0 {
        state.sent_ns = now;
        state.sent_seq = write_seq;
    }
    announce(sk, state, pid, now);
    state.tid = tid;
    flow::look(sk.key(), tcp, state, now);
    let nospace = if socket.flags() & SOCK_NOSPACE != 0 {
        CALL_NOSPACE
    } else {
        0
    };
    let snd_nxt = tcp.snd_nxt();
    let call = Call {
        socket: sk.key(),
        result: i64::from(result),
        pid,
        tid,
        unsent_bytes: write_seq.wrapping_sub(snd_nxt),
        unacked_bytes: snd_nxt.wrapping_sub(tcp.snd_una()),
        ifindex: state.ifindex,
        flags: CALL_SEND | nospace | caller((pid, tid)),
        ..NO_CALL
    };
    emit_call(&call, now);
}

/// `EAGAIN`
const EAGAIN: i32 = 11;

/// `sock_recv_length(struct sock *sk, int ret, int flags)`, 6.3 and later.
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    let sk = Sock(ctx.arg(0));
    let (result, flags) = (ctx.arg::<u64>(1) as i32, ctx.arg::<u64>(2) as u32);
    if sk.is_tcp() {
        received(sk, result, flags);
    } else {
        questions::received(sk, result, flags);
        unix::called(sk, result, 0);
    }
    0
}

/// `MSG_PEEK` of `include/linux/socket.h`: what it returns stays in the socket.
const MSG_PEEK: u32 = 2;

/// A receive returned, in its caller's context.
///
/// A process that hands its connections over looks at their first bytes, to see to whom. These are still there for that one.
#[inline(always)]
fn received(sk: Sock, result: i32, flags: u32) {
    let (pid, tid) = current();
    let Some(state) = sockets::get_or_add(sk.key()) else {
        return;
    };
    let before = core::mem::replace(&mut state.pid, pid);
    let is_targets = is_full_target(pid);
    if !is_targets && flags & MSG_PEEK != 0 {
        return;
    }
    let connected_ns = core::mem::replace(&mut state.connected_ns, 0);
    let seen_ns = core::mem::replace(&mut state.arrived_ns, 0);
    let arrived_ns = if seen_ns == 0 { connected_ns } else { seen_ns };
    if !is_targets {
        return;
    }
    comes_from(before, pid);
    let is_same = core::mem::replace(&mut state.tid, tid) == tid;
    if is_same && result == -EAGAIN && arrived_ns == 0 {
        // The thread that called here last looks for more and finds nothing. That is news to nobody, and costs as much as a receive.
        return;
    }
    let now = now();
    announce(sk, state, pid, now);
    emit_call(
        &Call {
            socket: sk.key(),
            result: i64::from(result),
            arrived_ns,
            pid,
            tid,
            ifindex: state.ifindex,
            flags: caller((pid, tid)),
            ..NO_CALL
        },
        now,
    );
}

/// A target's process `pid` makes a call on a socket on which `before` made the last one; 0: nobody has.
#[inline(always)]
fn comes_from(before: u32, pid: u32) {
    if before != pid && before != 0 && !is_full_target(before) {
        sockets::handed_over(before);
    }
}

/// May the bytes that come for a socket be a target's, on which this process made the last call? Nobody (0) has made one yet, or whoever
/// did handed others over.
#[inline(always)]
fn may_be_targets(pid: u32) -> bool {
    pid == 0 || is_full_target(pid) || sockets::hands_over(pid)
}

/// Emits the process, the addresses and the origin of a socket, once.
#[inline(always)]
fn announce(sk: Sock, state: &mut SocketState, pid: u32, now: u64) {
    if state.announced != 0 {
        return;
    }
    state.announced = 1;
    let family = sk.family();
    emit::event::<Announcement>(Kind::Socket, now, |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.socket = sk.key();
        record.pid = pid;
        record.family = u32::from(family);
        record.local_port = u32::from(sk.local_port());
        record.remote_port = u32::from(u16::from_be(sk.remote_port_be()));
        record.origin = state.origin;
        record.reserved = 0;
        sk.write_addresses(
            family,
            (&raw mut record.local).cast(),
            (&raw mut record.remote).cast(),
        );
    });
}

/// `tcp_sendmsg_locked(const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)`, 6.16 and later.
/// It fires once for each turn of the copy loop. The first one marks the begin of the call: the wait for the socket's lock is not
/// in it.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
fn tcp_sendmsg_locked(ctx: BtfTracePointContext) -> i32 {
    send_begins(Sock(ctx.arg(0)));
    0
}

/// A send call begins. It may last, so the socket's packets have an owner from now on. Later turns of the same call keep the first stamp.
#[inline(always)]
fn send_begins(sk: Sock) {
    let Some(state) = sockets::get_or_add(sk.key()) else {
        return;
    };
    if state.began_ns == 0 {
        state.began_ns = now();
    }
    if state.pid == 0 {
        state.pid = current().0;
    }
}

/// `tcp_probe(struct sock *sk, struct sk_buff *skb)`, everywhere: a segment of an established connection arrived, in softirq.
/// The socket's state is still the one before it.
#[btf_tracepoint(function = "tcp_probe")]
fn tcp_probe(ctx: BtfTracePointContext) -> i32 {
    let sk = Sock(ctx.arg(0));
    let skb = Skb(ctx.arg(1));
    let payload = skb.tcp_payload();
    let key = sk.key();
    let Some(state) = (if payload > 0 {
        sockets::get_or_add(key)
    } else {
        sockets::get(key)
    }) else {
        return 0;
    };
    packets::received(skb, payload, state.pid);
    // On a socket of others nobody asks when it came.
    let is_first = payload > 0 && state.arrived_ns == 0 && may_be_targets(state.pid);
    let is_known = state.announced != 0 || state.sent_ns != 0;
    if !is_first && !is_known {
        return 0;
    }
    // The clock is read once: that takes as long as a look-up.
    let now = now();
    if is_first {
        state.arrived_ns = now;
    }
    if is_known && let Some(tcp) = sk.tcp() {
        looks(key, tcp, state, skb.tcp_ack_seq(), now);
    }
    0
}

/// What an arriving segment shows of a target's socket.
#[inline(always)]
fn looks(socket: u64, tcp: Tcp, state: &mut SocketState, ack_seq: u32, now: u64) {
    if state.announced != 0 {
        flow::look(socket, tcp, state, now);
    }
    if state.sent_ns != 0 {
        acknowledged(socket, tcp, state, ack_seq, now);
    }
}

/// Does this acknowledgement end the sample that is open on the socket, and does it cover all bytes written?
#[inline(always)]
fn acknowledged(socket: u64, tcp: Tcp, state: &mut SocketState, ack_seq: u32, now: u64) {
    if (ack_seq.wrapping_sub(state.sent_seq) as i32) < 0 {
        return;
    }
    end_sample(state, now);
    let write_seq = tcp.write_seq();
    if ack_seq == write_seq {
        // `tcp_rcv_established()` sets the socket's clock behind this hook: what it did last is still to send.
        let left_ns = match state.left_ns {
            0 => tcp.active_ns(),
            left_ns => left_ns,
        };
        emit_ack(socket, left_ns, now);
    } else {
        // More was written since: a new sample waits for its end, so that the last acknowledgement is not missed.
        state.sent_ns = now;
        state.sent_seq = write_seq;
    }
}

#[inline(always)]
fn end_sample(state: &mut SocketState, now: u64) {
    histograms::record(
        state.pid,
        Family::TcpSendAck as u32,
        now.wrapping_sub(state.sent_ns),
        now,
    );
    state.sent_ns = 0;
}

#[inline(always)]
fn emit_ack(socket: u64, left_ns: u64, now: u64) {
    // SAFETY: a reservation of this size.
    emit::event::<Ack>(Kind::Ack, now, |record| unsafe {
        (*record).socket = socket;
        (*record).left_ns = left_ns;
    });
}

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`, everywhere. A connection begins, a process
/// connects, or that is over. Or the process has closed the connection. When the peer acknowledges its end, and so all before it, the
/// state changes. `tcp_probe` no longer fires there.
///
/// A socket that is to be accepted begins as a copy of its listener (`inet_csk_clone_lock()`). One that connects was closed
/// (`tcp_v4_connect()`); it may have been another connection's (`connect` with `AF_UNSPEC`).
///
/// `tcp_probe` does not fire either for the packet that completes a peer's connection. Where the server has the kernel wait for the first
/// bytes (`TCP_DEFER_ACCEPT`), that packet brings them, and the connection may then stand in the queue of `accept()`.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let sk = Sock(ctx.arg(0));
    let (old, new) = (ctx.arg::<u64>(1) as u32, ctx.arg::<u64>(2) as u32);
    if new == TCP_SYN_SENT {
        begins(sk, ORIGIN_CONNECTED);
        connect::begins(sk);
    } else if old == TCP_SYN_SENT {
        connect::ends(sk);
    } else if old == TCP_FIN_WAIT1 || old == TCP_CLOSING || old == TCP_LAST_ACK {
        last_acknowledged(sk);
    } else if old == TCP_LISTEN && new == TCP_SYN_RECV {
        begins(sk, ORIGIN_ACCEPTED);
    } else if old == TCP_SYN_RECV && new == TCP_ESTABLISHED {
        connected(sk);
    }
    0
}

/// Other protocols have these states, too.
#[inline(always)]
fn begins(sk: Sock, origin: u32) {
    if sk.is_tcp() {
        sockets::begin(sk.key(), origin);
    }
}

#[inline(always)]
fn connected(sk: Sock) {
    if let Some(state) = sockets::get_or_add(sk.key()) {
        state.connected_ns = now();
    }
}

/// States of `include/net/tcp_states.h`; the same in all versions. In three of them a closed connection waits for the acknowledgement
/// of its end.
const TCP_ESTABLISHED: u32 = 1;
const TCP_SYN_SENT: u32 = 2;
const TCP_SYN_RECV: u32 = 3;
const TCP_FIN_WAIT1: u32 = 4;
const TCP_LAST_ACK: u32 = 9;
const TCP_LISTEN: u32 = 10;
const TCP_CLOSING: u32 = 11;

/// Ends the sample that is open on a closing socket, unless the state changed because the connection broke.
#[inline(always)]
fn last_acknowledged(sk: Sock) {
    let Some(state) = sockets::get(sk.key()) else {
        return;
    };
    let Some(tcp) = sk.tcp() else { return };
    if state.sent_ns == 0 || tcp.snd_una() != tcp.write_seq() {
        return;
    }
    let now = now();
    end_sample(state, now);
    emit_ack(sk.key(), state.left_ns, now);
}

/// `tcp_destroy_sock(struct sock *sk)`, everywhere.
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    sockets::ended(Sock(ctx.arg(0)).key())
}
