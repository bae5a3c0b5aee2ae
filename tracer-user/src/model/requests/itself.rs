//! Connections of which both ends are the target's: a gateway in front of its own service, or two of its processes.
//!
//! Who waits there for an answer waits for no other process, but for what the target does for the request at the other end. That one is
//! judged as it is answered. So its time is kept for those that asked, and what they cannot explain of their waits becomes that.
//!
//! Several may ask on one connection at once (HTTP/2). Which answer is whose is not known, so each waits for all that is done there.

use std::collections::VecDeque;

use rustc_hash::FxHashMap as HashMap;

use super::{
    Requests,
    connection::{Caller, Connection, Turn},
    hands::did,
};
use crate::{
    class::Class,
    event::Call,
    model::{books::Budget, part::part_of, threads::Threads},
};

/// Connections of which such time is kept. Beyond that, all of it is forgotten.
const MOST_CONNECTIONS: usize = 1 << 10;
/// Pieces kept of one connection. The oldest of more become one.
const MOST_PIECES: usize = 64;
/// Connections kept on which one request asked: the last ones.
const MOST_ASKED: usize = 16;

/// A part of a request, and the classes that are known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    begin_ns: u64,
    end_ns: u64,
    spent: Budget,
}

impl Piece {
    /// Of what is not known the one that asked may know more.
    fn new((begin_ns, end_ns): (u64, u64), mut spent: Budget) -> Self {
        spent[Class::Idle.index()] = 0;
        spent[Class::Other.index()] = 0;
        Self {
            begin_ns,
            end_ns,
            spent,
        }
    }

    /// The part of it in a span, spread evenly.
    fn within(&self, from: u64, to: u64) -> Option<Self> {
        let (begin_ns, end_ns) = (self.begin_ns.max(from), self.end_ns.min(to));
        let length = self.end_ns.saturating_sub(self.begin_ns);
        (begin_ns < end_ns).then(|| Self {
            begin_ns,
            end_ns,
            spent: self.spent.map(|ns| part_of(ns, end_ns - begin_ns, length)),
        })
    }

    fn absorb(&mut self, other: &Self) {
        self.begin_ns = self.begin_ns.min(other.begin_ns);
        self.end_ns = self.end_ns.max(other.end_ns);
        for (sum, ns) in self.spent.iter_mut().zip(other.spent) {
            *sum += ns;
        }
    }
}

/// What the target did for requests of its own, by the socket on which it asked. The connection may be over before the one who asked there
/// is judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Itself(HashMap<u64, VecDeque<Piece>>);

impl Itself {
    fn add(&mut self, asker: u64, piece: Piece) {
        if self.0.len() >= MOST_CONNECTIONS && !self.0.contains_key(&asker) {
            self.0.clear();
        }
        let pieces = self.0.entry(asker).or_default();
        pieces.push_back(piece);
        if pieces.len() > MOST_PIECES
            && let Some(first) = pieces.pop_front()
            && let Some(second) = pieces.front_mut()
        {
            second.absorb(&first);
        }
    }

    /// The pieces of a connection in a span.
    fn pieces(&self, asker: u64, (from, to): (u64, u64)) -> impl Iterator<Item = Piece> {
        let pieces = self.0.get(&asker).into_iter().flatten();
        pieces.filter_map(move |piece| piece.within(from, to))
    }

    /// Was something done for the one that asks on this socket after `ns`?
    fn has_since(&self, asker: u64, ns: u64) -> bool {
        self.pieces(asker, (ns, u64::MAX)).next().is_some()
    }
}

/// What the target did while a request of its own waited for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnAnswers(Vec<Piece>);

impl OwnAnswers {
    /// A wait for work in `[begin, end]`, or in a part of it: what is idle of `waited` becomes what the target did meanwhile. Where it did
    /// more than one thing at once, each has its part.
    pub(super) fn explain(&self, (begin, end): (u64, u64), waited: &mut Budget) {
        let idle = waited[Class::Idle.index()];
        if self.0.is_empty() || idle == 0 || end <= begin {
            return;
        }
        let mut did = Budget::default();
        for piece in self.0.iter().filter_map(|piece| piece.within(begin, end)) {
            for (sum, ns) in did.iter_mut().zip(piece.spent) {
                *sum += ns;
            }
        }
        let whole = did.iter().sum::<u64>().max(end - begin);
        for class in Class::ALL {
            let ns = part_of(did[class.index()], idle, whole);
            waited[class.index()] += ns;
            waited[Class::Idle.index()] -= ns;
        }
    }

