//! Unix streams that a target accepted. Their calls make requests as those of TCP do, without links and acknowledgements.
//!
//! Only on 6.3 and later, by its tracepoints: these sockets have no other hooks.

use tracer_common::{
    Kind,
    tcp::{CALL_CLOSE, CALL_SEND, Call, Client},
};

use crate::{
    emit,
    filter::is_full_target,
    kernel::{Sock, current, now},
    sockets::{self, NO_CALL, caller, emit_call},
};

/// A call on a socket that is not TCP's returned, in its caller's context.
#[inline(always)]
pub(super) fn called(sk: Sock, result: i32, flags: u32) {
    let (pid, tid) = current();
    if !is_full_target(pid) || !sk.is_accepted_unix() {
        return;
    }
    // No tracepoint marks the end of such a socket. A receive that returns nothing is its end.
    let flags = if result == 0 && flags & CALL_SEND == 0 {
        CALL_CLOSE
    } else {
        flags
    };
    let now = now();
    if flags & CALL_CLOSE != 0 {
        sockets::remove(sk.key());
    } else {
        meet(sk, pid, now);
    }
    emit_call(
        &Call {
            socket: sk.key(),
            result: i64::from(result),
            pid,
            tid,
            flags: flags | caller((pid, tid)),
            ..NO_CALL
        },
        now,
    );
}

/// Emits the process that asks on this stream, once. The address may have been that of another stream before, which the process closed
/// without reading to its end.
#[inline(always)]
fn meet(sk: Sock, pid: u32, now: u64) {
    let (key, inode, client_pid) = (sk.key(), sk.inode(), sk.client());
    if let Some(known) = sockets::get(key)
        && known.inode != 0
        && inode != 0
        && known.inode != inode
    {
        sockets::ended(key);
    }
    let Some(state) = sockets::get_or_add(key) else {
        return;
    };
    state.inode = inode;
    state.pid = pid;
    state.announced = 1;
    if core::mem::replace(&mut state.client_pid, client_pid) == client_pid || client_pid == 0 {
        return;
    }
    emit::event::<Client>(Kind::Client, now, |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.socket = key;
        record.pid = pid;
        record.client_pid = client_pid;
    });
}
