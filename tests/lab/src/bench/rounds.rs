//! Interleaved runs: without a watcher, with one, without, with another …, in an order of its own in each round.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    process::Stdio,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xtask::command::say;

use super::{
    figures::Series,
    table::{Found, Limit},
    watcher::{Watcher, command, signal},
};
use crate::world::process::{Program, Running};

/// A measurement: a load, its figures and its watchers.
pub(crate) struct Plan {
    /// The load; it runs until it is done.
    pub(crate) load: Program,
    /// Played before each run, watched as the run is, and not counted. It shows a watcher the load, as a server's load is there
    /// before and after somebody looks: what a watcher does only in its first second is over then.
    pub(crate) lead_in: Option<Program>,
    /// The figures of each run.
    pub(crate) figures: &'static [Figure],
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) rounds: u32,
    /// The process that watchers look at, where it is not the load but its server. It has one thread.
    pub(crate) server: Option<u32>,
}

/// One figure of a load.
pub(crate) struct Figure {
    /// The load and its unit: "switch: ns per switch".
    pub(crate) title: &'static str,
    /// Reads it, in nanoseconds.
    pub(crate) read: fn(&Run) -> Result<f64>,
    pub(crate) limits: &'static [Limit],
}

/// One run of a load.
pub(crate) struct Run {
    /// The load's output.
    pub(crate) text: String,
    /// CPU time of the whole machine meanwhile, watchers' readers included.
    pub(crate) cpu_ns: f64,
    /// CPU time of the plan's server meanwhile, where there is one.
    pub(crate) server_ns: Option<f64>,
}

/// Plays the plan; returns the findings for each figure.
pub(crate) fn play(plan: &Plan) -> Result<Vec<Found>> {
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
    let chance = RandomState::new();
    for round in 1..=plan.rounds {
        for row in shuffled(plan.watchers.len(), round, &chance) {
            if absent[row] {
                continue;
            }
            let watcher = &plan.watchers[row];
            let Some((watched, after)) = pair(plan, watcher, unrelated.pid(), round == 1)? else {
                absent[row] = true;
                continue;
            };
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

/// All rows, in an order of its own for each round: what comes with a place in the round is no watcher's cost.
fn shuffled(rows: usize, round: u32, chance: &RandomState) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_cached_key(|row| chance.hash_one((round, *row)));
    order
}

/// The figures of a run under a watcher, and of the run after it. `None`: in the first round a peer did not run.
fn pair(
    plan: &Plan,
    watcher: &Watcher,
    unrelated: u32,
    first: bool,
) -> Result<Option<(Vec<f64>, Vec<f64>)>> {
    let watched = match one(plan, Some(watcher), unrelated) {
        Ok(watched) => watched,
        // A peer may need what this kernel lacks; tracer may not.
        Err(error) if first && !watcher.is_tracer() => {
            say(&format!("left out: {error:#}"));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    Ok(Some((watched, one(plan, None, unrelated)?)))
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
    let load = held(&plan.load)?;
    let watching = watcher
        .map(|watcher| {
            watcher
                .start(unrelated, plan.server.unwrap_or(load.pid()))
                .with_context(|| format!("could not start {}", watcher.name))
        })
        .transpose()?;
    if let Some(lead_in) = &plan.lead_in {
        lead_in.start(Stdio::piped())?.output()?;
    }
    let server_ns = || plan.server.map(on_cpu_ns).transpose();
    let (before, server_before) = (busy_ns()?, server_ns()?);
    signal(load.pid(), libc::SIGCONT);
    let text = load.output()?;
    let run = Run {
        text,
        cpu_ns: busy_ns()? - before,
        server_ns: server_ns()?
            .zip(server_before)
            .map(|(after, before)| after - before),
    };
    if let Some(watching) = watching {
        let ended = watching.end();
        // A watcher of the load itself may have ended with it. One of a server has not: it would have cost nothing.
        if plan.server.is_some() {
            ended.with_context(|| format!("{} did not watch to the end", name(watcher)))?;
        }
    }
    let read = plan.figures.iter().map(|figure| (figure.read)(&run));
    let figures = read.collect::<Result<Vec<_>>>()?;
    for figure in &figures {
        say(&format!("{figure:>8.0} ns watched by {}", name(watcher)));
    }
    Ok(figures)
}

fn name(watcher: Option<&Watcher>) -> &str {
    watcher.map_or("nobody", |watcher| &watcher.name)
}

/// The load, started, and stopped before its work.
fn held(load: &Program) -> Result<Running> {
    let mut held = load.clone();
    let mut words: Vec<_> = ["sh", "-c", "kill -STOP $$; exec \"$@\"", "load"]
        .map(Into::into)
        .to_vec();
    words.append(&mut held.words);
    held.words = words;
    let load = held.start(Stdio::piped())?;
    stopped(load.pid())?;
    Ok(load)
}

/// CPU time of a process with one thread, in user and kernel mode, ns: the scheduler's own sum, field 1 of `/proc/PID/schedstat`.
/// It lacks what is still running, and a server that waits for requests is not.
fn on_cpu_ns(pid: u32) -> Result<f64> {
    let file = format!("/proc/{pid}/schedstat");
    let text = fs::read_to_string(&file).with_context(|| format!("could not read {file}"))?;
    first_number(&text).with_context(|| format!("{file} says {text:?}"))
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Time of all CPUs together, neither idle nor stolen, ns since some point. It follows from the idle time, which the kernel
/// measures; the kernel only samples the rest.
fn busy_ns() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let (cpus, not_busy) = idle_of(&text).with_context(|| format!("no CPU in {text:?}"))?;
    Ok(cpus * now_ns() - not_busy * TICK_NS)
}

/// Nanoseconds since the first call.
fn now_ns() -> f64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed().as_nanos() as f64
}

/// The unit of `/proc/stat` (`USER_HZ`).
const TICK_NS: f64 = 1e7;

/// Online CPUs, and how long they were idle, waited for a disk, or were stolen, together.
fn idle_of(text: &str) -> Option<(f64, f64)> {
    let mut lines = text.lines().filter(|line| line.starts_with("cpu"));
    let all: Vec<f64> = lines
        .next()?
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let cpus = lines.count();
    (cpus > 0).then_some((cpus as f64, all.get(3)? + all.get(4)? + all.get(7)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_on_a_cpu_stands_in_front_of_the_time_in_its_queue() {
        assert_eq!(first_number("1213993 133300 2\n"), Some(1_213_993.0));
        assert_eq!(first_number(""), None);
    }

    #[test]
    fn each_round_has_every_row_once_and_rounds_have_other_orders() {
        let chance = RandomState::new();
        let orders: Vec<_> = (0..40).map(|round| shuffled(6, round, &chance)).collect();
        for order in &orders {
            let mut rows = order.clone();
            rows.sort_unstable();
            assert_eq!(rows, [0, 1, 2, 3, 4, 5]);
        }
        assert!(orders.iter().any(|order| *order != orders[0]));
    }

    #[test]
    fn idle_time_is_that_of_all_cpus() {
        let text = "cpu  1 2 3 100 20 4 5 3 0 0\ncpu0 1 1 1 50 10 2 2 1 0 0\ncpu1 0 1 2 50 10 2 3 2 0 0\nintr 5\n";
        assert_eq!(idle_of(text), Some((2.0, 123.0)));
        assert_eq!(idle_of("intr 5\n"), None);
    }
}
