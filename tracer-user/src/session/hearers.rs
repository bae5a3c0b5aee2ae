//! Looks for connections on which a client waits for an answer and that no thread hears any more.
//!
//! A request that is answered soon needs no look. Of one that is not, a look tells whether the server hangs, or waits for its client. It
//! tells, too, who has to read what a thread of the server writes that sleeps in that. It takes place beside the loop that reads, and once
//! more at the end of the window.

use std::{collections::BTreeSet, time::Duration};

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_common::tcp::{CALL_CLOSE, CALL_SEND};

use crate::{
    event::{Call, Event, OpenSocket, Origin, Socket, Unanswered, Unheard, WriteSeen},
    machine::{
        clocks::now_ns,
        looks::Looks,
        proc::{self, Place},
        rounds::Rounds,
    },
};

/// A request that waits for less than this is not looked at: a look takes about as long.
const LEAST_MS: u32 = 100;
const LEAST_NS: u64 = LEAST_MS as u64 * 1_000_000;

/// While the window lasts, there is a look if a request has waited for so long, ns. It is less than what makes a long poll.
const OLD_NS: u64 = 1_000_000_000;

/// The shortest time from one look to the next.
const APART: Duration = Duration::from_secs(1);

/// How long the end of the trace waits for the last look.
const PATIENCE: Duration = Duration::from_millis(400);

/// Most processes, ports and sockets that are known.
const MOST_PIDS: usize = 1024;
const MOST_PORTS: usize = 1024;
const MOST_SOCKETS: usize = 1 << 16;

/// The search for connections that nobody hears.
pub(super) struct Hearers {
    /// The target's processes, and those that it asks.
    pids: BTreeSet<u32>,
    /// The ports on which these listen, or accepted a connection.
    ports: BTreeSet<u32>,
    /// Sockets on which they answer.
    serving: FxHashSet<u64>,
    /// Unix streams that they accepted.
    streams: FxHashSet<u64>,
    /// When the first bytes of a request were received, by socket, ns, and by which process. Nothing was sent since.
    open: FxHashMap<u64, (u64, u32)>,
    /// Was there one since it was last asked for?
    was_open: bool,
    /// Processes that owed an answer when they were first looked at.
    owing: BTreeSet<u32>,
    /// Was one of them a process that the target asks? It has not been looked at.
    is_new: bool,
    looks: Rounds<Vec<Unheard>>,
    /// Looks for who has to read what threads write. One that hangs in the memory of the target keeps none of the others from its result.
    writes: Rounds<Vec<WriteSeen>>,
}

impl Hearers {
    /// The targets at attach, which listen on these ports.
    #[must_use]
    pub(super) fn of(targets: &[u32], ports: &[u32]) -> Self {
        Self {
            pids: targets.iter().take(MOST_PIDS).copied().collect(),
            ports: ports.iter().copied().collect(),
            serving: FxHashSet::default(),
            streams: FxHashSet::default(),
            owing: BTreeSet::new(),
            open: FxHashMap::default(),
            was_open: false,
            is_new: false,
            looks: Rounds::after_rest(),
            writes: Rounds::after_rest(),
        }
    }

    /// Takes note of requests and answers, and of processes.
    pub(super) fn see(&mut self, events: &[Event]) {
        for event in events {
            if let Some((socket, origin)) = event.socket() {
                self.socket(socket, origin);
            }
            match event {
                Event::Call(call) => self.call(call),
                // The kernel reports the clients of such streams alone.
                Event::Client(client) => {
                    self.open.remove(&client.socket);
                    if self.streams.len() < MOST_SOCKETS {
                        self.serving.remove(&client.socket);
                        self.streams.insert(client.socket);
                    }
                }
                Event::Fork(fork) if fork.target => self.add(fork.pid),
                Event::Joined(joined) => self.add(joined.pid),
                Event::Exit(exit) => _ = self.pids.remove(&exit.pid),
                Event::Follow(follow) => {
                    self.add(follow.pid);
                    self.ports.extend(follow.tcp_ports());
                }
                Event::OpenSocket(socket) if socket.unread_bytes > 0 => {
                    self.owing.insert(socket.pid);
                }
                Event::Unanswered(found) if !found.asks => _ = self.owing.insert(found.pid),
                Event::Unheard(found) => _ = self.owing.insert(found.pid),
                _ => {}
            }
        }
    }

    /// Had the target, or whom it asks, requests open at any time since the last call?
    pub(super) fn take_is_open(&mut self) -> bool {
        std::mem::take(&mut self.was_open) || !self.open.is_empty()
    }

    /// The same for what is known of a process that the target asks, when it is followed.
    pub(super) fn see_asked(&mut self, events: &[Event]) {
        self.see(events);
        let is_asked = |event: &Event| matches!(event, Event::Unanswered(found) if !found.asks);
        self.is_new |= events.iter().any(is_asked);
    }

