//! Compares what tracer says with what the scene did.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::scene::Scene;

/// What tracer's report says, as far as it is judged or shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// `disk`, `network`, `cpu`, …, `none`.
    pub resource: String,
    /// Whom it accuses first.
    pub culprit: Option<Culprit>,
    /// Part of the blocked time that the resource has, 0..1.
    pub share: Option<f64>,
    /// 0..1.
    pub confidence: Option<f64>,
}

/// A holder group.
#[derive(Debug, Clone, PartialEq)]
pub struct Culprit {
    /// Its name.
    pub comm: String,
    /// All its processes.
    pub pids: Vec<u64>,
    /// Part of the resource's wait that it is charged with, 0..1.
    pub share: Option<f64>,
}

/// Whether a run counts.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// Resource and culprit are those of the scene.
    Right,
    /// They are not, or there is no verdict; with the reason.
    Wrong(String),
    /// The backup did not slow the server: there was nothing to find.
    Void,
    /// Tracer was not asked.
    NotAsked,
}

impl Verdict {
    /// Reads a `tracer.report/1`.
    pub fn parse(json: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(json).context("tracer's report is not JSON")?;
        let verdict = &report["verdict"];
        let resource = verdict["resource"]
            .as_str()
            .context("tracer's report has no verdict.resource")?;
        Ok(Self {
            resource: resource.to_owned(),
            culprit: verdict["culprits"].get(0).map(Culprit::read),
            share: verdict["share"].as_f64(),
            confidence: verdict["confidence"].as_f64(),
        })
    }
}

impl Culprit {
    fn read(value: &Value) -> Self {
        let list = value["pids"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        Self {
            comm: value["comm"].as_str().unwrap_or_default().to_owned(),
            pids: list
                .iter()
                .chain([&value["pid"]])
                .filter_map(Value::as_u64)
                .collect(),
            share: value["share"].as_f64(),
        }
    }
}

/// Judges; `suspects` are the processes of the backup.
pub fn judge(verdict: &Verdict, scene: Scene, suspects: &[u32]) -> Judgement {
    if verdict.resource != scene.name() {
        return Judgement::Wrong(format!("the resource is {}", scene.name()));
    }
    let Some(culprit) = &verdict.culprit else {
        return Judgement::Wrong("nobody is accused".to_owned());
    };
    if !culprit
        .pids
        .iter()
        .any(|&pid| suspects.iter().any(|&suspect| u64::from(suspect) == pid))
    {
        return Judgement::Wrong(format!(
            "the backup is pid {}",
            suspects.first().copied().unwrap_or_default()
        ));
    }
    Judgement::Right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(resource: &str, culprits: &str) -> Verdict {
        let json = format!(
            r#"{{"verdict": {{"resource": "{resource}", "culprits": {culprits}, "share": 0.9, "confidence": 0.8}}}}"#
        );
        Verdict::parse(&json).unwrap()
    }

    #[test]
    fn the_right_resource_with_the_backup_is_right() {
        let said = verdict(
            "disk",
            r#"[{"pid": 7, "comm": "demo-backup", "share": 0.8, "pids": [7]}]"#,
        );
        assert_eq!(judge(&said, Scene::Disk, &[7]), Judgement::Right);
    }

    #[test]
    fn a_process_of_the_backups_group_is_the_backup() {
        let said = verdict("cpu", r#"[{"pid": 9, "comm": "gzip", "pids": [9, 10]}]"#);
        assert_eq!(judge(&said, Scene::Cpu, &[8, 10]), Judgement::Right);
    }

    #[test]
    fn another_resource_is_wrong_whoever_is_accused() {
        let said = verdict("cpu", r#"[{"pid": 7, "comm": "demo-backup"}]"#);
        assert!(matches!(
            judge(&said, Scene::Disk, &[7]),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn another_first_culprit_is_wrong() {
        let said = verdict(
            "disk",
            r#"[{"pid": 1, "comm": "kworker"}, {"pid": 7, "comm": "demo-backup"}]"#,
        );
        assert!(matches!(
            judge(&said, Scene::Disk, &[7]),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn nobody_accused_is_wrong() {
        assert!(matches!(
            judge(&verdict("disk", "[]"), Scene::Disk, &[7]),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn a_report_without_a_verdict_is_an_error() {
        assert!(Verdict::parse("{}").is_err());
    }
}
