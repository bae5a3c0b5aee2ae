//! Finds the processes of this machine that ask the target over TCP. A client that asks for a long table slows the target down
//! itself.
//!
//! Each connection is looked for once, soon after its first use. A look takes many at a time, beside the loop that reads. A
//! connection that is over by then stays unknown.

use std::{
    collections::HashSet,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use crate::{
    event::{self, Event},
    machine::{
        clocks::{now_ns, thread_cpu_time},
        priority, proc,
    },
};

/// Most connections looked for at a time. If there are more, those that came first.
const MOST_AT_ONCE: usize = 1024;

/// The shortest time from one look to the next.
const APART: Duration = Duration::from_millis(100);

/// After a look, rest 50 times the CPU time that it took: looking costs at most 2 % of a CPU.
const REST: u32 = 50;

/// A connection with a client that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unknown {
    socket: u64,
    ends: proc::Connection,
}

/// The result of a look, and the CPU time that it took.
type Look = (Vec<(Unknown, Option<u32>)>, Duration);

/// The search for the target's clients.
pub(crate) struct Clients {
    /// Ports on which the target listens.
    serving: HashSet<u32>,
    waiting: Vec<Unknown>,
    /// The sockets being looked for. If a socket has become another connection's in between, it is taken out.
    looking: Option<HashSet<u64>>,
    not_before: Instant,
    found: (Sender<Look>, Receiver<Look>),
}

impl Clients {
    /// No client yet; the target listens on `ports`.
    #[must_use]
    pub(crate) fn new(ports: &[u32]) -> Self {
        Self {
            serving: ports.iter().copied().collect(),
            waiting: Vec::new(),
            looking: None,
            not_before: Instant::now(),
            found: channel(),
        }
    }

    /// Takes note of connections that are used for the first time.
    pub(crate) fn see(&mut self, events: &[Event]) {
        for event in events {
            if let Event::Socket(socket) = event {
                self.meet(socket);
            }
        }
        if self.looking.is_none() && !self.waiting.is_empty() && Instant::now() >= self.not_before {
            self.look();
        }
    }

    fn meet(&mut self, socket: &event::Socket) {
        if let Some(looking) = &mut self.looking {
            looking.remove(&socket.socket);
        }
        self.waiting.retain(|known| known.socket != socket.socket);
        let serves = self.serving.contains(&socket.local_port) && socket.is_local();
        if serves && self.waiting.len() < MOST_AT_ONCE {
            let ends = proc::Connection::parse(socket.pid, &socket.local, &socket.remote);
            self.waiting.extend(ends.map(|ends| Unknown {
                socket: socket.socket,
                ends,
            }));
        }
    }

    fn look(&mut self) {
        let wanted = std::mem::take(&mut self.waiting);
        self.looking = Some(wanted.iter().map(|unknown| unknown.socket).collect());
        let sender = self.found.0.clone();
        std::thread::spawn(move || {
            priority::as_everybody();
            let ends: Vec<proc::Connection> = wanted.iter().map(|unknown| unknown.ends).collect();
            let clients = proc::clients_of(&ends);
            // The receiver is gone once the trace is over.
            let _ = sender.send((wanted.into_iter().zip(clients).collect(), thread_cpu_time()));
        });
    }

    /// The clients found since the last call.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let Ok((found, took)) = self.found.1.try_recv() else {
            return Vec::new();
        };
        self.not_before = Instant::now() + APART.max(took * REST);
        let looking = self.looking.take().unwrap_or_default();
        let mut events = Vec::new();
        for (unknown, client) in found {
            let Some(client) = client.filter(|_| looking.contains(&unknown.socket)) else {
                continue;
            };
            events.push(Event::Client(event::Client {
                ns: now_ns(),
                socket: unknown.socket,
                pid: unknown.ends.pid,
                client_pid: client,
            }));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn accepted(socket: u64, client: &TcpStream) -> Event {
        Event::Socket(event::Socket {
            ns: 1,
            socket,
            pid: std::process::id(),
            local: client.peer_addr().unwrap().to_string(),
            local_port: client.peer_addr().unwrap().port().into(),
            remote: client.local_addr().unwrap().to_string(),
        })
    }

    fn wait_for(clients: &mut Clients) -> Vec<u64> {
        let look = clients.found.1.recv().unwrap();
        clients.found.0.send(look).unwrap();
        let sockets = |event: &Event| match event {
            Event::Client(client) => {
                assert_eq!(client.client_pid, std::process::id());
                client.socket
            }
            other => unreachable!("{other:?}"),
        };
        clients.take().iter().map(sockets).collect()
    }

    #[test]
    fn who_connected_is_told_once_for_each_connection() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (first, second) = (
            TcpStream::connect(address).unwrap(),
            TcpStream::connect(address).unwrap(),
        );
        let mut clients = Clients::new(&[address.port().into()]);
        clients.see(&[accepted(1, &first), accepted(2, &second)]);
        assert_eq!(wait_for(&mut clients), [1, 2]);
        clients.see(&[]);
        assert!(clients.looking.is_none());
    }

    #[test]
    fn a_socket_that_became_another_connections_meanwhile_is_looked_for_anew() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let first = TcpStream::connect(address).unwrap();
        let second = TcpStream::connect(address).unwrap();
        let mut clients = Clients::new(&[address.port().into()]);
        clients.see(&[accepted(1, &first)]);
        clients.see(&[accepted(1, &second)]);
        assert_eq!(wait_for(&mut clients), [0; 0]);
        clients.not_before = Instant::now();
        clients.see(&[]);
        assert_eq!(wait_for(&mut clients), [1]);
    }

    #[test]
    fn those_whom_the_target_asks_and_clients_elsewhere_are_not_looked_for() {
        let mut clients = Clients::new(&[80]);
        let socket = |local: &str, local_port, remote: &str| {
            Event::Socket(event::Socket {
                ns: 1,
                socket: 1,
                pid: 100,
                local: local.to_owned(),
                local_port,
                remote: remote.to_owned(),
            })
        };
        clients.see(&[
            socket("127.0.0.1:40000", 40_000, "127.0.0.1:5432"),
            socket("10.0.0.1:80", 80, "10.0.0.2:40000"),
        ]);
        assert!(clients.waiting.is_empty() && clients.looking.is_none());
    }
}
