//! Interleaved runs: without a watcher, with the first, without, with the second …, again and again.

use std::{fs, process::Stdio, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    figures::Series,
    watcher::{Watcher, command, signal},
};
use crate::{command::say, world::process::Program};

/// What is measured: a load, its figure, and who watches.
pub struct Plan {
    /// The load; it runs until it is done.
    pub load: Program,
    /// The figure (nanoseconds per event) in what the load printed.
    pub figure: fn(&str) -> Result<f64>,
    pub watchers: Vec<Watcher>,
    pub rounds: u32,
}

/// Plays the plan; a series for each watcher, in their order.
pub fn play(plan: &Plan) -> Result<(Vec<Series>, Vec<f64>)> {
    let unrelated = command(&["sleep", "1000000"]).start(Stdio::null())?;
    let mut all: Vec<Series> = plan.watchers.iter().map(|_| Series::default()).collect();
    let mut bare = Vec::new();
    // The first run of a load warms caches up and is not counted.
    one(plan, None, unrelated.pid())?;
    let mut before = one(plan, None, unrelated.pid())?;
    for round in 1..=plan.rounds {
        for (watcher, series) in plan.watchers.iter().zip(&mut all) {
            if round > 1 && series.watched.is_empty() {
                continue;
            }
            let watched = match one(plan, Some(watcher), unrelated.pid()) {
                Ok(watched) => watched,
                // A peer may need what this kernel lacks; tracer may not.
                Err(error) if !watcher.is_tracer() && round == 1 => {
                    say(&format!("left out: {error:#}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let after = one(plan, None, unrelated.pid())?;
            series.watched.push(watched);
            series.bare.push(f64::midpoint(before, after));
            bare.push(before);
            before = after;
        }
        say(&format!("round {round} of {}", plan.rounds));
    }
    bare.push(before);
    Ok((all, bare))
}

/// One run. The load's process exists before the watcher attaches to it, and starts its work afterwards.
fn one(plan: &Plan, watcher: Option<&Watcher>, unrelated: u32) -> Result<f64> {
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
                .start(unrelated, load.pid())
                .with_context(|| format!("could not start {}", watcher.name))
        })
        .transpose()?;
    signal(load.pid(), libc::SIGCONT);
    let text = load.output()?;
    if let Some(watching) = watching {
        // A watcher of the load itself may have ended with it.
        let _ended = watching.end();
    }
    let figure = (plan.figure)(&text)?;
    let name = watcher.map_or("nobody", |watcher| &watcher.name);
    say(&format!("{figure:>8.0} ns watched by {name}"));
    Ok(figure)
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
