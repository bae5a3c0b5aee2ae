//! Connects of a target: from its first packet until the peer answers, or until the target gives up.
//!
//! Who connects asks for an answer. It may sleep for that in the call, or in `poll` or `epoll` after it. The state of the socket
//! tells in all cases.

use tracer_common::tcp::QUESTION_OVER;

use crate::{
    cpus,
    filter::is_full_target,
    kernel::{Context, Sock, current, now},
    sockets::{self, emit_question},
};

/// A process connects, in its own context. Both addresses are known, and the own port may be.
#[inline(always)]
pub(super) fn begins(sk: Sock) {
    let (pid, tid) = current();
    if !is_full_target(pid) || !sk.is_tcp() {
        return;
    }
    let Some(state) = sockets::get_or_add(sk.key()) else {
        return;
    };
    state.pid = pid;
    state.asks = 1;
    emit_question(sk, (pid, tid), 0, now());
}

/// A packet, a timer of the kernel, or the process itself ends the connect. Of one that began before the trace only an end by the
/// process is seen: nobody knows whose socket the others are on.
#[inline(always)]
pub(super) fn ends(sk: Sock) {
    let (pid, tid) = current();
    let asker = asker(sk);
    if asker == 0 && !(is_full_target(pid) && sk.is_tcp()) {
        return;
    }
    let by_task = cpus::context_here() == Context::Task;
    if asker == 0 && !by_task {
        return;
    }
    let asker = if asker == 0 { pid } else { asker };
    let gave_up = if by_task && pid == asker { tid } else { 0 };
    emit_question(sk, (asker, gave_up), QUESTION_OVER, now());
}

/// The process that connects this socket, which it does no longer; 0 if that is not known.
#[inline(always)]
fn asker(sk: Sock) -> u32 {
    let Some(state) = sockets::get(sk.key()) else {
        return 0;
    };
    if core::mem::replace(&mut state.asks, 0) == 0 {
        return 0;
    }
    state.pid
}
