//! Writes the answer to stdout and to files.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    cli::OutputArgs,
    render::{self, text::TextOptions},
    report::{Flame, Report},
};

/// Writes the report to stdout, and the files that the user named.
///
/// # Errors
/// If a file or stdout cannot be written.
pub(crate) fn write(args: &OutputArgs, report: &Report, flame: &Flame) -> Result<()> {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let options = TextOptions {
        top: usize::from(args.top),
        colour,
    };
    let text = (args.output.write)(report, &options)?;
    // Before the files: if one cannot be written, the report is there.
    stdout(&text)?;
    if let Some(path) = &args.flamegraph {
        file(path, &render::flame::svg(flame)?)?;
    }
    if let Some(path) = &args.folded {
        file(path, render::flame::folded(flame).as_bytes())?;
    }
    Ok(())
}

/// Writes to stdout; a reader that went away (`tracer … | head`) is no error.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn stdout(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to stdout"),
    }
}

fn file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
