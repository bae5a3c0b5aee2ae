//! The scenarios that `--quick` plays by turns: others from day to day, until each has had its turn.

use std::time::{SystemTime, UNIX_EPOCH};

use super::place;

/// So many have their turn on a day.
const EACH_DAY: usize = 2;

/// The order of the turns, as a number of `--shuffle`. In the order of the list all would be of one family for weeks.
const ORDER: u64 = 1;

const DAY_S: u64 = 24 * 3600;

/// Today, in days since 1970.
pub(super) fn today() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs() / DAY_S
}

/// Those of `all` whose turn it is on a day.
pub(super) fn whose_turn(mut all: Vec<&'static str>, day: u64) -> Vec<&'static str> {
    all.sort_by_cached_key(|name| place(ORDER, name));
    let turns = day as usize * EACH_DAY;
    let first = turns.checked_rem(all.len()).unwrap_or(0);
    let from_first = all.into_iter().cycle().skip(first);
    from_first.take(EACH_DAY).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_its_turn_before_any_has_another_one() {
        let all = ["a", "b", "c", "d", "e", "f"];
        let days = (all.len() / EACH_DAY) as u64;
        for first in [0, 20_787] {
            let turns = (first..first + days).flat_map(|day| whose_turn(all.to_vec(), day));
            let turns: Vec<&str> = turns.collect();
            assert_eq!(turns.len(), all.len());
            assert_eq!(BTreeSet::from_iter(turns), BTreeSet::from(all));
        }
        let odd = (0..3).flat_map(|day| whose_turn(all[1..].to_vec(), day));
        assert_eq!(odd.collect::<BTreeSet<&str>>().len(), 5);
        assert_eq!(whose_turn(Vec::new(), 7), [""; 0]);
    }
}
