//! The figures of a client of a scene's server.

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
}

impl Latency {
    /// Reads what a client prints. It prints no times where no request was answered.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let figures: Option<Value> = serde_json::from_str(json).ok();
        let figure = |name: &str| figures.as_ref()?[name].as_u64();
        let both = figure("p50_ns").zip(figure("p99_ns"));
        let (p50_ns, p99_ns) =
            both.with_context(|| format!("the client measured nothing: {json}"))?;
        Ok(Self { p50_ns, p99_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_times_measured_nothing() {
        let times = Latency::parse(r#"{"p50_ns": 5, "p99_ns": 9}"#).unwrap();
        assert_eq!((times.p50_ns, times.p99_ns), (5, 9));
        assert!(Latency::parse(r#"{"p50_ns": 5}"#).is_err());
        assert!(Latency::parse("").is_err());
    }
}
