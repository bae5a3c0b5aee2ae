//! The bench's bulk stream; writes what it took as JSON to stdout.

use clap::Parser;
use tracer_tests::workload::{limit_lifetime, stream};

/// Sends a stream over the loopback.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    stream: stream::Args,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    println!("{}", stream::run(&cli.stream)?);
    Ok(())
}
