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

/// The processes at the other end of a connection that `pid` has open, in its network namespace: whoever has the accepted socket, then
/// all that have the socket that listens there, because a server's workers take turns. Reads the descriptors of every process.
#[must_use]
pub fn peers_of(pid: u32, local: &str, remote: &str) -> Option<Vec<u32>> {
    let ends: (SocketAddr, SocketAddr) = (local.parse().ok()?, remote.parse().ok()?);
    let lines = lines(&format!("/proc/{pid}/net"));
    let accepted = lines
        .iter()
        .find(|line| (line.remote, line.local) == ends && line.inode != 0);
    let (ip, port) = (ends.1.ip(), ends.1.port());
    let listens = |line: &&Line| {
        let any = line.local.ip().is_unspecified();
        line.state == LISTEN && line.local.port() == port && (any || line.local.ip() == ip)
    };
    let listening = lines.iter().filter(listens).map(|line| line.inode);
    let mut found = accepted.map_or_else(Vec::new, |line| owners(&HashSet::from([line.inode])));
    // A copy of an accepted connection is its parent's, who is not asked.
    found.truncate(1);
    for pid in owners(&listening.collect()) {
        if !found.contains(&pid) {
            found.push(pid);
        }
    }
    Some(found)
}

/// The processes that have one of these sockets, the oldest first; systemd, which keeps a copy of those it activates, is none.
fn owners(sockets: &HashSet<u64>) -> Vec<u32> {
    if sockets.is_empty() {
        return Vec::new();
    }
    let mut pids: Vec<u32> = numbers_in("/proc").filter(|pid| *pid != 1).collect();
    pids.sort_unstable();
    pids.retain(|pid| inodes(*pid).any(|inode| sockets.contains(&inode)));
    pids
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
        assert_eq!(peers_of(own, &ends.0, &ends.1), Some(vec![own]));
        let accepted = listener.accept().unwrap();
        drop(listener);
        assert_eq!(peers_of(own, &ends.0, &ends.1), Some(vec![own]));
        drop(accepted);
    }

    #[test]
    fn all_that_have_the_listening_socket_answer_there() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let shared = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        let mut worker = std::process::Command::new("sleep");
        let mut worker = worker.arg("60").stdin(shared).spawn().unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _accepted = listener.accept().unwrap();
        let ends = (
            client.local_addr().unwrap().to_string(),
            client.peer_addr().unwrap().to_string(),
        );
        let own = std::process::id();
        // Who has accepted comes first, whoever is older.
        let found = peers_of(own, &ends.0, &ends.1);
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert_eq!(found, Some(vec![own, worker.id()]));
    }
}
