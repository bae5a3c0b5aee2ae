//! The process of this machine at the other end of a TCP connection.

use std::{collections::HashSet, net::SocketAddr};

use super::{
    numbers_in,
    socket::{LISTEN, Line, inodes, lines},
};

/// Can both ends be of this machine? A connection to an own address has that address at both ends.
#[must_use]
pub fn is_local(local: &str, remote: &str) -> bool {
    let ends = local
        .parse::<SocketAddr>()
        .ok()
        .zip(remote.parse::<SocketAddr>().ok());
    ends.is_some_and(|(local, remote)| {
        local.ip() == remote.ip() || (local.ip().is_loopback() && remote.ip().is_loopback())
    })
}

/// The process at the other end of a connection that `pid` has open, in its network namespace: whoever has the accepted socket, or,
/// where that is gone or not accepted yet, the oldest that listens there. Reads the descriptors of every process in the worst case.
#[must_use]
pub fn peer_of(pid: u32, local: &str, remote: &str) -> Option<u32> {
    let ends: (SocketAddr, SocketAddr) = (local.parse().ok()?, remote.parse().ok()?);
    let lines = lines(&format!("/proc/{pid}/net"));
    let accepted = lines
        .iter()
        .find(|line| (line.remote, line.local) == ends && line.inode != 0);
    let accepted = accepted.and_then(|line| owner(&HashSet::from([line.inode])));
    accepted.or_else(|| {
        let listens = |line: &&Line| line.state == LISTEN && line.local.port() == ends.1.port();
        let inodes: HashSet<u64> = lines
            .iter()
            .filter(listens)
            .map(|line| line.inode)
            .collect();
        owner(&inodes)
    })
}

/// The oldest process that has one of these sockets; systemd, which keeps a copy of those it activates, is none.
fn owner(sockets: &HashSet<u64>) -> Option<u32> {
    if sockets.is_empty() {
        return None;
    }
    let mut pids: Vec<u32> = numbers_in("/proc").filter(|pid| *pid != 1).collect();
    pids.sort_unstable();
    pids.into_iter()
        .find(|pid| inodes(*pid).any(|inode| sockets.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn both_ends_of_a_local_connection_are_of_this_machine() {
        assert!(is_local("127.0.0.1:40000", "127.0.0.1:80"));
        assert!(is_local("127.0.0.1:40000", "127.0.0.2:80"));
        assert!(is_local("10.0.0.1:40000", "10.0.0.1:80"));
        assert!(!is_local("10.0.0.1:40000", "10.0.0.2:80"));
        assert!(!is_local("", "10.0.0.2:80"));
    }

    #[test]
    fn who_accepted_is_found_and_who_only_listens_too() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ends = (
            client.local_addr().unwrap().to_string(),
            client.peer_addr().unwrap().to_string(),
        );
        let own = std::process::id();
        // Not accepted yet: the listener.
        assert_eq!(peer_of(own, &ends.0, &ends.1), Some(own));
        let accepted = listener.accept().unwrap();
        drop(listener);
        assert_eq!(peer_of(own, &ends.0, &ends.1), Some(own));
        drop(accepted);
    }
}
