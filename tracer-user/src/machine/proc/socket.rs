//! TCP sockets: descriptors of a process joined with `/proc/PID/net/tcp` and `tcp6`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
};

use super::{connecting::askers, datagrams::awaited, numbers_in};
use crate::{
    event::{OpenSocket, Question},
    machine::clocks::now_ns,
};

/// `TCP_LISTEN` and `TCP_SYN_SENT` of `include/net/tcp_states.h`, as the column `st` has them.
pub(super) const LISTEN: u8 = 0x0a;
const SYN_SENT: u8 = 0x02;

/// Length of a tick of these files (`USER_HZ`), ns.
const TICK_NS: u64 = 10_000_000;

/// How long TCP first waits for the answer to a connect, ticks (`TCP_TIMEOUT_INIT` of `include/net/tcp.h`).
const FIRST_TIMEOUT: u64 = 100;

/// The TCP sockets that processes have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    /// Those that are open. A listening one is not among them: its queue holds connections, not bytes.
    pub(crate) open: Vec<OpenSocket>,
    /// The ports on which the processes listen, ascending.
    pub(crate) listening: Vec<u32>,
    /// The questions that nobody has answered: connects, and datagrams for whose answers threads sleep.
    pub(crate) questions: Vec<Question>,
}

/// One line of `/proc/net/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: u8,
    /// Sent and not acknowledged, or not sent yet.
    pub(crate) unacked_bytes: u32,
    /// For a listener: connections not yet accepted.
    unread_bytes: u32,
    pub(crate) inode: u64,
    timer: Timer,
}

/// The timer of what is sent and not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Timer {
    /// How often it has run out.
    runs: u64,
    /// How long it runs now, ticks.
    length: u64,
    /// How much of that is left, ticks.
    left: u64,
}

impl Timer {
    /// How long it has run in all, ticks. From 6.5 on, TCP does not double it the first times.
    fn age(self) -> u64 {
        let doubled = (self.length / FIRST_TIMEOUT).checked_ilog2().unwrap_or(0);
        let runs = self.runs.saturating_sub(u64::from(doubled)) + (1_u64 << doubled) - 1;
        runs.saturating_mul(FIRST_TIMEOUT) + self.length.saturating_sub(self.left)
    }
}

impl Line {
    /// Parses `sl local remote st tx:rx tr:when retrnsmt uid timeout inode …`; the head line is `None`.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        let (unacked, unread) = fields.next()?.split_once(':')?;
        let unacked_bytes = u32::from_str_radix(unacked, 16).ok()?;
        let unread_bytes = u32::from_str_radix(unread, 16).ok()?;
        let (_, left) = fields.next()?.split_once(':')?;
        let left = u64::from_str_radix(left, 16).ok()?;
        let runs = u64::from_str_radix(fields.next()?, 16).ok()?;
        let inode = fields.nth(2)?.parse().ok()?;
        // A connection that is nearly over, or not there yet, has no length.
        let length = fields.nth(2).and_then(|ticks| ticks.parse().ok());
        let length = length.unwrap_or(0);
        Some(Self {
            local,
            remote,
            state,
            unacked_bytes,
            unread_bytes,
            inode,
            timer: Timer { runs, length, left },
        })
    }

    fn to_event(&self, pid: u32) -> OpenSocket {
        OpenSocket {
            pid,
            local: self.local.to_string(),
            local_port: self.local.port().into(),
            remote: self.remote.to_string(),
            unread_bytes: self.unread_bytes,
        }
    }

    /// The question that a connect is.
    fn to_question(&self, (pid, tid): (u32, u32)) -> Question {
        Question {
            ns: now_ns().saturating_sub(self.timer.age().saturating_mul(TICK_NS)),
            pid,
            tid,
            local: self.local.to_string(),
            remote: self.remote.to_string(),
            ..Question::default()
        }
    }
}

/// Parses `0100007F:1F90`. The address is in words of 32 bits, each with its bytes in network order. The port is a plain number.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = match words.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(words)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(words.get(8 * index..8 * index + 8)?)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The bytes of a word as they lie in memory.
fn word(text: &str) -> Option<[u8; 4]> {
    Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes())
}

