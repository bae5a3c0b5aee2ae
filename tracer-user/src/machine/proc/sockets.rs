//! The TCP sockets of processes: their descriptors joined with the lists of the sockets of their network namespaces.
//!
//! A server may have ten thousand connections that are idle. So a look reads each list and each descriptor once, and tells nothing of such
//! a connection.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use tracer_common::packets::Sender;

use super::{
    connecting::askers,
    datagrams::awaited,
    links::inodes,
    sender::Senders,
    socket::{
        ANY, ESTABLISHED, LISTEN, Line, SYN_SENT, datagram_lines, each_line, lines, namespace,
    },
};
use crate::event::{OpenSocket, Question};

/// How long namespaces are listed in which the processes have no socket. For each list the kernel goes through its table of all sockets,
/// which takes milliseconds on a large machine, and a host of containers has hundreds of namespaces.
const SEARCH: Duration = Duration::from_millis(200);

/// Most connections in a network namespace that nobody has accepted: a longer queue says no more.
const MOST_WAITING: usize = 4096;

/// The TCP sockets that processes have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    /// Those that are open. A listening one is not among them: its queue holds connections, not bytes. Neither is one on which the
    /// processes are asked, and that holds nothing to be read: a server has thousands of these, and nobody needs them. What lies in the
    /// queue of a listener, and holds something to be read, is among them.
    pub(crate) open: Vec<OpenSocket>,
    /// The ports on which the processes listen, ascending.
    pub(crate) listening: Vec<u32>,
    /// The questions that nobody has answered: connects, and datagrams for whose answers threads sleep.
    pub(crate) questions: Vec<Question>,
    /// Those with bytes to be sent or acknowledged, of other processes too, each with its process.
    pub(crate) senders: Vec<(Sender, u32)>,
}

/// Sockets that processes have open in one network namespace: the inode of each, and the process, in order.
type Owned = Vec<(u64, u32)>;

/// The sockets of processes, by their network namespaces. None of these lists is empty.
fn owned(pids: &[u32]) -> BTreeMap<u64, Owned> {
    let mut namespaces: BTreeMap<u64, Owned> = BTreeMap::new();
    for &pid in pids {
        if let Some(namespace) = namespace(pid) {
            let owned = namespaces.entry(namespace).or_default();
            owned.extend(inodes(pid).map(|inode| (inode, pid)));
        }
    }
    namespaces.retain(|_, owned| !owned.is_empty());
    for owned in namespaces.values_mut() {
        owned.sort_unstable();
        owned.dedup();
    }
    namespaces
}

/// The processes that have a socket.
fn owners(owned: &[(u64, u32)], inode: u64) -> impl Iterator<Item = u32> {
    let first = owned.partition_point(|(known, _)| *known < inode);
    let of = owned[first..].iter();
    of.take_while(move |(known, _)| *known == inode)
        .map(|(_, pid)| *pid)
}

/// The process through which the list of the namespace is read that these lie in.
fn reader(owned: &[(u64, u32)]) -> Option<u32> {
    owned.first().map(|(_, pid)| *pid)
}

/// The TCP sockets of processes, the ports on which they are asked, ascending, and who sends in the network namespaces of `everybody`.
/// The processes are among those.
///
/// Each process is looked up in its own network namespace. A process need not listen itself to be asked: systemd, a supervisor or its
/// parent may listen, and hand over what it accepts.
#[must_use]
pub(crate) fn sockets(pids: &[u32], everybody: &[u32]) -> Sockets {
    let (mut found, mut open, mut senders) = (Sockets::default(), Vec::new(), Senders::default());
    // The descriptors first. Then a socket closed in between is missing from the list, and a new one is not looked for.
    let owned = owned(pids);
    let until = Instant::now() + SEARCH;
    for (namespace, pid) in own_first(namespaces(everybody), &owned) {
        let here = owned.get(&namespace).map_or(&[][..], Vec::as_slice);
        if here.is_empty() && Instant::now() >= until {
            break;
        }
        let mut look = Look::default();
        each_line(reader(here).unwrap_or(pid), ANY, |line| {
            look.see(here, line);
            senders.see(namespace, line);
        });
        found.listening.extend(look.ports());
        found.questions.extend(look.connecting(here));
        found.questions.extend(awaited_in(here));
        open.extend(look.not_accepted());
        open.extend(look.open);
    }
    found.listening.sort_unstable();
    found.listening.dedup();
    let listening = &found.listening;
    let is_asked = |line: &Line| listening.binary_search(&line.local.port().into()).is_ok();
    let is_needed = |(_, line): &(u32, Line)| line.unread_bytes > 0 || !is_asked(line);
    let needed = open.into_iter().filter(is_needed);
    found.open = needed.map(|(pid, line)| line.to_event(pid)).collect();
    found.senders = senders.with_owners(&Owners::new(pids, &owned), everybody);
    found
}

