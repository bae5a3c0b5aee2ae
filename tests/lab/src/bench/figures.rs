//! Figures of interleaved runs: medians, spreads and what a watcher adds; pure.

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
    pub(crate) fn added(&self) -> Option<Summary> {
        let added: Vec<_> = self
            .watched
            .iter()
            .zip(&self.bare)
            .map(|(watched, bare)| watched - bare)
            .collect();
        summary(&added)
    }
}

/// A ratio of two costs; `None` where the second is too small to stand out from noise.
pub(crate) fn ratio(of: Summary, to: Summary) -> Option<f64> {
    let noise = (to.high - to.low).abs();
    (to.median > 0.0 && to.median > noise / 2.0).then(|| of.median / to.median)
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

    #[test]
    fn a_cost_within_the_noise_is_no_measure() {
        let of = summary(&[10.0]).unwrap();
        assert_eq!(ratio(of, summary(&[-50.0, 1.0, 60.0]).unwrap()), None);
        assert_eq!(ratio(of, summary(&[5.0]).unwrap()), Some(2.0));
    }
}
