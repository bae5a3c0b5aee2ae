//! Finds the processes of this machine that the target asks, so that the tracer records their waits, too.
//!
//! A look into `/proc`, beside the loop that reads, begins in three cases. The target uses a connection that it made itself to
//! another process of this machine. Or another process wakes it, and may have answered over a Unix socket, or served it a file. Or
//! another process has ended its waits for long ([`Hands`]), or was seen to have to: it does not read what the target writes.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustc_hash::FxHashSet;
use tracer_common::{
    sched::WAIT_NO_WAKER,
    tcp::{QUESTION_LISTENS, QUESTION_OVER},
};

use super::{
    found::{Found, Way},
    hands::{self, Hands},
};
use crate::{
    event::{Event, OpenSocket, Origin, Question, Wait, is_local},
    machine::{
        give_back_memory, looks, priority,
        proc::{self, Connection},
    },
};

/// Most processes followed: each costs as much as a target of its size.
const MOST_FOLLOWED: usize = 8;

/// Most looks at one address, or at one process that woke the target. One is not enough. Workers that do not share a listening
/// socket are found by different connections. A connection may also be closed before the look.
const MOST_LOOKS: u32 = 4;

/// Most addresses looked at. Each look reads the list of all sockets. Without this limit, a target with thousands of connections
/// would cause thousands of looks.
const MOST_ADDRESSES: usize = 64;

/// Most processes looked at because they woke the target. Kernel threads, and processes that an interrupt happened to meet, are among
/// them.
const MOST_WAKERS: usize = 64;

/// So long looks are counted: who is asked for the first time in the second hour is looked for, too.
const COUNTED: Duration = Duration::from_secs(60);

/// The search for the processes that the target asks.
pub(crate) struct Asked {
    /// Targets, and processes that are followed already.
    known: HashSet<u32>,
    followed: usize,
    /// Ports on which these listen: another process made a connection there.
    serving: HashSet<u32>,
    /// Looks at each address.
    looks: HashMap<String, u32>,
    /// Looks at each process that woke the target.
    wakers: HashMap<u32, u32>,
    /// Who ends waits of the target.
    hands: Hands,
    /// Since when the looks are counted.
    since: Instant,
    /// Connections to look up together: a look reads the list of all sockets and all descriptors.
    wanted: Vec<Connection>,
    /// Questions to this machine that nobody has answered so far, by socket.
    questions: HashMap<u64, Question>,
    /// The look under way.
    looking: Option<JoinHandle<()>>,
    found: (Sender<Found>, Receiver<Found>),
}

impl Asked {
    /// No process is followed yet; `targets` listen on `ports`.
    #[must_use]
    pub(crate) fn new(targets: &[u32], ports: &[u32]) -> Self {
        let own = [std::process::id()];
        Self {
            known: targets.iter().copied().chain(own).collect(),
            followed: 0,
            serving: ports.iter().copied().collect(),
            looks: HashMap::new(),
            wakers: HashMap::new(),
            hands: Hands::default(),
            since: Instant::now(),
            wanted: Vec::new(),
            questions: HashMap::new(),
            looking: None,
            found: channel(),
        }
    }

    /// Takes note of connections that were open at attach.
    pub(crate) fn see_open(&mut self, sockets: &[OpenSocket]) {
        for socket in sockets {
            self.look(socket.pid, socket.local_port, &socket.local, &socket.remote);
        }
        self.go_and_look();
    }

