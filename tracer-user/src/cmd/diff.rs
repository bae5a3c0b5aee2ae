//! `tracer diff`: what changed from one recording to another.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use super::{
    diagnostics,
    fold::{self, Recording},
    output::{self, Files},
    privileges,
};
use crate::{
    assemble::{self, Recorded},
    cli::DiffArgs,
    machine::proc::Resident,
};

/// Compares two recordings. Of one that was cut off, it compares the part that can be read. The exit code shows the cut.
///
/// # Errors
/// If a file is no recording, or no part of it can be read.
pub(crate) fn run(args: &DiffArgs) -> Result<ExitCode> {
    let resident = Resident::open();
    // Nothing can be opened once the first one is read.
    let (first, second) = (fold::open(&args.before)?, fold::open(&args.after)?);
    let files = Files::create(&args.output)?;
    privileges::to_report(&files);
    let before = fold::read(&args.before, first, &resident, 0)?;
    // Each may fill as much.
    let after = fold::read(&args.after, second, &resident, resident.bytes())?;
    let names = [&args.before, &args.after].map(|path| path.display().to_string());
    let (diff, flame) = assemble::diff(recorded(&names[0], &before), recorded(&names[1], &after));
    output::write_diff(&args.output, files, &diff, &flame)?;
    let cuts = [cut(&args.before, &before), cut(&args.after, &after)];
    match cuts.contains(&true) {
        true => Ok(ExitCode::FAILURE),
        false => Ok(ExitCode::SUCCESS),
    }
}

fn recorded<'a>(file: &'a str, recording: &'a Recording) -> Recorded<'a> {
    Recorded {
        file,
        books: &recording.books,
        truncated: recording.cut.is_some(),
        refused: &recording.refused,
    }
}

/// Says where a recording was cut off. Was it?
fn cut(file: &Path, recording: &Recording) -> bool {
    let Some(error) = &recording.cut else {
        return false;
    };
    let file = file.display();
    diagnostics::say(&format!(
        "{file}: {error:#}; compared is what could be read before"
    ));
    true
}
