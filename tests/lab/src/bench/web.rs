//! A web server asked over the loopback, beside the [peers](super::peers) that tell together what tracer tells: as fast as it can answer
//! here, at a steady pace in [`paced`].

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::{
    block::MEMORY,
    figures::json_in,
    net::{WATCHERS, ends, of_bare},
    paced,
    peers::{BY_CALLS, BY_SOCKETS, How, THREE, of_peers, together},
    rounds::{Figure, Plan, play},
    server,
    table::{Found, Limit},
    watcher::command,
};
use crate::world::{Room, ledger, loopback};

/// Connections, each with one request at a time: enough that the server never waits.
const CONNECTIONS: &str = "-c16";
const SECONDS: &str = "-d1s";

/// The targets are 1 % of the throughput at most, whoever is traced, and 2 % of the slowest requests' time. Measured with the load
/// itself traced, when the limits for `--short` were set: 26 to 67 % and 60 to 260 %. The CPU is always busy, so each request also waits
/// for the time added to those before it.
const OF_REQUESTS: &[Limit] = &[
    of_bare("tracer, another", 0.01, 0.5),
    of_bare("tracer, itself", 0.01, 1.0),
];
const OF_SLOWEST: &[Limit] = &[
    of_bare("tracer, another", 0.02, 1.0),
    of_bare("tracer, itself", 0.02, 5.0),
];
/// Of the peers' rows one runs.
const OF_PEERS: &[Limit] = &[
    of_peers(&[BY_SOCKETS], 1.0),
    of_peers(&[BY_CALLS], 1.0),
    of_peers(&[THREE], 1.0),
];

const COSTS: &[Figure] = &[
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
    Figure {
        title: "net, nginx at full speed (nginx's own CPU ns per request)",
        read: |run| server::own_cpu(run, answered(&run.text)?),
        limits: OF_PEERS,
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

/// Measures all loads; those at a steady pace in so many rounds of their own.
pub(crate) fn run(rounds: u32, paced_rounds: u32, short: bool) -> Result<Vec<Found>> {
    let mark = ledger::mark()?;
    let how = How {
        peers: together(),
        rounds,
        short,
    };
    let mut found = at_full_speed(&how)?;
    let how = How {
        rounds: paced_rounds,
        ..how
    };
    found.extend(paced::run(&how)?);
    ledger::undo(mark)?;
    Ok(found)
}

/// nginx on one CPU, its client on another.
fn at_full_speed(how: &How) -> Result<Vec<Found>> {
    let (first, _) = ends()?;
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let files = server::files(&room)?;
    let script = room.dir.join("summary.lua");
    fs::write(&script, SUMMARY).context("could not write what wrk is to print")?;
    let address = loopback()?;
    let nginx = room.nginx(address, &files, false)?;
    let server = server::start(nginx, address)?;
    let load = command(&["wrk", "-t1", CONNECTIONS, SECONDS, "-s"])
        .with([script.into_os_string()])
        .with([server::url(address)])
        .on_cpus(vec![first]);
    let found = play(&Plan {
        lead_in: (!how.short).then(|| load.clone()),
        load,
        figures: COSTS,
        watchers: how.rows(WATCHERS),
        rounds: how.rounds,
        server: Some(server.worker),
    })?;
    drop(server);
    ledger::undo(mark)?;
    Ok(found)
}

fn request_figure(text: &str) -> Result<f64> {
    let us = json_in(text)?["us"].as_f64();
    let us = us.context("wrk does not say how long it asked")?;
    Ok(1e3 * us / answered(text)?)
}

/// How many requests were answered, if none failed.
fn answered(text: &str) -> Result<f64> {
    let said = json_in(text)?;
    ensure!(said["failed"] == 0, "requests failed: {said}");
    let requests = said["requests"].as_f64();
    let requests = requests.filter(|requests| *requests > 0.0);
    requests.context("no request was answered")
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
        assert!(answered(text).is_err());
    }
}
