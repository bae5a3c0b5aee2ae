//! `cargo xtask`: builds, checks, tests and demonstrates tracer.
//!
//! One file per task. Every task first sees to it that what it needs is installed ([`setup`]), which costs some
//! milliseconds when nothing is missing.

mod build;
mod command;
mod demo;
mod paths;
mod setup;
mod toolchain;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, checks, tests and demonstrates tracer.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Build target/release/tracer: one statically linked file with the kernel half inside (the default)
    Build(build::Args),
    /// Show tracer at work on a scene of known truth
    Demo(demo::Args),
    /// Install what is missing on this machine
    Setup(setup::Args),
}

fn main() -> Result<()> {
    match Cli::parse()
        .task
        .unwrap_or(Task::Build(build::Args::default()))
    {
        Task::Build(args) => build::run(&args),
        Task::Demo(args) => demo::run(args),
        Task::Setup(args) => setup::run(&args),
    }
}
