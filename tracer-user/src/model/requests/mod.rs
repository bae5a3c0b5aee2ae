//! Requests as turns. A turn begins with the first byte received after the last send of the one before. It ends with the last send
//! before the next receive.
//!
//! Only the next call on a connection shows which send was the last. So each part of a turn is judged when that call comes.

mod answers;
mod asking;
mod asks;
mod births;
mod call;
mod client;
mod close;
mod connection;
mod connections;
mod fellows;
mod hands;
mod itself;
mod judge;
mod long_poll;
mod own_locks;
mod receiver;
mod sends;
mod tally;
mod turns;
mod unanswered;
mod under_way;
mod unheard;
mod unread;

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashSet as HashSet;

use super::{
    account::Account,
    books::{Asks, ProcessId},
    links::{Links, SendWait},
    names::Names,
    threads::{Owned, Threads},
};
use crate::event;
use asking::Asking;
use client::Clients;
use connection::Role;
use connections::Connections;
use itself::Itself;
use tally::Tally;
use unheard::Unheard;
use unread::UnreadBefore;

/// The other rooms that a request needs: the threads that serve it, and the links through which its answers leave.
pub(super) struct Beside<'a> {
    pub(super) names: &'a mut Names,
    pub(super) account: &'a mut Account,
    pub(super) threads: &'a mut Threads,
    pub(super) links: &'a mut Links,
}

/// All connections of the target, and the requests on them.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    /// Begin of the window, ns.
    start_ns: u64,
    /// Ports on which the target listens.
    listening: Vec<u32>,
    /// Ports on which connections were accepted in the window: it listens there since.
    accepted: HashSet<u32>,
    connections: Connections,
    /// The number of requests that threads came to own so far.
    seats: u64,
    pub(super) clients: Clients,
    /// How much each process of this machine asks.
    asks: BTreeMap<ProcessId, Asks>,
    /// Sockets that held unread bytes at attach.
    unread_before: UnreadBefore,
    /// Sockets that hold unread bytes at the end.
    unread: Vec<event::Unread>,
    /// Connections that nobody hears.
    unheard: Unheard,
    /// Questions that have no answer yet.
    asking: Asking,
    /// What the target did for its own questions.
    itself: Itself,
    /// Answers that were under way for the whole window.
    under_way: Vec<event::UnderWay>,
    /// By thread: waits in a send that has not returned.
    sends: BTreeMap<u32, VecDeque<SendWait>>,
    pub(super) tally: Tally,
    /// Connections that were forgotten while nothing was open on them: there were too many, or records of their ends were lost.
    pub(super) forgotten: u64,
    /// From so many connections on those are looked for that can be forgotten.
    look_from: usize,
    /// In the books of a process that the target asks: the connections on which it does. Requests of others are not kept there.
    asked_on: Option<HashSet<u64>>,
    /// The number of such connections so far.
    connections_asked_on: u64,
}

impl Requests {
    /// Those of a process that the target asks.
    pub(super) fn of_followed() -> Self {
        Self {
            asked_on: Some(HashSet::default()),
            ..Self::default()
        }
    }

    /// The window begins.
    pub(super) fn begin(&mut self, start: &event::Start) {
        self.start_ns = start.ns;
        self.listening.clone_from(&start.listening);
    }

    /// A socket was open at attach.
    pub(super) fn open_socket(&mut self, socket: &event::OpenSocket) {
        self.unread_before.found(socket);
    }

    /// A socket holds unread bytes at the end.
    pub(super) fn unread(&mut self, unread: &event::Unread) {
        self.unread.push(unread.clone());
    }

    /// A connection that is not known here is another fold's: such a record names no process.
    pub(super) fn flow(&mut self, flow: &event::Flow, queue: u32) {
        let Some(connection) = self.connections.get_mut(flow.socket) else {
            return;
        };
        if flow.ifindex != 0 {
            connection.route.ifindex = flow.ifindex;
            connection.route.queue = queue;
        }
        connection.route.flow.seen(flow);
    }

    /// Own and peer's address of a connection, if it is known.
    pub(super) fn ends(&self, socket: u64) -> Option<&(String, String)> {
        self.connections
            .get(&socket)
            .map(|connection| &*connection.ends)
    }

    /// Has a connection these ends, own address first?
    pub(super) fn has_ends(&self, local: &str, remote: &str) -> bool {
        self.connections.with_ends(local, remote).is_some()
    }

    /// Does the target ask this process on a connection?
    pub(super) fn is_asked_on(&self, socket: u64) -> bool {
        let asked_on = self.asked_on.as_ref();
        asked_on.is_some_and(|sockets| sockets.contains(&socket))
    }

    /// The target asks this process on a connection.
    pub(super) fn asked_on(&mut self, socket: u64) {
        if self.asked_on.get_or_insert_default().insert(socket) {
            self.connections_asked_on += 1;
        }
    }

    /// On how many connections did the target ask this process?
    pub(super) fn connections_asked_on(&self) -> u64 {
        self.connections_asked_on
    }

    /// On how many connections that are open does the target ask those whose address is so?
    pub(super) fn connections_to(&self, is_theirs: impl Fn(&str) -> bool) -> u64 {
        let all = self.connections.values();
        let asks = all.filter(|connection| connection.role == Role::Client);
        asks.filter(|connection| is_theirs(&connection.ends.1))
            .count() as u64
    }

    /// The last of these requests' sockets on which the target answers.
    fn serving(&self, owned: &Owned) -> Option<u64> {
        let serves = |socket: &u64| {
            let connection = self.connections.get(socket);
            connection.is_some_and(|connection| connection.role == Role::Server)
        };
        owned.iter().rev().find(serves)
    }

    /// How a socket's data leave.
    pub(super) fn route(&self, socket: u64) -> Option<&super::links::Route> {
        self.connections
            .get(&socket)
            .map(|connection| &connection.route)
    }

    /// The time from which a thread that owns these requests is still to be judged, ns.
    pub(super) fn judged_ns(&self, owned: &Owned) -> u64 {
        let turns = owned.iter().filter_map(|socket| self.turn(socket));
        turns.map(|turn| turn.judged_ns).min().unwrap_or(u64::MAX)
    }
}
