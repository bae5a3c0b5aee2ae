//! `tracer report`: the same verdict from a recording.

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::{
    output::{self, Files},
    privileges,
};
use crate::{assemble, cli::ReportArgs, event::Event, model::Model, recording::Reader};

/// Reports from a recording. From a recording that was cut off, it reports the part that can be read. The exit code shows the cut.
///
/// # Errors
/// If the file is no recording, or no part of it can be read.
pub(crate) fn run(args: &ReportArgs) -> Result<ExitCode> {
    let reader = Reader::<Event>::open(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let files = Files::create(&args.output)?;
    privileges::to_report(&files);
    let mut model = Model::new();
    let mut cut = None;
    let mut events = 0_u64;
    for event in reader {
        match event {
            Ok(event) => {
                model.apply(&event);
                events += 1;
            }
            Err(error) => cut = Some(error),
        }
    }
    if let (0, Some(error)) = (events, &cut) {
        anyhow::bail!("{}: {error:#}", args.file.display());
    }
    let (mut report, flame) = assemble::assemble(&model.close());
    report.losses.truncated = cut.is_some();
    output::write(&args.output, files, &report, &flame)?;
    let Some(error) = cut else {
        return Ok(ExitCode::SUCCESS);
    };
    eprintln!(
        "tracer: {}: {error:#}; reported is what could be read before",
        args.file.display()
    );
    Ok(ExitCode::FAILURE)
}