/// The network namespace of a process, by its inode; `None` if it is gone.
pub(super) fn namespace(pid: u32) -> Option<u64> {
    let namespace = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
    Some(namespace.ino())
}

/// The TCP sockets of a network namespace; `folder` is `/proc/PID/net`. Lines are read one at a time: there may be a hundred
/// thousand.
pub(super) fn lines(folder: &str) -> impl Iterator<Item = Line> + use<> {
    lines_of(folder, ["tcp", "tcp6"])
}

/// The UDP sockets of a network namespace.
pub(super) fn datagram_lines(folder: &str) -> impl Iterator<Item = Line> + use<> {
    lines_of(folder, ["udp", "udp6"])
}

fn lines_of(folder: &str, names: [&str; 2]) -> impl Iterator<Item = Line> + use<> {
    // Without IPv6 there is no second one.
    let files = names.map(|name| File::open(format!("{folder}/{name}")).ok());
    let files = files.into_iter().flatten().map(BufReader::new);
    let lines = files.flat_map(|file| file.lines().map_while(Result::ok));
    lines.filter_map(|line| Line::parse(&line))
}

/// Inodes of the sockets in `folder` (`/proc/PID/net`) that listen on `port`.
pub(super) fn listeners(folder: &str, port: u16) -> impl Iterator<Item = u64> {
    let listens = move |line: &Line| line.state == LISTEN && line.local.port() == port;
    lines(folder).filter(listens).map(|line| line.inode)
}

/// Inodes of the sockets that a process has open; one may come more than once.
pub(super) fn inodes(pid: u32) -> impl Iterator<Item = u64> {
    let folder = format!("/proc/{pid}/fd");
    numbers_in(&folder).filter_map(move |fd| {
        socket_inode(
            &fs::read_link(format!("{folder}/{fd}"))
                .ok()?
                .into_os_string(),
        )
    })
}

