//! Answers that the target had sent before the window, and that a full link holds up for all of it. They show no call.

use super::{Beside, Requests};
use crate::event;

impl Requests {
    /// The peer acknowledged nothing of an answer in the window.
    pub(in crate::model) fn under_way(&mut self, found: &event::UnderWay) {
        self.under_way.push(found.clone());
    }

    /// Such an answer is an open request. Like any other response under way, it waits for its link while that is full.
    ///
    /// A connection with calls in the window is judged by these.
    pub(in crate::model) fn close_under_way(&mut self, beside: &mut Beside<'_>, end_ns: u64) {
        for found in std::mem::take(&mut self.under_way) {
            let window_ns = end_ns.saturating_sub(self.start_ns);
            let serves = self.listening.contains(&found.local_port);
            if !serves
                || !is_held_here(&found, window_ns)
                || self.has_ends(&found.local, &found.remote)
            {
                continue;
            }
            if let Some(route) = beside.links.only_route(found.netns, found.ifindex) {
                let (account, start_ns) = (&mut *beside.account, self.start_ns);
                let known = beside.links.drained(account, &route, start_ns, end_ns);
                let known_ns = known.unwrap_or(0);
                self.tally.judged(window_ns, known_ns);
                self.tally.left_open_before(start_ns, end_ns);
            }
        }
    }
}

/// Can this machine hold the data up? TCP doubles its timer when a segment that left is not acknowledged. It does not while one stands
/// in a queue here, or finds that full. And a receiver whose window was closed for most of the time is slow itself.
fn is_held_here(found: &event::UnderWay, window_ns: u64) -> bool {
    found.backoff == 0 && 2 * found.limited_ns < window_ns
}