    fn add(&mut self, pid: u32) {
        if self.pids.len() < MOST_PIDS {
            self.pids.insert(pid);
        }
    }

    fn socket(&mut self, socket: &Socket, origin: Origin) {
        // It may have been another connection's.
        self.forget(socket.socket);
        let serves = origin.serves(|| self.ports.contains(&socket.local_port));
        if serves && self.serving.len() < MOST_SOCKETS {
            self.serving.insert(socket.socket);
        }
        // Somebody listens there since attach.
        if origin == Origin::Accepted && self.ports.len() < MOST_PORTS {
            self.ports.insert(socket.local_port);
        }
    }

    fn forget(&mut self, socket: u64) {
        self.serving.remove(&socket);
        self.streams.remove(&socket);
        self.open.remove(&socket);
    }

    fn call(&mut self, call: &Call) {
        if call.flags & CALL_CLOSE != 0 {
            self.forget(call.socket);
        } else if call.result > 0 {
            if call.flags & CALL_SEND != 0 {
                self.open.remove(&call.socket);
            } else if self.serving.contains(&call.socket) || self.streams.contains(&call.socket) {
                let open = self.open.entry(call.socket);
                open.or_insert((call.ns, call.pid));
                self.was_open = true;
            }
        }
    }

    /// What was found since the last call. Looks again when it is time.
    pub(super) fn take(&mut self) -> Vec<Event> {
        let writes = self.writes.take().into_iter().flatten();
        let unheard = self.looks.take().into_iter().flatten();
        let found = writes.map(Event::WriteSeen);
        let found = found.chain(unheard.map(Event::Unheard)).collect();
        if self.looks.is_due(APART) {
            let is_new = std::mem::take(&mut self.is_new);
            if is_new || self.waits(now_ns(), OLD_NS) {
                self.look(self.where_to_look(now_ns(), is_new));
            } else {
                self.looks.pause();
            }
        }
        found
    }

    fn look(&mut self, place: Place) {
        if self.writes.is_due(APART) {
            let (owing, ports) = (place.owing.clone(), place.ports.clone());
            self.writes.begin(move || proc::writes(&owing, &ports));
        }
        self.looks.begin(move || proc::unheard(&place));
    }

    /// Has a request waited for so long?
    fn waits(&self, now_ns: u64, least_ns: u64) -> bool {
        self.open.values().any(|(ns, _)| ns + least_ns <= now_ns)
    }

    /// In processes with a request that waits, and in those that owed an answer before.
    fn where_to_look(&self, now_ns: u64, and_before: bool) -> Place {
        let list = |set: &BTreeSet<u32>| set.iter().copied().collect();
        let waiting = self.open.values().filter(|(ns, _)| ns + LEAST_NS <= now_ns);
        let mut owing: BTreeSet<u32> = waiting.map(|(_, pid)| *pid).collect();
        if and_before {
            owing.extend(&self.owing);
        }
        Place {
            pids: list(&self.pids),
            ports: list(&self.ports),
            owing: list(&owing),
            least_ms: LEAST_MS,
        }
    }

    /// The last look for who has to read what threads write, while they still sleep in that: their records come after it. Without a
    /// request that waits nothing is read. `meanwhile` is called every few milliseconds.
    pub(super) fn last_writes(&self, mut meanwhile: impl FnMut()) -> Vec<Event> {
        let Place { owing, ports, .. } = self.where_to_look(now_ns(), true);
        if owing.is_empty() {
            return Vec::new();
        }
        let look = Looks::begin(vec![()], move |()| proc::writes(&owing, &ports));
        let found = look.end_within(PATIENCE, || {
            meanwhile();
            false
        });
        let found = found.found.into_iter().flatten();
        found.map(Event::WriteSeen).collect()
    }

    /// The last look for connections that nobody hears, at the end of the window. Without a request that waits nothing is read.
    pub(super) fn last(&mut self, end_ns: u64) -> Vec<Event> {
        let earlier = self.looks.take().unwrap_or_default().into_iter();
        let mut all: Vec<Unheard> = earlier.filter(|found| found.ns <= end_ns).collect();
        let place = self.where_to_look(end_ns, true);
        if !place.owing.is_empty() {
            let look = Looks::begin(vec![()], move |()| proc::unheard(&place));
            let found = look.end_within(PATIENCE, || false).found;
            all.extend(found.into_iter().flatten().map(|found| Unheard {
                ns: end_ns,
                last: true,
                ..found
            }));
        }
        all.into_iter().map(Event::Unheard).collect()
    }
}

