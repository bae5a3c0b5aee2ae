//! Unix streams that a target accepted: their calls make requests as those of TCP do, without a link and without acknowledgements.
//!
//! Only from the tracepoints of 6.3 and later; there are no other hooks for these sockets.

use tracer_common::tcp::{CALL_CLOSE, CALL_SEND, Call};

use super::tcp::{NO_CALL, emit_call};
use crate::{
    filter::is_target,
    kernel::{Sock, current, now},
};

/// A call on a socket that is not TCP's returned, in its caller's context.
#[inline(always)]
pub fn called(sk: Sock, result: i32, flags: u32) {
    let (pid, tid) = current();
    if !is_target(pid) || !sk.is_accepted_unix() {
        return;
    }
    // No tracepoint tells the end of such a socket: that nothing more comes is its end.
    let flags = if result == 0 && flags & CALL_SEND == 0 {
        CALL_CLOSE
    } else {
        flags
    };
    emit_call(
        &Call {
            socket: sk.key(),
            result: i64::from(result),
            pid,
            tid,
            flags,
            ..NO_CALL
        },
        now(),
    );
}
