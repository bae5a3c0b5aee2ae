//! The first remedy of a verdict, applied: does it help?

use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    latency::Latency,
    world::{
        ledger,
        made::Made,
        process::{Program, Running},
    },
};

/// The effect of a remedy.
pub(crate) struct Remedied {
    /// The command that was run.
    pub(crate) command: String,
    /// The client's figures afterwards.
    pub(crate) latency: Latency,
}

/// The command of the first remedy in a report that applies on this machine.
pub(crate) fn first(report: &str) -> Result<Option<String>> {
    let report: Value = serde_json::from_str(report).context("tracer's report is not JSON")?;
    let remedies = report["verdict"]["remedies"].as_array();
    let applies = |remedy: &&Value| remedy["applies"] == true;
    let first = remedies.and_then(|remedies| remedies.iter().find(applies));
    Ok(first.and_then(|remedy| Some(remedy["command"].as_str()?.to_owned())))
}

/// Runs it as root, among the scene's programs, so that what it leaves running ends with them. A control group that it makes is removed
/// with everything else.
pub(crate) fn apply(command: &str, beside: &Program) -> Result<()> {
    let shell = Program {
        words: ["sh", "-c", command].map(Into::into).to_vec(),
        netns: None,
        cpus: None,
        ..beside.clone()
    };
    let running: Running = match group(command) {
        Some(path) => ledger::make(Made::Cgroup(path.into()), || shell.start(Stdio::piped()))?,
        None => shell.start(Stdio::piped())?,
    };
    running.output().map(drop)
}

/// The control group that a command makes.
fn group(command: &str) -> Option<&str> {
    let path = command
        .strip_prefix("mkdir -p ")?
        .split_whitespace()
        .next()?;
    path.starts_with("/sys/fs/cgroup/").then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_remedy_that_applies_is_taken() {
        let report = r#"{"verdict": {"remedies": [{"command": "a", "applies": false}, {"command": "b", "applies": true}]}}"#;
        assert_eq!(first(report).unwrap().as_deref(), Some("b"));
        assert_eq!(first(r#"{"verdict": {"remedies": []}}"#).unwrap(), None);
    }

    #[test]
    fn a_group_that_a_remedy_makes_is_known() {
        assert_eq!(
            group("mkdir -p /sys/fs/cgroup/cpu/tracer-7 && echo 102 > x"),
            Some("/sys/fs/cgroup/cpu/tracer-7")
        );
        assert_eq!(group("renice -n 19 -p 7"), None);
        assert_eq!(group("mkdir -p /tmp/x"), None);
    }
}
