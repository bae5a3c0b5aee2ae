//! Flows: what held a sending socket of the target back, as a time line.

use std::collections::VecDeque;

use tracer_common::tcp::FLOW_WINDOW;

use crate::{event, model::recent};

/// For so long after a retransmission, the loss still determines the congestion window. Recovery and regrowth take several round
/// trips, and a retransmission timer alone may be 200 ms and more (RFC 6298).
const RECOVERY_NS: u64 = 1_000_000_000;

/// Time that we assume a receiver needs to read its full buffer, ns. It is more than a round trip behind a full queue. It is too
/// short for a receiver to change its pace. On a freer link the data would only have met the full buffer sooner. A client that
/// reads 100 kB/s through a window of 22 kB closes it three times a second. An empty link makes it no faster.
const READS_NS: u64 = 1_000_000_000;

/// Spans kept of a socket. At one record in 10 ms at most these are the last 20 s at least: longer waits count as unlimited before.
const KEPT: usize = 2048;
/// A span that ended so long before the last one is not kept: a server may have ten thousand sockets, each with its spans.
const KEPT_NS: u64 = 60_000_000_000;

/// The limit that held a socket back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// The congestion window, pacing, the queue of this machine, or nothing that was seen.
    #[default]
    Path,
    /// The receiver's window is full of data under way.
    Window,
    /// The receiver's buffer is full, or was a moment ago. Faster packets would not be read any sooner.
    Closed,
    /// Packets were lost, and are sent again.
    Loss,
    /// Packets of the socket have not left this machine: the send of a datagram waits for nothing else.
    Queue,
}

impl Limit {
    /// All.
    pub(crate) const ALL: [Self; 5] = [
        Self::Path,
        Self::Window,
        Self::Closed,
        Self::Loss,
        Self::Queue,
    ];

    /// Position in [`Self::ALL`].
    #[must_use]
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// The time line of one socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    /// Network namespace of its interface; 0 if not known.
    pub(crate) netns: u32,
    /// Begin, end, limit; in order, without overlap.
    spans: VecDeque<(u64, u64, Limit)>,
    /// Time of the last record, and the retransmissions then.
    last: Option<(u64, u32)>,
    recovers_until: u64,
    /// Largest window that the receiver announced, bytes.
    window_bytes: u32,
    reads_until: u64,
}

impl Flow {
    /// Learns a state, which holds since the record before. Behind a longer pause, in which nothing was to send, comes one of the last look
    /// before the change. So no change stays unseen for longer than 10 ms.
    pub(crate) fn seen(&mut self, flow: &event::Flow) {
        if flow.ifindex != 0 {
            self.netns = flow.netns;
        }
        self.window_bytes = self.window_bytes.max(flow.window_bytes);
        // Records of two CPUs may change places. The spans are in order of time.
        if self.last.is_some_and(|(last_ns, _)| flow.ns < last_ns) {
            return;
        }
        let Some((begin, retransmits)) = self.last.replace((flow.ns, flow.retransmits)) else {
            return;
        };
        let lost = flow.retransmits != retransmits;
        let full = self.is_full(flow);
        if full {
            self.reads_until = flow.ns + READS_NS;
        }
        let limit = if full || begin < self.reads_until {
            Limit::Closed
        } else if lost {
            Limit::Loss
        } else if flow.flags & FLOW_WINDOW != 0 {
            // Also in recovery: a receiver with a full buffer drops the packets that it has no room for.
            Limit::Window
        } else if begin < self.recovers_until {
            Limit::Loss
        } else {
            Limit::Path
        };
        if lost {
            self.recovers_until = flow.ns + RECOVERY_NS;
        }
        match self.spans.back_mut() {
            Some((_, end, known)) if *known == limit && *end == begin => *end = flow.ns,
            _ => self.spans.push_back((begin, flow.ns, limit)),
        }
        let is_old = |(_, end, _): &(u64, u64, Limit)| *end + KEPT_NS < flow.ns;
        while self.spans.len() > KEPT || self.spans.front().is_some_and(is_old) {
            self.spans.pop_front();
        }
    }

    /// Does the window hold the sender back because the receiver does not read? Then nothing is under way, or the window has shrunk:
    /// it is the room in the receiver's buffer. A window that a full queue makes too small is announced in full each time.
    fn is_full(&self, flow: &event::Flow) -> bool {
        flow.flags & FLOW_WINDOW != 0
            && (flow.unacked_bytes == 0 || flow.window_bytes < self.window_bytes / 2)
    }

