//! Finds the processes of this machine that ask the target over TCP. A client that asks for a long table slows the target down
//! itself.
//!
//! Each connection is looked for once, soon after its first use. A look takes many at a time, beside the loop that reads. A
//! connection that is over by then stays unknown.
//!
//! A process may work for long without a use of its connection. So as the trace begins, those processes are looked for, too, that have
//! one client and no other.

use std::{collections::HashSet, time::Duration};

use crate::{
    event::{self, Event, Origin},
    machine::{clocks::now_ns, proc, rounds::Rounds},
};

/// Most connections looked for at a time. If there are more, those that came first.
const MOST_AT_ONCE: usize = 1024;

/// The shortest time from one look to the next.
const APART: Duration = Duration::from_millis(100);

/// Most processes of which the one client is looked for: a database has a process for each.
const MOST_SOLE: usize = 256;

/// A connection with a client that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unknown {
    socket: u64,
    ends: proc::Connection,
}

/// The result of a look.
type Look = Vec<(Unknown, Option<u32>)>;

/// The search for the target's clients.
pub(crate) struct Clients {
    /// Ports on which the target listened at attach.
    serving: HashSet<u32>,
    waiting: Vec<Unknown>,
    /// The sockets being looked for. If a socket has become another connection's in between, it is taken out.
    looked_for: HashSet<u64>,
    looks: Rounds<Look>,
    /// The look for processes that have one client: each with that one.
    sole: Rounds<Vec<(u32, u32)>>,
}

impl Clients {
    /// No client yet; the target listens on `ports`.
    #[must_use]
    pub(crate) fn new(ports: &[u32]) -> Self {
        Self {
            serving: ports.iter().copied().collect(),
            waiting: Vec::new(),
            looked_for: HashSet::new(),
            looks: Rounds::new(),
            sole: Rounds::new(),
        }
    }

    /// The same, with the look for those of the targets that have one client.
    #[must_use]
    pub(crate) fn begin(targets: &[u32], ports: &[u32]) -> Self {
        let pids: Vec<u32> = targets.iter().take(MOST_SOLE).copied().collect();
        let mut clients = Self::new(ports);
        let ports = ports.to_vec();
        let look = move || proc::sole_clients(&pids, &ports);
        clients.sole.begin(look);
        clients
    }

    /// Takes note of connections that are used for the first time.
    pub(crate) fn see<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            if let Some((socket, origin)) = event.socket() {
                self.meet(socket, origin);
            }
        }
        if !self.waiting.is_empty() && self.looks.is_due(APART) {
            self.look();
        }
    }

    fn meet(&mut self, socket: &event::Socket, origin: Origin) {
        self.looked_for.remove(&socket.socket);
        self.waiting.retain(|known| known.socket != socket.socket);
        let serves = origin.serves(|| self.serving.contains(&socket.local_port));
        if serves && socket.is_local() && self.waiting.len() < MOST_AT_ONCE {
            let ends = proc::Connection::parse(socket.pid, &socket.local, &socket.remote);
            self.waiting.extend(ends.map(|ends| Unknown {
                socket: socket.socket,
                ends,
            }));
        }
    }

    fn look(&mut self) {
        let wanted = std::mem::take(&mut self.waiting);
        self.looked_for = wanted.iter().map(|unknown| unknown.socket).collect();
        self.looks.begin(move || {
            let ends: Vec<proc::Connection> = wanted.iter().map(|unknown| unknown.ends).collect();
            let clients = proc::clients_of(&ends);
            wanted.into_iter().zip(clients).collect()
        });
    }

    /// The clients found since the last call.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let mut events = self.take_sole();
        if let Some(look) = self.looks.take() {
            events.extend(self.found(look));
        }
        events
    }

    fn found(&mut self, look: Look) -> Vec<Event> {
        let looked_for = std::mem::take(&mut self.looked_for);
        let mut events = Vec::new();
        for (unknown, client) in look {
            let Some(client) = client.filter(|_| looked_for.contains(&unknown.socket)) else {
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

    fn take_sole(&mut self) -> Vec<Event> {
        let sole = |(pid, client_pid)| {
            Event::SoleClient(event::SoleClient {
                ns: now_ns(),
                pid,
                client_pid,
            })
        };
        self.sole.take().into_iter().flatten().map(sole).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

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
        let look = clients.looks.wait(LONG).unwrap();
        let sockets = |event: &Event| match event {
            Event::Client(client) => {
                assert_eq!(client.client_pid, std::process::id());
                client.socket
            }
            other => unreachable!("{other:?}"),
        };
        clients.found(look).iter().map(sockets).collect()
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
        clients.see([]);
        assert!(!clients.looks.is_looking());
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
        clients.looks = Rounds::new();
        clients.see([]);
        assert_eq!(wait_for(&mut clients), [1]);
    }

    #[test]
    fn a_client_on_a_port_that_is_new_since_attach_is_looked_for() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let Event::Socket(socket) = accepted(1, &client) else {
            unreachable!("a socket");
        };
        let mut clients = Clients::new(&[80]);
        clients.see(&[Event::Opened(event::Opened {
            socket,
            origin: Origin::Accepted,
        })]);
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
        assert!(clients.waiting.is_empty() && !clients.looks.is_looking());
    }
}
