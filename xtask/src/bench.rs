//! `cargo xtask bench`: what tracer costs, beside its peers, in the same run.
//!
//! Absolute figures are the machine's; a ratio of two costs that were measured between each other is tracer's.
//!
//! Code map: [`watcher`] starts tracer and its peers, [`rounds`] interleaves runs of a load with and without them, [`figures`] sums
//! up, [`table`] shows; [`switch`] and [`block`] are loads with
//! their rows and limits; [`start`] has no peers.

mod block;
mod figures;
mod rounds;
mod start;
mod switch;
mod table;
mod watcher;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::json;

use self::table::Found;
use crate::{
    build,
    command::is_root,
    setup,
    world::{caller, supervise},
};

/// Runs of each watcher in a full bench: enough for quartiles.
const ROUNDS: u32 = 7;
/// Runs of each watcher with `--short`: the fewest that have a median.
const SHORT: u32 = 3;
/// Where the supervisor looks for what a killed bench left; that of the block bench lies in memory.
const SCRATCH: &str = "/dev/shm";

/// What to measure.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench                  everything, some minutes\n  cargo xtask bench switch           \
    one load\n  cargo xtask bench --short          two minutes; fails when a ratio to a peer is beyond its limit"
)]
pub struct Args {
    /// Which loads; all when none is named
    loads: Vec<Load>,
    /// Few runs of what tracer is compared with; fails when a ratio is beyond its limit
    #[arg(long)]
    short: bool,
    /// Runs of each watcher [default: 7, or 3 with --short]
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
    /// Time until attached, and memory, alone and in a crowd
    Start,
}

/// Measures, shows, and with `--short` judges.
pub fn run(args: &Args) -> Result<()> {
    if args.supervised {
        return measure(args);
    }
    if !args.built {
        setup::bench_tools()?;
        build::run(&build::Args::default())?;
    }
    if !is_root() {
        return caller::again_as_root("the bench loads probes and makes a disk");
    }
    // The player has shown its errors.
    std::process::exit(supervise::supervise(SCRATCH.as_ref())?)
}

fn measure(args: &Args) -> Result<()> {
    let rounds = args
        .rounds
        .unwrap_or(if args.short { SHORT } else { ROUNDS });
    let wanted = |load| args.loads.is_empty() || args.loads.contains(&load);
    if let Some(file) = &args.beside {
        watcher::beside(file);
    }
    let mut found = Vec::new();
    if wanted(Load::Switch) {
        found.extend(switch::run(rounds, args.short)?);
    }
    if wanted(Load::Block) {
        found.extend(block::run(rounds, args.short)?);
    }
    for found in &found {
        println!("{}", found.text());
    }
    let mut loads: Vec<_> = found.iter().map(Found::json).collect();
    if wanted(Load::Start) {
        let (text, json) = start::run(rounds)?;
        println!("{text}");
        loads.push(json);
    }
    if let Some(file) = &args.json {
        let text =
            serde_json::to_string_pretty(&json!({"schema": "tracer.bench/1", "loads": loads}))?;
        fs::write(file, text + "\n")
            .with_context(|| format!("could not write {}", file.display()))?;
    }
    if args.short { judge(&found) } else { Ok(()) }
}

/// Fails where a ratio is beyond its limit.
fn judge(found: &[Found]) -> Result<()> {
    let beyond: Vec<_> = found
        .iter()
        .flat_map(Found::judged)
        .filter_map(|judged| {
            let ratio = judged.ratio.filter(|ratio| *ratio > judged.fails)?;
            Some(format!(
                "{} is {ratio:.2}, limit {:.2}",
                judged.text, judged.fails
            ))
        })
        .collect();
    if !beyond.is_empty() {
        bail!("dearer than its peers allow: {}", beyond.join("; "));
    }
    Ok(())
}
