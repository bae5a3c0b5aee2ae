//! Finds, in a list of requests by their ends, the last one that may have begun before a given time.
//!
//! Without this, one request of a second makes each search go through all requests that completed in the second after.

use std::collections::VecDeque;

/// Requests that share an entry: the list of those that a disk keeps has 1,024 entries then.
const BLOCK: u64 = 64;

/// For blocks of requests the earliest begin, as far as no later block has an earlier one: ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// (Block, earliest begin in it when it was entered).
    earliest: VecDeque<(u64, u64)>,
    /// Requests added and forgotten since the beginning.
    added: u64,
    forgotten: u64,
}

impl Reach {
    /// The next request began then.
    pub(crate) fn add(&mut self, begin_ns: u64) {
        let block = self.added / BLOCK;
        self.added += 1;
        while self.earliest.back().is_some_and(|last| last.1 >= begin_ns) {
            self.earliest.pop_back();
        }
        // An earlier one of the same block stands for this one.
        if self.earliest.back().is_none_or(|last| last.0 != block) {
            self.earliest.push_back((block, begin_ns));
        }
    }

    /// The first request is forgotten.
    pub(crate) fn forget(&mut self) {
        self.forgotten += 1;
        let block = self.forgotten / BLOCK;
        while self.earliest.front().is_some_and(|first| first.0 < block) {
            self.earliest.pop_front();
        }
    }

    /// All that began before `ns` are among so many first of those that are not forgotten.
    #[must_use]
    pub(crate) fn until(&self, ns: u64) -> usize {
        let before = self.earliest.partition_point(|(_, begin)| *begin < ns);
        let Some(last) = before.checked_sub(1) else {
            return 0;
        };
        let end = ((self.earliest[last].0 + 1) * BLOCK).min(self.added);
        end.saturating_sub(self.forgotten) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_that_began_before_is_left_out_and_few_others_are_looked_at() {
        let mut reach = Reach::default();
        let mut begins = VecDeque::new();
        let mut random = 4711_u64;
        for index in 0..5000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // In the order of their ends; every 97th took a thousand times as long.
            let took = (random >> 60) * if index % 97 == 0 { 1000 } else { 1 };
            let begin = (1_000_000 + index * 10).saturating_sub(took);
            reach.add(begin);
            begins.push_back(begin);
            if begins.len() > 700 {
                reach.forget();
                begins.pop_front();
            }
            let ns = begins[begins.len() / 2];
            let needed = begins.iter().rposition(|begin| *begin < ns);
            let needed = needed.map_or(0, |last| last + 1);
            let until = reach.until(ns);
            assert!(
                (needed..needed + BLOCK as usize).contains(&until),
                "{needed} {until}"
            );
        }
    }
}
