//! `cargo xtask`: builds, sets up, checks and tests tracer, and boots guests.
//!
//! One file per task. Every task first installs what it needs and does not find ([`setup`]). That costs some milliseconds
//! when nothing is missing. `bench`, `demo` and `lab` are a package of their own, which [`lab`] builds and starts.

mod check;
mod fuzz;
mod lab;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{build, command::say, setup, vm};

/// Builds, checks, tests and demonstrates tracer.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    disable_help_subcommand = true,
    after_help = "Examples:\n  cargo xtask          build target/release/tracer\n  \
        cargo xtask demo     see it at work\n  cargo xtask test     all tests, as CI runs them"
)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what tracer costs, beside its peers
    #[command(disable_help_flag = true)]
    Bench(lab::Args),
    /// Build target/release/tracer: one statically linked file with the kernel half inside (the default)
    Build(build::Args),
    /// Check format, lints, documentation and the rules of the house
    Check(check::Args),
    /// Show tracer at work on a scene of known truth
    #[command(disable_help_flag = true)]
    Demo(lab::Args),
    /// Try hostile recordings: valid encodings with wild values
    Fuzz(fuzz::Args),
    /// Play labelled scenarios and grade what tracer says of them
    #[command(disable_help_flag = true)]
    Lab(lab::Args),
    /// Install what is missing on this machine
    Setup(setup::Args),
    /// Run all tests: of functions, of real probes (as root), and in guests with other kernels
    Test(test::Args),
    /// Run tracer under other kernels, in virtual machines
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let task = Cli::parse()
        .task
        .unwrap_or(Task::Build(build::Args::default()));
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Bench(args) => lab::run("bench", &args),
        Task::Build(args) => build::run(&args),
        Task::Check(args) => check::run(&args),
        Task::Demo(args) => lab::run("demo", &args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Lab(args) => lab::run("lab", &args),
        Task::Setup(args) => setup::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Vm(args) => vm::run(&args),
    }
}