    /// How long the target was blocked meanwhile, ns.
    pub(super) fn blocked(&self) -> u64 {
        let blocked = Class::ALL.into_iter().filter(|class| class.is_blocked());
        let of = |class: Class| self.0.iter().map(move |piece| piece.spent[class.index()]);
        blocked.flat_map(of).sum()
    }
}

impl Requests {
    /// The socket at the other end of a connection, if the target has that, too.
    pub(super) fn other_end(&self, socket: u64) -> Option<u64> {
        self.own_peer(self.connections.get(&socket)?)
    }

    /// The same. In the books of a process that the target asks, only the target's requests are kept: there nothing is known of others.
    fn own_peer(&self, connection: &Connection) -> Option<u64> {
        let (local, remote) = &*connection.ends;
        let is_known = self.asked_on.is_none() && local != remote;
        let other = self.connections.with_ends(remote, local);
        other.filter(|_| is_known)
    }

    /// Does the target ask itself on this connection?
    pub(super) fn is_to_itself(&self, connection: &Connection) -> bool {
        self.own_peer(connection).is_some()
    }

    /// The same by its socket. The other end may be closed by now.
    pub(super) fn asks_itself_on(&self, socket: u64) -> bool {
        self.asks_itself(socket, self.other_end(socket))
    }

    /// The same, where the other end has been looked for.
    pub(super) fn asks_itself(&self, socket: u64, other_end: Option<u64>) -> bool {
        let since_ns = || self.connections.get(&socket).map(|known| known.since_ns);
        other_end.is_some() || self.itself.has_since(socket, since_ns().unwrap_or(0))
    }

    /// A thread asks on a connection. It may be for a request, and the other end may be the target's, though nobody has seen that yet.
    pub(super) fn asks_on(&mut self, threads: &Threads, call: &Call, other_end: Option<u64>) {
        let Some(request) = self.request_asked_for(threads, call.tid) else {
            return;
        };
        // Who answers sends confirmations of his own on both ends (HTTP/2): his request does not wait for itself.
        if other_end == Some(request) {
            return;
        }
        let connection = self.connections.get(&call.socket);
        let is_here = connection.is_some_and(|known| matches!(known.caller, Caller::Here(_)));
        if let Some(turn) = self.turn_mut(request)
            && (is_here || !turn.asked.is_empty())
        {
            turn.asks_on(call.socket, call.ns);
        }
    }

    /// A part of the request on a connection is judged. If the target itself asks there, whoever asked has waited for that.
    pub(super) fn lived(&mut self, socket: u64, span: (u64, u64), spent: Budget) {
        if span.0 < span.1
            && let Some(asker) = self.other_end(socket)
        {
            self.itself.add(asker, Piece::new(span, spent));
        }
    }

    /// A thread has a part of an answer of the target's own. Who asked on this connection, or had the part before, did so at `since`: the
    /// thread and the time, ns. If the thread owns no request, whoever waits for it waits for what was done for this answer.
    pub(super) fn has_own_answer(
        &self,
        threads: &mut Threads,
        call: &Call,
        since: Option<(u32, u64)>,
    ) {
        let Some(thread) = threads.get_mut(call.tid) else {
            return;
        };
        thread.own_answer = Some((call.socket, call.ns));
        let Some((asked_by, since_ns)) = since.filter(|_| thread.turns.is_empty()) else {
            return;
        };
        let waits = match asked_by == call.tid {
            true => thread.idle_in((since_ns, call.ns), since_ns),
            // It may have slept there before somebody asked.
            false => thread.idle_in((since_ns, call.ns), 0),
        };
        let Some((begin, _)) = waits.first() else {
            return;
        };
        let pieces = self.served(threads, (call.socket, call.tid), (*begin, call.ns));
        let answers = OwnAnswers(pieces);
        let Some(thread) = threads.get_mut(call.tid) else {
            return;
        };
        for (from, to) in waits {
            let mut waited = Budget::default();
            waited[Class::Idle.index()] = to - from;
            answers.explain((from, to), &mut waited);
            if waited[Class::Idle.index()] < to - from {
                thread.explain((from, to), &waited);
            }
        }
    }

