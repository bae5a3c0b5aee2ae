//! The processes that are sending as the trace begins. A send that waits for room in its buffer may have begun seconds ago. It may
//! go on for as long.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use tracer_common::packets::Sender;

use super::socket::{LISTEN, inodes, lines, namespace};

/// Most sockets returned: the map `SENDERS` has room for them. If there are more, those with the lowest inodes.
const MOST: usize = 1024;

/// How long descriptors are searched for the sockets. No process has a socket of the kernel itself (NFS, iSCSI): to look for its
/// owner would mean to read all descriptors of the machine.
const SEARCH: Duration = Duration::from_millis(100);

/// The sockets with bytes to be sent or acknowledged in the network namespaces of these processes, each with its process.
///
/// If there are none, no descriptor is read. If several processes have a socket, the first counts. They are searched in this order,
/// while there is time.
#[must_use]
pub(crate) fn senders(pids: &[u32]) -> Vec<(Sender, u32)> {
    let mut namespaces = BTreeMap::new();
    for pid in pids {
        if let Some(namespace) = namespace(*pid) {
            namespaces.entry(namespace as u32).or_insert(*pid);
        }
    }
    let mut wanted: BTreeMap<u64, Sender> = BTreeMap::new();
    for (netns, pid) in namespaces {
        let lines = lines(&format!("/proc/{pid}/net"));
        let sends =
            lines.filter(|line| line.state != LISTEN && line.unacked_bytes > 0 && line.inode != 0);
        wanted.extend(sends.map(|line| {
            let sender = Sender {
                netns,
                local_port: line.local.port(),
                remote_port: line.remote.port(),
            };
            (line.inode, sender)
        }));
    }
    while wanted.len() > MOST {
        wanted.pop_last();
    }
    let mut found = HashMap::new();
    let until = Instant::now() + SEARCH;
    let is_time = || Instant::now() < until;
    for pid in pids {
        if wanted.is_empty() || !is_time() {
            break;
        }
        for inode in inodes(*pid).take_while(|_| is_time()) {
            if let Some(sender) = wanted.remove(&inode) {
                found.insert(sender, *pid);
            }
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn who_has_more_to_send_than_is_read_is_found_and_who_has_not_is_not() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut busy, idle) = (connect(), connect());
        busy.set_nonblocking(true).unwrap();
        while busy.write(&[0; 65536]).is_ok() {}
        let own = std::process::id();
        let found = senders(&[own, u32::MAX]);
        let port_of = |stream: &TcpStream| stream.local_addr().unwrap().port();
        let find = |port| found.iter().find(|(sender, _)| sender.local_port == port);
        let (sender, pid) = find(port_of(&busy)).unwrap();
        let netns = namespace(own).unwrap() as u32;
        assert_eq!((sender.netns, *pid), (netns, own));
        assert_eq!(sender.remote_port, listener.local_addr().unwrap().port());
        assert!(find(port_of(&idle)).is_none());
    }
}
