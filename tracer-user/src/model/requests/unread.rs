//! Sockets that held bytes at attach that nobody had read. They are requests; nobody saw when they came.

use std::sync::Arc;

use rustc_hash::FxHashMap as HashMap;

use crate::event::OpenSocket;

/// A process has such a socket open.
#[derive(Clone, Copy, Debug)]
struct Unread {
    /// Where it stands among all, in the order in which they were found.
    place: usize,
    pid: u32,
    local_port: u32,
}

/// The sockets. A server that hung has thousands: each is looked for once, by its ends.
#[derive(Clone, Debug, Default)]
pub(super) struct UnreadBefore {
    /// By own and peer's address. Several processes may have one socket.
    by_ends: HashMap<Arc<(String, String)>, Vec<Unread>>,
    count: usize,
}

impl UnreadBefore {
    /// A socket was open at attach. One without unread bytes is never looked up. The kernel may list one twice: others come and go while
    /// it lists them, and it goes on by their number.
    pub(super) fn found(&mut self, socket: &OpenSocket) {
        if socket.unread_bytes == 0 {
            return;
        }
        let ends = Arc::new((socket.local.clone(), socket.remote.clone()));
        let all = self.by_ends.entry(ends).or_default();
        if all.iter().any(|known| known.pid == socket.pid) {
            return;
        }
        all.push(Unread {
            place: self.count,
            pid: socket.pid,
            local_port: socket.local_port,
        });
        self.count += 1;
    }

    /// Had the socket with these ends unread bytes?
    pub(super) fn has(&self, ends: &(String, String)) -> bool {
        self.by_ends.contains_key(ends)
    }

    /// The connection with these ends is no more: what lay there lies there no more.
    pub(super) fn closed(&mut self, ends: &(String, String)) {
        self.by_ends.remove(ends);
    }

    /// The process of each that `is_left`, by its ends and its own port, in the order in which they were found.
    pub(super) fn left(&self, is_left: impl Fn(&(String, String), u32) -> bool) -> Vec<u32> {
        let all = self.by_ends.iter();
        let all = all.flat_map(|(ends, of)| of.iter().map(move |one| (ends, one)));
        let left = all.filter(|(ends, one)| is_left(ends, one.local_port));
        let mut left: Vec<Unread> = left.map(|(_, one)| *one).collect();
        left.sort_unstable_by_key(|one| one.place);
        left.into_iter().map(|one| one.pid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(pid: u32, client: u32, unread_bytes: u32) -> OpenSocket {
        OpenSocket {
            pid,
            local: "10.0.0.1:80".to_owned(),
            local_port: 80,
            remote: format!("10.0.0.2:{client}"),
            unread_bytes,
        }
    }

    fn ends(client: u32) -> (String, String) {
        let OpenSocket { local, remote, .. } = open(0, client, 0);
        (local, remote)
    }

    #[test]
    fn of_ten_thousand_those_are_left_that_are_not_closed_in_their_order() {
        let mut before = UnreadBefore::default();
        for client in 0..10_000 {
            before.found(&open(client, client, 1));
        }
        before.found(&open(7, 10_000, 0));
        assert!(before.has(&ends(9_999)) && !before.has(&ends(10_000)));
        (0..9_000).for_each(|client| before.closed(&ends(client)));
        let pids = before.left(|(_, remote), port| port == 80 && !remote.ends_with('5'));
        let expected = (9_000..10_000).filter(|client| client % 10 != 5);
        assert_eq!(pids, expected.collect::<Vec<u32>>());
    }

    #[test]
    fn a_socket_of_two_processes_is_one_and_both_have_it_however_often_it_is_listed() {
        let mut before = UnreadBefore::default();
        for pid in [8, 7, 8] {
            before.found(&open(pid, 1, 1));
        }
        assert_eq!(before.left(|_, _| true), [8, 7]);
        before.closed(&ends(1));
        assert_eq!(before.left(|_, _| true), [0; 0]);
    }
}
