//! One CPU: its holders while a target thread stood in the run queue.

use std::collections::VecDeque;

use crate::{
    event::Source,
    model::{books::PlaceId, recent},
};

/// Slices kept of one CPU. A wait that reaches further back is partly unattributed; at 10,000 switches a second this is 6 s.
const MOST_SLICES: usize = 1 << 16;
/// The same of all CPUs together, and of the interrupts and the stolen time on each. With its sources, one takes up to 200 bytes.
const MOST_IN_ALL: usize = 1 << 18;
/// The same of one CPU, however many there are.
const LEAST_SLICES: usize = 1 << 11;

/// How many slices are kept of one CPU, where there are so many CPUs.
pub(super) fn part_of(cpus: usize) -> usize {
    (MOST_IN_ALL / cpus.max(1)).clamp(LEAST_SLICES, MOST_SLICES)
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    begin: u64,
    end: u64,
    pid: u32,
    tid: u32,
}

/// Time that interrupts or the hypervisor took from an interval without a switch.
#[derive(Clone, Debug)]
struct Taken {
    begin: u64,
    end: u64,
    took: Vec<(By, u64)>,
}

/// The holder of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Not seen.
    Unseen,
    /// A process; 0 is idle.
    Process(u32),
    /// An interrupt, whomever it interrupted.
    Interrupt(Source),
    /// The hypervisor ran somebody else.
    Hypervisor,
}

/// A part of a wait in which nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Begin, ns.
    pub(crate) begin: u64,
    /// End, ns.
    pub(crate) end: u64,
    /// The holder of the CPU.
    pub(crate) by: By,
    /// Its thread; 0 if there were several, or if it is no process.
    pub(crate) tid: u32,
}

/// Recent holders of one CPU.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    /// Its place, once somebody waited there.
    pub(crate) place: Option<PlaceId>,
    slices: VecDeque<Slice>,
    /// Taken by interrupts; in order of time, without overlap.
    interrupts: VecDeque<Taken>,
    /// Taken by the hypervisor; in order of time, without overlap.
    stolen: VecDeque<Taken>,
}

impl Cpu {
    /// `pid` held the CPU from `begin` to `end`; 0 is idle. Time that is known already is skipped. The slice under way at the end
    /// of the window may come twice: from the map and from the ring. `tid` is its thread.
    pub(crate) fn held(&mut self, pid: u32, tid: u32, begin: u64, end: u64) {
        let begin = self.slices.back().map_or(begin, |last| last.end.max(begin));
        if end <= begin {
            return;
        }
        if self.slices.len() == MOST_SLICES {
            self.slices.pop_front();
        }
        self.slices.push_back(Slice {
            begin,
            end,
            pid,
            tid,
        });
    }

    /// Forgets the oldest, where there are more than `most`.
    pub(super) fn keep(&mut self, most: usize) {
        while self.slices.len() > most {
            self.slices.pop_front();
        }
        for taken in [&mut self.interrupts, &mut self.stolen] {
            while taken.len() > most {
                taken.pop_front();
            }
        }
    }

    /// Interrupts took that much of the time from `begin` to `end`.
    pub(crate) fn interrupted(&mut self, took: &[(Source, u64)], begin: u64, end: u64) {
        let took = took.iter().map(|(by, ns)| (By::Interrupt(*by), *ns));
        take(&mut self.interrupts, took.collect(), begin, end);
    }

    /// The hypervisor stole that much of the time from `begin` to `end`.
    pub(crate) fn stolen(&mut self, ns: u64, begin: u64, end: u64) {
        take(&mut self.stolen, vec![(By::Hypervisor, ns)], begin, end);
    }

    /// The holders in `[begin, end]`, without a gap. For interrupts and stolen time only the sum is known: it is taken out in
    /// proportion, at the end. They are listed in `room`, which is empty.
    #[must_use]
    pub(crate) fn pieces_in(&self, room: Vec<Piece>, begin: u64, end: u64) -> Vec<Piece> {
        let pieces = without(self.slices(room, begin, end), &self.interrupts);
        without(pieces, &self.stolen)
    }

    /// The same in a list of its own.
    #[cfg(test)]
    fn pieces(&self, begin: u64, end: u64) -> Vec<Piece> {
        self.pieces_in(Vec::new(), begin, end)
    }

