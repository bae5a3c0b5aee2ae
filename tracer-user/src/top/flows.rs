//! The bytes that connections move, as `iftop` has them: over the last 2, 10 and 40 seconds.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    counters::{Counters, SocketCounts},
    event::Process,
    report::top::{Flow, Rates},
    standing::home,
};

/// So much is remembered, ns.
const MEMORY_NS: u64 = 40_000_000_000;

/// Most rows: nobody reads more.
const MOST_ROWS: usize = 200;

/// What a connection had moved at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    ns: u64,
    sent: u64,
    received: u64,
}

/// The connections of the last look.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows {
    /// By the number of the socket, the oldest sample first.
    known: BTreeMap<u64, VecDeque<Sample>>,
}

impl Flows {
    /// Takes a look at connections, and returns those that move something: the largest first.
    pub(super) fn rows<'a>(
        &mut self,
        counters: &Counters,
        process: impl Fn(u32) -> Option<&'a Process>,
    ) -> Option<Vec<Flow>> {
        let sockets = counters.sockets.as_ref()?;
        let mut before = std::mem::take(&mut self.known);
        let mut rows = Vec::new();
        for socket in sockets {
            let mut samples = before.remove(&socket.inode).unwrap_or_default();
            see(&mut samples, socket, counters.ns);
            let owner = socket.pid.and_then(&process);
            rows.extend(row(&samples, socket, owner));
            self.known.insert(socket.inode, samples);
        }
        let rate = |flow: &Flow| flow.sent.over_2_s + flow.received.over_2_s;
        let moved = |flow: &Flow| flow.sent_bytes.saturating_add(flow.received_bytes);
        rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)).then(moved(b).cmp(&moved(a))));
        rows.truncate(MOST_ROWS);
        Some(rows)
    }
}

/// Remembers what a connection has moved by now. The first sample stays: with it the totals begin.
fn see(samples: &mut VecDeque<Sample>, socket: &SocketCounts, ns: u64) {
    let SocketCounts { sent, received, .. } = *socket;
    // Another connection that has its number has moved less.
    let is_other = |last: &Sample| last.sent > sent || last.received > received;
    if samples.back().is_some_and(is_other) {
        samples.clear();
    }
    let is_old = |sample: Option<&Sample>| {
        sample.is_some_and(|sample| sample.ns.saturating_add(MEMORY_NS) <= ns)
    };
    // The second is old enough to stand for the begin of that time.
    while is_old(samples.get(2)) {
        samples.remove(1);
    }
    samples.push_back(Sample { ns, sent, received });
}

/// `None` if it has not moved anything since it was first seen.
fn row(samples: &VecDeque<Sample>, socket: &SocketCounts, owner: Option<&Process>) -> Option<Flow> {
    let (first, last) = (samples.front()?, samples.back()?);
    let sent_bytes = last.sent.saturating_sub(first.sent);
    let received_bytes = last.received.saturating_sub(first.received);
    if sent_bytes == 0 && received_bytes == 0 {
        return None;
    }
    let unit = owner.and_then(|owner| home::unit(&owner.cgroup));
    Some(Flow {
        pid: socket.pid,
        comm: owner.map(|owner| owner.comm.clone()),
        unit: unit.map(str::to_owned),
        local: socket.local.clone(),
        remote: socket.remote.clone(),
        sent: rates(samples, |sample| sample.sent),
        received: rates(samples, |sample| sample.received),
        sent_bytes,
        received_bytes,
    })
}

fn rates(samples: &VecDeque<Sample>, bytes: fn(&Sample) -> u64) -> Rates {
    let over = |seconds: u64| {
        let Some(last) = samples.back() else {
            return 0.0;
        };
        let since = last.ns.saturating_sub(seconds * 1_000_000_000);
        // The last one before that time, or the first of all.
        let earlier = samples.iter().rev().find(|sample| sample.ns <= since);
        let Some(from) = earlier.or(samples.front()) else {
            return 0.0;
        };
        let seconds = last.ns.saturating_sub(from.ns) as f64 / 1e9;
        match seconds > 0.0 {
            true => bytes(last).saturating_sub(bytes(from)) as f64 / seconds,
            false => 0.0,
        }
    };
    Rates {
        over_2_s: over(2),
        over_10_s: over(10),
        over_40_s: over(40),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn look(flows: &mut Flows, ns: u64, sockets: &[(u64, u64, u64)]) -> Vec<Flow> {
        let socket = |(inode, sent, received): &(u64, u64, u64)| SocketCounts {
            inode: *inode,
            sent: *sent,
            received: *received,
            ..SocketCounts::default()
        };
        let counters = Counters {
            ns,
            sockets: Some(sockets.iter().map(socket).collect()),
            ..Counters::default()
        };
        flows.rows(&counters, |_| None).unwrap()
    }

    #[test]
    fn rates_are_over_the_last_seconds_and_totals_since_the_first_look() {
        let mut flows = Flows::default();
        assert!(look(&mut flows, 0, &[(1, 500, 0)]).is_empty());
        let mut rows = Vec::new();
        for second in 1..=60 {
            // A hundred bytes a second for a minute, and a thousand in the last second.
            let more = if second == 60 { 900 } else { 0 };
            rows = look(&mut flows, second * S, &[(1, 500 + 100 * second + more, 0)]);
        }
        let flow = &rows[0];
        assert_eq!(flow.sent_bytes, 6_900);
        assert_eq!(flow.sent.over_2_s, 550.0);
        assert_eq!(flow.sent.over_10_s, 190.0);
        assert_eq!(flow.sent.over_40_s, 122.5);
        assert_eq!(flow.received.over_2_s, 0.0);
        assert!(flows.known[&1].len() < 50);
    }

    #[test]
    fn who_moves_most_comes_first_and_a_socket_that_is_gone_is_forgotten() {
        let mut flows = Flows::default();
        look(&mut flows, 0, &[(1, 0, 0), (2, 0, 0), (3, 0, 0)]);
        let rows = look(&mut flows, S, &[(1, 10, 0), (2, 0, 70), (3, 0, 0)]);
        let received: Vec<u64> = rows.iter().map(|flow| flow.received_bytes).collect();
        assert_eq!(received, [70, 0]);
        // Another connection has the number of the second.
        let rows = look(&mut flows, 2 * S, &[(2, 0, 30)]);
        assert!(rows.is_empty());
        assert!(flows.known.keys().eq([&2]));
        assert_eq!(flows.rows(&Counters::default(), |_| None), None);
    }
}
