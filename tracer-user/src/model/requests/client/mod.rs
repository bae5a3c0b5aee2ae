//! The clients for which the target works. While a thread owns a request of a local process, that process is responsible for all
//! that the thread holds. The owner counts, not the submitter. This matters where the requests of others wait for it.
//!
//! A thread works for a connection while it owns a turn of it. It also does so between two calls on it with none on another. Where
//! it owned turns of several at once, nobody knows for which of them it did something.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap as HashMap;

use super::{
    Requests,
    connection::{Caller, Role},
};
use crate::{
    event::{self, Call},
    model::{
        books::{AddressId, Asker, Client, ProcessId},
        names::Names,
        parts::{Addresses, Part, SentTo},
        recent,
        threads::Threads,
    },
};

/// Processes that are kept apart: each has a part of its own in every bin. Requests of further ones have no known client.
const MOST_CLIENTS: usize = 64;
/// The same of those that connected before the window and may never ask in it: they leave room for those that do.
const MOST_SOLE: usize = MOST_CLIENTS / 2;
/// So many connections are remembered with their clients: those that were met last.
const MOST_KNOWN: usize = 4096;
/// So many threads are remembered with their clients; those of further threads are not known.
const MOST_THREADS: usize = 4096;
/// Pairs of a process of the target and an address of which the bytes are counted.
const MOST_SENT: usize = 1 << 14;
/// Spans kept of a thread.
const MOST_SPANS: usize = 1 << 12;
/// Spans that ended longer ago are no part of a wait that is still to be judged. Waits are judged after 10 s at the latest.
const KEPT_NS: u64 = 20_000_000_000;

/// A span in which a thread worked for one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    begin_ns: u64,
    end_ns: u64,
    caller: Caller,
}

/// The clients, and the threads that work for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    /// The last number that was given to a connection.
    number: u64,
    known: BTreeMap<u64, Asker>,
    /// Addresses of those on other machines.
    pub(in crate::model) addresses: Addresses,
    processes: BTreeSet<ProcessId>,
    /// Bytes that each process sent to the clients at each address.
    sent: BTreeMap<(ProcessId, AddressId), u64>,
    /// Spans of each thread, in order and apart from each other.
    spans: HashMap<u32, VecDeque<Span>>,
    /// How long requests of others stood behind those of each client, ns.
    before_others: BTreeMap<Client, u64>,
    /// Threads that have worked for one caller since before the window, each with the time of its first span, ns.
    sole: HashMap<u32, (Caller, u64)>,
}

impl Clients {
    /// A connection was first seen.
    pub(crate) fn met(&mut self, socket: &event::Socket) -> Caller {
        match socket.is_local() {
            true => self.next(),
            false => match self.addresses.of(socket) {
                Some(address) => Caller::From(address),
                None => Caller::Elsewhere,
            },
        }
    }

    /// Is nobody known who could be kept apart?
    fn is_empty(&self) -> bool {
        self.known.is_empty() && self.addresses.len() < 2
    }

    /// Is there only one client, who needs no name?
    fn is_one(&self) -> bool {
        self.processes.len() + self.addresses.len() < 2
    }

    fn next(&mut self) -> Caller {
        self.number += 1;
        Caller::Here(self.number)
    }

    /// The caller with this number is a process of this machine.
    fn is_process(&mut self, number: u64, process: ProcessId) {
        if self.processes.contains(&process) {
            self.known.insert(number, Asker::Process(process));
        }
        if self.known.len() > MOST_KNOWN {
            self.known.pop_first();
        }
    }

    /// Keeps a process apart from other clients, as long as these are fewer than `most`.
    fn keep_apart(&mut self, process: ProcessId, most: usize) {
        if self.processes.len() < most {
            self.processes.insert(process);
        }
    }

    /// The caller for whom a thread has worked since before the window, if it is one of this machine.
    pub(super) fn sole(&self, tid: u32) -> Option<Caller> {
        self.sole.get(&tid).map(|(caller, _)| *caller)
    }

