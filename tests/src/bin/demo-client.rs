//! The demo's web client; writes its figures as JSON to stdout.

use clap::Parser;
use tracer_tests::workload::{client, limit_lifetime};

/// Asks a web server for files and measures each request.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    client: client::Args,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    println!("{}", client::run(&cli.client)?.summary());
    Ok(())
}
