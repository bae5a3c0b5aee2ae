//! Answers that are under way for a whole window: sent before it, and not acknowledged in it.
//!
//! No call and no packet of theirs need come in the window. Only the kernel's counters show that they are there.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
};

use super::{
    process_descriptor,
    socket::namespace,
    unanswered::{Copied, Traffic, copied, ends, traffic},
};
use crate::event;

/// Addresses of one network namespace that are looked through.
const MOST_ADDRESSES: usize = 256;

/// Own address of a connection, and the peer's.
type Ends = (SocketAddr, SocketAddr);

/// A connection that had data under way as the window began.
#[derive(Debug)]
struct Seen {
    pid: u32,
    /// Its descriptor there, and the inode of its socket.
    fd: u32,
    inode: u64,
    ends: Ends,
    traffic: Traffic,
}

/// Connections that have data under way.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    before: Vec<Seen>,
}

impl UnderWay {
    /// A process has this connection. Copies of one socket are one connection.
    pub(super) fn see(&mut self, pid: u32, socket: &Copied, ends: Ends, traffic: Traffic) {
        let is_it = |seen: &Seen| seen.inode == socket.inode;
        if traffic.under_way > 0 && !self.before.iter().any(is_it) {
            self.before.push(Seen {
                pid,
                fd: socket.fd,
                inode: socket.inode,
                ends,
                traffic,
            });
        }
    }

    /// The connections of which the peer acknowledged nothing since. No other descriptor is read: most of a server's connections are idle.
    #[must_use]
    pub(crate) fn end(self) -> Vec<event::UnderWay> {
        let before = self.before.iter();
        before.filter_map(Seen::unmoved).collect()
    }
}

impl Seen {
    /// `None` if the peer acknowledged something, or the connection is no more.
    fn unmoved(&self) -> Option<event::UnderWay> {
        let process = process_descriptor(self.pid)?;
        let socket = copied(self.pid, &process, self.fd)?;
        if socket.inode != self.inode || ends(&socket.stream)? != self.ends {
            return None;
        }
        let now = traffic(&socket.stream).filter(|now| now.under_way > 0)?;
        let is_unmoved = now.acked_bytes == self.traffic.acked_bytes;
        is_unmoved.then(|| unmoved(self.pid, &socket.stream, self.ends, (self.traffic, now)))
    }
}

fn unmoved(
    pid: u32,
    stream: &TcpStream,
    (local, remote): Ends,
    (before, now): (Traffic, Traffic),
) -> event::UnderWay {
    let ifindex = match local.ip() {
        IpAddr::V4(own) => interface(stream, own),
        IpAddr::V6(_) => None,
    };
    event::UnderWay {
        pid,
        local: local.to_string(),
        local_port: local.port().into(),
        remote: remote.to_string(),
        netns: namespace(pid).unwrap_or(0) as u32,
        ifindex: ifindex.unwrap_or(0),
        backoff: now.backoff,
        limited_ns: now.limited_us.saturating_sub(before.limited_us) * 1_000,
    }
}

/// The interface with an address, in the network namespace of a socket (netdevice(7)).
fn interface(socket: &TcpStream, own: Ipv4Addr) -> Option<u32> {
    // SAFETY: names, numbers and pointers, for all of which zeros are valid.
    let mut all: [libc::ifreq; MOST_ADDRESSES] = unsafe { std::mem::zeroed() };
    let mut list = libc::ifconf {
        ifc_len: size_of_val(&all) as i32,
        ifc_ifcu: libc::__c_anonymous_ifc_ifcu {
            ifcu_req: all.as_mut_ptr(),
        },
    };
    // SAFETY: the kernel writes at most `ifc_len` bytes to `all`, and their number into `ifc_len`.
    let failed = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFCONF as _, &raw mut list) };
    let known = match failed {
        0 => list.ifc_len as usize / size_of::<libc::ifreq>(),
        _ => 0,
    };
    let mut all = all.iter_mut().take(known);
    let one = all.find(|one| address(one) == own)?;
    // SAFETY: the kernel reads the name of one entry, and writes its number.
    let failed = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX as _, &raw mut *one) };
    // SAFETY: any bytes are a number.
    let ifindex = unsafe { one.ifr_ifru.ifru_ifindex };
    u32::try_from(ifindex).ok().filter(|_| failed == 0)
}

/// The address in an entry: behind the port in a `struct sockaddr_in`.
fn address(one: &libc::ifreq) -> Ipv4Addr {
    // SAFETY: any bytes are an address.
    let data = unsafe { one.ifr_ifru.ifru_addr.sa_data };
    Ipv4Addr::from([2, 3, 4, 5].map(|at: usize| data[at] as u8))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use super::*;
    use crate::machine::proc::unanswered;

    #[test]
    fn of_ten_thousand_connections_those_with_data_under_way_are_kept_once() {
        let traffic = |under_way| {
            let mut traffic = Traffic::default();
            traffic.under_way = under_way;
            traffic
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let copy = |fd, inode| Copied {
            fd,
            inode,
            stream: TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 80));
        let mut under_way = UnderWay::default();
        let (busy, again, mut idle) = (copy(3, 70), copy(4, 70), copy(5, 71));
        for socket in [&busy, &again] {
            under_way.see(1, socket, (any, any), traffic(2));
        }
        for fd in 5..10_005 {
            idle.fd = fd;
            idle.inode = u64::from(fd);
            under_way.see(1, &idle, (any, any), traffic(0));
        }
        let kept = under_way.before.iter().map(|seen| (seen.fd, seen.inode));
        assert_eq!(kept.collect::<Vec<_>>(), [(3, 70)]);
    }

    /// Connections with this port of the tests themselves on which nothing moves between two looks.
    fn found(port: u16, between: impl FnOnce()) -> Vec<event::UnderWay> {
        let mut under_way = UnderWay::default();
        let _ = unanswered(
            &[std::process::id()],
            &[],
            &[u32::from(port)],
            &mut under_way,
        );
        between();
        under_way.end()
    }

    #[test]
    fn an_answer_that_nobody_reads_is_under_way_until_somebody_does() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(found(address.port(), || ()), []);
        server.set_nonblocking(true).unwrap();
        while server.write(&[0; 65536]).is_ok() {}
        // The last acknowledgements may still come.
        let mut looks = (0..1000).map(|_| found(address.port(), || ()));
        let seen = looks.find(|found| !found.is_empty()).unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].local, address.to_string());
        // The loopback.
        assert_eq!((seen[0].ifindex, seen[0].backoff), (1, 0));
        let read = || {
            client.read_exact(&mut [0; 1 << 18]).unwrap();
        };
        assert_eq!(found(address.port(), read), []);
    }
}