    /// A thread ended; its number may be another one's soon.
    pub(super) fn ended(&mut self, tid: u32) {
        self.sole.remove(&tid);
    }

    /// A process of the target sent to a caller. What further processes and callers got is nobody's in particular.
    pub(super) fn sent(&mut self, names: &mut Names, pid: u32, caller: Caller, bytes: u64) {
        let Caller::From(address) = caller else {
            return;
        };
        let key = (names.processes.id(pid), address);
        if self.sent.len() < MOST_SENT || self.sent.contains_key(&key) {
            let sum = self.sent.entry(key).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }

    /// A thread received or sent on a connection.
    pub(crate) fn called(&mut self, tid: u32, caller: Caller, ns: u64) {
        self.worked(tid, caller, ns, ns);
    }

    /// A thread worked for a connection in `[begin, end]`; nothing that it did is known to be later.
    pub(crate) fn worked(&mut self, tid: u32, caller: Caller, begin_ns: u64, end_ns: u64) {
        // As long as nobody of this machine asks, nor two elsewhere, there is nobody to keep apart.
        if self.is_empty() {
            return;
        }
        if self.spans.len() >= MOST_THREADS && !self.spans.contains_key(&tid) {
            let is_needed = |spans: &VecDeque<Span>| {
                spans
                    .back()
                    .is_some_and(|last| last.end_ns + KEPT_NS > end_ns)
            };
            self.spans.retain(|_, spans| is_needed(spans));
            if self.spans.len() >= MOST_THREADS {
                return;
            }
        }
        if let Some((_, first_ns)) = self.sole.get_mut(&tid) {
            *first_ns = begin_ns.min(*first_ns);
        }
        let spans = self.spans.entry(tid).or_default();
        let is_old = |first: &Span| first.end_ns + KEPT_NS < end_ns;
        while spans.len() >= MOST_SPANS || spans.front().is_some_and(is_old) {
            spans.pop_front();
        }
        add(
            spans,
            Span {
                begin_ns,
                end_ns,
                caller,
            },
        );
    }

    pub(super) fn asker(&self, caller: Caller) -> Option<Asker> {
        match caller {
            Caller::Unknown => None,
            Caller::Elsewhere | Caller::From(_) => Some(Asker::Elsewhere),
            Caller::Here(number) => self.known.get(&number).copied(),
        }
    }

    /// The same, with those on other machines told apart.
    fn client(&self, caller: Caller) -> Option<Client> {
        match (caller, self.asker(caller)?) {
            (Caller::From(address), _) => Some(Client::Address(address)),
            (_, Asker::Process(process)) => Some(Client::Process(process)),
            (_, Asker::Elsewhere) => None,
        }
    }

    /// The caller for whom a thread worked at `ns`, by its spans. Between two calls of clients elsewhere it worked for one there.
    /// `None` if all its spans ended before.
    fn caller_at(&self, tid: u32, ns: u64) -> Option<Caller> {
        let sole = self.sole.get(&tid).filter(|(_, first_ns)| ns < *first_ns);
        if let Some((caller, _)) = sole {
            return Some(*caller);
        }
        let spans = self.spans.get(&tid)?;
        let index = recent::partition_point(spans, |span| span.end_ns < ns);
        let span = spans.get(index)?;
        if span.begin_ns <= ns {
            return Some(span.caller);
        }
        let before = index.checked_sub(1).and_then(|index| spans.get(index));
        let both =
            span.caller.is_elsewhere() && before.is_some_and(|span| span.caller.is_elsewhere());
        Some(if both {
            Caller::Elsewhere
        } else {
            Caller::Unknown
        })
    }
}

/// Where spans of two callers overlap, from there on it is not known which of them it was.
fn add(spans: &mut VecDeque<Span>, mut span: Span) {
    if let Some(last) = spans.back_mut().filter(|last| last.caller == span.caller) {
        last.end_ns = last.end_ns.max(span.end_ns);
        return;
    }
    while let Some(last) = spans.back_mut().filter(|last| last.end_ns > span.begin_ns) {
        span.caller = match span.caller.is_elsewhere() && last.caller.is_elsewhere() {
            true => Caller::Elsewhere,
            false => Caller::Unknown,
        };
        span.end_ns = span.end_ns.max(last.end_ns);
        last.end_ns = span.begin_ns;
        if last.begin_ns >= span.begin_ns {
            spans.pop_back();
        }
    }
    spans.push_back(span);
}

impl Requests {
    /// The client of a connection is known now.
    pub(in crate::model) fn client(&mut self, names: &mut Names, client: &event::Client) {
        let process = names.processes.id(client.client_pid);
        // Even if the target speaks first: MariaDB greets its clients.
        let connection = self.connections.at(client.socket);
        connection.role = Role::Server;
        // A Unix stream has no other name for its peer.
        if connection.ends.0.is_empty() {
            std::sync::Arc::make_mut(&mut connection.ends).1 = client.client_pid.to_string();
        }
        if names.is_target(process) {
            return;
        }
        self.clients.keep_apart(process, MOST_CLIENTS);
        let asker = Asker::Process(process);
        let connection = self.connections.at(client.socket);
        connection.client = Some(process);
        let known = self.clients.asker(connection.caller);
        if connection.caller == Caller::Unknown || known.is_some_and(|known| known != asker) {
            connection.caller = self.clients.next();
        }
        if let Caller::Here(number) = connection.caller {
            self.clients.is_process(number, process);
        }
    }

