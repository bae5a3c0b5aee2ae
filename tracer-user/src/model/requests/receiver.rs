//! The thread of a followed process that has to take what the target sends to it.

use super::{Requests, judge::NO_SOCKET};
use crate::model::threads::Threads;

impl Requests {
    /// The thread that receives on the connection with these ends, own address first, and the socket there. Where the peer's address is not
    /// known, it is the one that receives on all connections at the own one. A process of one thread has no other.
    pub(super) fn receiver(
        &self,
        threads: &Threads,
        (own, peer): (&str, &str),
    ) -> Option<(u32, u64)> {
        let received = |socket: u64| Some((self.connections.get(&socket)?.worker?, socket));
        let known = match peer {
            "" => self.only_receiver(own),
            _ => self.connections.with_ends(own, peer).and_then(received),
        };
        let lives = |(tid, _): &(u32, u64)| threads.get(*tid).is_some();
        known
            .filter(lives)
            .or_else(|| Some((threads.only(|_| true)?, NO_SOCKET)))
    }

    fn only_receiver(&self, own: &str) -> Option<(u32, u64)> {
        let there = self.connections.iter();
        let there = there.filter(|(_, connection)| connection.ends.0 == own);
        let received = there.filter_map(|(socket, connection)| Some((connection.worker?, *socket)));
        let mut all: Vec<(u32, u64)> = received.collect();
        all.sort_unstable();
        let (first, last) = (all.first()?, all.last()?);
        (first.0 == last.0).then_some(*first)
    }
}
