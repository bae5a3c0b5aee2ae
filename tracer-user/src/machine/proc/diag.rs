//! The TCP sockets of a network namespace, from the kernel's `tcp_diag` (`sock_diag(7)`).
//!
//! `/proc/PID/net/tcp` has the same as text, of all sockets. A server may have ten thousand connections, and that text has to be written
//! and read for each of them. Here are numbers, and the states that are asked for.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    netlink::{self, word},
    socket::{Line, Timer},
    unix::{enter_namespace, is_in_namespace},
};
use crate::machine::looks;

/// `SOCK_DIAG_BY_FAMILY` of `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Where `struct inet_diag_msg` of `include/uapi/linux/inet_diag.h` has its fields.
mod at {
    pub(super) const PORTS: usize = 4;
    pub(super) const LOCAL: usize = 8;
    pub(super) const REMOTE: usize = 24;
    pub(super) const UNREAD: usize = 56;
    pub(super) const UNACKED: usize = 60;
    pub(super) const INODE: usize = 68;
    /// Behind it are attributes.
    pub(super) const END: usize = 72;
    /// `tcpi_bytes_acked` and `tcpi_bytes_received` of `struct tcp_info` (`include/uapi/linux/tcp.h`), 4.1 and later.
    pub(super) const ACKED: usize = 120;
    pub(super) const RECEIVED: usize = 128;
}

/// `INET_DIAG_INFO` of `include/uapi/linux/inet_diag.h`: the attribute with a `struct tcp_info`. It is asked for by a bit of the
/// extensions, of which the first is 1.
const INFO: u16 = 2;
const TCP_INFO: u8 = 1 << (INFO - 1);
const NOTHING_MORE: u8 = 0;

/// Has the kernel no `tcp_diag`? Each further question would make it look for the module again.
static IS_ABSENT: AtomicBool = AtomicBool::new(false);

/// The sockets in the network namespace of a process that are in one of these states (`1 << TCP_ESTABLISHED` and so on, of
/// `include/net/tcp_states.h`), without their timers.
///
/// # Errors
/// If the kernel does not list them: then `each` has got none.
pub(super) fn sockets(pid: u32, states: u32, mut each: impl FnMut(&Line)) -> io::Result<()> {
    list(pid, states, NOTHING_MORE, |body| {
        line(body).iter().for_each(&mut each);
    })
}

/// The same, each with the bytes that it has received since it began. The kernel locks each socket to count them.
///
/// # Errors
/// If the kernel does not list them: then `each` has got none.
pub(super) fn received(pid: u32, states: u32, mut each: impl FnMut(&Line, u64)) -> io::Result<()> {
    moved(pid, states, |line, moved| each(line, moved.received))
}

/// Bytes that a socket has moved since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Those that the peer has acknowledged.
    pub(super) acked: u64,
    pub(super) received: u64,
}

/// The same in both directions.
///
/// # Errors
/// If the kernel does not list them: then `each` has got none.
pub(super) fn moved(pid: u32, states: u32, mut each: impl FnMut(&Line, Moved)) -> io::Result<()> {
    list(pid, states, TCP_INFO, |body| {
        if let (Some(line), Some(moved)) = (line(body), moved_bytes(body)) {
            each(&line, moved);
        }
    })
}

/// Lists such sockets with these extensions, one `struct inet_diag_msg` each.
fn list(pid: u32, states: u32, extensions: u8, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    if IS_ABSENT.load(Ordering::Relaxed) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let socket = open_in(pid, libc::NETLINK_SOCK_DIAG)?;
    let mut count = 0_usize;
    let mut dump = |family| {
        let see = |body: &[u8]| {
            count += 1;
            each(body);
        };
        let request = request(family, extensions, states);
        netlink::dump_through(&socket, SOCK_DIAG_BY_FAMILY, &request, see)
    };
    // The other list may be missing where the machine has no IPv6. What was listed before an error is there.
    let (four, _) = (dump(libc::AF_INET), dump(libc::AF_INET6));
    match four {
        Err(error) if count == 0 => {
            IS_ABSENT.store(true, Ordering::Relaxed);
            Err(error)
        }
        _ => Ok(()),
    }
}

