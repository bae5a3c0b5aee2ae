//! The limits that hold back a sending socket of a target. The probes look when acknowledgements arrive and sends return, and emit
//! changes. While nothing waits on a socket and nothing changes, there is little to emit.

use tracer_common::{
    Kind,
    tcp::{FLOW_NS, FLOW_QUIET_NS, FLOW_SETTLES, FLOW_WINDOW, Flow, SocketState},
};

use crate::{emit, kernel::Tcp};

/// What a socket has to send, bytes.
#[derive(Clone, Copy)]
struct ToSend {
    unsent: u32,
    unacked: u32,
    window: u32,
}

/// Emits the limit that held the socket back until `now`, if it changed, or the last record is [`FLOW_NS`] old; [`FLOW_QUIET_NS`] while
/// nothing waits and nothing changed in the last second.
#[inline(always)]
pub(super) fn look(socket: u64, tcp: Tcp, state: &mut SocketState, now: u64) {
    let (snd_nxt, snd_una) = (tcp.snd_nxt(), tcp.snd_una());
    let (unsent, unacked) = (
        tcp.write_seq().wrapping_sub(snd_nxt),
        snd_nxt.wrapping_sub(snd_una),
    );
    let (window, mss, retransmits) = (tcp.snd_wnd(), tcp.mss(), tcp.retransmits());
    // The test of `tcp_snd_wnd_test()`: does the next segment end beyond the window?
    let next = if unsent < mss { unsent } else { mss };
    let flags = if unsent > 0 && unacked.wrapping_add(next) > window {
        FLOW_WINDOW
    } else {
        0
    };
    let (queue, ifindex) = (state.queue, state.ifindex);
    let is_news =
        flags != state.flow_flags || retransmits != state.retransmits || queue != state.flow_queue;
    let looked_ns = core::mem::replace(&mut state.looked_ns, now);
    let since_ns = now.wrapping_sub(state.flow_ns);
    let is_quiet = unsent == 0 && state.flow_settles == 0 && ifindex == state.flow_ifindex;
    let least_ns = if is_quiet { FLOW_QUIET_NS } else { FLOW_NS };
    if !is_news && since_ns < least_ns {
        return;
    }
    if is_news && since_ns >= FLOW_NS {
        last_look(socket, state, looked_ns);
    }
    state.flow_settles = if is_news {
        FLOW_SETTLES
    } else {
        state.flow_settles.saturating_sub(1)
    };
    state.flow_flags = flags;
    state.flow_ns = now;
    state.retransmits = retransmits;
    state.flow_queue = queue;
    state.flow_ifindex = ifindex;
    let to_send = ToSend {
        unsent,
        unacked,
        window,
    };
    emit_flow(socket, state, to_send, now);
}

/// A record is valid since the one before. So the last look at which nothing had changed comes first.
#[inline(always)]
fn last_look(socket: u64, state: &SocketState, looked_ns: u64) {
    if state.flow_flags == 0 && looked_ns > state.flow_ns {
        let nothing = ToSend {
            unsent: 0,
            unacked: 0,
            window: 0,
        };
        emit_flow(socket, state, nothing, looked_ns);
    }
}

/// Emits what is known of a socket at `ns`. Field by field: a whole record would be built on the stack.
#[inline(always)]
fn emit_flow(socket: u64, state: &SocketState, to_send: ToSend, ns: u64) {
    emit::event::<Flow>(Kind::Flow, ns, |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.socket = socket;
        record.netns = state.netns;
        record.ifindex = state.flow_ifindex;
        record.unsent_bytes = to_send.unsent;
        record.unacked_bytes = to_send.unacked;
        record.window_bytes = to_send.window;
        record.retransmits = state.retransmits;
        record.flags = state.flow_flags;
        record.queue = state.flow_queue;
    });
}
