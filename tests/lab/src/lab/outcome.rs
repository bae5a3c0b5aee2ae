//! The outcome of a run: the truth, the measured figures, tracer's verdict. It is written beside the recording, so that the same
//! recording can be judged again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::compared::Compared;
use crate::{latency::Latency, said::Said};

/// One run of a scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The run's number, from 1.
    pub(crate) run: u32,
    /// The truth.
    pub(crate) label: Label,
    /// The client's figures before the backups began.
    pub(crate) without: Option<Latency>,
    /// While they ran.
    pub(crate) with: Option<Latency>,
    /// What of that tracer's times of requests are compared with.
    #[serde(default)]
    pub(crate) compared: Compared,
    /// The kernel's counters while tracer watched.
    pub(crate) measured: Vec<Measured>,
    /// Why it does not count: the physics did not happen.
    pub(crate) void: Option<String>,
    /// Tracer's verdict, if it was asked and answered.
    pub(crate) said: Option<Said>,
    /// Why tracer said nothing.
    pub(crate) failed: Option<String>,
}

/// The truth of a run: the guilty, and the resource that they hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// The resource that the guilty hold; none where nobody is guilty.
    pub(crate) resource: Option<String>,
    /// Words of the part of the server that holds it, where the server itself does.
    #[serde(default)]
    pub(crate) part: Option<String>,
    /// Whom the server waits for, where he is to be named.
    #[serde(default)]
    pub(crate) asked: Option<Asked>,
    /// The backups.
    pub(crate) backups: Vec<Suspect>,
}

/// Somebody who is asked, and is no backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// His processes; none where he is elsewhere.
    pub(crate) pids: Vec<u32>,
    /// The address by which he may be named instead.
    pub(crate) address: Option<String>,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Suspect {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is to be accused.
    pub(crate) guilty: bool,
    /// Whether it may be accused although it need not be.
    #[serde(default)]
    pub(crate) excused: bool,
    /// Its processes, those of the window that have ended included.
    pub(crate) pids: Vec<u32>,
    /// Its part of what all guilty backups used, 0..1, where that was counted.
    pub(crate) share: Option<f64>,
}

/// A counter's growth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The name of the count, with its unit.
    pub(crate) what: String,
    /// Growth per second.
    pub(crate) per_second: f64,
    /// The least that proves the physics.
    pub(crate) least: f64,
    /// The most; none where there is no bound.
    pub(crate) most: Option<f64>,
}

impl Measured {
    /// Whether the physics happened.
    pub(crate) fn holds(&self) -> bool {
        self.per_second >= self.least && self.most.is_none_or(|most| self.per_second <= most)
    }
}

impl Outcome {
    /// The file of this run in a directory, with an extension.
    pub(crate) fn file(&self, dir: &Path, extension: &str) -> PathBuf {
        dir.join(format!("{}-{}.{extension}", self.scenario, self.run))
    }

    /// Writes it beside the recording.
    pub(crate) fn keep(&self, dir: &Path) -> Result<()> {
        let file = self.file(dir, LABEL);
        let text =
            serde_json::to_string_pretty(self).context("could not write an outcome as JSON")?;
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))
    }
}

/// How the names of files with outcomes end.
const LABEL: &str = "label.json";

/// All outcomes that were kept in a directory, by name.
pub(crate) fn kept(dir: &Path) -> Result<Vec<Outcome>> {
    let listing = || format!("could not list {}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        if path.to_string_lossy().ends_with(&format!(".{LABEL}")) {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let reading = || format!("could not read {}", path.display());
        let text = fs::read_to_string(&path).with_context(reading)?;
        serde_json::from_str(&text).with_context(reading)
    };
    files.into_iter().map(read).collect()
}
