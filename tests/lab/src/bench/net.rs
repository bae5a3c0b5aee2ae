//! The network path: a bulk stream over the loopback, and a web server asked as fast as it can answer.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};

use super::{
    figures::json_in,
    rounds::{Figure, Plan, play},
    table::{Found, Limit, To},
    watcher::{Target, Watcher, command, rows},
};
use crate::world::{
    Room,
    files::{open_to_others, write_files},
    ledger, loopback,
    process::usable_cpus,
};

/// Files in memory, so that nothing waits for a disk.
const MEMORY: &str = "/dev/shm";
/// Size of a stream, MiB: about a second's worth.
const STREAM_MIB: u32 = 2_000;
/// Bytes of a small answer: the work is the requests', not the bytes'.
const ANSWER: usize = 4096;
/// Connections, each with one request at a time: enough that the server never waits.
const CONNECTIONS: &str = "-c16";
const SECONDS: &str = "-d1s";

const WATCHERS: &[Watcher] = &[
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

/// The targets are 1 % of the throughput at most, whoever is traced, and 2 % of the slowest requests' time. Measured with the load
/// itself traced, when the limits for `--short` were set: 18 to 26 %, 26 to 67 % and 60 to 260 %. The CPU is always busy, so each
/// request also waits for the time added to those before it.
const OF_STREAM: &[Limit] = &[
    of_bare("tracer, another", 0.01, 0.2),
    of_bare("tracer, itself", 0.01, 0.5),
];
const OF_REQUESTS: &[Limit] = &[
    of_bare("tracer, another", 0.01, 0.5),
    of_bare("tracer, itself", 0.01, 1.0),
];
const OF_SLOWEST: &[Limit] = &[
    of_bare("tracer, another", 0.02, 1.0),
    of_bare("tracer, itself", 0.02, 5.0),
];

const fn of_bare(of: &'static str, target: f64, fails: f64) -> Limit {
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
const REQUEST_COSTS: &[Figure] = &[
    Figure {
        title: "net, nginx at full speed (ns per request)",
        read: |run| request_figure(&run.text),
        limits: OF_REQUESTS,
    },
    Figure {
        title: "net, nginx at full speed (p99 of a request, ns)",
        read: |run| slowest_figure(&run.text),
        limits: OF_SLOWEST,
    },
];

/// Has wrk print its figures when it is done.
const SUMMARY: &str = r#"
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"requests": %d, "us": %d, "p99_us": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(99.0), failed))
end
"#;

/// Measures both loads.
pub(crate) fn run(rounds: u32, short: bool) -> Result<Vec<Found>> {
    let mut found = stream(rounds, short)?;
    found.extend(requests(rounds, short)?);
    Ok(found)
}

/// One process with a thread that sends and one that receives, each on a CPU.
fn stream(rounds: u32, short: bool) -> Result<Vec<Found>> {
    let (first, last) = ends()?;
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let words = format!("--mib {STREAM_MIB} --sender {first} --receiver {last}");
    let found = play(&Plan {
        load: room.own("bench-stream").with(words.split(' ')),
        figures: STREAM_COST,
        watchers: rows(WATCHERS, short),
        rounds,
        server: None,
    })?;
    ledger::undo(mark)?;
    Ok(found)
}

/// nginx on one CPU, its client on another.
fn requests(rounds: u32, short: bool) -> Result<Vec<Found>> {
    let (first, last) = ends()?;
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let files = room.subdir("files")?;
    write_files(&files, 1, ANSWER)?;
    open_to_others(&files)?;
    let script = room.dir.join("summary.lua");
    fs::write(&script, SUMMARY).context("could not write what wrk is to print")?;
    let address = loopback()?;
    let mut server = room
        .nginx(address, &files, false)?
        .on_cpus(vec![last])
        .start(Stdio::null())?;
    server.expect_listening(address)?;
    let load = command(&["wrk", "-t1", CONNECTIONS, SECONDS, "-s"])
        .with([script.into_os_string()])
        .with([format!("http://{address}/0000.txt")])
        .on_cpus(vec![first]);
    let found = play(&Plan {
        load,
        figures: REQUEST_COSTS,
        watchers: rows(WATCHERS, short),
        rounds,
        server: Some(server.pid()),
    })?;
    drop(server);
    ledger::undo(mark)?;
    Ok(found)
}

/// The first and the last CPU; the same where there is one.
fn ends() -> Result<(usize, usize)> {
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

fn request_figure(text: &str) -> Result<f64> {
    let said = json_in(text)?;
    ensure!(said["failed"] == 0, "requests failed: {said}");
    let (us, requests) = (said["us"].as_f64(), said["requests"].as_f64());
    let requests = requests.filter(|requests| *requests > 0.0);
    let ratio = us.zip(requests).map(|(us, requests)| 1e3 * us / requests);
    ratio.context("no request was answered")
}

fn slowest_figure(text: &str) -> Result<f64> {
    let us = json_in(text)?["p99_us"].as_f64();
    Ok(1e3 * us.context("wrk has no p99")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_figures_are_read_behind_what_it_says_first() {
        let text = "Running 1s test @ http://127.0.0.1:1/\n  16 connections\n\
            {\"requests\": 50000, \"us\": 1000000, \"p99_us\": 812, \"failed\": 0}\n";
        assert!((request_figure(text).unwrap() - 20_000.0).abs() < 1e-6);
        assert!((slowest_figure(text).unwrap() - 812_000.0).abs() < 1e-6);
    }

    #[test]
    fn answers_that_failed_are_no_figure() {
        let text = r#"{"requests": 5, "us": 10, "p99_us": 8, "failed": 1}"#;
        assert!(request_figure(text).is_err());
    }

    #[test]
    fn a_stream_that_did_not_arrive_whole_is_no_figure() {
        assert!(stream_figure(r#"{"mib": 2000, "ns": 1000000}"#).is_ok());
        assert!(stream_figure(r#"{"mib": 1999, "ns": 1000000}"#).is_err());
    }
}
