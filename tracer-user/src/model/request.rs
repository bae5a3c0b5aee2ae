//! Requests as turns: from the first byte received after the previous turn's last send, to the last send before the next receive.
//!
//! Which send is the last is known only afterwards: each part of a turn is judged when the next call on its connection comes.

use tracer_common::{
    histogram::{BOUNDS, BUCKETS, bucket},
    tcp::CALL_NOSPACE,
};

use super::{books::Requests, client::Caller, flow::Flow};
use crate::event::Call;

/// A turn without a send for longer than this, whose owner only waited for work, is a long poll (design §2).
pub const LONG_POLL_NS: u64 = 5_000_000_000;

/// A request of which more than this part is known to be blocked is no long poll. Not 0: the thread that takes it has to come on a CPU.
pub const LONG_POLL_BLOCKED: f64 = 0.01;

/// An open request.
#[derive(Clone, Debug)]
pub struct Turn {
    /// When its first byte arrived.
    pub begin_ns: u64,
    /// Began before the window: its age is not known.
    pub clipped: bool,
    /// Thread that owns it.
    pub tid: u32,
    /// Up to when it is judged.
    pub judged_ns: u64,
    /// Last send so far.
    pub sent_ns: Option<u64>,
    /// The last send left something that did not fit.
    pub blocked: bool,
    /// Time that its owners were blocked so far, other than in waits for work.
    pub blocked_ns: u64,
}

/// Who asks on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing was seen yet.
    #[default]
    Unknown,
    /// The target answers.
    Server,
    /// The target asks another process.
    Client,
}

/// How an answer got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Last send.
    pub sent_ns: u64,
    /// Its last packet left this machine, if that was seen; from then on it waits for no link of it.
    pub left_ns: u64,
    /// All of it is acknowledged.
    pub acknowledged_ns: u64,
}

/// A connection of the target.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Who asks.
    pub role: Role,
    /// Interface through which it sends, if that queues.
    pub ifindex: u32,
    /// What held it back.
    pub flow: Flow,
    /// Own port.
    pub local_port: u32,
    /// Own and peer's address, as text.
    pub ends: (String, String),
    /// The open request.
    pub turn: Option<Turn>,
    /// Thread that last received or sent.
    pub worker: Option<u32>,
    /// As client: which thread of the target asked what has no answer yet, and when.
    pub asked: Option<(u32, u64)>,
    /// Last send whose acknowledgement is awaited.
    pub draining_ns: Option<u64>,
    /// There was something to answer at attach, and nobody has received or sent here since: known by its ends alone.
    pub untouched: bool,
    /// The drain that ended last, while the turn may go on: then that time is the request's own, and no drain.
    pub drained: Option<Drain>,
    /// Who asks, for as long as the connection lives.
    pub caller: Caller,
}

impl Connection {
    /// Learns from a call who asks here. Whose port is none on which the target listens was connected by the target: the first call
    /// seen may well be the answer to what it asked before the window. Where no port is known, who receives first answers.
    pub fn learn(&mut self, call: &Call, is_send: bool, listening: &[u32]) {
        if call.ifindex != 0 {
            self.ifindex = call.ifindex;
        }
        if self.role == Role::Unknown && call.result > 0 {
            let port_known = self.local_port != 0 && !listening.is_empty();
            let serves = match port_known {
                true => listening.contains(&self.local_port),
                false => !is_send,
            };
            self.role = if serves { Role::Server } else { Role::Client };
        }
    }
}

/// Did the call leave something that did not fit into the socket?
#[must_use]
pub fn is_blocked(call: &Call) -> bool {
    call.flags & CALL_NOSPACE != 0
}

/// Quantiles of durations, in the buckets of all histograms.
#[derive(Clone, Debug)]
pub struct Durations {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS + 1],
            count: 0,
            max_ns: 0,
        }
    }
}

