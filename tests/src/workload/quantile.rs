//! Exact quantiles of a list of times.

/// The nearest-rank quantile: the smallest value that at least the share `q` (0..1) of the list does not exceed.
/// `sorted` is in ascending order; an empty list has no quantile.
pub fn nearest_rank(sorted: &[u64], q: f64) -> Option<u64> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_odd_list_is_its_middle() {
        assert_eq!(nearest_rank(&[1, 2, 3], 0.5), Some(2));
    }

    #[test]
    fn the_99th_of_a_hundred_is_not_the_worst() {
        let times: Vec<u64> = (1..=100).collect();
        assert_eq!(nearest_rank(&times, 0.99), Some(99));
        assert_eq!(nearest_rank(&times, 1.0), Some(100));
    }

    #[test]
    fn nothing_measured_has_no_quantile() {
        assert_eq!(nearest_rank(&[], 0.5), None);
    }
}
