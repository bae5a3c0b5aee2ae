//! Diagnostics on stderr: messages that are not the answer, but may explain it.

use std::{
    env,
    io::{IsTerminal as _, Write as _},
};

use log::Record;

use crate::units;

/// The target of a message of the kernel half begins with this.
const KERNEL_HALF: &str = "tracer_ebpf";
/// The target of a message of this crate begins with this, and so does the kernel half's.
const USER_HALF: &str = "tracer";

/// The default filter: warnings. Those of the kernel half are counted, and mean little to a user.
const QUIET: &str = "tracer=warn,tracer_ebpf=off";
/// With `-v`.
const VERBOSE: &str = "tracer=info";
/// With `-vv`: aya's own messages too.
const DETAILED: &str = "debug";

/// Shows messages logged from now on. `-v` on the command line overrides `RUST_LOG`.
pub(super) fn begin(verbose: u8) {
    let filters = match verbose {
        0 => env::var("RUST_LOG").unwrap_or_else(|_| QUIET.to_owned()),
        1 => VERBOSE.to_owned(),
        _ => DETAILED.to_owned(),
    };
    // The line may hold the provisional sentence.
    let erase = match std::io::stderr().is_terminal() {
        true => "\r\x1b[K",
        false => "",
    };
    env_logger::Builder::new()
        .parse_filters(&filters)
        .format(move |out, record| writeln!(out, "{erase}{}", line(record)))
        .init();
}

/// Shows an error, whatever the filter is.
pub(super) fn say(text: &str) {
    text.lines()
        .for_each(|line| show(&format!("tracer: {line}")));
}

/// Shows a line that comes whatever the filter is. Nobody may be there to read it.
pub(super) fn show(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", units::escape_terminal(line));
}

/// One line for people.
fn line(record: &Record<'_>) -> String {
    let target = record.target();
    let whose = if target.starts_with(KERNEL_HALF) {
        "kernel half: ".to_owned()
    } else if target.starts_with(USER_HALF) {
        String::new()
    } else {
        format!("{target}: ")
    };
    let text = record.args().to_string();
    format!("tracer: {whose}{}", units::escape_terminal(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(target: &str) -> String {
        let mut record = Record::builder();
        line(
            &record
                .target(target)
                .args(format_args!("a\x1b[31m"))
                .build(),
        )
    }

    #[test]
    fn a_line_says_whose_it_is_and_cannot_write_to_the_terminal() {
        assert_eq!(of("tracer::session"), "tracer: a\\x1b[31m");
        assert_eq!(
            of("tracer_ebpf::probes::proc"),
            "tracer: kernel half: a\\x1b[31m"
        );
        assert_eq!(of("tokio::net"), "tracer: tokio::net: a\\x1b[31m");
    }

    #[test]
    fn the_filters_show_warnings_of_user_space_always_and_of_the_kernel_half_when_asked() {
        let shows = |filters: &str, target: &str, level| {
            let logger = env_logger::Builder::new().parse_filters(filters).build();
            let mut metadata = log::Metadata::builder();
            log::Log::enabled(&logger, &metadata.target(target).level(level).build())
        };
        let kernel_half = "tracer_ebpf::probes::proc";
        assert!(shows(QUIET, "tracer::session", log::Level::Warn));
        assert!(!shows(QUIET, "tracer::session", log::Level::Info));
        assert!(!shows(QUIET, kernel_half, log::Level::Error));
        assert!(!shows(QUIET, "tokio::net", log::Level::Error));
        assert!(shows(VERBOSE, kernel_half, log::Level::Warn));
        assert!(shows(DETAILED, "tokio::net", log::Level::Debug));
    }
}
