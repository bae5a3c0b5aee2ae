//! Checks against the kernel's own counters and against constructed truth, for this machine's tests and for guests alike.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    busy::Args,
    harness::{Busy, SchedStat, Trace, difference, figure},
};

/// The kernel's figures and the tracer's, ns.
#[derive(Clone, Copy, Debug)]
pub struct Sched {
    /// `schedstat` field 2, and the run-queue histograms' sum.
    pub run_queue_ns: (u64, u64),
    /// `schedstat` field 1, and the threads' budget.
    pub on_cpu_ns: (u64, u64),
    /// Sum of the budget and what is unaccounted, and the threads' wall time.
    pub wall_ns: (u64, u64),
}

impl std::fmt::Display for Sched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, (a, b)) in [
            ("run_queue", self.run_queue_ns),
            ("on_cpu", self.on_cpu_ns),
            ("wall", self.wall_ns),
        ] {
            write!(
                f,
                "{name}: {a} ns and {b} ns, {:.4} % apart; ",
                100.0 * difference(a, b)
            )?;
        }
        Ok(())
    }
}

impl Sched {
    /// The report's figures of these processes, beside the kernel's.
    ///
    /// # Errors
    /// If the report lacks a figure.
    pub fn compare(kernel: SchedStat, report: &Value, pids: &[u32]) -> Result<Self> {
        let budget = report
            .pointer("/threads/budget_ns")
            .and_then(Value::as_object)
            .context("no budget")?;
        let spent: u64 = budget.values().filter_map(Value::as_u64).sum();
        let run_queue = pids.iter().map(|pid| run_queue(report, *pid)).sum();
        Ok(Self {
            run_queue_ns: (kernel.run_queue_ns, run_queue),
            on_cpu_ns: (
                kernel.on_cpu_ns,
                figure(report, "/threads/budget_ns/on_cpu")?,
            ),
            wall_ns: (
                spent + figure(report, "/threads/unaccounted_ns")?,
                figure(report, "/threads/wall_ns")?,
            ),
        })
    }

    /// Fails when the tracer and the kernel are further apart than the tracer promises.
    ///
    /// # Errors
    /// If they are.
    pub fn check(&self) -> Result<()> {
        for (name, (ours, kernel), allowed) in [
            ("run_queue", self.run_queue_ns, 0.001),
            ("on_cpu", self.on_cpu_ns, 0.005),
            ("wall", self.wall_ns, 0.001),
        ] {
            ensure!(
                difference(ours, kernel) <= allowed,
                "{name} differs by more than {} %: {self}",
                100.0 * allowed
            );
        }
        Ok(())
    }
}

/// Compares a contended process with its `schedstat`: completed waits, threads alive at both ends. Without `cpu`, target and hogs
/// move between CPUs.
///
/// # Errors
/// If the tracer or the workload fails.
pub fn sched(program: &Path, cpu: Option<usize>, for_ms: u64) -> Result<Sched> {
    let of = |threads, hog| Args {
        threads,
        cpu,
        for_ms,
        hog,
    };
    let mut target = Busy::start(program, &of(3, false))?;
    let mut other = Busy::start(program, &of(2, true))?;
    let pid = target.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"])?;
    let before = SchedStat::of(target.pid())?;
    other.go()?;
    target.go()?;
    target.done()?;
    other.done()?;
    let kernel = SchedStat::of(target.pid())?.since(before);
    let report = trace.stop()?.json()?;
    Sched::compare(kernel, &report, &[target.pid()])
}

/// Sum of a process's run-queue histogram.
fn run_queue(report: &Value, pid: u32) -> u64 {
    let histograms = report["histograms"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let own = histograms
        .iter()
        .filter(|histogram| histogram["pid"] == pid && histogram["family"] == "run_queue");
    own.filter_map(|histogram| histogram["sum_ns"].as_u64())
        .sum()
}

/// One server-like process and one hog on a CPU: the verdict must name the hog.
///
/// # Errors
/// If the tracer or a workload fails, or the verdict is another.
pub fn cpu_scene(program: &Path, for_ms: u64) -> Result<String> {
    let of = |hog| Args {
        threads: 1,
        cpu: Some(last_cpu()),
        for_ms,
        hog,
    };
    let mut server = Busy::start(program, &of(false))?;
    let mut hog = Busy::start(program, &of(true))?;
    let pid = server.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"])?;
    hog.go()?;
    server.go()?;
    server.done()?;
    let report = trace.stop()?.json()?;
    let verdict = &report["verdict"];
    let sentence = verdict["sentence"].as_str().unwrap_or_default().to_owned();
    ensure!(
        verdict["resource"] == "cpu",
        "the resource is {}: {sentence}",
        verdict["resource"]
    );
    let accused = &verdict["culprits"][0]["pid"];
    ensure!(
        *accused == hog.pid(),
        "accused is {accused}, not {}: {sentence}",
        hog.pid()
    );
    Ok(sentence)
}

/// The last CPU: the first one has most of the interrupts.
#[must_use]
pub fn last_cpu() -> usize {
    std::thread::available_parallelism().map_or(0, |cpus| cpus.get() - 1)
}
