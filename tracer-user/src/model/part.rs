//! A part of an amount, in proportion.

/// `amount · part / whole`. Each wait asks several times, and a division of 128 bits takes three times as long as one of 64.
#[must_use]
#[inline]
pub(super) fn part_of(amount: u64, part: u64, whole: u64) -> u64 {
    match amount.checked_mul(part) {
        Some(product) => product / whole.max(1),
        None => (u128::from(amount) * u128::from(part) / u128::from(whole.max(1))) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_same_whether_the_product_is_small_or_large() {
        assert_eq!(part_of(90, 2, 3), 60);
        assert_eq!(part_of(u64::MAX, 2, 3), u64::MAX / 3 * 2);
        assert_eq!(part_of(1 << 40, 1 << 40, 1 << 41), 1 << 39);
        assert_eq!(part_of(7, 0, 0), 0);
    }
}
