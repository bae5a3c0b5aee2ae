//! What a thread did before the first step that is remembered: sums of long parts.
//!
//! A child may do much while its parent waits for its end. Its steps are forgotten before the parent asks for them, and their sums stay.
//! So do those of a thread that owned nothing, and answers a request that came long ago.

use super::spent::Spent;

/// Most parts. When there are more, two neighbours at a time become one.
const MOST: usize = 16;

/// The forgotten part of a time line.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    begin_ns: u64,
    /// Ends, and what was done up to there.
    parts: Vec<(u64, Spent)>,
}

impl Past {
    /// What was done from `begin` to `end` is forgotten, too. It follows on what was forgotten before.
    pub(super) fn add(&mut self, begin: u64, end: u64, spent: Spent) {
        if self.parts.is_empty() {
            self.begin_ns = begin;
        }
        self.parts.push((end, spent));
        if self.parts.len() <= MOST {
            return;
        }
        let pairs = std::mem::take(&mut self.parts);
        let join = |pair: &[(u64, Spent)]| {
            let mut joined = Spent::default();
            pair.iter().for_each(|(_, spent)| joined.add(spent));
            (pair[pair.len() - 1].0, joined)
        };
        self.parts = pairs.chunks(2).map(join).collect();
    }

    /// What was done between two times, part by part and in proportion: calls `each` with begin, end and what. Of the time before the
    /// first part nothing is known.
    pub(super) fn for_each_piece(
        &self,
        (begin, end): (u64, u64),
        mut each: impl FnMut(u64, u64, &Spent),
    ) {
        let known_ns = if self.parts.is_empty() {
            end
        } else {
            self.begin_ns.min(end)
        };
        if begin < known_ns {
            each(begin, known_ns, &Spent::default());
        }
        let mut part_begin = self.begin_ns;
        for (part_end, spent) in &self.parts {
            let (from, to) = (begin.max(part_begin), end.min(*part_end));
            if from < to {
                each(from, to, &spent.part(to - from, *part_end - part_begin));
            }
            part_begin = *part_end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    fn between(past: &Past, begin: u64, end: u64) -> Spent {
        let mut sum = Spent::default();
        past.for_each_piece((begin, end), |_, _, spent| sum.add(spent));
        sum
    }

    #[test]
    fn a_span_of_the_past_has_its_share_however_long_ago_it_was() {
        let mut past = Past::default();
        for part in 0..1000_u64 {
            let mut spent = Spent::default();
            spent.certain[Class::Disk.index()] = 3;
            spent.tentative[Class::Idle.index()] = 7;
            past.add(10 * part, 10 * (part + 1), spent);
        }
        assert!(past.parts.len() <= MOST);
        for (begin, end) in [(0, 10_000), (9_990, 10_000), (2_000, 4_000)] {
            let sum = between(&past, begin, end);
            let length = end - begin;
            let disk = sum.certain[Class::Disk.index()];
            assert!(disk.abs_diff(length * 3 / 10) <= MOST as u64, "{disk}");
            assert_eq!(sum.total(), length);
        }
        assert_eq!(between(&past, 10_000, 20_000), Spent::default());
    }

    #[test]
    fn a_cut_of_the_past_sums_to_its_length_wherever_it_is_cut() {
        let mut past = Past::default();
        let mut spent = Spent::default();
        spent.certain[Class::Disk.index()] = 1;
        spent.certain[Class::OnCpu.index()] = 3;
        spent.tentative[Class::Idle.index()] = 3;
        past.add(100, 107, spent);
        for cut in 101..107 {
            let parts = [(100, cut), (cut, 107)].map(|(begin, end)| between(&past, begin, end));
            assert_eq!(parts.map(|part| part.total()), [cut - 100, 107 - cut]);
        }
        assert_eq!(between(&past, 90, 107), spent);
    }
}
