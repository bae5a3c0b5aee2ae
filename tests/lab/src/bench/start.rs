//! Start and memory: how long tracer takes to attach, and how much memory it holds. Both alone, in a crowd, and in crowds that
//! grow.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask::command::say;

use super::{
    Report,
    block::MEMORY,
    crowd::Crowd,
    figures::{Summary, by_name, json_in, summary},
    watcher::{command, tracer},
};
use crate::world::{Room, ledger};

/// Crowds as on a busy server.
const BUSY: &[Row] = &[
    Row::short(Crowd::Nobody),
    Row::short(Crowd::Processes(2_000)),
    Row::short(Crowd::Threads(2_000)),
];
/// Crowds that grow in steps, to show a slope.
const GROWING: &[Row] = &[
    Row::short(Crowd::Nobody),
    Row::short(Crowd::Processes(1_000)),
    Row::short(Crowd::Processes(5_000)),
    Row::short(Crowd::Processes(10_000)),
    Row::short(Crowd::Threads(10_000)),
    Row::short(Crowd::Threads(50_000)),
    Row::short(Crowd::Sockets(5_000)),
    Row::short(Crowd::Sockets(20_000)),
    Row::short(Crowd::Disks(8)),
    Row::short(Crowd::Disks(32)),
    Row {
        crowd: Crowd::Forks(1_000),
        window: "5s",
    },
    Row {
        crowd: Crowd::Forks(1_000),
        window: "20s",
    },
];

/// The figures of each report: the promise, the limit of `--short`, and how to show them.
const FIGURES: &[Figure] = &[
    Figure {
        name: "attach_ns",
        target: Some(100e6),
        fails: None,
        unit: 1e6,
        what: "ms to attach",
    },
    Figure {
        name: "rss_bytes",
        target: Some(25e6),
        fails: Some(40e6),
        unit: 1e6,
        what: "MB resident",
    },
    Figure {
        name: "maps_bytes",
        target: Some(32e6),
        fails: Some(32e6),
        unit: 1e6,
        what: "MB of maps",
    },
    Figure {
        name: "cpu_ns",
        target: None,
        fails: None,
        unit: 1e6,
        what: "ms of CPU",
    },
];

struct Row {
    crowd: Crowd,
    /// How long tracer traces.
    window: &'static str,
}

impl Row {
    const fn short(crowd: Crowd) -> Self {
        Self {
            crowd,
            window: "500ms",
        }
    }
}

struct Figure {
    name: &'static str,
    target: Option<f64>,
    /// The limit of `--short`, for figures that do not depend on the machine's speed.
    fails: Option<f64>,
    unit: f64,
    what: &'static str,
}

/// Measures alone, among many processes, and among many threads.
pub(crate) fn run(rounds: u32) -> Result<Report> {
    table("start and memory", BUSY, rounds)
}

/// Measures in crowds that grow.
pub(crate) fn growth(rounds: u32) -> Result<Report> {
    table("growth", GROWING, rounds)
}

fn table(title: &str, rows: &[Row], rounds: u32) -> Result<Report> {
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let alone = command(&["sleep", "1000000"]).start(Stdio::null())?;
    let mut found = Vec::new();
    for row in rows {
        let name = format!("{}, {}", row.crowd.name(), row.window);
        say(&format!("{title}: {name} …"));
        let there =
            |target: Option<u32>| measured(target.unwrap_or(alone.pid()), row.window, rounds);
        found.push((name, row.crowd.around(&room, there)?));
    }
    ledger::undo(mark)?;
    Ok(Report {
        text: text(title, rounds, &found),
        json: json(title, &found),
        faults: faults(title, &found),
    })
}

/// Tracer's figures in the reports of a few short traces, in the order of [`FIGURES`].
fn measured(target: u32, window: &str, rounds: u32) -> Result<Vec<Summary>> {
    let mut all = vec![Vec::new(); FIGURES.len()];
    for _ in 0..rounds {
        let pid = target.to_string();
        let words = [
            "attach",
            "--duration",
            window,
            "--output",
            "json",
            "--pid",
            &pid,
        ];
        let report = json_in(&tracer(&words).start(Stdio::piped())?.output()?)?;
        for (figure, figures) in FIGURES.iter().zip(&mut all) {
            let found = report["tracer"][figure.name].as_f64();
            figures.push(found.with_context(|| format!("the report has no {}", figure.name))?);
        }
    }
    all.iter()
        .map(|figures| summary(figures).context("no runs"))
        .collect()
}

/// With the quartiles of the attach time alone: the others hardly vary.
fn text(title: &str, rounds: u32, rows: &[(String, Vec<Summary>)]) -> String {
    let mut text = format!("\n{title} (medians of {rounds})\n{:<38}", "");
    for figure in FIGURES {
        text += &format!("{:>14}", figure.what);
    }
    text += &format!("{:>20}\n{:<38}", "quartiles of attach", "target");
    for figure in FIGURES {
        let target = figure.target.map_or(String::new(), |target| {
            format!("{:.0}", target / figure.unit)
        });
        text += &format!("{target:>14}");
    }
    for (name, found) in rows {
        text += &format!("\n{name:<38}");
        for (figure, found) in FIGURES.iter().zip(found) {
            text += &format!("{:>14.1}", found.median / figure.unit);
        }
        let quartiles = format!("{:.0} … {:.0}", found[0].low / 1e6, found[0].high / 1e6);
        text += &format!("{quartiles:>20}");
    }
    text + "\n"
}

fn faults(title: &str, rows: &[(String, Vec<Summary>)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, found) in rows {
        for (figure, found) in FIGURES.iter().zip(found) {
            if let Some(limit) = figure.fails.filter(|limit| found.median > *limit) {
                let (found, limit) = (found.median / figure.unit, limit / figure.unit);
                let what = figure.what;
                faults.push(format!(
                    "{title}, {name}: {found:.1} {what}, limit {limit:.0}"
                ));
            }
        }
    }
    faults
}

fn json(title: &str, rows: &[(String, Vec<Summary>)]) -> Value {
    let rows = rows.iter().map(|(name, found)| {
        let names = FIGURES.iter().map(|figure| figure.name);
        json!({"crowd": name, "figures": by_name(names, found)})
    });
    json!({"title": title, "rows": rows.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_beyond_its_limit_is_a_fault_and_a_slow_machine_is_none() {
        let all = |figure| Summary {
            median: figure,
            low: figure,
            high: figure,
        };
        let rows = |rss| {
            vec![(
                "alone".to_owned(),
                vec![all(1e12), all(rss), all(1.0), all(1.0)],
            )]
        };
        assert!(faults("start", &rows(39e6)).is_empty());
        assert_eq!(faults("start", &rows(41e6)).len(), 1);
    }
}
