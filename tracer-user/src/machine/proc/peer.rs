//! The process of this machine at the other end of a TCP connection.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use super::{
    links::inodes,
    numbers_in,
    socket::{ANY, LISTEN, Line, datagram_lines, each_line, namespace},
};

/// The processes at the other ends of connections. Each is looked for in the network namespace of the process that has this end.
/// First comes the process that has the accepted socket. Then come all that have the socket that listens there, because a server's
/// workers take turns. Reads the descriptors of every process once.
#[must_use]
pub(crate) fn peers_of(connections: &[Connection]) -> Vec<Vec<u32>> {
    let namespaces = Namespaces::read(connections);
    let sockets = |connection: &Connection| {
        let listening = namespaces.of(connection)?.listeners(connection.remote);
        let listening = Vec::from_iter(listening);
        Some((namespaces.other_end(connection), listening))
    };
    let sockets: Vec<(Option<u64>, Vec<u64>)> = connections
        .iter()
        .map(|connection| sockets(connection).unwrap_or_default())
        .collect();
    let wanted = sockets.iter().flat_map(|(accepted, listening)| {
        let accepted = accepted.iter();
        accepted.chain(listening).copied()
    });
    let owners = owners(&wanted.collect());
    let owners = |inode: &u64| owners.get(inode).map_or(&[][..], Vec::as_slice);
    let found = |(accepted, listening): &(Option<u64>, Vec<u64>)| {
        // A process above the one that accepted may have a copy of the connection: it is not asked.
        let accepted = accepted.iter().flat_map(|inode| owners(inode).first());
        let mut found: Vec<u32> = accepted.copied().collect();
        let mut listeners: Vec<u32> = listening.iter().flat_map(owners).copied().collect();
        listeners.sort_unstable();
        for pid in listeners {
            if !found.contains(&pid) {
                found.push(pid);
            }
        }
        found
    };
    sockets.iter().map(found).collect()
}

/// The sockets of the network namespaces in question. A server's workers share a namespace. Its list may be long, so it is read
/// once.
struct Namespaces {
    /// The namespace of each process; none for a process that was gone.
    of: HashMap<u32, Option<u64>>,
    /// By namespace: those of UDP, and those of TCP.
    sockets: HashMap<(u64, bool), Sockets>,
}

impl Namespaces {
    /// The listening sockets, and the other ends of these connections.
    fn read(connections: &[Connection]) -> Self {
        let mut of = HashMap::new();
        let mut wanted: HashMap<(u64, bool), (u32, HashSet<Ends>)> = HashMap::new();
        for connection in connections {
            let pid = connection.pid;
            let known = of.entry(pid).or_insert_with(|| namespace(pid));
            if let Some(namespace) = *known {
                let wanted = wanted.entry((namespace, connection.is_datagram));
                let (_, wanted) = wanted.or_insert((pid, HashSet::new()));
                wanted.insert((connection.remote, connection.local));
            }
        }
        let read = |(at, (pid, wanted)): ((u64, bool), (u32, HashSet<Ends>))| {
            let (_, is_datagram) = at;
            let sockets = match is_datagram {
                true => Sockets::of_datagrams(pid, &wanted),
                false => Sockets::of_streams(pid, &wanted),
            };
            (at, sockets)
        };
        Self {
            of,
            sockets: wanted.into_iter().map(read).collect(),
        }
    }

    /// The sockets in the namespace of the process that has this end; `None` if it was gone.
    fn of(&self, connection: &Connection) -> Option<&Sockets> {
        let namespace = (*self.of.get(&connection.pid)?)?;
        self.sockets.get(&(namespace, connection.is_datagram))
    }

    /// Inode of the other end.
    fn other_end(&self, connection: &Connection) -> Option<u64> {
        let ends = (connection.remote, connection.local);
        self.of(connection)?.connected.get(&ends).copied()
    }
}

/// Own and peer's address.
type Ends = (SocketAddr, SocketAddr);

/// Sockets of a network namespace, by the inodes of the files that processes have.
#[derive(Default)]
struct Sockets {
    connected: HashMap<Ends, u64>,
    listening: Vec<(SocketAddr, u64)>,
}

impl Sockets {
    fn of_streams(pid: u32, wanted: &HashSet<Ends>) -> Self {
        let mut sockets = Self::default();
        each_line(pid, ANY, |line| {
            sockets.see(line, line.state == LISTEN, wanted);
        });
        sockets
    }

    /// Who takes datagrams from everybody has no peer.
    fn of_datagrams(pid: u32, wanted: &HashSet<Ends>) -> Self {
        let mut sockets = Self::default();
        for line in datagram_lines(pid) {
            sockets.see(&line, line.remote.port() == 0, wanted);
        }
        sockets
    }

    fn see(&mut self, line: &Line, listens: bool, wanted: &HashSet<Ends>) {
        let ends = (line.local, line.remote);
        if listens {
            self.listening.push((line.local, line.inode));
        } else if line.inode != 0 && wanted.contains(&ends) {
            self.connected.insert(ends, line.inode);
        }
    }

