//! One file for each format: they show the report and compute nothing.
//!
//! To add a format, write its file, its `mod` line, and its row in [`FORMATS`].

pub mod flame;
pub mod json;
mod table;
pub mod text;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;

use anyhow::Result;

use self::text::TextOptions;
use crate::report::Report;

/// A format of `--output`.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// What one types.
    pub name: &'static str,
    /// What `--help` says of it.
    pub about: &'static str,
    /// Writes a report. The options are those of text; other formats may leave them out.
    pub write: fn(&Report, &TextOptions) -> Result<String>,
}

/// Every format; the first is the default.
pub const FORMATS: &[Format] = &[
    format("text", "For people: 80 columns", |report, options| {
        Ok(text::text(report, options))
    }),
    format("json", "For programs: tracer.report/1", |report, _| {
        json::json(report)
    }),
];

const fn format(
    name: &'static str,
    about: &'static str,
    write: fn(&Report, &TextOptions) -> Result<String>,
) -> Format {
    Format { name, about, write }
}
