//! CPUs as places: who ran while a target thread stood in the run queue.

use std::collections::VecDeque;

use crate::event::Source;

/// Slices kept of one CPU. A wait that reaches further back is partly unattributed; at 10,000 switches a second this is 6 s.
const MOST_SLICES: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
struct Slice {
    begin: u64,
    end: u64,
    pid: u32,
}

/// What interrupts took of a time in which nobody switched.
#[derive(Clone, Debug)]
struct Interrupts {
    begin: u64,
    end: u64,
    took: Vec<(Source, u64)>,
}

/// Who or what had a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// That was not seen.
    Unseen,
    /// A process; 0 is idle.
    Process(u32),
    /// An interrupt, whomever it interrupted.
    Interrupt(Source),
}

/// A part of a wait in which nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Begin, ns.
    pub begin: u64,
    /// End, ns.
    pub end: u64,
    /// Who had the CPU.
    pub by: By,
}

/// Recent holders of one CPU.
#[derive(Clone, Debug, Default)]
pub struct Cpu {
    slices: VecDeque<Slice>,
    /// In order and apart from each other.
    interrupts: VecDeque<Interrupts>,
}

impl Cpu {
    /// `pid` held the CPU from `begin` to `end`; 0 is idle. What is known of that time already is not taken again: the slice that
    /// was under way when the window ended may come from the map and from the ring.
    pub fn held(&mut self, pid: u32, begin: u64, end: u64) {
        let begin = self.slices.back().map_or(begin, |last| last.end.max(begin));
        if end <= begin {
            return;
        }
        if self.slices.len() == MOST_SLICES {
            self.slices.pop_front();
        }
        self.slices.push_back(Slice { begin, end, pid });
    }

    /// Interrupts took that much of the time from `begin` to `end`.
    pub fn interrupted(&mut self, took: &[(Source, u64)], begin: u64, end: u64) {
        let last = self.interrupts.back();
        let begin = last.map_or(begin, |last| last.end.max(begin));
        if end <= begin {
            return;
        }
        if self.interrupts.len() == MOST_SLICES {
            self.interrupts.pop_front();
        }
        let took = took.to_vec();
        self.interrupts.push_back(Interrupts { begin, end, took });
    }

    /// `[begin, end]` without a gap: who had it when. Of the time of interrupts only the sum is known: it is taken in proportion, and
    /// to be at the end.
    #[must_use]
    pub fn pieces(&self, begin: u64, end: u64) -> Vec<Piece> {
        let first = self.interrupts.partition_point(|known| known.end <= begin);
        let mut interrupts = self.interrupts.range(first..).peekable();
        let mut pieces = Pieces::default();
        for piece in self.slices(begin, end) {
            let mut at = piece.begin;
            while let Some(known) = interrupts.peek().filter(|known| known.begin < piece.end) {
                let (from, upto) = (known.begin.max(at), known.end.min(piece.end));
                pieces.push(at, from, piece.by);
                pieces.interrupted(from, upto, piece.by, known);
                at = upto.max(at);
                if known.end > piece.end {
                    break;
                }
                interrupts.next();
            }
            pieces.push(at, piece.end, piece.by);
        }
        pieces.0
    }

    /// As above, without interrupts.
    fn slices(&self, begin: u64, end: u64) -> Vec<Piece> {
        let first = self.slices.partition_point(|slice| slice.end <= begin);
        let mut pieces = Pieces::default();
        let mut at = begin;
        for slice in self.slices.range(first..) {
            if slice.begin >= end {
                break;
            }
            pieces.push(at, slice.begin, By::Unseen);
            at = slice.begin.max(at);
            pieces.push(at, slice.end.min(end), By::Process(slice.pid));
            at = slice.end.min(end);
        }
        pieces.push(at, end, By::Unseen);
        pieces.0
    }
}

/// Pieces in order; neighbours of one kind are one.
#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn push(&mut self, begin: u64, end: u64, by: By) {
        match self.0.last_mut() {
            _ if begin >= end => {}
            Some(last) if last.by == by => last.end = end,
            _ => self.0.push(Piece { begin, end, by }),
        }
    }

    /// `[begin, end]` of those that interrupts had part of.
    fn interrupted(&mut self, begin: u64, end: u64, by: By, known: &Interrupts) {
        let length = u128::from(known.end - known.begin);
        let part =
            |ns: u64| (u128::from(ns) * u128::from(end.saturating_sub(begin)) / length) as u64;
        let all: u64 = known.took.iter().map(|(_, ns)| part(*ns)).sum();
        let mut at = end.saturating_sub(all).max(begin);
        self.push(begin, at, by);
        for (source, ns) in &known.took {
            let upto = (at + part(*ns)).min(end);
            self.push(at, upto, By::Interrupt(*source));
            at = upto;
        }
        // What rounding left.
        self.push(at, end, by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET_RX: Source = Source::Softirq(3);

    fn piece(begin: u64, end: u64, pid: u32) -> Piece {
        let by = By::Process(pid);
        Piece { begin, end, by }
    }

    fn interrupt(begin: u64, end: u64, source: Source) -> Piece {
        let by = By::Interrupt(source);
        Piece { begin, end, by }
    }

    fn unseen(begin: u64, end: u64) -> Piece {
        let by = By::Unseen;
        Piece { begin, end, by }
    }

    #[test]
    fn a_slice_that_is_told_twice_counts_once() {
        let mut cpu = Cpu::default();
        cpu.held(1, 0, 100);
        cpu.held(1, 0, 120);
        cpu.held(1, 0, 120);
        assert_eq!(cpu.pieces(0, 200), [piece(0, 120, 1), unseen(120, 200)]);
    }

    #[test]
    fn a_wait_is_split_between_those_who_ran_in_it() {
        let mut cpu = Cpu::default();
        cpu.held(1, 0, 100);
        cpu.held(2, 100, 250);
        cpu.held(0, 250, 300);
        cpu.held(1, 300, 400);
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
        cpu.held(1, 0, 100);
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
        cpu.held(1, 0, 100);
        let expected = [piece(50, 90, 1), interrupt(90, 100, NET_RX)];
        assert_eq!(cpu.pieces(50, 100), expected);
        let expected = [piece(20, 36, 1), interrupt(36, 40, NET_RX)];
        assert_eq!(cpu.pieces(20, 40), expected);
    }

    #[test]
    fn interrupts_are_told_since_the_first_waiter_and_for_each_slice() {
        let mut cpu = Cpu::default();
        cpu.held(1, 0, 100);
        cpu.interrupted(&[(NET_RX, 10)], 50, 100);
        cpu.held(2, 100, 200);
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
}