    /// Takes note of connections used, of wakers, and of children of targets. Has the target requests open?
    pub(crate) fn see(&mut self, events: &[Event], is_open: bool) {
        if self.since.elapsed() >= COUNTED {
            self.since = Instant::now();
            self.looks.clear();
            self.wakers.clear();
            self.hands.clear();
        }
        let unanswered: Vec<u64> = self.questions.keys().copied().collect();
        // One look for each waker in a batch: looks some time apart are more likely to find a short connection.
        let mut seen = FxHashSet::default();
        for event in events {
            match event.socket() {
                // Somebody listens there since attach.
                Some((e, Origin::Accepted)) => _ = self.serving.insert(e.local_port),
                Some((e, Origin::Connected)) => self.look(e.pid, 0, &e.local, &e.remote),
                Some((e, Origin::Unknown)) => self.look(e.pid, e.local_port, &e.local, &e.remote),
                None => {}
            }
            match event {
                Event::Wait(wait) => {
                    self.ended(wait, is_open);
                    if seen.insert(wait.waker_pid) {
                        self.woken(wait);
                    }
                }
                Event::Stack(stack) => self.hands.learn(stack),
                Event::Question(e) => self.question(e),
                Event::Fork(fork) if fork.target => _ = self.known.insert(fork.pid),
                Event::Joined(joined) => _ = self.known.insert(joined.pid),
                // Another may get its number.
                Event::Exit(exit) => _ = self.known.remove(&exit.pid),
                _ => {}
            }
        }
        // Those that had no answer in the batch before either.
        for socket in unanswered {
            if let Some(question) = self.questions.remove(&socket) {
                self.look_for(&question);
            }
        }
        self.go_and_look();
    }

    /// Takes note of processes that were seen to have to read what the target writes, or to permit what it does: as long as they do not,
    /// they end no wait.
    pub(crate) fn see_writes(&mut self, events: &[Event]) {
        for event in events {
            let Event::WriteSeen(seen) = event else {
                continue;
            };
            if let [pid] = seen.readers[..] {
                let by_pid = seen.pid;
                if pid != by_pid && self.may_look_at_process(pid, by_pid) {
                    self.follow_if(Found::new(pid, by_pid, Way::Hand), may_be_hand);
                }
            }
        }
    }

    /// Keeps a question until it is answered: soon it is worth a look. Whoever listens at the address of a connect does not accept it. Who
    /// answers a datagram is looked for, and so is who should.
    fn question(&mut self, question: &Question) {
        let is_over = question.flags & QUESTION_OVER != 0;
        let is_awaited = is_over || question.flags & QUESTION_LISTENS != 0;
        if is_over {
            self.questions.remove(&question.socket);
        }
        if question.is_datagram() && is_awaited {
            self.look_for(question);
        } else if !is_over
            && question.surely_asks()
            && self.questions.len() < MOST_ADDRESSES
            && is_local(&question.local, &question.remote)
        {
            self.questions.insert(question.socket, question.clone());
        }
    }

    /// Wants whoever is at the address of a question looked up.
    fn look_for(&mut self, question: &Question) {
        if !self.may_look_at(0, &question.local, &question.remote) {
            return;
        }
        let connection = Connection::parse(question.pid, &question.local, &question.remote);
        self.wanted.extend(connection.map(|known| Connection {
            is_datagram: question.is_datagram(),
            ..known
        }));
    }

    /// Wants the other end of a connection looked up, unless its address was looked at often enough.
    fn look(&mut self, by_pid: u32, local_port: u32, local: &str, remote: &str) {
        if self.may_look_at(local_port, local, remote) {
            self.wanted.extend(Connection::parse(by_pid, local, remote));
        }
    }

    /// Counts a look at an address; `false` if it is worth none, or was looked at often enough.
    fn may_look_at(&mut self, local_port: u32, local: &str, remote: &str) -> bool {
        self.followed < MOST_FOLLOWED
            && !self.serving.contains(&local_port)
            && (self.looks.len() < MOST_ADDRESSES || self.looks.contains_key(remote))
            && is_local(local, remote)
            && may_look(&mut self.looks, remote.to_owned())
    }

    /// Begins to look up the connections in `wanted`, unless a look is under way.
    fn go_and_look(&mut self) {
        let is_looking = |look: &JoinHandle<()>| !look.is_finished();
        if self.wanted.is_empty() || self.looking.as_ref().is_some_and(is_looking) {
            return;
        }
        let (sender, wanted) = (self.found.0.clone(), std::mem::take(&mut self.wanted));
        self.looking = looks::on_thread(move || {
            priority::as_everybody();
            for (asked, peers) in wanted.iter().zip(proc::peers_of(&wanted)) {
                for pid in peers.into_iter().take(MOST_FOLLOWED) {
                    let (by_pid, port) = (asked.pid, asked.remote.port().into());
                    let way = match asked.is_datagram {
                        true => Way::Udp(port),
                        false => Way::Tcp(port),
                    };
                    // The receiver is gone once the trace is over.
                    let _ = sender.send(Found::new(pid, by_pid, way));
                }
            }
            give_back_memory();
        });
    }