/// The number in `socket:[4711]`.
pub(super) fn socket_inode(link: &OsString) -> Option<u64> {
    link.to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// Sockets that processes have open in one network namespace: the inode of each, and the process, in order.
type Owned = Vec<(u64, u32)>;

/// The sockets of processes, by their network namespaces. None of these lists is empty.
fn owned(pids: &[u32]) -> Vec<Owned> {
    let mut namespaces: BTreeMap<u64, Owned> = BTreeMap::new();
    for &pid in pids {
        if let Some(namespace) = namespace(pid) {
            let owned = namespaces.entry(namespace).or_default();
            owned.extend(inodes(pid).map(|inode| (inode, pid)));
        }
    }
    let mut all: Vec<Owned> = namespaces.into_values().collect();
    all.retain(|owned| !owned.is_empty());
    for owned in &mut all {
        owned.sort_unstable();
        owned.dedup();
    }
    all
}

/// The processes that have a socket.
fn owners(owned: &[(u64, u32)], inode: u64) -> impl Iterator<Item = u32> {
    let first = owned.partition_point(|(known, _)| *known < inode);
    let of = owned[first..].iter();
    of.take_while(move |(known, _)| *known == inode)
        .map(|(_, pid)| *pid)
}

/// Where the sockets of the namespace are listed that the first of these lies in.
fn folder(owned: &[(u64, u32)]) -> String {
    let pid = owned.first().map_or(0, |(_, pid)| *pid);
    format!("/proc/{pid}/net")
}

/// The TCP sockets of processes, and the ports on which they are asked, ascending.
///
/// Each process is looked up in its own network namespace. Listening sockets are not among the open ones: their queue holds connections,
/// not bytes. A process need not listen itself to be asked: systemd, a supervisor or its parent may listen, and hand over what it accepts.
#[must_use]
pub(crate) fn sockets(pids: &[u32]) -> Sockets {
    let mut found = Sockets::default();
    // The descriptors first. Then a socket closed in between is missing from the list, and a new one is not looked for.
    for owned in owned(pids) {
        found.see(&owned);
        found.questions.extend(awaited_in(&owned));
    }
    found.listening.sort_unstable();
    found.listening.dedup();
    found
}

/// The TCP sockets that processes have open, but for the listening ones.
#[must_use]
pub(crate) fn open_sockets(pids: &[u32]) -> Vec<OpenSocket> {
    let mut open = Vec::new();
    for owned in owned(pids) {
        for line in lines(&folder(&owned)).filter(|line| line.state != LISTEN) {
            open.extend(owners(&owned, line.inode).map(|pid| line.to_event(pid)));
        }
    }
    open
}

impl Sockets {
    /// Adds those of one namespace. A server's workers share that. Its list may be long, so it is read once.
    fn see(&mut self, owned: &[(u64, u32)]) {
        let (mut listeners, mut connected) = (HashSet::new(), HashSet::new());
        let mut connects: BTreeMap<u32, Vec<Line>> = BTreeMap::new();
        for line in lines(&folder(owned)) {
            if line.state == LISTEN {
                listeners.insert(line.local);
            }
            for pid in owners(owned, line.inode) {
                match line.state {
                    LISTEN => self.listening.push(line.local.port().into()),
                    SYN_SENT => {
                        connects.entry(pid).or_default().push(line.clone());
                        self.open.push(line.to_event(pid));
                    }
                    _ => {
                        connected.insert(line.local);
                        self.open.push(line.to_event(pid));
                    }
                }
            }
        }
        let accepted = connected
            .iter()
            .filter(|local| has_listener(&listeners, **local));
        let ports = accepted.map(|local| u32::from(local.port()));
        self.listening.extend(ports);
        self.questions
            .extend(connects.into_iter().flat_map(connecting));
    }
}

/// The questions by datagrams in one namespace for whose answers threads sleep. Its list is read once, too.
fn awaited_in(owned: &[(u64, u32)]) -> Vec<Question> {
    let mut sockets: BTreeMap<u32, HashMap<u64, Line>> = BTreeMap::new();
    for line in datagram_lines(&folder(owned)).filter(|line| line.remote.port() != 0) {
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

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_print_as_std_prints_them() {
        let print = |text| address(text).map(|address| address.to_string());
        assert_eq!(print("0100007F:1F90").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(
            print("00000000000000000000000001000000:0016").as_deref(),
            Some("[::1]:22")
        );
        assert_eq!(
            print("0000000000000000FFFF00000100000A:01BB").as_deref(),
            Some("10.0.0.1:443")
        );
        for broken in [
            "",
            ":",
            "0100007F",
            "0100007:1",
            "0100007G:1F90",
            "0100007F:1F900",
            "é00007F:1F90",
        ] {
            assert_eq!(print(broken), None, "{broken}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_has_state_queue_and_inode() {
        let text = "   1: 020200C0:AB6A 507100CB:01BB 01 00000000:0000001D 00:00000000 00000000     0        0 92202 1 0000 20 4 1 122 -1";
        let line = Line::parse(text).unwrap();
        assert_eq!((line.state, line.unread_bytes, line.inode), (1, 29, 92202));
        assert_eq!(line.remote.to_string(), "203.0.113.80:443");
        assert_eq!(
            Line::parse(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
            ),
            None
        );
        let needed = text.find("92202").unwrap();
        assert!((0..needed).all(|length| Line::parse(&text[..length]).is_none()));
    }

    #[test]
    fn a_timer_that_is_doubled_at_once_or_later_tells_how_long_a_connect_has_waited() {
        let age = |runs, length, left| {
            let timer = Timer { runs, length, left };
            timer.age()
        };
        assert_eq!(age(0, 100, 40), 60);
        assert_eq!(age(1, 200, 150), 150);
        assert_eq!(age(3, 800, 800), 700);
        // The first times it is not doubled.
        assert_eq!((age(3, 100, 100), age(5, 200, 200)), (300, 500));
        assert_eq!(age(0, 20, 5), 15);
    }

    #[test]
    fn only_sockets_have_a_socket_inode() {
        assert_eq!(socket_inode(&"socket:[4711]".into()), Some(4711));
        assert_eq!(socket_inode(&"pipe:[4711]".into()), None);
        assert_eq!(socket_inode(&"/tmp/socket:[1]".into()), None);
    }

    #[test]
    fn an_unread_request_and_its_listener_are_seen() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        client.write_all(&[0; 29]).unwrap();
        let own = std::process::id();
        let found = sockets(&[own, u32::MAX]);
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
        let ports = sockets(&[std::process::id()]).listening;
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        assert!(ports.contains(&port.into()));
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