    /// A process of one thread has worked for one client since before the window, until it receives or sends again.
    pub(in crate::model) fn sole_client(&mut self, names: &mut Names, found: &event::SoleClient) {
        let process = names.processes.id(found.client_pid);
        if names.is_target(process) {
            return;
        }
        self.clients.keep_apart(process, MOST_SOLE);
        let caller = self.clients.next();
        if let Caller::Here(number) = caller {
            self.clients.is_process(number, process);
        }
        let first = self.clients.spans.get(&found.pid).and_then(VecDeque::front);
        let first_ns = first.map_or(u64::MAX, |span| span.begin_ns);
        self.clients.sole.insert(found.pid, (caller, first_ns));
        let untouched = self
            .connections
            .values_mut()
            .filter(|connection| connection.untouched && connection.worker == Some(found.pid));
        for connection in untouched {
            connection.client = Some(process);
            connection.caller = caller;
        }
    }

    /// The client of a connection asks for something, or goes: the thread that takes this was woken for nothing else.
    pub(super) fn came_to_ask(&self, threads: &mut Threads, call: &Call) {
        if self.clients.is_empty() {
            return;
        }
        let connection = self.connections.get(&call.socket);
        let client = connection.and_then(|connection| connection.client);
        if let Some(client) = client
            && let Some(thread) = threads.get_mut(call.tid)
        {
            thread.was_asked(client);
        }
    }

    /// The caller on a connection; not looked up where there is nobody to keep apart.
    pub(super) fn caller(&self, socket: u64) -> Caller {
        if self.clients.is_empty() {
            return Caller::Unknown;
        }
        let connection = self.connections.get(&socket);
        connection.map_or(Caller::Unknown, |connection| connection.caller)
    }

    /// The process of this machine that asks on a connection.
    pub(super) fn local_asker(&self, socket: u64) -> Option<Asker> {
        let asker = self.clients.asker(self.caller(socket))?;
        (asker != Asker::Elsewhere).then_some(asker)
    }

    /// The client for which a thread worked at `ns`. Its spans show it, or the one turn that it has owned since before that.
    pub(in crate::model) fn asker_at(&self, threads: &Threads, tid: u32, ns: u64) -> Option<Asker> {
        if self.clients.known.is_empty() {
            return None;
        }
        self.clients.asker(self.caller_at(threads, tid, ns))
    }

