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

    /// Who held it in `[begin, end]`, and how long; the rest was not seen.
    #[must_use]
    pub fn holders(&self, begin: u64, end: u64) -> Vec<(u32, u64)> {
        let mut holders: Vec<(u32, u64)> = Vec::new();
        for slice in self
            .slices
            .iter()
            .rev()
            .skip_while(|slice| slice.begin >= end)
            .take_while(|slice| slice.end > begin)
        {
            let ns = slice.end.min(end) - slice.begin.max(begin);
            match holders.iter_mut().find(|(pid, _)| *pid == slice.pid) {
                Some((_, sum)) => *sum += ns,
                None => holders.push((slice.pid, ns)),
            }
        }
        holders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_that_is_told_twice_counts_once() {
        let mut cpu = Cpu::default();
        cpu.held(1, 0, 100);
        cpu.held(1, 0, 120);
        cpu.held(1, 0, 120);
        assert_eq!(cpu.holders(0, 200), [(1, 120)]);
    }

    #[test]
    fn a_wait_is_split_between_those_who_ran_in_it() {
        let mut cpu = Cpu::default();
        cpu.held(1, 0, 100);
        cpu.held(2, 100, 250);
        cpu.held(0, 250, 300);
        cpu.held(1, 300, 400);
        let mut holders = cpu.holders(50, 350);
        holders.sort_unstable();
        assert_eq!(holders, [(0, 50), (1, 100), (2, 150)]);
    }
}
