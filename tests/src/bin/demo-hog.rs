//! A program that needs much of the CPUs.

use clap::Parser;
use tracer_tests::workload::{hog, limit_lifetime};

/// Keeps CPUs busy.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    hog: hog::Args,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

fn main() {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    hog::run(&cli.hog);
}
