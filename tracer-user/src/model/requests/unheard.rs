//! Requests on connections that nobody hears: somebody owes the answer, however long ago they came.
//!
//! A look at the machine tells which connections these are, and which threads hear no client. Who owes which answer it cannot tell. If
//! no call has shown that, one of these threads stands for it.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet as HashSet;

use super::{
    Requests,
    connection::{Connection, Role, Turn},
};
use crate::{
    class::Class,
    event::{self, Deaf, Unanswered, UnheardConnection},
    model::threads::{Thread, Threads},
};

/// A look that found that nobody hears the connection of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// Process that has the connection.
    pid: u32,
    /// Was it at the end of the window?
    last: bool,
    /// Is the connection in an `epoll` set that nobody waited on?
    registered: bool,
}

/// Processes of which the threads that hear nobody are kept. Most of more have ended.
const MOST_DEAF: usize = 4096;

/// What the looks have shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Unheard {
    /// Questions without an answer in processes of several threads, as far as no look has shown more.
    unowned: Vec<Unanswered>,
    /// The threads that hear no client, by process, as they were last seen.
    deaf: BTreeMap<u32, Vec<Deaf>>,
    /// Connections with bytes that nobody has read at the end: own end, peer's end.
    unread: BTreeSet<(String, String)>,
    /// Is the window over? Then only the last look counts.
    is_over: bool,
}

impl Turn {
    /// Nobody heard its connection in a look, unless it has come or gone on since.
    fn seen(&mut self, found: &event::Unheard, seen: &UnheardConnection) {
        if self.begin_ns <= found.ns && self.sent_ns.is_none() {
            self.unheard = Some(Sight {
                pid: found.pid,
                last: found.last,
                registered: seen.registered,
            });
        }
    }
}

/// Has this process the connection, by the thread that works for it? Where none is known, by the look that found that nobody hears it.
fn is_of_process(connection: &Connection, threads: &Threads, pid: u32) -> bool {
    let worker = connection
        .worker
        .map(|tid| threads.get(tid).map(|thread| thread.pid));
    let sight = || Some(connection.turn.as_ref()?.unheard?.pid);
    worker.unwrap_or_else(sight) == Some(pid)
}

impl Unheard {
    /// Nobody knows whose question this is.
    pub(super) fn keep(&mut self, found: &Unanswered) {
        self.unowned.push(found.clone());
    }

    fn take(&mut self, is_it: impl Fn(&Unanswered) -> bool) -> Option<Unanswered> {
        let index = self.unowned.iter().position(is_it)?;
        Some(self.unowned.swap_remove(index))
    }

    fn deaf(&self, pid: u32, tid: u32) -> Option<&Deaf> {
        let mut deaf = self.deaf.get(&pid)?.iter();
        deaf.find(|deaf| deaf.tid == tid)
    }
}

impl Requests {
    /// Connections of a process that nobody hears.
    pub(in crate::model) fn unheard(&mut self, threads: &mut Threads, found: &event::Unheard) {
        if self.unheard.deaf.len() >= MOST_DEAF && !self.unheard.deaf.contains_key(&found.pid) {
            self.unheard.deaf.pop_first();
        }
        self.unheard.deaf.insert(found.pid, found.threads.clone());
        for deaf in &found.threads {
            if let Some((_, remote)) = &deaf.asks {
                self.listens_to(threads, deaf.tid, remote);
            }
        }
        if !found.last {
            self.know_who_asks(threads, found);
        }
        for connection in &found.connections {
            if connection.local.is_empty() {
                self.streams_unheard(threads, found, connection);
                continue;
            }
            if !found.last && !self.has_ends(&connection.local, &connection.remote) {
                self.open_unowned(threads, found, connection);
            }
            self.see_unheard(found, connection);
        }
    }

    /// The window is over.
    pub(in crate::model) fn end(&mut self) {
        self.unheard.is_over = true;
    }

    /// A thread that listens to whom the process asks waits for that answer.
    fn know_who_asks(&mut self, threads: &mut Threads, found: &event::Unheard) {
        for deaf in &found.threads {
            let Some((local, remote)) = &deaf.asks else {
                continue;
            };
            let is_it =
                |asked: &Unanswered| asked.asks && (&asked.local, &asked.remote) == (local, remote);
            if let Some(asked) = self.unheard.take(is_it) {
                self.open_untouched(threads, &asked, Some(deaf.tid));
            }
        }
    }