/// Where connections are looked at as a trace begins: in processes that have read a request and not answered it, or have not read it.
pub(super) fn place(
    pids: &[u32],
    ports: &[u32],
    found: &[Unanswered],
    sockets: &[OpenSocket],
) -> Place {
    let now = now_ns();
    let is_old = |found: &&Unanswered| !found.asks && found.since_ns + LEAST_NS <= now;
    let is_unread =
        |socket: &&OpenSocket| socket.unread_bytes > 0 && ports.contains(&socket.local_port);
    let read = found.iter().filter(is_old).map(|found| found.pid);
    let unread = sockets.iter().filter(is_unread).map(|socket| socket.pid);
    let owing: BTreeSet<u32> = read.chain(unread).collect();
    Place {
        pids: pids.to_vec(),
        ports: ports.to_vec(),
        owing: owing.into_iter().collect(),
        least_ms: LEAST_MS,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::event;

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    const SOCKET: u64 = 7;

    fn call(ns: u64, flags: u32) -> Event {
        Event::Call(Call {
            ns,
            socket: SOCKET,
            result: 1,
            flags,
            ..Call::default()
        })
    }

    fn socket(local_port: u32) -> Event {
        Event::Socket(Socket {
            socket: SOCKET,
            local_port,
            ..Socket::default()
        })
    }

    fn opened(local_port: u32, origin: Origin) -> Event {
        let socket = Socket {
            socket: SOCKET,
            local_port,
            ..Socket::default()
        };
        Event::Opened(event::Opened { socket, origin })
    }

    #[test]
    fn who_accepts_on_a_port_that_it_opened_since_attach_is_asked_there() {
        let mut hearers = Hearers::of(&[1], &[80]);
        hearers.see(&[opened(8080, Origin::Accepted), call(5, 0)]);
        assert!(hearers.waits(15, 10));
        assert_eq!(hearers.where_to_look(15, false).ports, [80, 8080]);
        // The same address, and a connection of the target's making.
        hearers.see(&[opened(40_000, Origin::Connected), call(20, 0)]);
        assert!(!hearers.waits(1000, 10));
        assert_eq!(hearers.where_to_look(15, false).ports, [80, 8080]);
    }

    #[test]
    fn a_request_waits_from_its_first_bytes_until_something_is_sent() {
        let mut hearers = Hearers::of(&[1], &[80]);
        hearers.see(&[socket(80), call(5, 0), call(9, 0)]);
        assert!(hearers.waits(15, 10) && !hearers.waits(14, 10));
        hearers.see(&[call(20, CALL_SEND)]);
        assert!(!hearers.waits(1000, 10));
        hearers.see(&[call(30, 0), call(40, CALL_CLOSE), call(50, 0)]);
        assert!(!hearers.waits(1000, 10));
    }

    #[test]
    fn what_is_received_from_whom_the_target_asks_is_no_request() {
        let mut hearers = Hearers::of(&[1], &[80]);
        hearers.see(&[socket(40_000), call(5, 0)]);
        assert!(!hearers.waits(1000, 10));
        let follow = event::Follow {
            pid: 2,
            listening: vec![9000],
            ..event::Follow::default()
        };
        hearers.see_asked(&[Event::Follow(follow), socket(9000), call(5, 0)]);
        assert!(hearers.waits(1000, 10));
        let place = hearers.where_to_look(now_ns(), false);
        assert_eq!((place.pids, place.ports), (vec![1, 2], vec![80, 9000]));
    }

    #[test]
    fn a_process_with_a_request_that_waits_is_looked_at_whatever_it_came_on() {
        let mut hearers = Hearers::of(&[1], &[]);
        let client = event::Client {
            socket: SOCKET,
            ..event::Client::default()
        };
        let received = Event::Call(Call {
            ns: 5,
            pid: 3,
            socket: SOCKET,
            result: 1,
            ..Call::default()
        });
        hearers.see(&[Event::Client(client), received]);
        assert!(hearers.waits(15, 10));
        let owing = |ns| hearers.where_to_look(ns, true).owing;
        assert_eq!(
            (owing(LEAST_NS + 5), owing(LEAST_NS + 4)),
            (vec![3], vec![])
        );
    }

    #[test]
    fn a_look_for_writes_that_hangs_keeps_nobody_from_looking_for_connections() {
        let mut hearers = Hearers::of(&[1], &[]);
        let (go, wait) = channel::<()>();
        hearers.writes.begin(move || {
            let _ = wait.recv();
            Vec::new()
        });
        hearers.look(Place::default());
        assert_eq!(hearers.looks.wait(LONG), Some(Vec::new()));
        assert!(hearers.writes.is_looking());
        drop(go);
    }

    #[test]
    fn a_question_that_was_just_asked_and_one_of_the_target_itself_are_not_looked_at() {
        let found = |pid, asks, since_ns| Unanswered {
            pid,
            asks,
            since_ns,
            ..Unanswered::default()
        };
        let all = [
            found(1, false, 1),
            found(2, true, 1),
            found(3, false, now_ns()),
        ];
        let open = |pid, unread_bytes, local_port| OpenSocket {
            pid,
            unread_bytes,
            local_port,
            ..OpenSocket::default()
        };
        let sockets = [open(4, 0, 80), open(5, 5, 80), open(6, 5, 40_000)];
        assert_eq!(place(&[], &[80], &all, &sockets).owing, [1, 5]);
    }
}
