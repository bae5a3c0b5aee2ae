//! placeholder
use anyhow::{Result, Context};
use crate::toolchain::Toolchain;
/// What
#[derive(clap::Args)]
pub struct Args {}
pub fn run(_: &Args) -> Result<()> { build_tools().map(drop) }
pub fn build_tools() -> Result<Toolchain> {
    Toolchain::find().context("no tools")
}
