//! A window in batches of the same length.

use super::noise::Rate;
use crate::model::books::{Bin, Books};

/// A batch is as long as this at least, ns: longer than the bursts of most servers, and than the time of most requests.
const BATCH_NS: u64 = 1_000_000_000;
/// More batches than this say hardly more, and longer ones are more independent (Schmeiser, "Batch size effects in the analysis of
/// simulation output", 1982).
const MOST: u64 = 20;
/// With fewer batches a window is too short to tell a difference from noise.
pub(super) const LEAST: usize = 5;

/// The batches of one window.
#[derive(Clone, Debug)]
pub(super) struct Batches {
    slices: usize,
    start_ns: u64,
    bin_ns: u64,
    /// Length of each batch, s.
    pub(super) seconds: Vec<f64>,
    /// Requests that ended in each.
    pub(super) ended: Vec<f64>,
    /// The sum of their durations, ns.
    pub(super) took: Vec<f64>,
}

impl Batches {
    pub(super) fn new(books: &Books) -> Self {
        let slices = books.bins.len();
        let window_ns = books.window_ns();
        let wanted = (window_ns / BATCH_NS).min(MOST) as usize;
        let count = wanted.clamp(1, slices.max(1));
        let mut batches = Self {
            slices,
            start_ns: books.start.ns,
            bin_ns: books.bin_ns.max(1),
            seconds: vec![0.0; count],
            ended: vec![0.0; count],
            took: vec![0.0; count],
        };
        for slice in 0..slices {
            let before_ns = batches.bin_ns.saturating_mul(slice as u64);
            let ns = window_ns.saturating_sub(before_ns).min(batches.bin_ns);
            let batch = batches.of(slice);
            batches.seconds[batch] += ns as f64;
        }
        // Sums of whole numbers are exact.
        batches.seconds.iter_mut().for_each(|ns| *ns /= 1e9);
        for ends in books.requests.iter().flat_map(|found| &found.ends) {
            let slice = ends.ns.saturating_sub(batches.start_ns) / batches.bin_ns;
            let batch = batches.of(slice as usize);
            batches.ended[batch] += ends.count as f64;
            batches.took[batch] += ends.sum_ns as f64;
        }
        batches
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.seconds.len()
    }

    /// Requests that ended.
    pub(super) fn all_ended(&self) -> f64 {
        self.ended.iter().sum()
    }

    /// Requests that ended in a second.
    pub(super) fn load(&self) -> Option<Rate> {
        Rate::new(&self.ended, &self.seconds)
    }

    /// Nothing, in each batch.
    pub(super) fn nothing(&self) -> Vec<f64> {
        vec![0.0; self.count()]
    }

    /// The batch in which a slice lies. What lies beyond the last slice belongs to that.
    pub(super) fn of(&self, slice: usize) -> usize {
        let slice = slice.min(self.slices.saturating_sub(1));
        slice * self.count() / self.slices.max(1)
    }

    /// Sums of a figure of the slices.
    pub(super) fn sums(&self, books: &Books, figure: impl Fn(&Bin) -> u64) -> Vec<f64> {
        let mut sums = self.nothing();
        for (slice, bin) in books.bins.iter().enumerate() {
            sums[self.of(slice)] += figure(bin) as f64;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::books::{Ends, Requests};

    const MS: u64 = 1_000_000;

    fn books(slices: usize) -> Books {
        let mut books = Books {
            bins: vec![Bin::default(); slices],
            bin_ns: 100 * MS,
            ..Books::default()
        };
        books.start.ns = 7_000 * MS;
        books.end.ns = books.start.ns + slices as u64 * books.bin_ns;
        books
    }

    #[test]
    fn a_batch_has_a_second_at_least_and_a_window_twenty_at_most() {
        let count = |slices| Batches::new(&books(slices)).count();
        assert_eq!([count(0), count(4), count(100)], [1, 1, 10]);
        assert_eq!([count(199), count(6000)], [19, 20]);
    }

    #[test]
    fn batches_are_as_long_as_the_window_together() {
        let mut short = books(75);
        short.end.ns -= 50 * MS;
        let batches = Batches::new(&short);
        assert_eq!(batches.count(), 7);
        let all: f64 = batches.seconds.iter().sum();
        assert!((all - 7.45).abs() < 1e-9, "{all}");
    }

    #[test]
    fn a_request_counts_in_the_batch_in_which_it_ended() {
        let mut books = books(20);
        let ends = |ms: u64| Ends {
            ns: books.start.ns + ms * MS,
            count: 2,
            sum_ns: 30,
        };
        let all = vec![ends(0), ends(999), ends(1050), ends(9999)];
        books.requests = Some(Requests {
            ends: all,
            ..Requests::default()
        });
        let batches = Batches::new(&books);
        assert_eq!(batches.ended, [4.0, 4.0]);
        assert_eq!(batches.took, [60.0, 60.0]);
        assert_eq!(batches.all_ended(), 8.0);
    }
}
