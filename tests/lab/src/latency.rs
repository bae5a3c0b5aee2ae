//! How long requests took, as a client of a scene's server or tracer says.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracer_tests::workload::quantile::nearest_rank;

/// Times of requests, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Median.
    pub(crate) p50_ns: u64,
    /// The time that 1 % of the requests exceed.
    pub(crate) p99_ns: u64,
    /// Mean, where that is said.
    #[serde(default)]
    pub(crate) mean_ns: Option<u64>,
    /// How many requests these are, where that is said.
    #[serde(default)]
    pub(crate) requests: Option<u64>,
}

impl Latency {
    /// Reads what a client prints. It prints no times where no request was answered.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let figures: Option<Value> = serde_json::from_str(json).ok();
        let read = figures.as_ref().and_then(Self::read);
        read.with_context(|| format!("the client measured nothing: {json}"))
    }

    /// The figures, if both quantiles are there.
    pub(crate) fn read(figures: &Value) -> Option<Self> {
        Some(Self {
            p50_ns: figures["p50_ns"].as_u64()?,
            p99_ns: figures["p99_ns"].as_u64()?,
            mean_ns: figures["mean_ns"].as_u64(),
            requests: figures["count"].as_u64(),
        })
    }

    /// The figures of these times, in ns; none without any.
    pub(crate) fn of(mut times_ns: Vec<u64>) -> Option<Self> {
        times_ns.sort_unstable();
        let requests = times_ns.len() as u64;
        Some(Self {
            p50_ns: nearest_rank(&times_ns, 0.5)?,
            p99_ns: nearest_rank(&times_ns, 0.99)?,
            mean_ns: times_ns.iter().sum::<u64>().checked_div(requests),
            requests: Some(requests),
        })
    }

    /// Is each quantile at most this part, and so many ns, away from the other's?
    pub(crate) fn is_near(self, other: Self, part: f64, besides_ns: u64) -> bool {
        let near = |a: u64, b: u64| a.abs_diff(b) as f64 <= part * b as f64 + besides_ns as f64;
        near(self.p50_ns, other.p50_ns) && near(self.p99_ns, other.p99_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_times_measured_nothing() {
        let times = Latency::parse(r#"{"p50_ns": 5, "p99_ns": 9}"#).unwrap();
        assert_eq!((times.p50_ns, times.p99_ns), (5, 9));
        assert_eq!((times.mean_ns, times.requests), (None, None));
        assert!(Latency::parse(r#"{"p50_ns": 5}"#).is_err());
        assert!(Latency::parse("").is_err());
    }

    #[test]
    fn both_quantiles_must_be_near() {
        let of = |p50_ns, p99_ns| Latency {
            p50_ns,
            p99_ns,
            mean_ns: None,
            requests: None,
        };
        let client = of(100, 1000);
        assert!(of(90, 1100).is_near(client, 0.1, 0));
        assert!(!of(89, 1000).is_near(client, 0.1, 0));
        assert!(!of(100, 1101).is_near(client, 0.1, 0));
        assert!(of(89, 1101).is_near(client, 0.1, 1));
        assert!(!of(88, 1000).is_near(client, 0.1, 1));
    }

    #[test]
    fn quantiles_of_times_are_times() {
        let found = Latency::of((1..=200).rev().collect()).unwrap();
        assert_eq!((found.p50_ns, found.p99_ns), (100, 198));
        assert_eq!((found.mean_ns, found.requests), (Some(100), Some(200)));
        assert_eq!(Latency::of(Vec::new()), None);
    }
}