/// The network namespaces of these processes, each with the first process in it.
fn namespaces(pids: &[u32]) -> BTreeMap<u64, u32> {
    let mut namespaces = BTreeMap::new();
    for pid in pids {
        if let Some(namespace) = namespace(*pid) {
            namespaces.entry(namespace).or_insert(*pid);
        }
    }
    namespaces
}

/// Those in which the processes have sockets come first: what is found there must not wait for the others.
fn own_first(
    namespaces: BTreeMap<u64, u32>,
    owned: &BTreeMap<u64, Owned>,
) -> impl Iterator<Item = (u64, u32)> + use<> {
    let is_own = |(namespace, _): &(u64, u32)| owned.contains_key(namespace);
    let (own, others): (Vec<_>, Vec<_>) = namespaces.into_iter().partition(is_own);
    own.into_iter().chain(others)
}

/// The first of some processes that has a socket, in their own order.
pub(super) struct Owners<'a> {
    owned: &'a BTreeMap<u64, Owned>,
    /// Where each stands in that order.
    places: HashMap<u32, usize>,
}

impl<'a> Owners<'a> {
    fn new(pids: &[u32], owned: &'a BTreeMap<u64, Owned>) -> Self {
        // A process that is named twice has its first place.
        let places = pids.iter().enumerate().rev();
        let places = places.map(|(place, pid)| (*pid, place)).collect();
        Self { owned, places }
    }

    /// The first process that has the socket with this inode.
    pub(super) fn first(&self, inode: u64) -> Option<u32> {
        let lists = self.owned.values();
        let all = lists.flat_map(|owned| owners(owned, inode));
        all.min_by_key(|pid| self.places.get(pid))
    }

    /// Is this one of the processes?
    pub(super) fn has(&self, pid: u32) -> bool {
        self.places.contains_key(&pid)
    }
}

/// The TCP sockets that processes have open, but for the listening ones.
#[must_use]
pub(crate) fn open_sockets(pids: &[u32]) -> Vec<OpenSocket> {
    let mut open = Vec::new();
    for owned in owned(pids).values() {
        let see = |line: &Line| {
            open.extend(owners(owned, line.inode).map(|pid| line.to_event(pid)));
        };
        if let Some(pid) = reader(owned) {
            each_line(pid, ANY & !(1 << LISTEN), see);
        }
    }
    open
}

