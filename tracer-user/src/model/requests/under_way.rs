//! Answers that the target had sent before the window, and that a full link holds up for all of it. They show no call.

use std::collections::BTreeMap;

use super::{Beside, Requests, connections::Connections};
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
        let all = std::mem::take(&mut self.under_way);
        if all.is_empty() {
            return;
        }
        let ways = ways(&self.connections);
        for found in all {
            let window_ns = end_ns.saturating_sub(self.start_ns);
            let serves = self.listening.contains(&found.local_port);
            if !serves
                || !is_held_here(&found, window_ns)
                || self.has_ends(&found.local, &found.remote)
            {
                continue;
            }
            let links = &*beside.links;
            let through = |(netns, ifindex)| links.only_route(netns, ifindex);
            let below = || through((*ways.get(address(&found.local)?)?)?);
            if let Some(route) = through((found.netns, found.ifindex)).or_else(below) {
                let (account, start_ns) = (&mut *beside.account, self.start_ns);
                let known = beside.links.drained(account, &route, start_ns, end_ns);
                let known_ns = known.unwrap_or(0);
                self.tally.judged(window_ns, known_ns);
                self.tally.left_open_before(start_ns, end_ns);
            }
        }
    }
}

/// Network namespace, interface.
type Way = (u32, u32);

/// The interfaces that queue what is sent from each own address, as the connections show; `None` if there are several. An address may be
/// that of an interface that queues nothing: what a VLAN, a bridge or a tunnel sends waits in one below.
fn ways(connections: &Connections) -> BTreeMap<&str, Option<Way>> {
    let mut ways = BTreeMap::new();
    for connection in connections.values() {
        let route = &connection.route;
        if let Some(own) = address(&connection.ends.0).filter(|_| route.ifindex != 0) {
            let way = Some((route.flow.netns, route.ifindex));
            let known = ways.entry(own).or_insert(way);
            if *known != way {
                *known = None;
            }
        }
    }
    ways
}

/// The address of an end, without its port.
fn address(end: &str) -> Option<&str> {
    Some(end.rsplit_once(':')?.0)
}

/// Can this machine hold the data up? TCP doubles its timer when a segment that left is not acknowledged. It does not while one stands
/// in a queue here, or finds that full. And a receiver whose window was closed for most of the time is slow itself.
fn is_held_here(found: &event::UnderWay, window_ns: u64) -> bool {
    found.backoff == 0 && 2 * found.limited_ns < window_ns
}