    /// A request that came before the window, or that nobody has read: its owner shows later.
    fn open_unowned(
        &mut self,
        threads: &mut Threads,
        found: &event::Unheard,
        seen: &UnheardConnection,
    ) {
        let UnheardConnection { local, remote, .. } = seen;
        let is_it =
            |asked: &Unanswered| !asked.asks && (&asked.local, &asked.remote) == (local, remote);
        let unread = || Unanswered {
            pid: found.pid,
            local: local.clone(),
            remote: remote.clone(),
            asks: false,
            since_ns: seen.since_ns,
        };
        // Of a process that the target asks, only the target's own requests count.
        let is_unread = seen.unread && self.asked_on.is_none();
        let known = self.unheard.take(is_it);
        match known.or_else(|| is_unread.then(unread)) {
            Some(asked) => _ = self.open_untouched(threads, &asked, None),
            None => self.open_of_fellow(threads, found, seen),
        }
    }

    /// Notes the sight with the request.
    fn see_unheard(&mut self, found: &event::Unheard, seen: &UnheardConnection) {
        if found.last && seen.unread {
            let ends = (seen.local.clone(), seen.remote.clone());
            self.unheard.unread.insert(ends);
        }
        let socket = self.connections.with_ends(&seen.local, &seen.remote);
        if let Some(turn) = socket.and_then(|socket| self.turn_mut(socket)) {
            turn.seen(found, seen);
        }
    }

    /// Nobody hears any of the Unix streams that a process accepted from another one, or of all that it accepted.
    fn streams_unheard(
        &mut self,
        threads: &mut Threads,
        found: &event::Unheard,
        seen: &UnheardConnection,
    ) {
        let is_of = |connection: &Connection| {
            let (local, remote) = &*connection.ends;
            let is_stream = local.is_empty() && (seen.remote.is_empty() || *remote == seen.remote);
            is_stream && is_of_process(connection, threads, found.pid)
        };
        let streams = self.connections.values_mut();
        let mut is_known = false;
        for connection in streams.filter(|connection| is_of(connection)) {
            is_known = true;
            if let Some(turn) = &mut connection.turn {
                turn.seen(found, seen);
            }
        }
        if !is_known && !found.last && !self.open_awaited(threads, found, seen) {
            self.open_of_fellow(threads, found, seen);
        }
    }

    /// The clients of a process of several threads have waited on such streams since before attach. Whoever serves them owes the answers.
    /// Returns whether there is one.
    fn open_awaited(
        &mut self,
        threads: &mut Threads,
        found: &event::Unheard,
        seen: &UnheardConnection,
    ) -> bool {
        let is_one = threads.of_process(found.pid).take(2).count() < 2;
        if self.asked_on.is_some() || is_one {
            return false;
        }
        let is_it = |asked: &Unanswered| {
            let is_stream = asked.pid == found.pid && asked.local.is_empty() && !asked.asks;
            is_stream && (seen.remote.is_empty() || asked.remote == seen.remote)
        };
        let mut is_any = false;
        while let Some(asked) = self.unheard.take(is_it) {
            self.open_seen(threads, asked, None, (found, seen));
            is_any = true;
        }
        is_any
    }

    /// Opens a request from before the window that nobody heard as it was looked at. If it is not known since when, at least since attach.
    fn open_seen(
        &mut self,
        threads: &mut Threads,
        mut asked: Unanswered,
        owner: Option<u32>,
        (found, seen): (&event::Unheard, &UnheardConnection),
    ) {
        if asked.since_ns == 0 {
            asked.since_ns = self.start_ns.saturating_sub(1);
        }
        let socket = self.open_untouched(threads, &asked, owner);
        if let Some(turn) = self.turn_mut(socket) {
            turn.seen(found, seen);
        }
    }

    /// A process of one thread has slept since before attach for something that only its fellows can end, with a connection that nobody
    /// hears. Whoever spoke last there, it works for that client.
    fn open_of_fellow(
        &mut self,
        threads: &mut Threads,
        found: &event::Unheard,
        seen: &UnheardConnection,
    ) {
        let [Deaf { tid, own: true, .. }] = found.threads[..] else {
            return;
        };
        let sleeps = |thread: &Thread| thread.known_ns() == thread.begin_ns && !thread.running;
        let is_alone = threads.of_process(found.pid).take(2).count() == 1
            && threads.get(tid).is_some_and(sleeps);
        if self.asked_on.is_some() || !is_alone {
            return;
        }
        let before = Unanswered {
            pid: found.pid,
            local: seen.local.clone(),
            remote: seen.remote.clone(),
            asks: false,
            since_ns: seen.since_ns,
        };
        self.open_seen(threads, before, Some(tid), (found, seen));
    }