/// The TCP ports on which a process is asked, ascending: it listens there, or has connections that were accepted there.
#[must_use]
pub(crate) fn asked_ports(pid: u32) -> Vec<u32> {
    let mut ports = Vec::new();
    for owned in owned(&[pid]).values() {
        let mut look = Look::default();
        if let Some(pid) = reader(owned) {
            each_line(pid, ANY, |line| look.see(owned, line));
        }
        ports.extend(look.ports());
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// A look at one network namespace. A server's workers share that.
#[derive(Default)]
struct Look {
    listeners: HashSet<SocketAddr>,
    /// Ports on which one of the processes listens.
    listening: Vec<u32>,
    /// Their listening sockets, each with its process, by age.
    accepting: Vec<(SocketAddr, u32)>,
    /// Connections that hold something to be read, and belong to no process: nobody has accepted them.
    waiting: Vec<Line>,
    /// Own ends of their connections.
    connected: HashSet<SocketAddr>,
    /// Does one of them connect?
    connects: bool,
    /// Their sockets, each with its process, but for the listening ones.
    open: Vec<(u32, Line)>,
}

impl Look {
    fn see(&mut self, owned: &[(u64, u32)], line: &Line) {
        let listens = line.state == LISTEN;
        if listens {
            self.listeners.insert(line.local);
        }
        let is_accepted = line.inode != 0 || line.state != ESTABLISHED;
        if !is_accepted && line.unread_bytes > 0 && self.waiting.len() < MOST_WAITING {
            self.waiting.push(line.clone());
        }
        for pid in owners(owned, line.inode) {
            if listens {
                self.listening.push(line.local.port().into());
                self.accepting.push((line.local, pid));
                continue;
            }
            match line.state {
                SYN_SENT => self.connects = true,
                _ => _ = self.connected.insert(line.local),
            }
            self.open.push((pid, line.clone()));
        }
    }

    /// The ports on which the processes are asked.
    fn ports(&self) -> impl Iterator<Item = u32> {
        let accepted = self.connected.iter();
        let accepted = accepted.filter(|local| has_listener(&self.listeners, **local));
        let accepted = accepted.map(|local| u32::from(local.port()));
        self.listening.iter().copied().chain(accepted)
    }

    /// The connections that nobody has accepted, each with the process that is to do that. Of several it is the youngest: a master leaves
    /// it to its workers.
    fn not_accepted(&self) -> Vec<(u32, Line)> {
        let accepts = |local: SocketAddr| {
            let has_own = self.listeners.contains(&local);
            let any = |at: &SocketAddr| at.ip().is_unspecified() && at.port() == local.port();
            let mut youngest = self.accepting.iter().rev();
            let found = youngest.find(|(at, _)| *at == local || (!has_own && any(at)));
            found.map(|(_, pid)| *pid)
        };
        let waiting = self.waiting.iter();
        let found = waiting.filter_map(|line| Some((accepts(line.local)?, line.clone())));
        found.collect()
    }

    /// The connects that nobody has answered. Only the text has their timers.
    fn connecting(&self, owned: &[(u64, u32)]) -> Vec<Question> {
        let mut connects: BTreeMap<u32, Vec<Line>> = BTreeMap::new();
        if let Some(pid) = reader(owned).filter(|_| self.connects) {
            for line in lines(pid).filter(|line| line.state == SYN_SENT) {
                for pid in owners(owned, line.inode) {
                    connects.entry(pid).or_default().push(line.clone());
                }
            }
        }
        connects.into_iter().flat_map(connecting).collect()
    }
}

/// The questions by datagrams in one namespace for whose answers threads sleep. Its list is read once, too.
fn awaited_in(owned: &[(u64, u32)]) -> Vec<Question> {
    let mut sockets: BTreeMap<u32, HashMap<u64, Line>> = BTreeMap::new();
    let datagrams = reader(owned).into_iter().flat_map(datagram_lines);
    for line in datagrams.filter(|line| line.remote.port() != 0) {
        for pid in owners(owned, line.inode) {
            let of = sockets.entry(pid).or_default();
            of.insert(line.inode, line.clone());
        }
    }
    let awaited = |(pid, sockets): (&u32, &HashMap<u64, Line>)| awaited(*pid, sockets);
    sockets.iter().flat_map(awaited).collect()
}

/// The connects of a process, each with the thread that waits for it.
fn connecting((pid, connects): (u32, Vec<Line>)) -> Vec<Question> {
    let inodes: Vec<u64> = connects.iter().map(|line| line.inode).collect();
    let asked = connects.iter().zip(askers(pid, &inodes));
    asked
        .map(|(line, tid)| line.to_question((pid, tid)))
        .collect()
}

/// Does anybody listen where this end of a connection is? The kernel gives no port of a listener to who connects (`bind_conflict`).
fn has_listener(listeners: &HashSet<SocketAddr>, local: SocketAddr) -> bool {
    let any = [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Ipv6Addr::UNSPECIFIED.into(),
    ];
    let at = |ip: &IpAddr| listeners.contains(&SocketAddr::new(*ip, local.port()));
    at(&local.ip()) || any.iter().any(at)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
        os::fd::OwnedFd,
        process::Command,
    };

    use super::*;
    use crate::machine::proc::socket::Timer;

    fn look_at(pids: &[u32]) -> Sockets {
        sockets(pids, pids)
    }

    #[test]
    fn of_what_it_is_asked_on_only_what_is_to_be_read_is_kept() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<TcpStream> = (0..30)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let servers: Vec<TcpStream> = (0..30).map(|_| listener.accept().unwrap().0).collect();
        (&clients[7]).write_all(&[0; 29]).unwrap();
        let found = look_at(&[std::process::id()]);
        let text = address.to_string();
        let at = |end: &str| end == text;
        // Whom the process asks is looked for.
        let asks = found.open.iter().filter(|socket| at(&socket.remote));
        assert_eq!(asks.count(), 30);
        let asked: Vec<&OpenSocket> = found.open.iter().filter(|s| at(&s.local)).collect();
        let [unread] = asked[..] else {
            panic!("one, not {asked:?}");
        };
        let client = clients[7].local_addr().unwrap();
        assert_eq!(unread.remote, client.to_string());
        // At the end of a trace all of them are listed.
        let all = open_sockets(&[std::process::id()]);
        assert_eq!(all.iter().filter(|socket| at(&socket.local)).count(), 30);
        drop(servers);
    }

    #[test]
    fn where_the_processes_have_sockets_is_listed_before_the_namespaces_of_others() {
        let owned = BTreeMap::from([(2, vec![(70, 8)]), (4, vec![(80, 5)])]);
        let all = BTreeMap::from([(1, 7), (2, 8), (3, 9), (4, 5)]);
        let order: Vec<(u64, u32)> = own_first(all, &owned).collect();
        assert_eq!(order, [(2, 8), (4, 5), (1, 7), (3, 9)]);
    }

    #[test]
    fn of_several_that_have_a_socket_the_first_counts() {
        let owned = BTreeMap::from([(1, vec![(70, 3), (70, 5), (80, 3)]), (2, vec![(90, 4)])]);
        let owners = Owners::new(&[5, 4, 3, 5], &owned);
        let first = [70, 80, 90, 100].map(|inode| owners.first(inode));
        assert_eq!(first, [Some(5), Some(3), Some(4), None]);
        assert!(owners.has(4) && !owners.has(6));
    }

    #[test]
    fn an_unread_request_and_its_listener_are_seen() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        client.write_all(&[0; 29]).unwrap();
        let own = std::process::id();
        let found = look_at(&[own, u32::MAX]);
        assert!(found.listening.contains(&port.into()));
        let server = found
            .open
            .iter()
            .find(|socket| socket.local_port == u32::from(port))
            .unwrap();
        assert_eq!((server.pid, server.unread_bytes), (own, 29));
        assert_eq!(
            (server.remote.clone(), server.local.clone()),
            (peer.to_string(), format!("127.0.0.1:{port}"))
        );
    }

    #[test]
    fn a_request_on_a_connection_that_nobody_has_accepted_is_the_listeners() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut asks = TcpStream::connect(address).unwrap();
        let _silent = TcpStream::connect(address).unwrap();
        asks.write_all(&[0; 29]).unwrap();
        let own = std::process::id();
        let found = look_at(&[own]);
        let text = address.to_string();
        let there = found.open.iter().filter(|socket| socket.local == text);
        let there: Vec<&OpenSocket> = there.collect();
        let [waits] = there[..] else {
            panic!("one, not {there:?}");
        };
        assert_eq!((waits.pid, waits.unread_bytes), (own, 29));
        assert_eq!(waits.remote, asks.local_addr().unwrap().to_string());
    }

    #[test]
    fn what_comes_to_a_listener_of_its_own_address_is_not_for_one_of_all_addresses() {
        let line = |local: &str| Line {
            local: local.parse().unwrap(),
            remote: "10.0.0.9:4000".parse().unwrap(),
            state: ESTABLISHED,
            unacked_bytes: 0,
            unread_bytes: 1,
            inode: 0,
            timer: Timer::default(),
        };
        let all: SocketAddr = "0.0.0.0:80".parse().unwrap();
        let look = Look {
            listeners: HashSet::from([all, "10.0.0.1:80".parse().unwrap()]),
            accepting: vec![(all, 7), (all, 8)],
            waiting: ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.2:81"]
                .map(line)
                .to_vec(),
            ..Look::default()
        };
        let found = look.not_accepted();
        assert_eq!(found, [(8, line("10.0.0.2:80"))]);
    }

    #[test]
    fn who_has_what_another_process_accepted_is_asked_on_that_port() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let mut supervisor = Command::new("sleep")
            .arg("60")
            .stdin(OwnedFd::from(listener))
            .spawn()
            .unwrap();
        let ports = look_at(&[std::process::id()]).listening;
        let asked = asked_ports(std::process::id());
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        assert!(ports.contains(&port.into()));
        assert!(asked.contains(&port.into()));
        let own = client.local_addr().unwrap().port();
        assert!(!asked.contains(&own.into()));
        let own_port = client.local_addr().unwrap().port();
        assert!(!ports.contains(&own_port.into()));
    }

    #[test]
    fn a_listener_for_all_addresses_has_accepted_what_came_to_any() {
        let listener = |text: &str| HashSet::from([text.parse::<SocketAddr>().unwrap()]);
        let local = SocketAddr::from(([10, 0, 0, 1], 80));
        for all in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(has_listener(&listener(all), local), "{all}");
        }
        for other in ["0.0.0.0:81", "127.0.0.1:80"] {
            assert!(!has_listener(&listener(other), local), "{other}");
        }
    }
}
