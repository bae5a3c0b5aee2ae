//! TCP connections of a process with a question that had no answer at attach: a client's, or its own.
//!
//! The kernel keeps when each side sent last (`struct tcp_info` of `include/uapi/linux/tcp.h`). The tracer asks through a copy of
//! the descriptor (`pidfd_getfd`, 5.6 and later). This works in every network namespace and changes nothing.

use std::{
    collections::HashSet,
    fs,
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use super::{links::descriptors, process_descriptor, socket::socket_inode, under_way::UnderWay};
use crate::{
    event::{OpenSocket, Unanswered},
    machine::clocks::now_ns,
};

/// Most connections queried: more would cost more time at attach than their answers are worth.
const MOST: usize = 1024;

/// Length of the part of `struct tcp_info` that is read, bytes. Every kernel since 4.10 has it.
const LENGTH: usize = 184;

/// The kernel's counters of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Milliseconds since the last segment with bytes went out.
    sent_ms: u32,
    /// Milliseconds since the last segment with bytes came in.
    received_ms: u32,
    /// Segments with bytes that came in so far.
    segments_in: u32,
    /// Segments with bytes that went out so far.
    segments_out: u32,
    /// Segments sent and not acknowledged, plus bytes written and not sent: 0 if nothing is under way.
    pub(super) under_way: u64,
    /// Bytes written and not sent.
    unsent_bytes: u32,
    /// Bytes that the peer has acknowledged.
    pub(super) acked_bytes: u64,
    /// How often the timer of what is under way was doubled.
    pub(super) backoff: u32,
    /// Microseconds in which the receiver's window held the data back.
    pub(super) limited_us: u64,
}

impl Traffic {
    fn parse(info: &[u8; LENGTH]) -> Self {
        let word = |at: usize| {
            let bytes = [info[at], info[at + 1], info[at + 2], info[at + 3]];
            u32::from_ne_bytes(bytes)
        };
        let long = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&info[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        Self {
            under_way: u64::from(word(24)) + u64::from(word(144)),
            unsent_bytes: word(144),
            acked_bytes: long(120),
            backoff: info[4].into(),
            limited_us: long(176),
            sent_ms: word(44),
            received_ms: word(52),
            segments_in: word(152),
            segments_out: word(156),
        }
    }

    /// Has the peer no room for what is not sent yet? Else a part of it would be under way.
    pub(super) fn has_no_room(self) -> bool {
        self.unsent_bytes > 0 && self.under_way == u64::from(self.unsent_bytes)
    }

    /// Milliseconds since the peer asked, if it has no answer yet. The kernel counts both times from the begin of the connection.
    fn is_asked_ms(self) -> Option<u32> {
        let last = self.segments_out == 0 || self.received_ms < self.sent_ms;
        (self.segments_in > 0 && last).then_some(self.received_ms)
    }

    /// The same, if the answer to what the peer asked before may have gone in the same tick: then it is not known who spoke last.
    pub(super) fn may_be_asked_ms(self) -> Option<u32> {
        let last = self.segments_out == 0 || self.received_ms <= self.sent_ms;
        (self.segments_in > 0 && last).then_some(self.received_ms)
    }

    /// Has nothing passed between these two readings?
    pub(super) fn is_still(self, later: Self) -> bool {
        let segments = |traffic: Self| (traffic.segments_in, traffic.segments_out);
        segments(self) == segments(later)
    }

    /// Milliseconds since this side asked.
    fn asks_ms(self) -> Option<u32> {
        let last = self.segments_in == 0 || self.sent_ms < self.received_ms;
        (self.segments_out > 0 && last).then_some(self.sent_ms)
    }
}

/// The connections of each process with a question that has no answer. Unread bytes are no part of this: [`OpenSocket`] has them.
/// Answers that are `under_way` are looked up in the same round.
#[must_use]
pub(crate) fn unanswered(
    pids: &[u32],
    open: &[OpenSocket],
    listening: &[u32],
    under_way: &mut UnderWay,
) -> Vec<Unanswered> {
    let unread = open.iter().filter(|socket| socket.unread_bytes > 0);
    let mut seen: HashSet<(String, String)> = unread
        .map(|socket| (socket.local.clone(), socket.remote.clone()))
        .collect();
    let unread = seen.len();
    let mut found = Vec::new();
    for &pid in pids {
        let Some(process) = process_descriptor(pid) else {
            continue;
        };
        let queried = seen.len() - unread;
        for socket in streams(pid, &process).take(MOST.saturating_sub(queried)) {
            let Some((local, remote)) = ends(&socket.stream) else {
                continue;
            };
            let Some(traffic) = traffic(&socket.stream) else {
                continue;
            };
            let serves = listening.contains(&u32::from(local.port()));
            if serves {
                under_way.see(pid, &socket, (local, remote), traffic);
            }
            // Copies of one socket are one connection.
            let text = (local.to_string(), remote.to_string());
            if !seen.insert(text.clone()) {
                continue;
            }
            let since_ms = match serves {
                true => traffic.is_asked_ms(),
                false => traffic.asks_ms(),
            };
            found.extend(since_ms.map(|ms| Unanswered {
                pid,
                local: text.0,
                remote: text.1,
                asks: !serves,
                since_ns: now_ns().saturating_sub(u64::from(ms) * 1_000_000),
            }));
        }
    }
    found
}

/// A socket that a process has open, whatever it is.
pub(super) struct Copied {
    /// Its descriptor there.
    pub(super) fd: u32,
    pub(super) inode: u64,
    /// A copy of it.
    pub(super) stream: TcpStream,
}

/// The sockets that a process has open.
pub(super) fn streams(pid: u32, process: &OwnedFd) -> impl Iterator<Item = Copied> {
    descriptors(pid).filter_map(move |(fd, inode)| copy(process, fd, inode))
}

/// A socket of a process; `None` if the descriptor is another file, or gone.
pub(super) fn copied(pid: u32, process: &OwnedFd, fd: u32) -> Option<Copied> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    copy(process, fd, socket_inode(&link.into_os_string())?)
}

