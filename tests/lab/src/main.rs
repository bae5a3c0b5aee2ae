//! `tracer-lab`: shows, grades and measures tracer on scenes of known truth.
//!
//! `cargo xtask demo`, `lab` and `bench` build this program and pass their arguments on to it. Each of the three is a module. They
//! make their scenes from [`world`], and read reports with [`said`].

mod bench;
mod columns;
mod demo;
mod lab;
mod latency;
mod said;
mod sums;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::command::say;

/// Shows, grades and measures tracer on scenes of known truth.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what tracer costs, beside its peers
    Bench(bench::Args),
    /// Show tracer at work on a scene of known truth
    Demo(demo::Args),
    /// Play labelled scenarios and grade what tracer says of them
    Lab(lab::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Bench(args) => bench::run(&args),
        Task::Demo(args) => demo::run(args),
        Task::Lab(args) => lab::run(args),
    }
}
