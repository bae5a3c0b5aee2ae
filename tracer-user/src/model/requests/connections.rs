//! All connections of the target: by the kernel's address of the socket, by their ends, and by who asks there.
//!
//! A server may have ten thousand of them, and a call on one costs no more for that. So nothing that happens for each call or wait may
//! look through all of them.

use std::{
    collections::BTreeSet,
    hash::{Hash as _, Hasher as _},
    ops::Deref,
};

use rustc_hash::{FxHashMap as HashMap, FxHasher};

use super::connection::Connection;

/// The connections. Their ends, and who has asked, change only here.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    all: HashMap<u64, Connection>,
    /// Addresses of the sockets, by a hash of both ends.
    by_ends: HashMap<u64, u64>,
    /// Questions of the target without an answer, by thread: when it asked, ns, and on which socket.
    asking: HashMap<u32, BTreeSet<(u64, u64)>>,
    /// What stands for the sockets of untouched connections without ends.
    nameless: BTreeSet<u64>,
}

impl Deref for Connections {
    type Target = HashMap<u64, Connection>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Connections {
    /// A connection, to be changed.
    pub(super) fn get_mut(&mut self, socket: u64) -> Option<&mut Connection> {
        self.all.get_mut(&socket)
    }

    /// All of them, to be changed.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.all.values_mut()
    }

    /// The connection of a socket, which is new if none is known there.
    pub(super) fn at(&mut self, socket: u64) -> &mut Connection {
        self.all.entry(socket).or_default()
    }

    /// The socket of the connection with these ends, own address first.
    pub(super) fn with_ends(&self, local: &str, remote: &str) -> Option<u64> {
        let socket = *self.by_ends.get(&hash(local, remote))?;
        let connection = self.all.get(&socket)?;
        connection.has_ends(local, remote).then_some(socket)
    }

    /// The nameless connections, in the order of what stands for their sockets.
    pub(super) fn nameless(&self) -> impl Iterator<Item = (u64, &Connection)> {
        let all = self.nameless.iter();
        all.filter_map(|socket| Some((*socket, self.all.get(socket)?)))
    }

    /// Adds a connection at an address where none is known.
    pub(super) fn insert(&mut self, socket: u64, connection: Connection) {
        let (local, remote) = &*connection.ends;
        if !local.is_empty() {
            self.by_ends.insert(hash(local, remote), socket);
        } else if connection.untouched {
            self.nameless.insert(socket);
        }
        if let Some((tid, ns)) = connection.asked {
            self.asking.entry(tid).or_default().insert((ns, socket));
        }
        self.all.insert(socket, connection);
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, socket: u64) -> Option<Connection> {
        let connection = self.all.remove(&socket)?;
        self.forget_ends(socket, &connection);
        self.nameless.remove(&socket);
        if let Some(asked) = connection.asked {
            self.no_longer_asks(socket, asked);
        }
        Some(connection)
    }

    fn forget_ends(&mut self, socket: u64, connection: &Connection) {
        let (local, remote) = &*connection.ends;
        let ends = hash(local, remote);
        // In another network namespace there may be one with the same ends.
        if self.by_ends.get(&ends) == Some(&socket) {
            self.by_ends.remove(&ends);
        }
    }

    /// A thread of the target has asked; it may have asked before.
    pub(super) fn ask(&mut self, socket: u64, tid: u32, ns: u64) {
        let Some(connection) = self.all.get_mut(&socket) else {
            return;
        };
        connection.heard = None;
        if connection.asked.is_none() {
            connection.asked = Some((tid, ns));
            self.asking.entry(tid).or_default().insert((ns, socket));
        }
    }

    /// A thread of the target has an answer, or the next part of it. Returns who had asked or had the part before, and when, ns.
    pub(super) fn answered(&mut self, socket: u64, tid: u32, ns: u64) -> Option<(u32, u64)> {
        let connection = self.all.get_mut(&socket)?;
        let heard = connection.heard.replace((tid, ns));
        let Some(asked) = connection.asked.take() else {
            return heard;
        };
        self.no_longer_asks(socket, asked);
        Some(asked)
    }

    fn no_longer_asks(&mut self, socket: u64, (tid, ns): (u32, u64)) {
        if let Some(asking) = self.asking.get_mut(&tid) {
            asking.remove(&(ns, socket));
            if asking.is_empty() {
                self.asking.remove(&tid);
            }
        }
    }

    /// The questions of a thread without an answer that it asked in `[from, until)`, on which connections.
    pub(super) fn asked_by(
        &self,
        tid: u32,
        from: u64,
        until: u64,
    ) -> impl Iterator<Item = &Connection> {
        let asking = self.asking.get(&tid).into_iter();
        let asked = asking.flat_map(move |asking| asking.range((from, 0)..(until, 0)));
        asked.filter_map(|(_, socket)| self.all.get(socket))
    }
}

fn hash(local: &str, remote: &str) -> u64 {
    let mut hasher = FxHasher::default();
    (local, remote).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn between(local: &str, remote: &str) -> Connection {
        Connection {
            ends: Arc::new((local.to_owned(), remote.to_owned())),
            ..Connection::default()
        }
    }

    #[test]
    fn a_connection_is_found_by_its_ends_for_as_long_as_it_is_there() {
        let mut all = Connections::default();
        all.insert(7, between("a:1", "b:2"));
        assert_eq!(all.with_ends("a:1", "b:2"), Some(7));
        assert_eq!(all.with_ends("b:2", "a:1"), None);
        // Its socket is known now.
        let known = all.remove(7).unwrap();
        all.insert(9, known);
        assert_eq!(all.with_ends("a:1", "b:2"), Some(9));
        // One with the same ends elsewhere, and it is gone.
        all.insert(8, between("a:1", "b:2"));
        all.remove(9);
        assert_eq!(all.with_ends("a:1", "b:2"), Some(8));
        all.remove(8);
        assert_eq!(all.with_ends("a:1", "b:2"), None);
        assert!(all.by_ends.is_empty());
    }

    #[test]
    fn a_thread_asks_from_its_first_question_until_the_answer_or_the_end() {
        let mut all = Connections::default();
        for socket in [1, 2, 3] {
            all.insert(socket, Connection::default());
        }
        let asks = |all: &Connections, tid, from| all.asked_by(tid, from, u64::MAX).count();
        all.ask(1, 100, 10);
        all.ask(1, 101, 20);
        all.ask(2, 100, 30);
        all.ask(3, 100, 40);
        let counts = [(100, 0), (100, 11), (100, 41), (101, 0)];
        assert_eq!(
            counts.map(|(tid, from)| asks(&all, tid, from)),
            [3, 2, 0, 0]
        );
        assert_eq!(all.asked_by(100, 0, 30).count(), 1);
        assert_eq!(all.answered(1, 101, 50), Some((100, 10)));
        assert_eq!(all.answered(1, 101, 60), Some((101, 50)));
        all.ask(1, 101, 70);
        assert_eq!(all.answered(1, 101, 80), Some((101, 70)));
        all.remove(2);
        assert_eq!((asks(&all, 100, 0), asks(&all, 100, 31)), (1, 1));
        all.answered(3, 100, 90);
        assert!(all.asking.is_empty());
    }

    #[test]
    fn one_without_ends_is_looked_up_until_it_has_a_socket() {
        let mut all = Connections::default();
        let before = Connection {
            untouched: true,
            ..Connection::default()
        };
        all.insert(u64::MAX, before);
        all.insert(1, Connection::default());
        assert_eq!(all.nameless().count(), 1);
        all.remove(u64::MAX);
        assert_eq!(all.nameless().count(), 0);
    }
}