    /// `[begin, end]` in pieces of one limit each; where nothing is known, [`Limit::Path`].
    #[must_use]
    pub(crate) fn pieces(&self, begin: u64, end: u64) -> Vec<(u64, u64, Limit)> {
        let mut pieces = Vec::new();
        let mut at = begin;
        let first = recent::partition_point(&self.spans, |(_, until, _)| *until <= begin);
        for (from, until, limit) in self.spans.range(first..).copied() {
            if from >= end {
                break;
            }
            if from > at {
                pieces.push((at, from, Limit::Path));
            }
            let (from, until) = (from.max(at), until.min(end));
            pieces.push((from, until, limit));
            at = until;
        }
        if at < end {
            pieces.push((at, end, Limit::Path));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(ns: u64, flags: u32, unacked_bytes: u32, retransmits: u32) -> event::Flow {
        event::Flow {
            ns,
            flags,
            unacked_bytes,
            retransmits,
            ..event::Flow::default()
        }
    }

    #[test]
    fn pieces_cover_the_interval_and_say_what_held_the_socket_back() {
        let mut flow = Flow::default();
        flow.seen(&state(10, 0, 5, 0));
        flow.seen(&state(20, FLOW_WINDOW, 9, 0));
        flow.seen(&state(30, FLOW_WINDOW, 0, 0));
        assert_eq!(
            flow.pieces(5, 40),
            [
                (5, 10, Limit::Path),
                (10, 20, Limit::Window),
                (20, 30, Limit::Closed),
                (30, 40, Limit::Path)
            ]
        );
        assert_eq!(flow.pieces(12, 15), [(12, 15, Limit::Window)]);
    }

    #[test]
    fn a_change_behind_a_pause_began_at_the_last_look() {
        const S: u64 = 1_000_000_000;
        let mut flow = Flow::default();
        flow.seen(&window(10, 0, 0, 65_000));
        flow.seen(&window(S - 5, 0, 0, 0));
        flow.seen(&window(S, FLOW_WINDOW, 64_000, 65_000));
        assert_eq!(
            flow.pieces(10, S),
            [(10, S - 5, Limit::Path), (S - 5, S, Limit::Window)]
        );
    }

    #[test]
    fn a_socket_with_nothing_under_way_is_not_held_back_by_its_receiver_without_the_kernels_word() {
        let mut flow = Flow::default();
        flow.seen(&state(10, 0, 5, 0));
        flow.seen(&state(20, 0, 0, 0));
        assert_eq!(flow.pieces(10, 20), [(10, 20, Limit::Path)]);
    }

    /// As [`state`], with the window that the receiver announced.
    fn window(ns: u64, flags: u32, unacked_bytes: u32, window_bytes: u32) -> event::Flow {
        event::Flow {
            window_bytes,
            ..state(ns, flags, unacked_bytes, 0)
        }
    }

    /// One turn of a client that reads slowly, as recorded behind a full link: its window opens, shrinks and closes.
    fn slow_turn(flow: &mut Flow, begin: u64) {
        const MS: u64 = 1_000_000;
        flow.seen(&window(begin + 19 * MS, 0, 5_792, 21_720));
        flow.seen(&window(begin + 59 * MS, 0, 14_480, 21_720));
        flow.seen(&window(begin + 101 * MS, FLOW_WINDOW, 13_032, 13_032));
        flow.seen(&window(begin + 140 * MS, FLOW_WINDOW, 4_344, 4_344));
        flow.seen(&window(begin + 304 * MS, FLOW_WINDOW, 0, 0));
    }

    #[test]
    fn a_receiver_whose_buffer_fills_again_and_again_is_what_holds_its_flow_back() {
        let mut flow = Flow::default();
        for turn in 0..3 {
            slow_turn(&mut flow, turn * 304_000_000);
        }
        let pieces = flow.pieces(101_000_000, 912_000_000);
        assert!(
            pieces.iter().all(|(_, _, limit)| *limit == Limit::Closed),
            "{pieces:?}"
        );
    }

    #[test]
    fn a_receiver_that_was_full_explains_no_more_than_the_next_second() {
        let mut flow = Flow::default();
        slow_turn(&mut flow, 0);
        let full = 304_000_000;
        flow.seen(&window(full + READS_NS, 0, 5_792, 21_720));
        flow.seen(&window(full + READS_NS + 9, 0, 5_792, 21_720));
        assert_eq!(
            flow.pieces(full + READS_NS - 9, full + READS_NS + 9),
            [
                (full + READS_NS - 9, full + READS_NS, Limit::Closed),
                (full + READS_NS, full + READS_NS + 9, Limit::Path)
            ]
        );
    }

    #[test]
    fn a_window_announced_in_full_is_only_small_for_so_long_a_queue() {
        let mut flow = Flow::default();
        for ns in [0, 10, 20] {
            flow.seen(&window(ns, FLOW_WINDOW, 64_000, 65_000));
        }
        assert_eq!(flow.pieces(0, 20), [(0, 20, Limit::Window)]);
    }

    #[test]
    fn a_retransmission_explains_what_follows_it_for_a_second() {
        let mut flow = Flow::default();
        flow.seen(&state(0, 0, 5, 0));
        flow.seen(&state(10, 0, 5, 1));
        flow.seen(&state(500, 0, 5, 1));
        flow.seen(&state(RECOVERY_NS + 600, 0, 5, 1));
        flow.seen(&state(RECOVERY_NS + 700, 0, 5, 1));
        let all = flow.pieces(0, RECOVERY_NS + 700);
        assert_eq!(all[0], (0, RECOVERY_NS + 600, Limit::Loss));
        assert_eq!(all[1], (RECOVERY_NS + 600, RECOVERY_NS + 700, Limit::Path));
    }
}
