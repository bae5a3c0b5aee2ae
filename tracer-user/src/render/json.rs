//! `tracer.report/1`, `tracer.diff/1` and `tracer.top/1`

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    report::{Report, diff::Diff, top::Top},
    units::{Output, outside},
};

/// The report as JSON, with a newline at its end.
///
/// # Errors
/// If a figure cannot be written as JSON, which none of the report's can be.
pub fn json(report: &Report) -> Result<String> {
    whole(report)
}

/// The diff as JSON, with a newline at its end.
///
/// # Errors
/// If a figure cannot be written as JSON, which none of the diff's can be.
pub fn diff(diff: &Diff) -> Result<String> {
    whole(diff)
}

/// The interval as one line of JSON, with a newline at its end.
///
/// # Errors
/// If a figure cannot be written as JSON, which none of the interval's can be.
pub fn top(top: &Top) -> Result<String> {
    let text = serde_json::to_string(top).context("cannot write the interval as JSON")?;
    Ok(outside(&text, Output::Json) + "\n")
}

fn whole(values: &impl Serialize) -> Result<String> {
    let mut text =
        serde_json::to_string_pretty(values).context("cannot write the report as JSON")?;
    text.push('\n');
    // JSON escapes only the first 32 characters, but a terminal obeys others too.
    Ok(outside(&text, Output::Json))
}
