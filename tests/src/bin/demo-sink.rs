//! Where the demo's backup sends its streams.

use std::net::SocketAddr;

use clap::Parser;
use tracer_tests::workload::{backup, limit_lifetime};

/// Takes TCP streams and throws them away.
#[derive(Parser)]
struct Cli {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    backup::sink(cli.listen)
}
