//! Interleaved runs: without a watcher, with the first, without, with the second …, again and again.

use std::{fs, process::Stdio, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    figures::Series,
    table::{Found, Limit},
    watcher::{Watcher, command, signal},
};
use crate::{command::say, world::process::Program};

/// What is measured: a load, its figures, and who watches.
pub struct Plan {
    /// The load; it runs until it is done.
    pub load: Program,
    /// What each run of it tells.
    pub figures: &'static [Figure],
    pub watchers: Vec<Watcher>,
    pub rounds: u32,
    /// The process that watchers are told to look at, where that is not the load but who serves it.
    pub server: Option<u32>,
}

/// One figure of a load.
pub struct Figure {
    /// The load and its unit: "switch: ns per switch".
    pub title: &'static str,
    /// Reads it, in nanoseconds, in what the load printed.
    pub read: fn(&str) -> Result<f64>,
    pub limits: &'static [Limit],
}

/// Plays the plan; what was found for each figure.
pub fn play(plan: &Plan) -> Result<Vec<Found>> {
    let unrelated = command(&["sleep", "1000000"]).start(Stdio::null())?;
    let mut all: Vec<Found> = plan
        .figures
        .iter()
        .map(|figure| empty(plan, figure))
        .collect();
    // The first run of a load warms caches up and is not counted.
    one(plan, None, unrelated.pid())?;
    let mut before = one(plan, None, unrelated.pid())?;
    let mut absent = vec![false; plan.watchers.len()];
    for round in 1..=plan.rounds {
        for (row, watcher) in plan.watchers.iter().enumerate() {
            if absent[row] {
                continue;
            }
            let watched = match one(plan, Some(watcher), unrelated.pid()) {
                Ok(watched) => watched,
                // A peer may need what this kernel lacks; tracer may not.
                Err(error) if !watcher.is_tracer() && round == 1 => {
                    say(&format!("left out: {error:#}"));
                    absent[row] = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let after = one(plan, None, unrelated.pid())?;
            for (number, found) in all.iter_mut().enumerate() {
                let series = &mut found.rows[row].1;
                series.watched.push(watched[number]);
                series
                    .bare
                    .push(f64::midpoint(before[number], after[number]));
                found.bare.push(before[number]);
            }
            before = after;
        }
        say(&format!("round {round} of {}", plan.rounds));
    }
    Ok(all)
}

fn empty(plan: &Plan, figure: &Figure) -> Found {
    let rows = plan.watchers.iter().cloned();
    Found {
        title: figure.title,
        bare: Vec::new(),
        rows: rows.map(|watcher| (watcher, Series::default())).collect(),
        limits: figure.limits,
    }
}

/// One run. The load's process exists before the watcher attaches to it, and starts its work afterwards.
fn one(plan: &Plan, watcher: Option<&Watcher>, unrelated: u32) -> Result<Vec<f64>> {
    let mut held = plan.load.clone();
    let mut words: Vec<_> = ["sh", "-c", "kill -STOP $$; exec \"$@\"", "load"]
        .map(Into::into)
        .to_vec();
    words.append(&mut held.words);
    held.words = words;
    let load = held.start(Stdio::piped())?;
    stopped(load.pid())?;
    let watching = watcher
        .map(|watcher| {
            watcher
                .start(unrelated, plan.server.unwrap_or(load.pid()))
                .with_context(|| format!("could not start {}", watcher.name))
        })
        .transpose()?;
    signal(load.pid(), libc::SIGCONT);
    let text = load.output()?;
    if let Some(watching) = watching {
        // A watcher of the load itself may have ended with it.
        let _ended = watching.end();
    }
    let read = plan.figures.iter().map(|figure| (figure.read)(&text));
    let figures = read.collect::<Result<Vec<_>>>()?;
    let name = watcher.map_or("nobody", |watcher| &watcher.name);
    for figure in &figures {
        say(&format!("{figure:>8.0} ns watched by {name}"));
    }
    Ok(figures)
}

fn stopped(pid: u32) -> Result<()> {
    for _ in 0..500 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        if stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" T"))
        {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    ensure!(false, "a load did not stop before its work");
    Ok(())
}