fn copy(process: &OwnedFd, fd: u32, inode: u64) -> Option<Copied> {
    // SAFETY: no pointers; the descriptor that it returns is ours.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) };
    let copy = i32::try_from(copy).ok().filter(|copy| *copy >= 0)?;
    // SAFETY: the descriptor is open, and nothing else owns it.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(copy) });
    Some(Copied { fd, inode, stream })
}

/// Own address and the peer's, as in `/proc/net/tcp`; `None` if the socket is no connection.
pub(super) fn ends(stream: &TcpStream) -> Option<(SocketAddr, SocketAddr)> {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    Some((
        plain(stream.local_addr().ok()?),
        plain(stream.peer_addr().ok()?),
    ))
}

pub(super) fn traffic(stream: &TcpStream) -> Option<Traffic> {
    let mut info = [0_u8; LENGTH];
    let mut length = LENGTH as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, and their number into `length`.
    let failed = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (failed == 0 && length as usize == LENGTH).then(|| Traffic::parse(&info))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
        time::Duration,
    };

    use super::*;

    fn found(port: u16) -> Vec<bool> {
        let own = [std::process::id()];
        let listening = [u32::from(port)];
        let here = |end: &str| end.ends_with(&format!(":{port}"));
        let all = unanswered(&own, &[], &listening, &mut UnderWay::default()).into_iter();
        let ours = all.filter(|found| here(&found.local) || here(&found.remote));
        let mut asks: Vec<bool> = ours.map(|found| found.asks).collect();
        asks.sort_unstable();
        asks
    }

    #[test]
    fn who_asked_last_waits_for_an_answer() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert!(found(address.port()).is_empty());
        client.write_all(b"question").unwrap();
        server.read_exact(&mut [0; 8]).unwrap();
        // The client asks, and the server is asked.
        assert_eq!(found(address.port()), [false, true]);
        // The kernel counts in ticks.
        thread::sleep(Duration::from_millis(30));
        server.write_all(b"answer").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
        assert!(found(address.port()).is_empty());
        thread::sleep(Duration::from_millis(30));
        client.write_all(b"question").unwrap();
        assert_eq!(found(address.port()), [false, true]);
    }

    #[test]
    fn the_times_lie_where_the_kernel_puts_them() {
        let mut info = [0; LENGTH];
        for (at, value) in [(44, 700_u32), (52, 30), (152, 2), (156, 1)] {
            info[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        info[4] = 3;
        info[24] = 2;
        info[120] = 9;
        info[176] = 7;
        let traffic = Traffic::parse(&info);
        assert_eq!((traffic.is_asked_ms(), traffic.asks_ms()), (Some(30), None));
        let at_once = Traffic {
            sent_ms: 30,
            ..traffic
        };
        let asked = (at_once.is_asked_ms(), at_once.may_be_asked_ms());
        assert_eq!(asked, (None, Some(30)));
        let counted = (traffic.under_way, traffic.acked_bytes, traffic.limited_us);
        assert_eq!((traffic.backoff, counted), (3, (2, 9, 7)));
        info[144] = 5;
        let sends = Traffic::parse(&info);
        info[24] = 0;
        let stuck = Traffic::parse(&info);
        let has_no_room = [traffic, sends, stuck].map(Traffic::has_no_room);
        assert_eq!(has_no_room, [false, false, true]);
    }
}
