//! Figures of interleaved runs: medians, spreads and what a watcher adds; pure.

use std::cmp::Ordering;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// The median and the quartiles of a few figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Half of the figures lie below.
    pub(crate) median: f64,
    /// A quarter lies below.
    pub(crate) low: f64,
    /// A quarter lies above.
    pub(crate) high: f64,
}

/// Sums up; `None` without figures.
pub(crate) fn summary(figures: &[f64]) -> Option<Summary> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(Summary {
        median: at(&sorted, 0.5)?,
        low: at(&sorted, 0.25)?,
        high: at(&sorted, 0.75)?,
    })
}

/// Summaries by the names of their figures.
pub(crate) fn by_name<'a>(names: impl Iterator<Item = &'a str>, found: &[Summary]) -> Value {
    let named = names.zip(found);
    Value::Object(
        named
            .map(|(name, found)| (name.to_owned(), json!(found)))
            .collect(),
    )
}

/// The quantile of sorted figures, interpolated between neighbours.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index among a few figures"
)]
fn at(sorted: &[f64], quantile: f64) -> Option<f64> {
    let place = quantile * (sorted.len().checked_sub(1)? as f64);
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    Some(below + (above - below) * place.fract())
}

/// The runs of one load under one watcher, each between two runs without any.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// Runs under the watcher.
    pub(crate) watched: Vec<f64>,
    /// The mean of the runs before and after each.
    pub(crate) bare: Vec<f64>,
}

impl Series {
    /// How much longer each run took than its neighbours without a watcher.
    pub(crate) fn differences(&self) -> Vec<f64> {
        let pairs = self.watched.iter().zip(&self.bare);
        pairs.map(|(watched, bare)| watched - bare).collect()
    }

    /// The same, summed up.
    pub(crate) fn added(&self) -> Option<Summary> {
        summary(&self.differences())
    }
}

/// How likely differences as far from 0 as these are where nothing differs: Wilcoxon's signed-rank test of pairs, two-sided and
/// exact (F. Wilcoxon, "Individual comparisons by ranking methods", 1945). It asks nothing of how the figures are spread, and the
/// 99th percentiles of short runs have long tails. `None`: of so few pairs none could be less likely than `level`.
pub(crate) fn chance(differences: &[f64], level: f64) -> Option<f64> {
    let least = 2.0 * 0.5_f64.powi(i32::try_from(differences.len()).ok()?);
    if least > level {
        return None;
    }
    let felt = differences.iter().copied().filter(|by| *by != 0.0);
    let felt: Vec<f64> = felt.collect();
    let ranks = doubled_ranks(&felt);
    let all: usize = ranks.iter().sum();
    let above = ranks.iter().zip(&felt).filter(|(_, by)| **by > 0.0);
    let above: usize = above.map(|(rank, _)| rank).sum();
    let tail = above.min(all - above);
    let tail: f64 = chances_of_sums(&ranks)[..=tail].iter().sum();
    Some((2.0 * tail).min(1.0))
}

/// Twice the rank of each by its size. Equal sizes share the mean of their ranks, which may be a half.
fn doubled_ranks(differences: &[f64]) -> Vec<usize> {
    let sizes: Vec<f64> = differences.iter().map(|by| by.abs()).collect();
    let count = |size: &f64, order: Ordering| {
        let others = sizes.iter().map(|other| other.total_cmp(size));
        others.filter(|found| *found == order).count()
    };
    let rank = |size| 2 * count(size, Ordering::Less) + count(size, Ordering::Equal) + 1;
    sizes.iter().map(rank).collect()
}

/// How likely each sum is, from 0 on, where a coin decides for each rank whether it counts.
fn chances_of_sums(ranks: &[usize]) -> Vec<f64> {
    let mut chances: Vec<f64> = vec![1.0];
    for rank in ranks {
        let mut next: Vec<f64> = vec![0.0; chances.len() + rank];
        for (sum, chance) in chances.iter().enumerate() {
            next[sum] += chance / 2.0;
            next[sum + rank] += chance / 2.0;
        }
        chances = next;
    }
    chances
}

/// Whether a cost is large enough to stand out from noise.
pub(crate) fn stands_out(cost: Summary) -> bool {
    let noise = (cost.high - cost.low).abs();
    cost.median > 0.0 && cost.median > noise / 2.0
}

/// A ratio of two costs; `None` where the second does not stand out from noise.
pub(crate) fn ratio(of: Summary, to: Summary) -> Option<f64> {
    stands_out(to).then(|| of.median / to.median)
}

/// The JSON in a load's output; other text may stand before it.
pub(crate) fn json_in(text: &str) -> Result<Value> {
    let said = text.find('{').map_or("", |at| &text[at..]);
    serde_json::from_str(said).with_context(|| format!("no JSON: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_few_figures_is_no_outlier() {
        let found = summary(&[1.0, 2.0, 300.0, 3.0, 2.5]).unwrap();
        assert_eq!((found.median, found.low, found.high), (2.5, 2.0, 3.0));
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn what_is_added_does_not_see_a_drift_of_the_machine() {
        let series = Series {
            watched: vec![110.0, 210.0, 310.0],
            bare: vec![100.0, 200.0, 300.0],
        };
        assert!((series.added().unwrap().median - 10.0).abs() < 1e-9);
    }

    /// The sizes 1 to 12 in pairs of which these ones fell.
    fn twelve(fell: [i32; 2]) -> Vec<f64> {
        let sign = |size| if fell.contains(&size) { -1.0 } else { 1.0 };
        (1..=12).map(|size| sign(size) * f64::from(size)).collect()
    }

    #[test]
    fn twelve_pairs_differ_where_the_tables_of_the_test_say_so() {
        // 13 is the critical sum of ranks at 5 %: 87 of 4096 sums are not above it, and 107 not above 14.
        let p = chance(&twelve([1, 12]), 0.05).unwrap();
        assert!((p - 2.0 * 87.0 / 4096.0).abs() < 1e-12, "{p}");
        let p = chance(&twelve([2, 12]), 0.05).unwrap();
        assert!((p - 2.0 * 107.0 / 4096.0).abs() < 1e-12, "{p}");
    }

    #[test]
    fn the_test_has_two_sides_and_sees_no_difference_where_there_is_none() {
        let up: Vec<f64> = (1..=6).map(f64::from).collect();
        let down: Vec<f64> = up.iter().map(|by| -by).collect();
        assert_eq!(chance(&up, 0.05), Some(2.0 / 64.0));
        assert_eq!(chance(&down, 0.05), Some(2.0 / 64.0));
        assert_eq!(chance(&[0.0; 6], 0.05), Some(1.0));
        assert_eq!(chance(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0], 0.05), Some(1.0));
    }

    #[test]
    fn five_pairs_are_too_few_to_differ() {
        assert_eq!(chance(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.05), None);
        assert_eq!(chance(&[], 0.05), None);
    }

    #[test]
    fn equal_sizes_share_their_ranks() {
        assert_eq!(doubled_ranks(&[2.0, -1.0, 2.0, 7.0]), [5, 2, 5, 8]);
    }

    #[test]
    fn a_cost_within_the_noise_is_no_measure() {
        let of = summary(&[10.0]).unwrap();
        assert_eq!(ratio(of, summary(&[-50.0, 1.0, 60.0]).unwrap()), None);
        assert_eq!(ratio(of, summary(&[5.0]).unwrap()), Some(2.0));
    }
}
