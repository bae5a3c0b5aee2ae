//! Answers that are under way for a whole window: sent before it, and not acknowledged in it.
//!
//! No call and no packet of theirs need come in the window. Only the kernel's counters show that they are there.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
};

use super::{
    process_descriptor,
    socket::namespace,
    unanswered::{Copied, Traffic, ends, streams, traffic},
};
use crate::event;

/// Addresses of one network namespace that are looked through.
const MOST_ADDRESSES: usize = 256;

/// Own address of a connection, and the peer's.
type Ends = (SocketAddr, SocketAddr);

/// Connections that have data under way.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// Each with its process, as the window begins.
    before: Vec<(u32, Ends, Traffic)>,
}

impl UnderWay {
    /// A process has such a connection. Copies of one socket are one connection.
    pub(super) fn see(&mut self, pid: u32, ends: Ends, traffic: Traffic) {
        let is_known = self.before.iter().any(|(_, known, _)| *known == ends);
        if traffic.under_way > 0 && !is_known {
            self.before.push((pid, ends, traffic));
        }
    }

    /// The connections of which the peer acknowledged nothing since. If none had data under way, no descriptor is read.
    #[must_use]
    pub(crate) fn end(mut self) -> Vec<event::UnderWay> {
        let pids: BTreeSet<u32> = self.before.iter().map(|(pid, ..)| *pid).collect();
        let mut found = Vec::new();
        for pid in pids {
            let Some(process) = process_descriptor(pid) else {
                continue;
            };
            for Copied { stream, .. } in streams(pid, &process) {
                let Some(ends) = ends(&stream) else {
                    continue;
                };
                let mut before = self.before.iter();
                let Some(known) = before.position(|(of, known, _)| (*of, *known) == (pid, ends))
                else {
                    continue;
                };
                let (_, _, before) = self.before.swap_remove(known);
                let now = traffic(&stream).filter(|now| now.under_way > 0);
                if let Some(now) = now.filter(|now| now.acked_bytes == before.acked_bytes) {
                    found.push(unmoved(pid, &stream, ends, (before, now)));
                }
            }
        }
        found
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
