//! The TCP sockets of a network namespace, one line each, as the kernel lists them or as `/proc/PID/net/tcp` and `tcp6` have them.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
};

use super::diag;
use crate::{
    event::{OpenSocket, Question},
    machine::clocks::now_ns,
};

/// `TCP_LISTEN`, `TCP_ESTABLISHED`, `TCP_SYN_SENT` and `TCP_TIME_WAIT` of `include/net/tcp_states.h`, as the column `st` has them.
pub(super) const LISTEN: u8 = 0x0a;
pub(super) const ESTABLISHED: u8 = 0x01;
pub(super) const SYN_SENT: u8 = 0x02;
const TIME_WAIT: u8 = 0x06;

/// `TCP_CLOSING`: no socket that a process has is in a later state.
const CLOSING: u8 = 0x0b;

/// The states of sockets that a process may have.
pub(super) const ANY: u32 = ((1 << (CLOSING + 1)) - 2) & !(1 << TIME_WAIT);

/// Length of a tick of these files (`USER_HZ`), ns.
const TICK_NS: u64 = 10_000_000;

/// How long TCP first waits for the answer to a connect, ticks (`TCP_TIMEOUT_INIT` of `include/net/tcp.h`).
const FIRST_TIMEOUT: u64 = 100;

/// One line of `/proc/net/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: u8,
    /// Sent and not acknowledged, or not sent yet.
    pub(crate) unacked_bytes: u32,
    /// For a listener: connections not yet accepted.
    pub(super) unread_bytes: u32,
    pub(crate) inode: u64,
    pub(super) timer: Timer,
}

/// The timer of what is sent and not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Timer {
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

    pub(super) fn to_event(&self, pid: u32) -> OpenSocket {
        OpenSocket {
            pid,
            local: self.local.to_string(),
            local_port: self.local.port().into(),
            remote: self.remote.to_string(),
            unread_bytes: self.unread_bytes,
        }
    }

    /// The question that a connect is.
    pub(super) fn to_question(&self, (pid, tid): (u32, u32)) -> Question {
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

/// Shows the TCP sockets in the network namespace of a process that are in one of these states (`1 << LISTEN` and so on), without their
/// timers. None is kept: there may be a hundred thousand.
pub(super) fn each_line(pid: u32, states: u32, mut see: impl FnMut(&Line)) {
    if diag::sockets(pid, states, &mut see).is_ok() {
        return;
    }
    let is_wanted = |line: &Line| {
        let state = states.checked_shr(line.state.into());
        state.is_some_and(|state| state & 1 != 0)
    };
    for line in lines(pid).filter(is_wanted) {
        see(&line);
    }
}

/// All TCP sockets in the network namespace of a process, with their timers. They are read as text, one line at a time.
pub(super) fn lines(pid: u32) -> impl Iterator<Item = Line> + use<> {
    lines_of(pid, ["tcp", "tcp6"])
}

/// The UDP sockets there.
pub(super) fn datagram_lines(pid: u32) -> impl Iterator<Item = Line> + use<> {
    lines_of(pid, ["udp", "udp6"])
}

fn lines_of(pid: u32, names: [&str; 2]) -> impl Iterator<Item = Line> + use<> {
    // Without IPv6 there is no second one.
    let files = names.map(|name| File::open(format!("/proc/{pid}/net/{name}")).ok());
    let files = files.into_iter().flatten().map(BufReader::new);
    let lines = files.flat_map(|file| file.lines().map_while(Result::ok));
    lines.filter_map(|line| Line::parse(&line))
}

/// Inodes of the sockets in the network namespace of a process that listen on `port`.
pub(super) fn listeners(pid: u32, port: u16) -> HashSet<u64> {
    let mut listeners = HashSet::new();
    each_line(pid, 1 << LISTEN, |line| {
        if line.local.port() == port {
            listeners.insert(line.inode);
        }
    });
    listeners
}

/// The number in `socket:[4711]`.
pub(super) fn socket_inode(link: &OsString) -> Option<u64> {
    link.to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
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
}
