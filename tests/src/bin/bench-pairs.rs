//! The bench's source of context switches.

use clap::Parser;
use tracer_tests::workload::{limit_lifetime, pairs};

/// Makes context switches at a known rate.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    pairs: pairs::Args,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    pairs::run(&cli.pairs)
}
