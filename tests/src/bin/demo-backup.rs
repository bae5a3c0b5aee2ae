//! The demo's backup program.

use clap::Parser;
use tracer_tests::workload::{backup, limit_lifetime};

/// Backs a directory up to nowhere, over and over.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: backup::Task,
    /// End after so many seconds
    #[arg(long, default_value_t = 300, global = true)]
    lifetime: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    backup::run(&cli.task)
}
