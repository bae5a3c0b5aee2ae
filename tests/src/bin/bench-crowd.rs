//! The crowd with which the bench fills a machine.

use clap::Parser;
use tracer_tests::workload::{crowd, limit_lifetime};

/// Is many, and does nothing.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    crowd: crowd::Crowd,
    /// End after so many seconds
    #[arg(long, default_value_t = 300, global = true)]
    lifetime: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    crowd::run(&cli.crowd, cli.lifetime)
}
