//! The limits that hold back a sending socket of a target. The probes look when acknowledgements arrive and sends return, and emit
//! changes.

use tracer_common::{
    Kind,
    record::Header,
    tcp::{FLOW_NS, FLOW_WINDOW, Flow, SocketState},
};

use crate::{emit, kernel::Tcp};

/// Emits the limit that held the socket back until `now`, if it changed or the last record is [`FLOW_NS`] old.
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
    let queue = state.queue;
    let is_news =
        flags != state.flow_flags || retransmits != state.retransmits || queue != state.flow_queue;
    if !is_news && now.wrapping_sub(state.flow_ns) < FLOW_NS {
        return;
    }
    state.flow_flags = flags;
    state.flow_ns = now;
    state.retransmits = retransmits;
    state.flow_queue = queue;
    let (netns, ifindex) = (state.netns, state.ifindex);
    // SAFETY: a reservation of this size.
    emit::event::<Flow>(Kind::Flow, now, |record| unsafe {
        record.write(Flow {
            header: Header {
                kind: Kind::Flow as u32,
                cpu: 0,
                ns: now,
            },
            socket,
            netns,
            ifindex,
            unsent_bytes: unsent,
            unacked_bytes: unacked,
            window_bytes: window,
            retransmits,
            flags,
            queue,
        });
    });
}
