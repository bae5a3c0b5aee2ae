//! A connection of the target, and the request that is open on it.

use std::sync::Arc;

use tracer_common::tcp::CALL_NOSPACE;

use super::{unanswered::TICKS_NS, unheard::Sight};
use crate::{
    event::{Call, Origin},
    model::{
        books::{AddressId, ProcessId},
        links::Route,
        threads::Questions,
    },
};

/// A request of at least this length that began before the window is as long as the kernel says, to 2 %, ns.
const KNOWN_NS: u64 = 50 * TICKS_NS;

/// An open request.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// When its first byte arrived.
    pub(crate) begin_ns: u64,
    /// From here on it has time in the books: from its begin, or from that of the window.
    pub(crate) counted_ns: u64,
    /// Began before the window.
    pub(crate) clipped: bool,
    /// It began before the window, and nobody heard its connection when it was looked at: an answer was owed.
    pub(crate) was_owed: bool,
    /// Nobody asked for it: the server sends what it was asked to tell of.
    pub(crate) is_push: bool,
    /// Thread that owns it.
    pub(crate) tid: u32,
    /// Where it stands among the requests of that thread; 0: nowhere yet.
    pub(crate) seat: u64,
    /// Up to when it is judged.
    pub(crate) judged_ns: u64,
    /// More came from the client while others had the request: when last, ns, and the thread that received it. The time until then is
    /// not judged yet.
    pub(crate) came: Option<(u64, u32)>,
    /// Last send so far.
    pub(crate) sent_ns: Option<u64>,
    /// What was sent last on the connection, for this request or one before, left something that did not fit.
    pub(crate) blocked: bool,
    /// Time that its owners were blocked so far, other than in waits for work.
    pub(crate) blocked_ns: u64,
    /// Nobody heard its connection, when that was last looked at.
    pub(crate) unheard: Option<Sight>,
    /// What was asked for it.
    pub(crate) questions: Questions,
    /// Connections of this machine on which its owner asked for it, and others after the first of them: (socket; when first, ns).
    pub(crate) asked: Vec<(u64, u64)>,
    /// The threads and processes that its owner bore for it: (when, ns; tid).
    pub(crate) born: Vec<(u64, u32)>,
}

impl Turn {
    /// Did it send all that it had? Then it is over, unless more is sent for it.
    #[must_use]
    pub(crate) fn is_answered(&self) -> bool {
        self.sent_ns.is_some() && !self.blocked
    }

    /// Its time before the window, ns, if it had `ns` in it. `None` if its age is not known: the last bytes of a client need be no
    /// question, and the kernel counts in ticks.
    #[must_use]
    pub(crate) fn before_ns(&self, ns: u64) -> Option<u64> {
        if !self.clipped {
            return Some(0);
        }
        let before_ns = self.counted_ns.saturating_sub(self.begin_ns);
        let is_known = before_ns >= TICKS_NS && before_ns + ns >= KNOWN_NS;
        (self.was_owed && is_known).then_some(before_ns)
    }

    /// A request that began at `begin_ns`, or before the window that begins at `start_ns`.
    #[must_use]
    pub(crate) fn new(begin_ns: u64, start_ns: u64, tid: u32) -> Self {
        let judged_ns = begin_ns.max(start_ns);
        Self {
            begin_ns: judged_ns,
            counted_ns: judged_ns,
            clipped: begin_ns < start_ns,
            was_owed: false,
            is_push: false,
            tid,
            seat: 0,
            judged_ns,
            came: None,
            sent_ns: None,
            blocked: false,
            blocked_ns: 0,
            unheard: None,
            questions: Questions::default(),
            asked: Vec::new(),
            born: Vec::new(),
        }
    }
}

/// The caller on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Not known, or several.
    #[default]
    Unknown,
    /// Somebody on another machine; or several there.
    Elsewhere,
    /// Whoever is at this address of another machine.
    From(AddressId),
    /// The process of this machine at the other end of the connection with this number.
    Here(u64),
}

impl Caller {
    /// Is it on another machine?
    pub(super) fn is_elsewhere(self) -> bool {
        matches!(self, Self::Elsewhere | Self::From(_))
    }
}

/// The side that asks on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
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
pub(crate) struct Drain {
    /// Last send.
    pub(crate) sent_ns: u64,
    /// Its last packet left this machine, if that was seen; from then on it waits for no link of it.
    pub(crate) left_ns: u64,
    /// All of it is acknowledged.
    pub(crate) acknowledged_ns: u64,
}

/// A connection of the target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// When it was first seen, ns; 0 if it was there before, or its first record was lost.
    pub(crate) since_ns: u64,
    /// The side that asks.
    pub(crate) role: Role,
    /// How its data leave.
    pub(crate) route: Route,
    /// Own port.
    pub(crate) local_port: u32,
    /// Own and peer's address, as text. They change once at most: the books of a provisional sentence share them.
    pub(crate) ends: Arc<(String, String)>,
    /// The open request.
    pub(crate) turn: Option<Turn>,
    /// Thread that last received or sent.
    pub(crate) worker: Option<u32>,
    /// The last send left something that did not fit, and what did fit is not acknowledged in whole.
    pub(crate) blocked: bool,
    /// As client: the thread of the target that asked and has no answer yet, and when it asked, ns.
    pub(crate) asked: Option<(u32, u64)>,
    /// As client: the thread of the target that last received here since it asked, and when, ns.
    pub(crate) heard: Option<(u32, u64)>,
    /// Last send of which the acknowledgement is awaited, ns.
    pub(crate) draining_ns: Option<u64>,
    /// There was something to answer at attach, and nobody has received or sent here since: known by its ends alone.
    pub(crate) untouched: bool,
    /// That send left something behind that fitted into the socket and was not to be sent yet: the client's window was full.
    pub(crate) held_back: bool,
    /// The drain that ended last, while the turn may go on. If it does, that time is the request's own, and no drain.
    pub(crate) drained: Option<Drain>,
    /// A turn that is over, while its answer may still be on this machine: its last send, that of `draining_ns`, is not
    /// acknowledged.
    pub(crate) leaving: Option<Turn>,
    /// The client, for as long as the connection lives.
    pub(crate) caller: Caller,
    /// The process of this machine that asks here, as far as was seen.
    pub(crate) asks: Option<ProcessId>,
    /// The process of this machine that connected, as the kernel says or a look at the other end showed.
    pub(crate) client: Option<ProcessId>,
}

impl Connection {
    /// Is it the connection with these ends?
    #[must_use]
    pub(super) fn has_ends(&self, local: &str, remote: &str) -> bool {
        (self.ends.0.as_str(), self.ends.1.as_str()) == (local, remote)
    }

    /// Learns from a call which side asks here, if its begin was not seen. If the target does not listen on its own port, it connected.
    /// The first call seen may then be the answer to a question from before the window. If no port is known, the side that receives
    /// first answers.
    pub(crate) fn learn(&mut self, call: &Call, is_send: bool, listening: &[u32]) {
        if call.ifindex != 0 {
            self.route.ifindex = call.ifindex;
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

impl From<Origin> for Role {
    /// Whoever accepted answers, and whoever connected asks, whoever speaks first: a mail server and a database greet their clients.
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Unknown => Self::Unknown,
            Origin::Accepted => Self::Server,
            Origin::Connected => Self::Client,
        }
    }
}

/// Did the call leave something that did not fit into the socket?
#[must_use]
pub(crate) fn is_blocked(call: &Call) -> bool {
    call.flags & CALL_NOSPACE != 0
}

#[cfg(test)]
mod tests {
    use super::*;

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
