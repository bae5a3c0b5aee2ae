//! The times in which interrupts were shed. A wait then stood behind whom they interrupted, or behind the interrupts: nobody knows.

use std::collections::VecDeque;

use super::cpu::{By, Piece, Pieces};
use crate::{
    event::{ProbeGroup, Shed},
    model::recent,
};

/// Stretches that are kept: those of half a minute at least. Of a longer wait no more than the begin was not watched, because the kernel
/// half watches a queue that stands.
const MOST: usize = 64;

/// When interrupts were shed.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwatched {
    /// Since when they are shed, ns, if they are.
    since_ns: Option<u64>,
    /// Stretches that are over: begin and end, ns. In order.
    stretches: VecDeque<(u64, u64)>,
    /// When they were first shed, ns.
    first_ns: Option<u64>,
    /// How long they were shed before `since_ns`, ns.
    for_ns: u64,
    /// Time of waits that nobody is charged with, ns.
    pub(super) left_ns: u64,
}

impl Unwatched {
    /// Interrupts are shed, or watched, from `ns` on.
    pub(super) fn set(&mut self, is_shed: bool, ns: u64) {
        if is_shed {
            self.since_ns.get_or_insert(ns);
            self.first_ns.get_or_insert(ns);
            return;
        }
        let Some(since_ns) = self.since_ns.take().filter(|since| *since < ns) else {
            return;
        };
        self.for_ns = self.for_ns.saturating_add(ns - since_ns);
        if self.stretches.len() == MOST {
            self.stretches.pop_front();
        }
        self.stretches.push_back((since_ns, ns));
    }

    /// How long they were shed until `end_ns`, if they were.
    pub(super) fn shed(&self, end_ns: u64) -> Option<Shed> {
        let open = self
            .since_ns
            .map_or(0, |since| end_ns.saturating_sub(since));
        let shed = |since_ns| Shed {
            group: ProbeGroup::Interrupts,
            since_ns,
            for_ns: self.for_ns.saturating_add(open),
        };
        self.first_ns.map(shed)
    }

    /// The parts of an interval in which they were shed, in order.
    fn within(&self, begin: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = recent::partition_point(&self.stretches, |(_, over)| *over <= begin);
        let open = self.since_ns.map(|since| (since, u64::MAX));
        let all = self.stretches.range(first..).copied().chain(open);
        all.map(move |(from, upto)| (from.max(begin), upto.min(end)))
            .filter(|(from, upto)| from < upto)
    }

    /// Takes what was not watched of the parts of a wait from the processes that seemed to hold the CPU.
    pub(super) fn leave(&mut self, pieces: Vec<Piece>) -> Vec<Piece> {
        let begin = pieces.first().map_or(0, |piece| piece.begin);
        let end = pieces.last().map_or(0, |piece| piece.end);
        if self.within(begin, end).next().is_none() {
            return pieces;
        }
        let (mut left, mut left_ns) = (Pieces::default(), 0);
        for piece in pieces {
            let mut at = piece.begin;
            if matches!(piece.by, By::Process(_)) {
                for (from, upto) in self.within(piece.begin, piece.end) {
                    let from = from.max(at);
                    left.push(at, from, piece.by, piece.tid);
                    left.push(from, upto, By::Unseen, 0);
                    left_ns += upto.saturating_sub(from);
                    at = upto.max(at);
                }
            }
            left.push(at, piece.end, piece.by, piece.tid);
        }
        self.left_ns = self.left_ns.saturating_add(left_ns);
        left.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(begin: u64, end: u64, by: By) -> Piece {
        let tid = match by {
            By::Process(pid) => pid,
            _ => 0,
        };
        Piece {
            begin,
            end,
            by,
            tid,
        }
    }

    #[test]
    fn what_a_process_held_while_nothing_was_watched_is_nobodys() {
        let mut unwatched = Unwatched::default();
        unwatched.set(true, 100);
        unwatched.set(false, 200);
        unwatched.set(true, 300);
        let [tar, stolen] = [By::Process(7), By::Hypervisor];
        let pieces = vec![
            piece(50, 150, tar),
            piece(150, 180, stolen),
            piece(180, 350, tar),
        ];
        let expected = [
            piece(50, 100, tar),
            piece(100, 150, By::Unseen),
            piece(150, 180, stolen),
            piece(180, 200, By::Unseen),
            piece(200, 300, tar),
            piece(300, 350, By::Unseen),
        ];
        assert_eq!(unwatched.leave(pieces), expected);
        assert_eq!(unwatched.left_ns, 50 + 20 + 50);
        let watched = vec![piece(210, 290, tar)];
        assert_eq!(unwatched.leave(watched.clone()), watched);
    }

    #[test]
    fn a_gap_that_a_quota_left_stays_one() {
        let mut unwatched = Unwatched::default();
        unwatched.set(true, 25);
        unwatched.set(false, 28);
        let tar = By::Process(7);
        let pieces = vec![
            piece(0, 10, tar),
            piece(20, 20, By::Process(0)),
            piece(20, 30, tar),
        ];
        let left = unwatched.leave(pieces);
        let of = |by: By| -> u64 {
            let its = left.iter().filter(|piece| piece.by == by);
            its.map(|piece| piece.end - piece.begin).sum()
        };
        assert_eq!((of(tar), of(By::Unseen)), (17, 3));
    }

    #[test]
    fn stretches_add_up_until_the_end_and_the_oldest_are_forgotten() {
        let mut unwatched = Unwatched::default();
        assert_eq!(unwatched.shed(1_000), None);
        // Watched, although it was never shed.
        unwatched.set(false, 5);
        for begin in (100..100 + 10 * MOST as u64 * 2).step_by(10) {
            unwatched.set(true, begin);
            unwatched.set(false, begin + 4);
        }
        unwatched.set(true, 9_000);
        unwatched.set(true, 9_500);
        let shed = unwatched.shed(10_000).unwrap();
        assert_eq!((shed.since_ns, shed.for_ns), (100, 8 * MOST as u64 + 1_000));
        assert_eq!(unwatched.stretches.len(), MOST);
    }
}