    /// Begins to look whether the process that ended this wait has answered over a Unix socket, or serves a file system.
    fn woken(&mut self, wait: &Wait) {
        let (pid, by_pid) = (wait.waker_pid, wait.pid);
        if wait.flags & WAIT_NO_WAKER != 0 || pid == 0 || !self.may_look_at_process(pid, by_pid) {
            return;
        }
        // A process that cannot be looked at is not followed.
        self.follow_if(Found::new(pid, by_pid, Way::Unix), answers);
    }

    /// Counts a look at a process that may be followed; `false` if it is worth none, or was looked at often enough.
    fn may_look_at_process(&mut self, pid: u32, by_pid: u32) -> bool {
        self.may_follow(pid, by_pid)
            && (self.wakers.len() < MOST_WAKERS || self.wakers.contains_key(&pid))
            && may_look(&mut self.wakers, pid)
    }

    /// Begins to look whether the process that ended this wait is to be followed, if it has held the target up for long.
    fn ended(&mut self, wait: &Wait, is_open: bool) {
        let (pid, by_pid) = (wait.waker_pid, wait.pid);
        if !hands::may_ask(wait) || pid == by_pid || !self.may_follow(pid, by_pid) {
            return;
        }
        if let Some(way) = self.hands.ended(wait, is_open) {
            let is_hand = |pid, by_pid| !answers(pid, by_pid) && may_be_hand(pid, by_pid);
            self.follow_if(Found::new(pid, by_pid, way), is_hand);
        }
    }

    /// Is there room to follow a process that none of those followed is, for one of them?
    fn may_follow(&self, pid: u32, by_pid: u32) -> bool {
        self.followed < MOST_FOLLOWED && !self.known.contains(&pid) && self.known.contains(&by_pid)
    }

    /// Begins to look whether a process is what it seems to be for the one that it woke: then it is found, and so are the ports on which
    /// others ask it. Its other connections are those that it made: one that relays asks whoever is there.
    fn follow_if(&self, found: Found, is_it: impl Fn(u32, u32) -> bool + Send + 'static) {
        let sender = self.found.0.clone();
        // Without a thread the process is not followed.
        let _ = looks::on_thread(move || {
            priority::as_everybody();
            if is_it(found.pid, found.by_pid) {
                let ports = proc::asked_ports(found.pid);
                // The receiver is gone once the trace is over.
                let _ = sender.send(Found { ports, ..found });
            }
        });
    }

    /// The processes found since the last call, to be followed from now on.
    pub(crate) fn take(&mut self) -> Vec<Found> {
        let mut new = Vec::new();
        while let Ok(found) = self.found.1.try_recv() {
            if self.followed < MOST_FOLLOWED && self.known.insert(found.pid) {
                self.followed += 1;
                self.serving.extend(found.tcp_ports());
                new.push(found);
            }
        }
        new
    }
}

/// Does a process answer another one over a Unix socket, or serve it files? One that cannot be looked at does not.
fn answers(pid: u32, by_pid: u32) -> bool {
    proc::asks_over_files(by_pid, pid) || proc::asks_over_unix(by_pid, pid).unwrap_or(false)
}

/// May a process be waited for that woke another one? A thread of the kernel works for others, and a client asks itself.
fn may_be_hand(pid: u32, by_pid: u32) -> bool {
    let is_client = proc::asks_over_unix(pid, by_pid).unwrap_or(true);
    proc::exists(pid) && !proc::is_kernel_thread(pid) && !is_client
}

/// Counts a look; `false` once there were enough.
fn may_look<K: Eq + Hash>(looks: &mut HashMap<K, u32>, at: K) -> bool {
    let looks = looks.entry(at).or_default();
    let may = *looks < MOST_LOOKS;
    *looks += u32::from(may);
    may
}

#[cfg(test)]
mod tests;