impl Durations {
    /// Counts one.
    pub fn add(&mut self, ns: u64) {
        self.buckets[bucket(ns).map_or(0, |i| i as usize + 1)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration that `part` of them do not exceed: between its bucket's bounds in proportion, so off by at most 4.4 %.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let wanted = part * self.count as f64;
        let mut seen = 0_u64;
        for (i, count) in self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let inside = (wanted - seen as f64) / *count as f64;
            seen += count;
            if seen as f64 >= wanted {
                let upper = if i == 0 { 953 } else { BOUNDS[i - 1] };
                let lower = if i < 2 { 0 } else { BOUNDS[i - 2] };
                let ns = lower as f64 + (upper - lower) as f64 * inside.clamp(0.0, 1.0);
                return Some((ns as u64).min(self.max_ns));
            }
        }
        None
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ns)
    }
}

/// Requests so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Durations of requests that ended.
    pub durations: Durations,
    /// From a last send to its acknowledgement.
    pub drains: Durations,
    /// Ended, but began before the window.
    pub clipped: u64,
    /// Open at the end.
    pub open: u64,
    /// Begin of the oldest open one.
    pub oldest_ns: Option<u64>,
    /// Was anything seen that can be a request?
    pub seen: bool,
}

impl Tally {
    /// A request ended.
    pub fn ended(&mut self, turn: &Turn) {
        let Some(sent_ns) = turn.sent_ns else { return };
        if turn.clipped {
            self.clipped += 1;
        } else {
            self.durations.add(sent_ns.saturating_sub(turn.begin_ns));
        }
    }

    /// A request is open at the end.
    pub fn left_open(&mut self, turn: &Turn) {
        self.seen = true;
        self.open += 1;
        self.oldest_ns = Some(
            self.oldest_ns
                .map_or(turn.begin_ns, |oldest| oldest.min(turn.begin_ns)),
        );
    }

    /// The figures at the end of the window.
    #[must_use]
    pub fn close(&self, end_ns: u64) -> Option<Requests> {
        self.seen.then(|| Requests {
            count: self.durations.count() + self.clipped,
            open: self.open,
            oldest_open_ns: self.oldest_ns.map(|begin| end_ns.saturating_sub(begin)),
            p50_ns: self.durations.quantile(0.5),
            p99_ns: self.durations.quantile(0.99),
            max_ns: self.durations.max(),
            drain_p99_ns: self.drains.quantile(0.99),
            clipped: self.clipped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_off_by_less_than_its_bucket() {
        let mut durations = Durations::default();
        for i in 1..=1000 {
            durations.add(i * 10_000);
        }
        let p50 = durations.quantile(0.5).unwrap() as f64;
        assert!((p50 / 5_000_000.0 - 1.0).abs() < 0.044, "{p50}");
        assert_eq!(durations.max(), Some(10_000_000));
        assert_eq!(Durations::default().quantile(0.5), None);
    }

    #[test]
    fn a_connection_that_is_asked_first_is_a_servers() {
        let call = |result| Call {
            result,
            ..Call::default()
        };
        let mut connection = Connection::default();
        connection.learn(&call(-11), false, &[]);
        assert_eq!(connection.role, Role::Unknown);
        connection.learn(&call(10), false, &[]);
        assert_eq!(connection.role, Role::Server);
        let mut asking = Connection::default();
        asking.learn(&call(10), true, &[80]);
        assert_eq!(asking.role, Role::Client);
    }

    #[test]
    fn an_answer_to_what_was_asked_before_the_window_makes_no_server() {
        let answer = Call {
            result: 10,
            ..Call::default()
        };
        let role = |local_port, listening: &[u32]| {
            let mut connection = Connection {
                local_port,
                ..Connection::default()
            };
            connection.learn(&answer, false, listening);
            connection.role
        };
        assert_eq!(role(40_000, &[80]), Role::Client);
        assert_eq!(role(80, &[80]), Role::Server);
        assert_eq!(role(40_000, &[]), Role::Server);
    }
}
