//! Task runner.

mod command;
mod demo;
mod paths;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show tracer at work on a scene of known truth
    Demo(demo::Args),
}

fn main() -> anyhow::Result<()> {
    let Task::Demo(args) = Cli::parse().task;
    demo::run(args)
}
