//! The switch path: two tasks on one CPU that wake each other through a pipe.

use anyhow::{Context as _, Result};

use super::{
    rounds::{Figure, Plan, play},
    table::{Found, Limit, To},
    watcher::{Target, Watcher, command, rows},
};
use crate::world::process::usable_cpus;

/// Round trips of one run, about half a second; each is two switches.
const TRIPS: &str = "150000";
/// The same with `--short`.
const FEW: &str = "75000";

/// Watchers of a load that is none of their targets, and of everything.
const OTHERS: &[Watcher] = &[
    Watcher::peer("runqlat", &[&["runqlat"]], Target::All, true),
    Watcher::peer("cpudist", &[&["cpudist"]], Target::All, false),
    Watcher::peer("wakeuptime", &[&["wakeuptime"]], Target::All, false),
    Watcher::peer("offcputime, all", &[&["offcputime"]], Target::All, false),
    Watcher::peer(
        "offcputime, another",
        &[&["offcputime", "-p"]],
        Target::Unrelated,
        false,
    ),
    Watcher::tracer("tracer, another", Target::Unrelated, true),
];

/// Watchers of the load itself.
const ITSELF: &[Watcher] = &[
    Watcher::peer("runqlat, itself", &[&["runqlat", "-p"]], Target::Load, true),
    Watcher::peer("cpudist, itself", &[&["cpudist", "-p"]], Target::Load, true),
    Watcher::peer(
        "wakeuptime, itself",
        &[&["wakeuptime", "-p"]],
        Target::Load,
        true,
    ),
    Watcher::peer(
        "offcputime, itself",
        &[&["offcputime", "-p"]],
        Target::Load,
        true,
    ),
    Watcher::peer(
        "these four together, itself",
        &[
            &["runqlat", "-p"],
            &["cpudist", "-p"],
            &["wakeuptime", "-p"],
            &["offcputime", "-p"],
        ],
        Target::Load,
        false,
    ),
    Watcher::tracer("tracer, itself", Target::Load, true),
];

/// Tracer keeps everybody's histogram and totals.
const OF_OTHERS: &[Limit] = &[Limit {
    of: "tracer, another",
    to: To::Peers(&["runqlat"]),
    target: 1.0,
    fails: 2.0,
}];
/// Tracer gives the facts of all four peers.
const OF_ITSELF: &[Limit] = &[Limit {
    of: "tracer, itself",
    to: To::Peers(&[
        "runqlat, itself",
        "cpudist, itself",
        "wakeuptime, itself",
        "offcputime, itself",
    ]),
    target: 1.0 / 3.0,
    fails: 2.0,
}];

const OTHERS_COST: &[Figure] = &[Figure {
    title: "switch, others' (ns per switch)",
    read: |run| figure(&run.text),
    limits: OF_OTHERS,
}];
const ITS_COST: &[Figure] = &[Figure {
    title: "switch, the target's own (ns per switch)",
    read: |run| figure(&run.text),
    limits: OF_ITSELF,
}];

/// Measures both loads: two processes, and two threads of one process. One pid names both threads to a peer.
pub(crate) fn run(rounds: u32, short: bool) -> Result<Vec<Found>> {
    let trips = if short { FEW } else { TRIPS };
    let mut found = one(OTHERS_COST, &[trips], rows(OTHERS, short), rounds)?;
    found.extend(one(ITS_COST, &[trips, "-T"], rows(ITSELF, short), rounds)?);
    Ok(found)
}

fn one(
    figures: &'static [Figure],
    trips: &[&str],
    watchers: Vec<Watcher>,
    rounds: u32,
) -> Result<Vec<Found>> {
    let last = usable_cpus()?.last().copied().context("no usable CPU")?;
    let load = command(&["perf", "bench", "sched", "pipe", "-l"])
        .with(trips.iter().copied())
        .on_cpus(vec![last]);
    play(&Plan {
        load,
        lead_in: None,
        figures,
        watchers,
        rounds,
        server: None,
    })
}

/// `perf bench` prints microseconds of a round trip.
fn figure(text: &str) -> Result<f64> {
    let said = text.split_once("usecs/op").map(|(before, _)| before);
    let us = said.and_then(|before| before.split_whitespace().next_back());
    let us: Option<f64> = us.and_then(|us| us.parse().ok());
    Ok(us.with_context(|| format!("perf bench said {text:?}"))? * 1e3 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_two_switches() {
        let text = "# Executed 75000 pipe operations\n\n     Total time: 0.564 [sec]\n\n       7.520000 usecs/op\n";
        assert!((figure(text).unwrap() - 3760.0).abs() < 1e-6);
        assert!(figure("").is_err());
    }
}