    /// The processes that had the CPU, with nothing taken out.
    fn slices(&self, room: Vec<Piece>, begin: u64, end: u64) -> Vec<Piece> {
        let first = recent::partition_point(&self.slices, |slice| slice.end <= begin);
        let mut pieces = Pieces(room);
        let mut at = begin;
        for slice in self.slices.range(first..) {
            if slice.begin >= end {
                break;
            }
            pieces.push(at, slice.begin, By::Unseen, 0);
            at = slice.begin.max(at);
            pieces.push(at, slice.end.min(end), By::Process(slice.pid), slice.tid);
            at = slice.end.min(end);
        }
        pieces.push(at, end, By::Unseen, 0);
        pieces.0
    }
}

impl Cpu {
    /// The threads of a process that had the CPU in `[begin, end]`: each with when first, and how long, ns. Nothing is taken out.
    pub(super) fn threads_of(&self, pid: u32, begin: u64, end: u64) -> Vec<(u32, u64, u64)> {
        let first = recent::partition_point(&self.slices, |slice| slice.end <= begin);
        let mut threads: Vec<(u32, u64, u64)> = Vec::new();
        let slices = self.slices.range(first..);
        for slice in slices.take_while(|slice| slice.begin < end) {
            if slice.pid != pid {
                continue;
            }
            let from = slice.begin.max(begin);
            let ns = slice.end.min(end) - from;
            match threads.iter_mut().find(|(tid, ..)| *tid == slice.tid) {
                Some((_, _, sum)) => *sum += ns,
                None => threads.push((slice.tid, from, ns)),
            }
        }
        threads
    }
}

fn take(known: &mut VecDeque<Taken>, took: Vec<(By, u64)>, begin: u64, end: u64) {
    let begin = known.back().map_or(begin, |last| last.end.max(begin));
    if end <= begin {
        return;
    }
    if known.len() == MOST_SLICES {
        known.pop_front();
    }
    known.push_back(Taken { begin, end, took });
}

/// Gives the taken parts of the pieces to their takers.
fn without(pieces: Vec<Piece>, taken: &VecDeque<Taken>) -> Vec<Piece> {
    let begin = pieces.first().map_or(0, |piece| piece.begin);
    let end = pieces.last().map_or(0, |piece| piece.end);
    let first = recent::partition_point(taken, |known| known.end <= begin);
    if taken.get(first).is_none_or(|known| known.begin >= end) {
        return pieces;
    }
    let mut taken = taken.range(first..).peekable();
    let mut left = Pieces::default();
    for piece in pieces {
        let mut at = piece.begin;
        while let Some(known) = taken.peek().filter(|known| known.begin < piece.end) {
            let (from, upto) = (known.begin.max(at), known.end.min(piece.end));
            left.push(at, from, piece.by, piece.tid);
            left.without(from, upto, (piece.by, piece.tid), known);
            at = upto.max(at);
            if known.end > piece.end {
                break;
            }
            taken.next();
        }
        left.push(at, piece.end, piece.by, piece.tid);
    }
    left.0
}

/// Pieces in order; neighbours of one kind are one.
#[derive(Default)]
pub(super) struct Pieces(pub(super) Vec<Piece>);

impl Pieces {
    pub(super) fn push(&mut self, begin: u64, end: u64, by: By, tid: u32) {
        match self.0.last_mut() {
            _ if begin >= end => {}
            Some(last) if last.by == by && last.end == begin => {
                last.end = end;
                if last.tid != tid {
                    last.tid = 0;
                }
            }
            _ => self.0.push(Piece {
                begin,
                end,
                by,
                tid,
            }),
        }
    }

