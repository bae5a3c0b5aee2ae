//! The processes that are sending as the trace begins. A send that waits for room in its buffer may have begun seconds ago. It may
//! go on for as long.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use tracer_common::packets::Sender;

use super::{
    links::inodes,
    socket::{LISTEN, Line},
    sockets::Owners,
};

/// Most sockets returned: the map `SENDERS` has room for them. If there are more, those with the lowest inodes.
const MOST: usize = 1024;

/// How long descriptors are searched for the sockets. No process has a socket of the kernel itself (NFS, iSCSI): to look for its
/// owner would mean to read all descriptors of the machine.
const SEARCH: Duration = Duration::from_millis(100);

/// The sockets with bytes to be sent or acknowledged, by inode.
#[derive(Default)]
pub(super) struct Senders(BTreeMap<u64, Sender>);

impl Senders {
    /// A socket is in this network namespace.
    pub(super) fn see(&mut self, namespace: u64, line: &Line) {
        if line.state == LISTEN || line.unacked_bytes == 0 || line.inode == 0 {
            return;
        }
        let sender = Sender {
            netns: namespace as u32,
            local_port: line.local.port(),
            remote_port: line.remote.port(),
        };
        self.0.insert(line.inode, sender);
        if self.0.len() > MOST {
            self.0.pop_last();
        }
    }

    /// Each of them with its process. If several processes have a socket, the first counts. Of those whose sockets are `known` no
    /// descriptor is read; the others are searched in their order, while there is time.
    pub(super) fn with_owners(self, known: &Owners<'_>, pids: &[u32]) -> Vec<(Sender, u32)> {
        let Self(mut wanted) = self;
        let mut found = HashMap::new();
        wanted.retain(|inode, sender| {
            let owner = known.first(*inode);
            found.extend(owner.map(|pid| (*sender, pid)));
            owner.is_none()
        });
        let until = Instant::now() + SEARCH;
        for pid in pids.iter().filter(|pid| !known.has(**pid)) {
            for inode in inodes(*pid) {
                if wanted.is_empty() || Instant::now() >= until {
                    break;
                }
                if let Some(sender) = wanted.remove(&inode) {
                    found.insert(sender, *pid);
                }
            }
            if wanted.is_empty() || Instant::now() >= until {
                break;
            }
        }
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
    };

    use crate::machine::proc::{socket::namespace, sockets};

    #[test]
    fn who_has_more_to_send_than_is_read_is_found_and_who_has_not_is_not() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut busy, idle) = (connect(), connect());
        busy.set_nonblocking(true).unwrap();
        while busy.write(&[0; 65536]).is_ok() {}
        let own = std::process::id();
        let port_of = |stream: &TcpStream| stream.local_addr().unwrap().port();
        // As a target, and as another process.
        for targets in [&[own, u32::MAX][..], &[]] {
            let found = sockets(targets, &[own, u32::MAX]).senders;
            let find = |port| found.iter().find(|(sender, _)| sender.local_port == port);
            let (sender, pid) = find(port_of(&busy)).unwrap();
            let netns = namespace(own).unwrap() as u32;
            assert_eq!((sender.netns, *pid), (netns, own));
            assert_eq!(sender.remote_port, listener.local_addr().unwrap().port());
            assert!(find(port_of(&idle)).is_none());
        }
    }
}
