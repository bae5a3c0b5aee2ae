//! The demo's web server.

use clap::Parser;
use tracer_tests::workload::{limit_lifetime, server};

/// Serves a directory's files over HTTP.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    server: server::Args,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    server::run(cli.server)
}
