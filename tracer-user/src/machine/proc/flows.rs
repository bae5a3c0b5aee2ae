//! The TCP connections of the tracer's network namespace: the bytes that each has moved, and the process that has it.
//!
//! The kernel lists connections by the number of their sockets. Whose each is shows only among the descriptors of all processes. They are
//! looked through when there is a connection that was not looked for before.

use std::{
    collections::{HashMap, HashSet},
    process,
};

use super::{
    diag,
    links::inodes,
    socket::{ESTABLISHED, SYN_SENT},
};
use crate::counters::SocketCounts;

/// States of sockets that are looked at. One that closes still sends, and has no process any more.
const OPEN: u32 = 1 << ESTABLISHED | 1 << SYN_SENT;

/// Most connections of one look. A screen shows some dozens of them, those that move most.
const MOST: usize = 16_384;

/// Looks at the connections again and again.
#[derive(Default)]
pub(super) struct Flows {
    /// The process of each socket; `None` if nobody has it open.
    owners: HashMap<u64, Option<u32>>,
}

impl Flows {
    /// The connections right now. `pids` are all processes, in ascending order. `None` if the kernel does not list them.
    pub(super) fn look(&mut self, pids: &[u32]) -> Option<Vec<SocketCounts>> {
        let mut all = Vec::new();
        let listed = diag::moved(process::id(), OPEN, |line, moved| {
            if line.inode != 0 && all.len() < MOST {
                all.push(SocketCounts {
                    inode: line.inode,
                    pid: None,
                    local: line.local.to_string(),
                    remote: line.remote.to_string(),
                    sent: moved.acked,
                    received: moved.received,
                });
            }
        });
        listed.ok()?;
        self.find_owners(&all, pids);
        for socket in &mut all {
            socket.pid = self.owners.get(&socket.inode).copied().flatten();
        }
        Some(all)
    }

    /// Looks for the processes of those that are new, and forgets those that are gone.
    fn find_owners(&mut self, all: &[SocketCounts], pids: &[u32]) {
        let there: HashSet<u64> = all.iter().map(|socket| socket.inode).collect();
        self.owners.retain(|inode, _| there.contains(inode));
        if self.owners.len() == there.len() {
            return;
        }
        self.owners = there.into_iter().map(|inode| (inode, None)).collect();
        for &pid in pids {
            for inode in inodes(pid) {
                if let Some(owner) = self.owners.get_mut(&inode) {
                    owner.get_or_insert(pid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_connection_has_its_process_and_the_bytes_of_both_directions() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[0; 4711]).unwrap();
        server.read_exact(&mut [0; 4711]).unwrap();
        server.write_all(&[0; 29]).unwrap();
        client.read_exact(&mut [0; 29]).unwrap();
        let own = process::id();
        let mut flows = Flows::default();
        let Some(found) = flows.look(&[own]) else {
            eprintln!("skipped: the kernel lists no TCP sockets");
            return;
        };
        let local = server.local_addr().unwrap().to_string();
        let of_server = found.iter().find(|socket| socket.local == local).unwrap();
        assert_eq!((of_server.pid, of_server.received), (Some(own), 4711));
        let of_client = found.iter().find(|socket| socket.remote == local).unwrap();
        // The kernel counts the packet that opens a connection, too.
        assert!((4711..=4712).contains(&of_client.sent), "{of_client:?}");
        assert_eq!(of_client.received, 29);
        drop((server, client));
        let again = flows.look(&[own]).unwrap();
        assert!(!again.iter().any(|socket| socket.local == local));
    }
}
