//! `cargo xtask bench`, `demo` and `lab`: builds the package `tests/lab` and hands over to it.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use xtask::{build, paths, setup};

/// Arguments for the lab's own command line.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Options and names: see --help of this task
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Replaces this process by the lab's, which does this task.
pub(crate) fn run(task: &str, args: &Args) -> Result<()> {
    let toolchain = setup::build_tools()?;
    // The lab uses tracer's own types, and tracer does not compile without the kernel half.
    build::kernel_half(&toolchain)?;
    let mut lab = Command::new(build::lab()?);
    // Cargo may have named its target directory in a file of its own, which root would not read.
    lab.arg(task)
        .args(&args.words)
        .env("CARGO_TARGET_DIR", paths::target());
    Err(lab.exec()).context("could not start the lab")
}
