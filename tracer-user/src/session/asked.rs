//! Finds the processes of this machine that the target asks, so that the tracer records their waits, too.
//!
//! A look into `/proc`, beside the loop that reads, begins in three cases. The target uses a connection that it made itself to
//! another process of this machine. Or another process wakes it, and may have answered over a Unix socket, or served it a file. Or
//! another process has ended its waits for long ([`Hands`]).

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustc_hash::FxHashSet;
use tracer_common::sched::WAIT_NO_WAKER;

use super::hands::{self, Hands};
use crate::{
    event::{Event, OpenSocket, Wait, is_local},
    machine::{
        give_back_memory, priority,
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

/// How a process is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On this TCP port.
    Tcp(u32),
    /// Over a Unix socket, or for a file.
    Unix,
    /// Another one: it ends waits.
    Hand,
    /// For a lock in memory that both share.
    Lock,
}

/// A process to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Process to follow.
    pub(crate) pid: u32,
    /// Process that asks it.
    pub(crate) by_pid: u32,
    /// How.
    pub(crate) way: Way,
}

impl Found {
    /// The TCP port on which it is asked.
    pub(crate) fn port(&self) -> Option<u32> {
        match self.way {
            Way::Tcp(port) => Some(port),
            Way::Unix | Way::Hand | Way::Lock => None,
        }
    }
}

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
        // One look for each waker in a batch: looks some time apart are more likely to find a short connection.
        let mut seen = FxHashSet::default();
        for event in events {
            match event {
                Event::Wait(wait) => {
                    self.ended(wait, is_open);
                    if seen.insert(wait.waker_pid) {
                        self.woken(wait);
                    }
                }
                Event::Stack(stack) => self.hands.learn(stack),
                Event::Socket(e) => self.look(e.pid, e.local_port, &e.local, &e.remote),
                Event::Fork(fork) if fork.target => _ = self.known.insert(fork.pid),
                // Another may get its number.
                Event::Exit(exit) => _ = self.known.remove(&exit.pid),
                _ => {}
            }
        }
        self.go_and_look();
    }

    /// Wants the other end of a connection looked up, unless its address was looked at often enough.
    fn look(&mut self, by_pid: u32, local_port: u32, local: &str, remote: &str) {
        if self.followed >= MOST_FOLLOWED
            || self.serving.contains(&local_port)
            || (self.looks.len() >= MOST_ADDRESSES && !self.looks.contains_key(remote))
            || !is_local(local, remote)
        {
            return;
        }
        if !may_look(&mut self.looks, remote.to_owned()) {
            return;
        }
        self.wanted.extend(Connection::parse(by_pid, local, remote));
    }

    /// Begins to look up the connections in `wanted`, unless a look is under way.
    fn go_and_look(&mut self) {
        let is_looking = |look: &JoinHandle<()>| !look.is_finished();
        if self.wanted.is_empty() || self.looking.as_ref().is_some_and(is_looking) {
            return;
        }
        let (sender, wanted) = (self.found.0.clone(), std::mem::take(&mut self.wanted));
        self.looking = Some(thread::spawn(move || {
            priority::as_everybody();
            for (asked, peers) in wanted.iter().zip(proc::peers_of(&wanted)) {
                for pid in peers.into_iter().take(MOST_FOLLOWED) {
                    let (by_pid, way) = (asked.pid, Way::Tcp(asked.remote.port().into()));
                    // The receiver is gone once the trace is over.
                    let _ = sender.send(Found { pid, by_pid, way });
                }
            }
            give_back_memory();
        }));
    }

    /// Begins to look whether the process that ended this wait has answered over a Unix socket, or serves a file system.
    fn woken(&mut self, wait: &Wait) {
        let (pid, by_pid) = (wait.waker_pid, wait.pid);
        if self.followed >= MOST_FOLLOWED
            || wait.flags & WAIT_NO_WAKER != 0
            || pid == 0
            || self.known.contains(&pid)
            || !self.known.contains(&by_pid)
            || (self.wakers.len() >= MOST_WAKERS && !self.wakers.contains_key(&pid))
            || !may_look(&mut self.wakers, pid)
        {
            return;
        }
        let sender = self.found.0.clone();
        thread::spawn(move || {
            priority::as_everybody();
            // A process that cannot be looked at is not followed.
            if answers(pid, by_pid) {
                let way = Way::Unix;
                // The receiver is gone once the trace is over.
                let _ = sender.send(Found { pid, by_pid, way });
            }
        });
    }

    /// Begins to look whether the process that ended this wait is to be followed, if it has held the target up for long.
    fn ended(&mut self, wait: &Wait, is_open: bool) {
        let (pid, by_pid) = (wait.waker_pid, wait.pid);
        if !hands::may_ask(wait)
            || pid == by_pid
            || self.followed >= MOST_FOLLOWED
            || self.known.contains(&pid)
            || !self.known.contains(&by_pid)
        {
            return;
        }
        let Some(way) = self.hands.ended(wait, is_open) else {
            return;
        };
        let sender = self.found.0.clone();
        thread::spawn(move || {
            priority::as_everybody();
            if answers(pid, by_pid) || !may_be_hand(pid, by_pid) {
                return;
            }
            // The receiver is gone once the trace is over.
            let _ = sender.send(Found { pid, by_pid, way });
        });
    }

    /// The processes found since the last call, to be followed from now on.
    pub(crate) fn take(&mut self) -> Vec<Found> {
        let mut new = Vec::new();
        while let Ok(found) = self.found.1.try_recv() {
            if self.followed < MOST_FOLLOWED && self.known.insert(found.pid) {
                self.followed += 1;
                self.serving.extend(found.port());
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
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::linux::net::SocketAddrExt as _,
    };

    use super::*;

    fn wait_for(asked: &mut Asked) -> Vec<Found> {
        loop {
            // A look may have sent all its results, and not be over yet.
            asked.go_and_look();
            let soon = Duration::from_millis(20);
            if let Ok(found) = asked.found.1.recv_timeout(soon) {
                asked.found.0.send(found).unwrap();
                return asked.take();
            }
        }
    }

    #[test]
    fn who_answers_on_a_connection_of_the_targets_making_is_followed_once() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = u32::from(client.peer_addr().unwrap().port());
        let own = std::process::id();
        let socket = OpenSocket {
            pid: own,
            local: client.local_addr().unwrap().to_string(),
            local_port: client.local_addr().unwrap().port().into(),
            remote: client.peer_addr().unwrap().to_string(),
            unread_bytes: 0,
        };
        // As if this process were not the tracer itself.
        let mut asked = Asked::new(&[], &[]);
        asked.known.clear();
        asked.see_open(std::slice::from_ref(&socket));
        assert_eq!(
            wait_for(&mut asked),
            [Found {
                pid: own,
                by_pid: own,
                way: Way::Tcp(port)
            }]
        );
        asked.see_open(std::slice::from_ref(&socket));
        assert_eq!(wait_for(&mut asked), []);
    }

    #[test]
    fn who_has_thousands_of_connections_has_few_of_them_looked_at() {
        let mut asked = Asked::new(&[std::process::id()], &[]);
        for port in 1..=1000 {
            let remote = format!("127.0.0.1:{port}");
            asked.look(u32::MAX, 1, "127.0.0.1:1", &remote);
        }
        assert_eq!(asked.looks.len(), MOST_ADDRESSES);
    }

    #[test]
    fn who_answers_over_a_unix_socket_is_followed_once_it_wakes_the_target() {
        let name = format!("tracer-follow-{}", std::process::id());
        let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        let listener = std::os::unix::net::UnixListener::bind_addr(&name).unwrap();
        let _asking = std::os::unix::net::UnixStream::connect_addr(&name).unwrap();
        let accepted = std::os::fd::OwnedFd::from(listener.accept().unwrap().0);
        let mut server = std::process::Command::new("sleep");
        let mut server = server.arg("60").stdin(accepted).spawn().unwrap();
        let own = std::process::id();
        let mut asked = Asked::new(&[own], &[]);
        let wait = Wait {
            pid: own,
            waker_pid: server.id(),
            ..Wait::default()
        };
        asked.see(&[Event::Wait(wait.clone()), Event::Wait(wait)], false);
        assert_eq!(asked.wakers[&server.id()], 1, "one look at a time");
        let found = wait_for(&mut asked);
        server.kill().unwrap();
        server.wait().unwrap();
        let expected = Found {
            pid: server.id(),
            by_pid: own,
            way: Way::Unix,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn who_wakes_the_target_over_no_unix_socket_is_not_followed() {
        let mut asked = Asked::new(&[100], &[]);
        let woken = |waker_pid, flags| {
            let (pid, waker_pid) = (100, waker_pid);
            Event::Wait(Wait {
                pid,
                waker_pid,
                flags,
                ..Wait::default()
            })
        };
        asked.see(
            &[woken(0, 0), woken(100, 0), woken(7, WAIT_NO_WAKER)],
            false,
        );
        assert!(asked.wakers.is_empty());
    }

    #[test]
    fn clients_and_servers_elsewhere_are_not_looked_for() {
        let mut asked = Asked::new(&[100], &[80]);
        asked.look(100, 80, "127.0.0.1:80", "127.0.0.1:40000");
        asked.look(100, 40_000, "10.0.0.1:40000", "10.0.0.5:5432");
        assert!(asked.looks.is_empty());
    }
}