    /// Adds `[begin, end]` of an interval from which `known` was taken.
    fn without(&mut self, begin: u64, end: u64, (by, tid): (By, u32), known: &Taken) {
        let length = u128::from(known.end - known.begin);
        let here = u128::from(end.saturating_sub(begin));
        let part = |ns: u64| (u128::from(ns) * here / length) as u64;
        let all: u64 = known.took.iter().map(|(_, ns)| part(*ns)).sum();
        let mut at = end.saturating_sub(all).max(begin);
        self.push(begin, at, by, tid);
        for (taker, ns) in &known.took {
            let upto = (at + part(*ns)).min(end);
            self.push(at, upto, *taker, 0);
            at = upto;
        }
        // The rest of the rounding.
        self.push(at, end, by, tid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET_RX: Source = Source::Softirq(3);

    fn piece(begin: u64, end: u64, pid: u32) -> Piece {
        let by = By::Process(pid);
        Piece {
            begin,
            end,
            by,
            tid: pid,
        }
    }

    fn interrupt(begin: u64, end: u64, source: Source) -> Piece {
        let by = By::Interrupt(source);
        Piece {
            begin,
            end,
            by,
            tid: 0,
        }
    }

    fn unseen(begin: u64, end: u64) -> Piece {
        let by = By::Unseen;
        Piece {
            begin,
            end,
            by,
            tid: 0,
        }
    }

    #[test]
    fn a_slice_that_is_told_twice_counts_once() {
        let mut cpu = Cpu::default();
        cpu.held(1, 1, 0, 100);
        cpu.held(1, 1, 0, 120);
        cpu.held(1, 1, 0, 120);
        assert_eq!(cpu.pieces(0, 200), [piece(0, 120, 1), unseen(120, 200)]);
    }

    #[test]
    fn a_wait_is_split_between_those_who_ran_in_it() {
        let mut cpu = Cpu::default();
        cpu.held(1, 1, 0, 100);
        cpu.held(2, 2, 100, 250);
        cpu.held(0, 0, 250, 300);
        cpu.held(1, 1, 300, 400);
        let expected = [
            piece(50, 100, 1),
            piece(100, 250, 2),
            piece(250, 300, 0),
            piece(300, 350, 1),
        ];
        assert_eq!(cpu.pieces(50, 350), expected);
    }

    #[test]
    fn interrupts_are_taken_out_of_whom_they_interrupted() {
        let mut cpu = Cpu::default();
        cpu.interrupted(&[(NET_RX, 15), (Source::Irq, 5)], 0, 100);
        cpu.held(1, 1, 0, 100);
        let expected = [
            piece(0, 80, 1),
            interrupt(80, 95, NET_RX),
            interrupt(95, 100, Source::Irq),
        ];
        assert_eq!(cpu.pieces(0, 100), expected);
    }

    #[test]
    fn who_waited_for_a_part_of_the_time_stood_behind_that_part_of_the_interrupts() {
        let mut cpu = Cpu::default();
        cpu.interrupted(&[(NET_RX, 20)], 0, 100);
        cpu.held(1, 1, 0, 100);
        let expected = [piece(50, 90, 1), interrupt(90, 100, NET_RX)];
        assert_eq!(cpu.pieces(50, 100), expected);
        let expected = [piece(20, 36, 1), interrupt(36, 40, NET_RX)];
        assert_eq!(cpu.pieces(20, 40), expected);
    }

    #[test]
    fn interrupts_are_told_since_the_first_waiter_and_for_each_slice() {
        let mut cpu = Cpu::default();
        cpu.held(1, 1, 0, 100);
        cpu.interrupted(&[(NET_RX, 10)], 50, 100);
        cpu.held(2, 2, 100, 200);
        cpu.interrupted(&[(NET_RX, 30)], 100, 200);
        let expected = [
            piece(50, 90, 1),
            interrupt(90, 100, NET_RX),
            piece(100, 170, 2),
            interrupt(170, 200, NET_RX),
        ];
        assert_eq!(cpu.pieces(50, 200), expected);
        assert_eq!(cpu.pieces(0, 40), [piece(0, 40, 1)]);
    }

    #[test]
    fn interrupts_that_no_slice_covers_are_still_there_and_never_more_than_the_time() {
        let mut cpu = Cpu::default();
        cpu.interrupted(&[(NET_RX, 90), (Source::Irq, 20)], 0, 100);
        let expected = [
            interrupt(0, 90, NET_RX),
            interrupt(90, 100, Source::Irq),
            unseen(100, 150),
        ];
        assert_eq!(cpu.pieces(0, 150), expected);
    }

    #[test]
    fn stolen_time_is_taken_out_of_holders_and_interrupts_alike() {
        let mut cpu = Cpu::default();
        cpu.held(1, 1, 0, 100);
        cpu.interrupted(&[(NET_RX, 20)], 0, 100);
        cpu.stolen(50, 0, 100);
        let stolen = |begin, end| Piece {
            begin,
            end,
            by: By::Hypervisor,
            tid: 0,
        };
        let expected = [
            piece(0, 40, 1),
            stolen(40, 80),
            interrupt(80, 90, NET_RX),
            stolen(90, 100),
        ];
        assert_eq!(cpu.pieces(0, 100), expected);
    }

    #[test]
    fn a_piece_of_several_threads_is_of_none_and_its_slices_tell_them_apart() {
        let mut cpu = Cpu::default();
        cpu.held(1, 1, 0, 40);
        cpu.held(1, 2, 40, 100);
        cpu.held(3, 3, 100, 120);
        let pieces = cpu.pieces(10, 120);
        let found: Vec<_> = pieces.iter().map(|piece| (piece.end, piece.tid)).collect();
        assert_eq!(found, [(100, 0), (120, 3)]);
        assert_eq!(cpu.threads_of(1, 10, 100), [(1, 10, 30), (2, 40, 60)]);
    }
}
