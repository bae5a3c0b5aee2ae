//! The parts of tracer's report that the lab and the demo grade or show.
//!
//! The report is read field by field and not as tracer's own type. `--judge` also reads reports of older builds, which lack newer
//! fields. Names of classes and thresholds are tracer's own.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracer::{
    class::Class,
    verdict::{
        constants::{CULPRIT_COST, CULPRIT_PART, NOT_HELD_UP},
        floor::Seen,
    },
};

use crate::{latency::Latency, sums};

/// A verdict, and the figures that decided it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// `disk`, `network`, `cpu`, …, `none`.
    pub(crate) resource: String,
    /// Its cause.
    pub(crate) cause: Option<String>,
    /// Where.
    pub(crate) place: Option<String>,
    /// Whom it accuses.
    pub(crate) culprits: Vec<Culprit>,
    /// The parts of the target that held it.
    #[serde(default)]
    pub(crate) parts: Vec<Part>,
    /// Part of the blocked time that the resource has, 0..1.
    pub(crate) share: Option<f64>,
    /// 0..1.
    pub(crate) confidence: Option<f64>,
    /// In words.
    pub(crate) sentence: String,
    /// The figures that decided.
    pub(crate) figures: Option<Figures>,
    /// How long the target's requests took.
    #[serde(default)]
    pub(crate) latency: Option<Latency>,
    /// Lines of the report that do not add up, in words.
    #[serde(default)]
    pub(crate) sums: Vec<String>,
}

/// A holder group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Culprit {
    /// Its name.
    pub(crate) comm: String,
    /// All its processes.
    pub(crate) pids: Vec<u64>,
    /// Part of the resource's wait that it is charged with, 0..1.
    pub(crate) share: f64,
}

/// A part of the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its name, title, thread and client.
    pub(crate) words: String,
    /// Part of the resource's wait, 0..1.
    pub(crate) share: f64,
}

/// The figures that are compared with a verdict's thresholds. A positive distance from them speaks for an accusation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Blocked part of active time, which counts as no less than is felt.
    pub(crate) blocked: f64,
    /// The part of the resource's wait that its largest holder outside the target is charged with.
    pub(crate) part: f64,
    /// The part of active time that this holder costs.
    pub(crate) cost: f64,
}

impl Said {
    /// Reads a `tracer.report/1`.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(json).context("tracer's report is not JSON")?;
        let verdict = &report["verdict"];
        let text = |name: &str| verdict[name].as_str().map(str::to_owned);
        let resource = text("resource").context("tracer's report has no verdict.resource")?;
        Ok(Self {
            cause: text("cause"),
            place: text("place"),
            culprits: list(&verdict["culprits"])
                .iter()
                .map(Culprit::read)
                .collect(),
            parts: list(&verdict["self_parts"])
                .iter()
                .map(Part::read)
                .collect(),
            share: verdict["share"].as_f64(),
            confidence: verdict["confidence"].as_f64(),
            sentence: text("sentence").unwrap_or_default(),
            figures: Figures::read(&report, &resource),
            latency: Latency::read(&report["requests"]),
            sums: sums::faults(&report),
            resource,
        })
    }

    /// Without what another build may measure or word otherwise, and still say the same.
    pub(crate) fn verdict(&self) -> Self {
        Self {
            sentence: String::new(),
            latency: None,
            sums: Vec::new(),
            ..self.clone()
        }
    }
}

impl Part {
    fn read(value: &Value) -> Self {
        let words = ["comm", "cmdline", "thread", "client"].map(|name| value[name].as_str());
        let words: Vec<&str> = words.into_iter().flatten().collect();
        Self {
            words: words.join(" "),
            share: value["share"].as_f64().unwrap_or_default(),
        }
    }
}

impl Culprit {
    fn read(value: &Value) -> Self {
        let pids = list(&value["pids"]).iter().chain([&value["pid"]]);
        let mut pids: Vec<_> = pids.filter_map(Value::as_u64).collect();
        pids.sort_unstable();
        pids.dedup();
        Self {
            comm: value["comm"].as_str().unwrap_or_default().to_owned(),
            pids,
            share: value["share"].as_f64().unwrap_or_default(),
        }
    }

    /// Whether any of these processes is among its own.
    pub(crate) fn is(&self, pids: &[u32]) -> bool {
        self.pids
            .iter()
            .any(|&pid| pids.iter().any(|&other| u64::from(other) == pid))
    }
}

