//! How long requests took, as a client of a scene's server or tracer says.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

    /// Is each quantile at most this part away from the other's?
    pub(crate) fn is_near(self, other: Self, part: f64) -> bool {
        let near = |a: u64, b: u64| a.abs_diff(b) as f64 <= part * b as f64;
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
        assert!(of(90, 1100).is_near(client, 0.1));
        assert!(!of(89, 1000).is_near(client, 0.1));
        assert!(!of(100, 1101).is_near(client, 0.1));
    }
}
