//! Sums by id, of which the largest are asked for in the end. They have a bound, however many ids there are.

use rustc_hash::FxHashMap;

/// The sums of at most `MOST` ids. When there is no room for another one, the larger half stays: one of these is the largest in the end,
/// unless all are alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Largest<const MOST: usize>(FxHashMap<u32, u64>);

impl<const MOST: usize> Largest<MOST> {
    /// Adds to the sum of an id.
    pub(crate) fn add(&mut self, id: u32, amount: u64) {
        if self.0.len() >= MOST && !self.0.contains_key(&id) {
            self.forget_half();
        }
        let sum = self.0.entry(id).or_default();
        *sum = sum.saturating_add(amount);
    }

    fn forget_half(&mut self) {
        let mut all: Vec<u64> = self.0.values().copied().collect();
        let middle = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable(middle);
        self.0.retain(|_, sum| *sum > *median);
    }

    /// Another one may get the id.
    pub(crate) fn remove(&mut self, id: u32) {
        self.0.remove(&id);
    }

    /// Those that are kept, in no order.
    #[must_use]
    pub(crate) fn sums(&self) -> &FxHashMap<u32, u64> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums of up to four ids, in order of id.
    fn kept(added: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let mut largest = Largest::<4>::default();
        for (id, amount) in added {
            largest.add(*id, *amount);
        }
        let sums = largest.sums().iter().map(|(id, sum)| (*id, *sum));
        let mut sums: Vec<(u32, u64)> = sums.collect();
        sums.sort_unstable();
        sums
    }

    #[test]
    fn of_more_than_there_is_room_for_the_larger_half_stays() {
        let four = [(1, 10), (2, 40), (3, 20), (4, 30)];
        assert_eq!(kept(&four), four);
        let known = [&four[..], &[(3, 5)]].concat();
        assert_eq!(kept(&known), [(1, 10), (2, 40), (3, 25), (4, 30)]);
        let another = [&four[..], &[(5, 1)]].concat();
        assert_eq!(kept(&another), [(2, 40), (5, 1)]);
    }

    #[test]
    fn a_sum_never_wraps_and_an_id_may_be_used_again() {
        assert_eq!(kept(&[(1, u64::MAX), (1, 7)]), [(1, u64::MAX)]);
        let mut largest = Largest::<4>::default();
        largest.add(1, 7);
        largest.remove(1);
        assert!(largest.sums().is_empty());
    }
}
