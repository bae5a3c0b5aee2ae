//! A connection of the target, and the request that is open on it.

use tracer_common::tcp::CALL_NOSPACE;

use super::unheard::Sight;
use crate::{
    event::Call,
    model::{
        books::{AddressId, ProcessId},
        links::Route,
    },
};

/// An open request.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// When its first byte arrived.
    pub(crate) begin_ns: u64,
    /// Began before the window: its age is not known.
    pub(crate) clipped: bool,
    /// Nobody asked for it: the server sends what it was asked to tell of.
    pub(crate) is_push: bool,
    /// Thread that owns it.
    pub(crate) tid: u32,
    /// Up to when it is judged.
    pub(crate) judged_ns: u64,
    /// Last send so far.
    pub(crate) sent_ns: Option<u64>,
    /// What was sent last on the connection, for this request or one before, left something that did not fit.
    pub(crate) blocked: bool,
    /// Time that its owners were blocked so far, other than in waits for work.
    pub(crate) blocked_ns: u64,
    /// Nobody heard its connection, when that was last looked at.
    pub(crate) unheard: Option<Sight>,
}

impl Turn {
    /// A request that began at `begin_ns`, or before the window that begins at `start_ns`.
    #[must_use]
    pub(crate) fn new(begin_ns: u64, start_ns: u64, tid: u32) -> Self {
        let judged_ns = begin_ns.max(start_ns);
        Self {
            begin_ns: judged_ns,
            clipped: begin_ns < start_ns,
            is_push: false,
            tid,
            judged_ns,
            sent_ns: None,
            blocked: false,
            blocked_ns: 0,
            unheard: None,
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
    /// The side that asks.
    pub(crate) role: Role,
    /// How its data leave.
    pub(crate) route: Route,
    /// Own port.
    pub(crate) local_port: u32,
    /// Own and peer's address, as text.
    pub(crate) ends: (String, String),
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
    /// The drain that ended last, while the turn may go on. If it does, that time is the request's own, and no drain.
    pub(crate) drained: Option<Drain>,
    /// The client, for as long as the connection lives.
    pub(crate) caller: Caller,
    /// The process of this machine that asks here, as far as was seen.
    pub(crate) asks: Option<ProcessId>,
    /// The process of this machine that connected, as the kernel says or a look at the other end showed.
    pub(crate) client: Option<ProcessId>,
}

impl Connection {
    /// Learns from a call which side asks here. If the target does not listen on its own port, it connected. The first call seen
    /// may then be the answer to a question from before the window. If no port is known, the side that receives first answers.
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