impl Figures {
    /// Of the resource of the verdict, or, where that is `none`, of the one with the largest outsider.
    fn read(report: &Value, resource: &str) -> Option<Self> {
        let basis = report["verdict"]["basis"].as_str().unwrap_or("threads");
        let budget = report[basis]["budget_ns"].as_object()?;
        let class = |name: &str| budget.get(name).and_then(Value::as_f64).unwrap_or_default();
        let active: f64 = budget
            .iter()
            .filter(|(name, _)| *name != Class::Idle.name())
            .filter_map(|(_, ns)| ns.as_f64())
            .sum();
        if active == 0.0 {
            return None;
        }
        let active = active.max(least_active_ns(report, basis));
        let blocked = Class::ALL.into_iter().filter(|class| class.is_blocked());
        let blocked_in: Vec<_> = blocked.map(Class::name).collect();
        let blocked = blocked_in.iter().map(|name| class(name)).sum::<f64>() / active;
        let of = |resource: &str| {
            let part = largest_part(report, resource);
            (part, part * class(resource) / active)
        };
        let (part, cost) = if resource == "none" {
            blocked_in
                .iter()
                .map(|name| of(name))
                .fold((0.0, 0.0), |a, b| if b.1 > a.1 { b } else { a })
        } else {
            of(resource)
        };
        Some(Self {
            blocked,
            part,
            cost,
        })
    }

    /// The least of the distances from the thresholds: an accusation needs all of them to be positive.
    pub(crate) fn distance(&self) -> f64 {
        (self.blocked - NOT_HELD_UP)
            .min(self.part - CULPRIT_PART)
            .min(self.cost - CULPRIT_COST)
    }
}

/// Active time counts as this at least. The report does not say how long single waits were: as if they were long.
fn least_active_ns(report: &Value, basis: &str) -> f64 {
    let window_ns = report["window"]["duration_ns"].as_u64().unwrap_or_default();
    let figure = |name: &str| report["requests"][name].as_u64().unwrap_or_default();
    let seen = Seen {
        window_ns,
        requests: (basis == "requests").then(|| figure("count") + figure("open")),
        long_waits_ns: window_ns,
    };
    seen.least_active_ns()
}

/// The largest part of a resource's wait that one process outside the target is charged with. A culprit's group may have more.
fn largest_part(report: &Value, resource: &str) -> f64 {
    let culprit = list(&report["hypotheses"])
        .iter()
        .find(|hypothesis| hypothesis["resource"] == resource);
    if let Some(share) = culprit.and_then(|hypothesis| hypothesis["culprits"][0]["share"].as_f64())
    {
        return share;
    }
    let target = list(&report["target"]["pids"]);
    let (mut all, mut by_pid) = (0.0, std::collections::BTreeMap::<u64, f64>::new());
    for row in list(&report["blame"])
        .iter()
        .filter(|row| row["resource"] == resource)
    {
        let ns = row["ns"].as_f64().unwrap_or_default();
        all += ns;
        if let Some(pid) = row["pid"].as_u64()
            && !target.contains(&row["pid"])
        {
            *by_pid.entry(pid).or_default() += ns;
        }
    }
    all += report["unattributed_ns"][resource]
        .as_f64()
        .unwrap_or_default();
    if all == 0.0 {
        return 0.0;
    }
    by_pid.values().copied().fold(0.0, f64::max) / all
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"target": {"pids": [5]},
        "verdict": {"resource": "none", "basis": "requests", "culprits": [], "sentence": "x"},
        "requests": {"budget_ns": {"on_cpu": 800, "cpu": 200, "idle": 5000}},
        "blame": [{"resource": "cpu", "pid": 5, "ns": 100}, {"resource": "cpu", "pid": 7, "ns": 60},
            {"resource": "cpu", "pid": 7, "ns": 20}],
        "unattributed_ns": {"cpu": 20}}"#;

    #[test]
    fn the_deciding_figures_are_those_of_the_largest_outsider() {
        let figures = Said::parse(REPORT).unwrap().figures.unwrap();
        assert_eq!(
            (figures.blocked, figures.part, figures.cost),
            (0.2, 0.4, 0.08)
        );
        assert!((figures.distance() - 0.03).abs() < 1e-9);
    }

    #[test]
    fn what_nobody_feels_is_far_from_an_accusation() {
        let felt = REPORT.replacen('{', r#"{"window": {"duration_ns": 1000000000}, "#, 1);
        let figures = Said::parse(&felt).unwrap().figures.unwrap();
        // 200 ns of no less than 100 ms.
        assert!((figures.blocked - 2e-6).abs() < 1e-9 && figures.distance() < 0.0);
    }

    #[test]
    fn a_report_without_a_verdict_is_an_error() {
        assert!(Said::parse("{}").is_err());
    }
}
