//! Start and memory: how long tracer takes until it has attached, and what it holds, alone and in a crowd.

use std::{process::Stdio, sync::mpsc, thread, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Report,
    figures::{Summary, summary},
    watcher::{command, tracer},
};
use crate::command::say;

/// Processes and threads of a crowd: what a busy server has.
const CROWD: usize = 2000;
/// Enough for a thread that only waits.
const STACK: usize = 64 << 10;
/// How long a crowd may take to come to rest.
const REST: Duration = Duration::from_secs(3);

/// What is read from each report, its promise, and how it is shown.
const FIGURES: &[(&str, f64, f64, &str)] = &[
    ("attach_ns", 100e6, 1e6, "ms until attached"),
    ("rss_bytes", 25e6, 1e6, "MB resident"),
    ("maps_bytes", 32e6, 1e6, "MB of maps"),
];

/// Measures alone, among many processes, and among many threads.
pub fn run(rounds: u32) -> Result<Report> {
    let target = command(&["sleep", "1000000"]).start(Stdio::null())?;
    let mut rows = vec![("alone", measured(target.pid(), rounds)?)];
    {
        let script = format!("for i in $(seq {CROWD}); do sleep 1000000 & done; wait");
        let _crowd = command(&["sh", "-c", &script]).start(Stdio::null())?;
        thread::sleep(REST);
        rows.push(("2,000 processes", measured(target.pid(), rounds)?));
    }
    let threads = Threads::start()?;
    rows.push(("2,000 threads", measured(target.pid(), rounds)?));
    threads.end();
    Ok(Report {
        text: text(&rows),
        json: json(&rows),
        faults: Vec::new(),
    })
}

/// A crowd of threads of this process; each ends when its sender is dropped.
#[derive(Default)]
struct Threads {
    ends: Vec<mpsc::Sender<()>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Threads {
    fn start() -> Result<Self> {
        let mut all = Self::default();
        for _ in 0..CROWD {
            let (end, ended) = mpsc::channel();
            all.ends.push(end);
            let thread = thread::Builder::new()
                .stack_size(STACK)
                .spawn(move || {
                    let _ended = ended.recv();
                })
                .context("could not start a crowd of threads")?;
            all.threads.push(thread);
        }
        Ok(all)
    }

    fn end(self) {
        drop(self.ends);
        for thread in self.threads {
            let _ended = thread.join();
        }
    }
}

/// What the reports of a few short traces say of tracer, in the order of [`FIGURES`].
fn measured(target: u32, rounds: u32) -> Result<Vec<Summary>> {
    let mut all = vec![Vec::new(); FIGURES.len()];
    for _ in 0..rounds {
        let pid = target.to_string();
        let words = [
            "attach",
            "--duration",
            "500ms",
            "--output",
            "json",
            "--pid",
            &pid,
        ];
        let text = tracer(&words).start(Stdio::piped())?.output()?;
        let report: Value = serde_json::from_str(&text).context("the report is no JSON")?;
        for ((name, ..), figures) in FIGURES.iter().zip(&mut all) {
            let figure = report["tracer"][name].as_f64();
            figures.push(figure.with_context(|| format!("the report has no {name}"))?);
        }
    }
    say("measured a start");
    all.iter()
        .map(|figures| summary(figures).context("no runs"))
        .collect()
}

fn text(rows: &[(&str, Vec<Summary>)]) -> String {
    let mut text = "\nstart and memory (medians)\n".to_owned();
    for (name, summaries) in rows {
        for ((_, target, unit, what), found) in FIGURES.iter().zip(summaries) {
            text += &format!(
                "{name:<20}{:>10.1} {what} (quartiles {:.1} … {:.1}, target {:.0})\n",
                found.median / unit,
                found.low / unit,
                found.high / unit,
                target / unit
            );
        }
    }
    text
}

fn json(rows: &[(&str, Vec<Summary>)]) -> Value {
    let rows = rows.iter().map(|(name, summaries)| {
        let figures = FIGURES.iter().zip(summaries);
        let found: serde_json::Map<_, _> = figures
            .map(|((name, ..), found)| ((*name).to_owned(), json!(found)))
            .collect();
        json!({"crowd": name, "figures": found})
    });
    json!({"title": "start and memory", "rows": rows.collect::<Vec<_>>()})
}
