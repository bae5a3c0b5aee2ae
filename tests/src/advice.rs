//! The advice of a report, and following it.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::harness::Trace;

/// How many traces to try until there is somebody to restrain. A `dd` of a loop lives for a moment. No command can name a process
/// that has ended before the report.
const TRIES: usize = 4;

/// The commands that apply against whoever holds up this process.
///
/// # Panics
/// If nothing is advised.
#[must_use]
pub fn advised(target: u32) -> Vec<String> {
    let tries = (0..TRIES).map(|_| advised_once(target));
    let found = tries.into_iter().find(|commands| !commands.is_empty());
    found.unwrap_or_else(|| panic!("nothing was advised in {TRIES} traces"))
}

fn advised_once(target: u32) -> Vec<String> {
    let pid = target.to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "3s", "--output", "json"]);
    let ended = trace.and_then(Trace::wait);
    let report = ended
        .and_then(|ended| ended.json())
        .unwrap_or_else(|error| panic!("{error:#}"));
    println!("{}", report["verdict"]["sentence"]);
    let remedies = report["verdict"]["remedies"].as_array();
    let applies = |remedy: &&Value| remedy["applies"] == true;
    let commands: Vec<String> = remedies
        .into_iter()
        .flatten()
        .filter(applies)
        .filter_map(|remedy| remedy["command"].as_str())
        .map(str::to_owned)
        .collect();
    println!("{commands:#?}");
    commands
}

/// The command with this in it.
///
/// # Panics
/// If there is none.
#[track_caller]
#[must_use]
pub fn the<'a>(commands: &'a [String], part: &str) -> &'a str {
    let found = commands.iter().find(|command| command.contains(part));
    found.unwrap_or_else(|| panic!("no {part} in {commands:#?}"))
}

/// A shell that runs it as printed, with all that it starts in a group of its own.
#[must_use]
pub fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).process_group(0);
    shell.stdin(Stdio::null());
    shell
}

/// Runs the one with this in it, and says what it was.
///
/// # Panics
/// If there is none, or it fails.
#[track_caller]
pub fn follow(commands: &[String], part: &str) -> String {
    let command = the(commands, part);
    let status = shell(command)
        .status()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(status.success(), "{command}: {status}");
    command.to_owned()
}
