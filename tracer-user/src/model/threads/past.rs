//! What a thread did before the first step that is remembered: sums of long parts.
//!
//! A child may do much while its parent waits for its end. Its steps are forgotten before the parent asks for them, and their sums stay.

use super::spent::Spent;
use crate::{class::Class, model::part::part_of};

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

    /// Adds what was done between two times, in proportion.
    pub(super) fn add_between(&self, begin: u64, end: u64, sum: &mut Spent) {
        // Nearly always: of what is asked for, nothing is forgotten.
        if self.parts.last().is_none_or(|(last, _)| *last <= begin) {
            return;
        }
        let mut from = self.begin_ns;
        for (to, spent) in &self.parts {
            let common = end.min(*to).saturating_sub(begin.max(from));
            if common > 0 {
                let part = |ns: u64| part_of(ns, common, *to - from);
                for class in Class::ALL.map(Class::index) {
                    sum.certain[class] += part(spent.certain[class]);
                    sum.tentative[class] += part(spent.tentative[class]);
                }
            }
            from = *to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut sum = Spent::default();
            past.add_between(begin, end, &mut sum);
            let length = end - begin;
            let disk = sum.certain[Class::Disk.index()];
            assert!(disk.abs_diff(length * 3 / 10) <= MOST as u64, "{disk}");
            assert!(sum.total().abs_diff(length) <= 2 * MOST as u64);
        }
        let mut after = Spent::default();
        past.add_between(10_000, 20_000, &mut after);
        assert_eq!(after, Spent::default());
    }
}
