//! `tracer report`: the same verdict from a recording.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    diagnostics, fold,
    output::{self, Files},
    privileges,
};
use crate::{assemble, cli::ReportArgs, machine::proc::Resident};

/// Reports from a recording. From a recording that was cut off, it reports the part that can be read. The exit code shows the cut.
///
/// # Errors
/// If the file is no recording, or no part of it can be read.
pub(crate) fn run(args: &ReportArgs) -> Result<ExitCode> {
    let resident = Resident::open();
    let reader = fold::open(&args.file)?;
    let files = Files::create(&args.output)?;
    privileges::to_report(&files);
    let recording = fold::read(&args.file, reader, &resident, 0)?;
    let (mut report, flame) = assemble::assemble(&recording.books);
    report.losses.truncated = recording.cut.is_some();
    report.losses.refused = recording.refused;
    output::write(&args.output, files, &report, &flame)?;
    let Some(error) = recording.cut else {
        return Ok(ExitCode::SUCCESS);
    };
    diagnostics::say(&format!(
        "{}: {error:#}; reported is what could be read before",
        args.file.display()
    ));
    Ok(ExitCode::FAILURE)
}
