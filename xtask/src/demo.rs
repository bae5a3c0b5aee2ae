//! `cargo xtask demo`: shows tracer at work on scenes of known truth.

use anyhow::{Result, bail};

/// What to show.
#[derive(clap::Args)]
pub struct Args {}

/// Shows tracer at work.
pub fn run(_args: Args) -> Result<()> {
    bail!("there is no demo yet")
}