    /// The sockets that listen at an address.
    fn listeners(&self, at: SocketAddr) -> impl Iterator<Item = u64> {
        let listens = move |local: &SocketAddr| {
            local.port() == at.port() && (local.ip().is_unspecified() || local.ip() == at.ip())
        };
        let listening = self
            .listening
            .iter()
            .filter(move |(local, _)| listens(local));
        listening.map(|(_, inode)| *inode)
    }
}

/// A connection, as the process that has this end of it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// Process.
    pub(crate) pid: u32,
    /// Own address.
    pub(crate) local: SocketAddr,
    /// Peer's address.
    pub(crate) remote: SocketAddr,
    /// Is it one of UDP?
    pub(crate) is_datagram: bool,
}

impl Connection {
    /// From two addresses with ports; `None` if one cannot be parsed.
    #[must_use]
    pub(crate) fn parse(pid: u32, local: &str, remote: &str) -> Option<Self> {
        Some(Self {
            pid,
            local: local.parse().ok()?,
            remote: remote.parse().ok()?,
            is_datagram: false,
        })
    }
}

/// The clients of these connections: the processes at the other ends, in the network namespaces of those that accepted. If several have
/// the socket, it is the oldest. Reads the descriptors of every process once.
#[must_use]
pub(crate) fn clients_of(connections: &[Connection]) -> Vec<Option<u32>> {
    let namespaces = Namespaces::read(connections);
    let other_end = |connection| namespaces.other_end(connection);
    let wanted: Vec<Option<u64>> = connections.iter().map(other_end).collect();
    let mut open: HashSet<u64> = wanted.iter().flatten().copied().collect();
    let mut pids: Vec<u32> = numbers_in("/proc").filter(|pid| *pid != 1).collect();
    pids.sort_unstable();
    let mut found: HashMap<u64, u32> = HashMap::new();
    for pid in pids {
        if open.is_empty() {
            break;
        }
        for inode in inodes(pid) {
            if open.remove(&inode) {
                found.insert(inode, pid);
            }
            if open.is_empty() {
                break;
            }
        }
    }
    let client = |inode: Option<u64>| found.get(&inode?).copied();
    wanted.into_iter().map(client).collect()
}

/// The processes that have each of these sockets, the oldest first. Without systemd, which keeps a copy of the sockets that it
/// activates.
fn owners(sockets: &HashSet<u64>) -> HashMap<u64, Vec<u32>> {
    let mut owners: HashMap<u64, Vec<u32>> = HashMap::new();
    if sockets.is_empty() {
        return owners;
    }
    let mut pids: Vec<u32> = numbers_in("/proc").filter(|pid| *pid != 1).collect();
    pids.sort_unstable();
    for pid in pids {
        for inode in inodes(pid).filter(|inode| sockets.contains(inode)) {
            let owners = owners.entry(inode).or_default();
            if owners.last() != Some(&pid) {
                owners.push(pid);
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn connection(client: &TcpStream) -> Connection {
        Connection {
            pid: std::process::id(),
            local: client.local_addr().unwrap(),
            remote: client.peer_addr().unwrap(),
            is_datagram: false,
        }
    }

    #[test]
    fn who_accepted_is_found_and_who_only_listens_too() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (asked, own) = ([connection(&client)], std::process::id());
        // Not accepted yet: the listener.
        assert_eq!(peers_of(&asked), [vec![own]]);
        let accepted = listener.accept().unwrap();
        drop(listener);
        assert_eq!(peers_of(&asked), [vec![own]]);
        drop(accepted);
    }

    #[test]
    fn who_takes_datagrams_is_found() {
        let bind = || UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let (server, client) = (bind(), bind());
        client.connect(server.local_addr().unwrap()).unwrap();
        let own = std::process::id();
        let asked = Connection {
            pid: own,
            local: client.local_addr().unwrap(),
            remote: client.peer_addr().unwrap(),
            is_datagram: true,
        };
        assert_eq!(peers_of(&[asked]), [vec![own]]);
        drop(server);
        assert_eq!(peers_of(&[asked]), [Vec::<u32>::new()]);
    }

    #[test]
    fn all_that_have_the_listening_socket_answer_there() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let shared = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        let mut worker = std::process::Command::new("sleep");
        let mut worker = worker.arg("60").stdin(shared).spawn().unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _accepted = listener.accept().unwrap();
        let (own, gone) = (std::process::id(), connection(&client));
        let gone = Connection {
            pid: u32::MAX,
            ..gone
        };
        // The process that accepted comes first, even if another is older.
        let found = peers_of(&[connection(&client), gone]);
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert_eq!(found, [vec![own, worker.id()], vec![]]);
    }

    #[test]
    fn who_connected_is_found_and_a_connection_that_is_over_is_nobodys() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let own = std::process::id();
        let ends = |client: &TcpStream| Connection {
            pid: own,
            local: client.peer_addr().unwrap(),
            remote: client.local_addr().unwrap(),
            is_datagram: false,
        };
        let (there, gone) = (connect(), connect());
        let asked = [ends(&there), ends(&gone)];
        drop(gone);
        assert_eq!(clients_of(&asked), [Some(own), None]);
    }
}
