//! `cargo xtask bench`: the costs of tracer and of its peers, in the same run.
//!
//! Absolute figures depend on the machine. A ratio of two costs, measured in turn, depends on tracer.
//!
//! Code map: [`watcher`] starts tracer and its peers. [`rounds`] interleaves runs of a load with and without them. [`figures`] sums
//! up, [`table`] shows. [`switch`], [`block`], [`net`], [`web`] and [`paced`] are loads with their rows and limits; [`server`] and
//! [`peers`] are what the last two share. [`volume`], [`start`], [`cpus`] and [`day`] have no peers; [`crowd`] fills the machine for them.

mod block;
mod cpus;
mod crowd;
mod day;
mod figures;
mod net;
mod paced;
mod peers;
mod rounds;
mod server;
mod start;
mod switch;
mod table;
mod volume;
mod watcher;
mod web;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::{Value, json};
use xtask::{
    build,
    command::{is_root, say},
    setup,
};

use self::table::Found;
use crate::world::{caller, supervise};

/// Runs of each watcher in a full bench: enough for quartiles.
const ROUNDS: u32 = 7;
/// The same of a server at a steady pace: a watcher adds less to it than runs differ, and a test of pairs needs some.
const PACED_ROUNDS: u32 = 12;
/// Runs of each watcher with `--short`: the fewest that have a median.
const SHORT: u32 = 3;
/// Before `--short` fails, it measures once more, in so many times as many runs.
const AGAIN: u32 = 3;
/// Where the supervisor looks for leftovers of a killed bench: the block bench works in memory.
const SCRATCH: &str = "/dev/shm";

/// The loads to measure, and how.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench                  everything, about half an hour\n  cargo xtask bench switch           \
    one load\n  cargo xtask bench day              a simulated day, a few minutes; fails when memory grows in its second half\n  \
    cargo xtask bench --short          three minutes; fails when a ratio to a peer is beyond its limit"
)]
pub(crate) struct Args {
    /// Which loads; all when none is named
    loads: Vec<Load>,
    /// Few runs of what tracer is compared with; fails when a ratio is beyond its limit
    #[arg(long)]
    short: bool,
    /// Runs of each watcher [default: 7, of a paced server 12, or 3 with --short]
    #[arg(long)]
    rounds: Option<u32>,
    /// Also write all figures to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure another build of tracer too, for the gain of a change
    #[arg(long, value_name = "FILE")]
    beside: Option<PathBuf>,
    /// Everything is built: said by the bench to itself when it starts itself anew as root
    #[arg(long, hide = true)]
    built: bool,
    /// Somebody cleans up: said by the bench to itself when it starts the process that measures
    #[arg(long, hide = true)]
    supervised: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Load {
    /// Context switches
    Switch,
    /// Small reads of a disk in memory
    Block,
    /// A stream over the loopback, and a web server: at full speed, at a steady pace, and while its disk is contended
    Net,
    /// Records a second, their losses, and the cost of reading them
    Volume,
    /// Time until attached, and memory, alone and in a crowd
    Start,
    /// The same in crowds that grow; with --short only when it is named
    Growth,
    /// The same on more CPUs, in guests; with --short only when it is named
    Cpus,
    /// Memory, and the cost of a sentence, over a simulated day; fails where either grows; with --short only when it is named
    Day,
}

impl Load {
    /// Does `--short` play it if none is named?
    fn is_short(self) -> bool {
        !matches!(self, Self::Growth | Self::Cpus | Self::Day)
    }

    /// Is each of its figures compared with an earlier one of the same run, and with no peer's? Then every run of it is judged.
    fn judges_itself(self) -> bool {
        matches!(self, Self::Day)
    }
}

/// Measures, shows, and judges: with `--short` all loads, else those that judge themselves.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.supervised {
        return measure(args);
    }
    if !args.built {
        setup::bench_tools()?;
        build::run(&build::Args::default())?;
        build::scene_programs()?;
        if args.wants(Load::Day) {
            build::day()?;
        }
    }
    if !is_root() {
        return caller::again_as_root("the bench loads probes and makes a disk");
    }
    // The player has shown its errors.
    std::process::exit(supervise::supervise(SCRATCH.as_ref())?)
}

fn measure(args: &Args) -> Result<()> {
    if let Some(file) = &args.beside {
        watcher::beside(file);
    }
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    let loads = Load::value_variants().iter();
    for &load in loads.filter(|load| args.wants(**load)) {
        let mut reports = play(load, args, 1)?;
        let beyond = |report: &Report| !report.faults.is_empty();
        if args.short && reports.iter().any(beyond) {
            // Other programs of the machine disturb a few short runs by chance; a real cost shows again.
            say("beyond what is allowed; measured once more, in more runs");
            reports = play(load, args, AGAIN)?;
        }
        for report in reports {
            println!("{}", report.text);
            all.push(report.json);
            if args.short || load.judges_itself() {
                faults.extend(report.faults);
            }
        }
    }
    if let Some(file) = &args.json {
        let text =
            serde_json::to_string_pretty(&json!({"schema": "tracer.bench/1", "loads": all}))?;
        fs::write(file, text + "\n")
            .with_context(|| format!("could not write {}", file.display()))?;
    }
    if !faults.is_empty() {
        bail!("beyond what is allowed: {}", faults.join("; "));
    }
    Ok(())
}

/// Plays a load in so many times as many rounds as were asked for.
fn play(load: Load, args: &Args, times: u32) -> Result<Vec<Report>> {
    let rounds = times * args.rounds_or(ROUNDS);
    let few = args.rounds.unwrap_or(SHORT);
    let beside_others = |found: Vec<Found>| found.iter().map(Found::report).collect();
    Ok(match load {
        Load::Switch => beside_others(switch::run(rounds, args.short)?),
        Load::Block => beside_others(block::run(rounds, args.short)?),
        Load::Net => {
            let mut found = net::run(rounds, args.short)?;
            let paced = times * args.rounds_or(PACED_ROUNDS);
            found.extend(web::run(rounds, paced, args.short)?);
            beside_others(found)
        }
        Load::Volume => vec![volume::run(args.short)?],
        Load::Start => vec![start::run(rounds)?],
        Load::Growth => vec![start::growth(few)?],
        Load::Cpus => vec![cpus::run(few)?],
        Load::Day => vec![day::run()?],
    })
}

impl Args {
    /// Runs of each watcher: as many as were asked for, else few with `--short`, and so many without.
    fn rounds_or(&self, full: u32) -> u32 {
        let default = if self.short { SHORT } else { full };
        self.rounds.unwrap_or(default)
    }

    fn wants(&self, load: Load) -> bool {
        match self.loads.as_slice() {
            [] => !self.short || load.is_short(),
            some => some.contains(&load),
        }
    }
}

/// The result of a load.
struct Report {
    text: String,
    json: Value,
    /// Figures beyond their limits, a sentence each.
    faults: Vec<String>,
}
