//! The lab's client of databases; writes its figures as JSON to stdout.

use clap::Parser;
use tracer_tests::workload::{limit_lifetime, query};

/// Asks a database and measures each question.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    query: query::Args,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    println!("{}", query::run(&cli.query)?.summary());
    Ok(())
}