    /// The same for every client that is known, told apart by address where it is on another machine.
    pub(in crate::model) fn client_at(
        &self,
        threads: &Threads,
        tid: u32,
        ns: u64,
    ) -> Option<Client> {
        if self.clients.is_one() || self.clients.is_empty() {
            return None;
        }
        self.clients.client(self.caller_at(threads, tid, ns))
    }

    /// A thread of the target (process, thread), with the client for which it worked at `ns`.
    pub(in crate::model) fn part_at(
        &self,
        threads: &Threads,
        names: &mut Names,
        (pid, tid): (u32, u32),
        ns: u64,
    ) -> Part {
        Part {
            process: names.processes.id(pid),
            tid,
            client: self.client_at(threads, tid, ns),
        }
    }

    fn caller_at(&self, threads: &Threads, tid: u32, ns: u64) -> Caller {
        let known = self.clients.caller_at(tid, ns);
        known.unwrap_or_else(|| self.open_caller(threads, tid, ns))
    }

    fn open_caller(&self, threads: &Threads, tid: u32, ns: u64) -> Caller {
        let Some(socket) = threads.get(tid).and_then(|thread| thread.turns.only()) else {
            return Caller::Unknown;
        };
        match self.turn(socket).is_some_and(|turn| turn.judged_ns <= ns) {
            true => self.caller(socket),
            false => Caller::Unknown,
        }
    }

    /// The request on a connection stood behind those on `others`, each for so many ns.
    pub(super) fn stood_behind(&mut self, socket: u64, others: &[(u64, u64)]) {
        for (other, ns) in others {
            let clients = [*other, socket].map(|socket| self.clients.client(self.caller(socket)));
            if let [Some(client), own] = clients
                && own != Some(client)
            {
                let sum = self.clients.before_others.entry(client).or_default();
                *sum = sum.saturating_add(*ns);
            }
        }
    }

    /// How long requests of others stood behind those of each client, ns.
    pub(in crate::model) fn take_before_others(&mut self) -> BTreeMap<Client, u64> {
        std::mem::take(&mut self.clients.before_others)
    }

    /// Bytes that each process of the target sent to its clients elsewhere.
    pub(in crate::model) fn sent_to(&self) -> SentTo {
        let mut sent = SentTo::default();
        for (&(process, address), bytes) in &self.clients.sent {
            let clients = sent.entry(process).or_default();
            clients.push((Client::Address(address), *bytes));
        }
        sent
    }

    /// The living threads that worked for clients of this machine last.
    pub(in crate::model) fn workers(&self, threads: &Threads) -> BTreeMap<ProcessId, Vec<u32>> {
        let mut workers: BTreeMap<ProcessId, Vec<u32>> = BTreeMap::new();
        for (tid, spans) in &self.clients.spans {
            let last = spans.back().map(|last| last.caller);
            self.add_worker(&mut workers, threads, *tid, last);
        }
        for (tid, (caller, first_ns)) in &self.clients.sole {
            let caller = Some(*caller).filter(|_| *first_ns == u64::MAX);
            self.add_worker(&mut workers, threads, *tid, caller);
        }
        workers.values_mut().for_each(|tids| tids.sort_unstable());
        workers
    }

    fn add_worker(
        &self,
        workers: &mut BTreeMap<ProcessId, Vec<u32>>,
        threads: &Threads,
        tid: u32,
        caller: Option<Caller>,
    ) {
        let caller = caller.filter(|_| threads.get(tid).is_some());
        let asker = caller.and_then(|caller| self.clients.asker(caller));
        if let Some(Asker::Process(client)) = asker {
            workers.entry(client).or_default().push(tid);
        }
    }
}

#[cfg(test)]
mod tests;
