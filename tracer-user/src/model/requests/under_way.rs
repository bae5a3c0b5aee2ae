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
            let ends = between(&found.local, &found.remote);
            let way = ends.and_then(|ends| ways.get(&ends).copied());
            // Without another connection of these two, it is the interface with the own address. If nothing leaves there, nobody knows.
            let way = way.unwrap_or(Some((found.netns, found.ifindex)));
            let links = &*beside.links;
            let through = |(netns, ifindex)| links.only_route(netns, ifindex);
            if let Some(route) = way.and_then(through) {
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

/// Own address and peer's address, without their ports.
type Between<'a> = (&'a str, &'a str);

/// The interfaces that queue what is sent from each own address to each peer, as the connections show; `None` if there are several. The
/// own address may be that of an interface that queues nothing: what a VLAN, a bridge or a tunnel sends waits in one below. What goes to
/// another peer tells nothing: the route goes by the destination.
fn ways(connections: &Connections) -> BTreeMap<Between<'_>, Option<Way>> {
    let mut ways = BTreeMap::new();
    for connection in connections.values() {
        let (route, (local, remote)) = (&connection.route, &*connection.ends);
        let ends = between(local, remote);
        if let Some(ends) = ends.filter(|_| route.ifindex != 0) {
            let way = Some((route.flow.netns, route.ifindex));
            let known = ways.entry(ends).or_insert(way);
            if *known != way {
                *known = None;
            }
        }
    }
    ways
}

fn between<'a>(local: &'a str, remote: &'a str) -> Option<Between<'a>> {
    Some((address(local)?, address(remote)?))
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