    /// A stream is used for the first time: it may be the one that such a process had open.
    pub(in crate::model) fn stream_named(&mut self, threads: &mut Threads, client: &event::Client) {
        if self.connections.contains_key(&client.socket) {
            return;
        }
        let asks = client.client_pid.to_string();
        let is_it = |connection: &Connection| {
            // The stream of another client is another one.
            let (_, remote) = &*connection.ends;
            let is_its = remote.is_empty() || *remote == asks;
            is_its && connection.untouched && is_of_process(connection, threads, client.pid)
        };
        let known = self
            .connections
            .nameless()
            .find(|(_, known)| is_it(known))
            .map(|(socket, _)| socket);
        if let Some(known) = known {
            self.name(threads, known, client.socket);
        }
    }

    /// The class of what a thread waits for without a known reason while it owes an answer on a connection that nobody hears. `None` if
    /// somebody may hear the connection.
    pub(super) fn owed(
        &self,
        threads: &Threads,
        socket: u64,
        turn: &Turn,
        tid: u32,
    ) -> Option<Class> {
        let sight = turn.unheard?;
        let is_old = self.unheard.is_over && !sight.last;
        if is_old || (sight.registered && self.serves_others(threads, socket, sight.pid)) {
            return None;
        }
        // What one that polls a ring receives is owed by whoever takes it.
        let owner = threads.takers(tid).first().copied().unwrap_or(tid);
        let deaf = self.unheard.deaf(sight.pid, owner);
        // Only a thread of its own process can end such a sleep, so nobody else holds what it waits for.
        let is_own = deaf.is_some_and(|deaf| deaf.own);
        Some(if is_own { Class::Lock } else { Class::Other })
    }

    /// Did a process receive or send on another connection of a client in the window? Then its loop works, and comes back to this one.
    fn serves_others(&self, threads: &Threads, socket: u64, pid: u32) -> bool {
        let is_of = |tid: u32| threads.get(tid).is_some_and(|thread| thread.pid == pid);
        let mut others = self
            .connections
            .iter()
            .filter(|(other, _)| **other != socket);
        others.any(|(_, connection)| {
            let serves = connection.role == Role::Server && !connection.untouched;
            serves && connection.worker.is_some_and(is_of)
        })
    }

    /// Are there bytes on a connection that nobody has read, nor would?
    pub(super) fn is_unread(&self, socket: u64) -> bool {
        let connection = self.connections.get(&socket);
        connection.is_some_and(|connection| self.unheard.unread.contains(&*connection.ends))
    }

    /// The thread that is likely to owe the answer on a connection that nobody touched in the window: one that hears no client, and
    /// worked for none. Of several, one that waits for an answer itself comes first, then one that was blocked for most of the window,
    /// then one that waits for a lock: a pool's idle threads look like the last.
    pub(super) fn likely_owner(&self, threads: &Threads, turn: &Turn, end_ns: u64) -> Option<u32> {
        let deaf = self.unheard.deaf.get(&turn.unheard?.pid)?;
        let served = self
            .connections
            .values()
            .filter(|connection| connection.role == Role::Server && !connection.untouched);
        let busy: HashSet<u32> = served.filter_map(|connection| connection.worker).collect();
        let able = deaf.iter().filter(|deaf| !busy.contains(&deaf.tid));
        let able = able.filter_map(|deaf| Some((deaf, threads.get(deaf.tid)?)));
        let likely = able.min_by_key(|(deaf, thread): &(&Deaf, &Thread)| {
            let asks = self.asked_for(threads, turn, deaf.tid);
            let has_another = !thread.turns.is_empty();
            let blocked_ns = thread.between(self.start_ns, end_ns).blocked();
            let is_blocked = 2 * blocked_ns > end_ns.saturating_sub(self.start_ns);
            (
                has_another,
                !asks,
                !is_blocked,
                !deaf.own,
                deaf.asks.is_some(),
            )
        });
        likely.map(|(deaf, _)| deaf.tid)
    }

    /// A request is open at the end, at `end_ns`; `tid` owes the answer.
    pub(super) fn left_open(&mut self, turn: &Turn, tid: u32, end_ns: u64) {
        self.tally.left_open(turn, end_ns);
        let sight = turn.unheard.filter(|_| !turn.is_push);
        let deaf = sight.and_then(|sight| self.unheard.deaf(sight.pid, tid));
        if let Some(deaf) = deaf.filter(|deaf| !deaf.function.is_empty()) {
            let function = deaf.function.clone();
            *self.tally.asleep_in.entry(function).or_default() += 1;
        }
    }
}