    /// What the target did in a span for what a request asked of it, whose thread is `tid`. A request that asks somebody else has its
    /// answer. If nobody saw what it asked, it has what its thread heard last.
    pub(super) fn own_answers(
        &self,
        threads: &Threads,
        turn: &Turn,
        tid: u32,
        (begin, end): (u64, u64),
    ) -> OwnAnswers {
        let mut pieces = Vec::new();
        let mut asked = turn.asked.as_slice();
        while let Some(((socket, since), after)) = asked.split_first() {
            asked = after;
            let is_next = |on: u64| on == *socket || !self.asks_itself_on(on);
            let next = after.iter().find(|(on, _)| is_next(*on));
            let until = next.map_or(end, |(_, ns)| end.min(*ns));
            pieces.extend(self.served(threads, (*socket, tid), (begin.max(*since), until)));
        }
        let heard = threads.get(tid).and_then(|thread| thread.own_answer);
        if let Some((socket, ns)) = heard.filter(|_| turn.asked.is_empty())
            && ns > begin
        {
            pieces.extend(self.served(threads, (socket, tid), (begin, end.min(ns))));
        }
        if turn.clipped {
            let (from, to) = turn.soon();
            let before = self.connections.asked_by(tid, from, to);
            for (local, remote) in before.filter(|on| on.untouched).map(|on| &*on.ends) {
                if let Some(socket) = self.connections.with_ends(local, remote) {
                    pieces.extend(self.served(threads, (socket, tid), (begin, end)));
                }
            }
        }
        OwnAnswers(pieces)
    }

    /// What the target did in a span for those that ask on a socket. `tid` is the thread that waits.
    fn served(
        &self,
        threads: &Threads,
        (asker, tid): (u64, u32),
        (from, to): (u64, u64),
    ) -> Vec<Piece> {
        let judged = self.itself.pieces(asker, (from, to));
        let open = self.not_judged(threads, (asker, tid), (from, to));
        judged.chain(open).collect()
    }

    /// The same of a request that is still to be judged: what its thread did. The answer may be received before the call that sent it
    /// returns.
    fn not_judged(
        &self,
        threads: &Threads,
        (asker, tid): (u64, u32),
        (from, to): (u64, u64),
    ) -> Option<Piece> {
        let turn = self.turn(self.other_end(asker)?)?;
        let is_owed = !turn.is_answered() && turn.tid != tid;
        let thread = threads.get(turn.tid).filter(|_| is_owed)?;
        // It may sleep, and the record of that come later.
        let span = (from.max(turn.judged_ns), to.min(thread.known_ns()));
        (span.0 < span.1).then(|| Piece::new(span, did(thread, span)))
    }
}

impl Turn {
    /// Its thread asks on a connection for it.
    fn asks_on(&mut self, socket: u64, ns: u64) {
        if self.asked.last().is_some_and(|(last, _)| *last == socket) {
            return;
        }
        if self.asked.len() == MOST_ASKED {
            self.asked.remove(0);
        }
        self.asked.push((socket, ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(begin_ns: u64, end_ns: u64) -> Piece {
        let mut spent = Budget::default();
        spent[Class::Disk.index()] = end_ns - begin_ns;
        Piece::new((begin_ns, end_ns), spent)
    }

    /// Idle time and reads, ns, of a wait for work in this span.
    fn waited(answers: &OwnAnswers, (begin, end): (u64, u64)) -> (u64, u64) {
        let mut waited = Budget::default();
        waited[Class::Idle.index()] = end - begin;
        answers.explain((begin, end), &mut waited);
        let of = |class: Class| waited[class.index()];
        (of(Class::Idle), of(Class::Disk))
    }

    #[test]
    fn of_many_pieces_the_oldest_become_one_and_none_is_lost() {
        let mut itself = Itself::default();
        for at in 0..200 {
            itself.add(7, read(10 * at, 10 * at + 5));
        }
        let pieces: Vec<Piece> = itself.pieces(7, (0, 2000)).collect();
        assert_eq!(pieces.len(), MOST_PIECES);
        assert_eq!(waited(&OwnAnswers(pieces), (0, 2000)), (1000, 1000));
        assert!(itself.has_since(7, 1994) && !itself.has_since(7, 1995));
        assert!(!itself.has_since(8, 0));
    }

    #[test]
    fn a_wait_is_never_more_than_itself_however_much_is_done_at_once() {
        let answers = OwnAnswers(vec![read(0, 80), read(20, 100)]);
        assert_eq!(waited(&answers, (20, 80)), (0, 60));
        assert_eq!(waited(&answers, (0, 100)), (0, 100));
        assert_eq!(waited(&answers, (90, 110)), (10, 10));
    }

    #[test]
    fn what_is_not_known_of_the_other_end_explains_nothing() {
        let mut spent = [0; Class::COUNT];
        spent[Class::Other.index()] = 10;
        spent[Class::Idle.index()] = 10;
        let answers = OwnAnswers(vec![Piece::new((0, 20), spent)]);
        assert_eq!(waited(&answers, (0, 20)), (20, 0));
    }
}
