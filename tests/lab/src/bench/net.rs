//! The network path: a bulk stream over the loopback.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{
    figures::json_in,
    rounds::{Figure, Plan, play},
    table::{Found, Limit, To},
    watcher::{Target, Watcher, rows},
};
use crate::world::{Room, ledger, process::usable_cpus};

/// Files in memory, so that nothing waits for a disk.
const MEMORY: &str = "/dev/shm";
/// Size of a stream, MiB: about a second's worth.
const STREAM_MIB: u32 = 2_000;
/// Also those of a web server at full speed.
pub(super) const WATCHERS: &[Watcher] = &[
    Watcher::peer("tcprtt", &[&["tcprtt"]], Target::All, false),
    Watcher::peer("tcptop", &[&["tcptop"]], Target::All, false),
    Watcher::peer("tcplife", &[&["tcplife"]], Target::All, false),
    Watcher::peer(
        "runqlat + offcputime, itself",
        &[&["runqlat", "-p"], &["offcputime", "-p"]],
        Target::Load,
        false,
    ),
    Watcher::tracer("tracer, another", Target::Unrelated, false),
    Watcher::tracer("tracer, itself", Target::Load, true),
];

/// The targets are 1 % of the throughput at most, whoever is traced. Measured with the load itself traced, when the limits for
/// `--short` were set: 18 to 26 %. The CPU is always busy.
const OF_STREAM: &[Limit] = &[
    of_bare("tracer, another", 0.01, 0.2),
    of_bare("tracer, itself", 0.01, 0.5),
];

/// A limit that is a part of the load's own cost.
pub(super) const fn of_bare(of: &'static str, target: f64, fails: f64) -> Limit {
    Limit {
        of,
        to: To::Bare,
        target,
        fails,
    }
}

const STREAM_COST: &[Figure] = &[Figure {
    title: "net, a stream over the loopback (ns per MiB)",
    read: |run| stream_figure(&run.text),
    limits: OF_STREAM,
}];

/// One process with a thread that sends and one that receives, each on a CPU.
pub(crate) fn run(rounds: u32, short: bool) -> Result<Vec<Found>> {
    let (first, last) = ends()?;
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let words = format!("--mib {STREAM_MIB} --sender {first} --receiver {last}");
    let found = play(&Plan {
        load: room.own("bench-stream").with(words.split(' ')),
        lead_in: None,
        figures: STREAM_COST,
        watchers: rows(WATCHERS, short),
        rounds,
        server: None,
    })?;
    ledger::undo(mark)?;
    Ok(found)
}

/// The first and the last CPU; the same where there is one.
pub(super) fn ends() -> Result<(usize, usize)> {
    let cpus = usable_cpus()?;
    let ends = cpus.first().copied().zip(cpus.last().copied());
    ends.context("no usable CPU")
}

fn stream_figure(text: &str) -> Result<f64> {
    let said = json_in(text)?;
    ensure!(said["mib"] == STREAM_MIB, "not all arrived: {said}");
    let ns = said["ns"].as_f64().context("a stream without a time")?;
    Ok(ns / f64::from(STREAM_MIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_did_not_arrive_whole_is_no_figure() {
        assert!(stream_figure(r#"{"mib": 2000, "ns": 1000000}"#).is_ok());
        assert!(stream_figure(r#"{"mib": 1999, "ns": 1000000}"#).is_err());
    }
}
