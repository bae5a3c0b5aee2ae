//! CPUs as places: who ran while a target thread stood in the run queue.

use std::collections::VecDeque;

/// Slices kept of one CPU. A wait that reaches further back is partly unattributed; at 10,000 switches a second this is 6 s.
const MOST_SLICES: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
struct Slice {
    begin: u64,
    end: u64,
    pid: u32,
}

/// A part of a wait in which nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Begin, ns.
    pub begin: u64,
    /// End, ns.
    pub end: u64,
    /// Who held the CPU; 0 is idle, `None` was not seen.
    pub pid: Option<u32>,
}

/// Recent holders of one CPU.
#[derive(Clone, Debug, Default)]
pub struct Cpu {
    slices: VecDeque<Slice>,
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

    /// `[begin, end]` without a gap: who held it when, `None` where that was not seen.
    #[must_use]
    pub fn pieces(&self, begin: u64, end: u64) -> Vec<Piece> {
        let first = self.slices.partition_point(|slice| slice.end <= begin);
        let mut pieces = Vec::new();
        let mut at = begin;
        let mut push = |begin, end, pid| match pieces.last_mut() {
            _ if begin >= end => {}
            Some(Piece {
                end: upto,
                pid: last,
                ..
            }) if *last == pid => *upto = end,
            _ => pieces.push(Piece { begin, end, pid }),
        };
        for slice in self.slices.range(first..) {
            if slice.begin >= end {
                break;
            }
            push(at, slice.begin, None);
            at = slice.begin.max(at);
            push(at, slice.end.min(end), Some(slice.pid));
            at = slice.end.min(end);
        }
        push(at, end, None);
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(begin: u64, end: u64, pid: Option<u32>) -> Piece {
        Piece { begin, end, pid }
    }

    #[test]
    fn a_slice_that_is_told_twice_counts_once() {
        let mut cpu = Cpu::default();
        cpu.held(1, 0, 100);
        cpu.held(1, 0, 120);
        cpu.held(1, 0, 120);
        assert_eq!(
            cpu.pieces(0, 200),
            [piece(0, 120, Some(1)), piece(120, 200, None)]
        );
    }

    #[test]
    fn a_wait_is_split_between_those_who_ran_in_it() {
        let mut cpu = Cpu::default();
        cpu.held(1, 0, 100);
        cpu.held(2, 100, 250);
        cpu.held(0, 250, 300);
        cpu.held(1, 300, 400);
        let expected = [
            piece(50, 100, Some(1)),
            piece(100, 250, Some(2)),
            piece(250, 300, Some(0)),
            piece(300, 350, Some(1)),
        ];
        assert_eq!(cpu.pieces(50, 350), expected);
    }
}
