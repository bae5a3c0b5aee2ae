//! One file for each format: they show the report, or the diff of two, and compute nothing.
//!
//! To add a format, write its file, its `mod` line, and its row in [`FORMATS`].

pub mod diff;
pub mod diff_flame;
pub mod flame;
pub mod json;
pub mod screen;
mod table;
pub mod text;
pub mod top;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;

use anyhow::Result;

use self::text::TextOptions;
use crate::report::{Report, diff::Diff, top::Top};

/// A format of `--output`.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// What one types.
    pub name: &'static str,
    /// What `--help` says of it.
    pub about: &'static str,
    /// Writes a report. The options are those of text; other formats may leave them out.
    pub write: fn(&Report, &TextOptions) -> Result<String>,
    /// Writes a diff.
    pub write_diff: fn(&Diff, &TextOptions) -> Result<String>,
    /// Writes an interval of the whole machine.
    pub write_top: fn(&Top, &TextOptions) -> Result<String>,
}

/// Every format; the first is the default.
pub const FORMATS: &[Format] = &[
    Format {
        name: "text",
        about: "For people: 80 columns",
        write: |report, options| Ok(text::text(report, options)),
        write_diff: |diff, options| Ok(diff::text(diff, options)),
        // An empty line parts the intervals.
        write_top: |top, options| Ok(top::text(top, options) + "\n"),
    },
    Format {
        name: "json",
        about: "For programs: tracer.report/1 (of diff: tracer.diff/1; of top: tracer.top/1, a line for each interval)",
        write: |report, _| json::json(report),
        write_diff: |diff, _| json::diff(diff),
        write_top: |top, _| json::top(top),
    },
];