/// A socket that asks a protocol in the network namespace of a process. It stays in the one in which it was made: so another thread goes
/// there.
pub(super) fn open_in(pid: u32, protocol: i32) -> io::Result<OwnedFd> {
    let open = move || netlink::open(protocol);
    if is_in_namespace(pid)? {
        return open();
    }
    let there = looks::on_thread(move || {
        enter_namespace(pid)?;
        open()
    });
    let opened = there.and_then(|thread| thread.join().ok());
    opened.unwrap_or_else(|| Err(io::ErrorKind::Other.into()))
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding; states; ports and addresses (any), interface (any), cookie (any).
fn request(family: libc::c_int, extensions: u8, states: u32) -> Vec<u8> {
    let mut request = vec![family as u8, libc::IPPROTO_TCP as u8, extensions, 0];
    request.extend(states.to_ne_bytes());
    request.extend([0; 4 + 16 + 16 + 4]);
    request.extend([u8::MAX; 8]);
    request
}

/// One `struct inet_diag_msg`.
fn line(body: &[u8]) -> Option<Line> {
    let family = i32::from(*body.first()?);
    let port = |at: usize| {
        let bytes = body.get(at..at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    };
    let end = |ip: usize, port: u16| Some(SocketAddr::new(address(family, body.get(ip..)?)?, port));
    Some(Line {
        local: end(at::LOCAL, port(at::PORTS)?)?,
        remote: end(at::REMOTE, port(at::PORTS + 2)?)?,
        state: *body.get(1)?,
        unacked_bytes: word(body, at::UNACKED)?,
        unread_bytes: word(body, at::UNREAD)?,
        inode: word(body, at::INODE)?.into(),
        timer: Timer::default(),
    })
}

/// The bytes that the socket of a `struct inet_diag_msg` has moved.
fn moved_bytes(body: &[u8]) -> Option<Moved> {
    let mut attributes = netlink::attributes(body.get(at::END..)?);
    let (_, info) = attributes.find(|(kind, _)| *kind == INFO)?;
    let count = |at: usize| {
        let bytes = info.get(at..at + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    Some(Moved {
        acked: count(at::ACKED)?,
        received: count(at::RECEIVED)?,
    })
}

/// The address at the begin of these bytes. An IPv4 address mapped into IPv6 is an IPv4 address.
fn address(family: i32, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?)),
        libc::AF_INET6 => {
            let six = IpAddr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?);
            Some(six.to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv6Addr, TcpListener, TcpStream},
    };

    use super::*;
    use crate::machine::proc::socket::{ANY, lines};

    #[test]
    fn a_request_is_as_long_as_the_kernel_wants_it() {
        assert_eq!(request(libc::AF_INET, TCP_INFO, 1 << 10).len(), 56);
    }

    #[test]
    fn a_message_is_read_at_every_length() {
        let mut body = vec![libc::AF_INET as u8, 1, 0, 0, 0x1f, 0x90, 0, 80];
        body.extend([10, 0, 0, 1]);
        body.extend([0; 12]);
        body.extend([10, 0, 0, 2]);
        body.extend([0; 12 + 12 + 4]);
        for word in [29_u32, 7, 0, 92202] {
            body.extend(word.to_ne_bytes());
        }
        let found = line(&body).unwrap();
        let ends = (found.local.to_string(), found.remote.to_string());
        assert_eq!(ends, ("10.0.0.1:8080".into(), "10.0.0.2:80".into()));
        let figures = (found.state, found.unread_bytes, found.unacked_bytes);
        assert_eq!((figures, found.inode), ((1, 29, 7), 92202));
        assert!((0..body.len()).all(|length| line(&body[..length]).is_none()));
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        let four = address(libc::AF_INET6, &mapped);
        assert_eq!(four, Some(IpAddr::from([10, 0, 0, 1])));
        assert_eq!(address(libc::AF_UNIX, &mapped), None);
    }

    #[test]
    fn the_bytes_moved_are_in_the_attribute_with_the_figures_of_tcp() {
        let mut body = vec![0; at::END];
        // Another attribute of four bytes comes first.
        body.extend([8, 0, 1, 0, 9, 9, 9, 9]);
        let length = 4 + at::RECEIVED as u16 + 8;
        body.extend(length.to_ne_bytes());
        body.extend(INFO.to_ne_bytes());
        body.extend([7; at::ACKED]);
        body.extend(815_u64.to_ne_bytes());
        body.extend(4711_u64.to_ne_bytes());
        let expected = Moved {
            acked: 815,
            received: 4711,
        };
        assert_eq!(moved_bytes(&body), Some(expected));
        assert!((0..body.len()).all(|length| moved_bytes(&body[..length]).is_none()));
    }

    #[test]
    fn what_a_socket_received_is_counted() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[0; 4711]).unwrap();
        server.read_exact(&mut [0; 4711]).unwrap();
        let local = server.local_addr().unwrap();
        let mut found = Vec::new();
        let listed = received(std::process::id(), 1 << 1, |line, bytes| {
            if line.local == local {
                found.push(bytes);
            }
        });
        if let Err(error) = listed {
            eprintln!("skipped: the kernel lists no TCP sockets ({error})");
            return;
        }
        assert_eq!(found, [4711]);
    }

    /// The sockets with this port, as text, without their timers.
    fn texts(port: u16, all: impl IntoIterator<Item = Line>) -> Vec<String> {
        let ours = |line: &Line| line.local.port() == port || line.remote.port() == port;
        let text = |line: Line| {
            let Line {
                local,
                remote,
                state,
                unread_bytes,
                inode,
                ..
            } = line;
            format!("{local} {remote} {state} {unread_bytes} {inode}")
        };
        let mut texts: Vec<String> = all.into_iter().filter(ours).map(text).collect();
        texts.sort_unstable();
        texts
    }

    #[test]
    fn the_list_has_what_the_text_has() {
        let own = std::process::id();
        let places = [
            IpAddr::from([127, 0, 0, 1]),
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::LOCALHOST.into(),
        ];
        for place in places {
            let Ok(listener) = TcpListener::bind((place, 0)) else {
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let reach = if place.is_ipv4() || place.is_unspecified() {
                IpAddr::from([127, 0, 0, 1])
            } else {
                place
            };
            let Ok(mut client) = TcpStream::connect((reach, port)) else {
                continue;
            };
            let _server = listener.accept().unwrap();
            client.write_all(&[0; 29]).unwrap();
            let mut found = Vec::new();
            if let Err(error) = sockets(own, ANY, |line| found.push(line.clone())) {
                eprintln!("skipped: the kernel lists no TCP sockets ({error})");
                return;
            }
            let found = texts(port, found);
            assert_eq!(found, texts(port, lines(own)), "{place}");
            assert_eq!(found.len(), 3, "{place}");
            let mut listening = Vec::new();
            sockets(own, 1 << 10, |line| listening.push(line.clone())).unwrap();
            assert_eq!(texts(port, listening).len(), 1, "{place}");
        }
    }
}
