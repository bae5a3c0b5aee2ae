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
    let mut tries = (0..TRIES).map(|_| advised_once(target));
    let found = tries.find(|(_, commands)| !commands.is_empty());
    let (_, commands) = found.unwrap_or_else(|| panic!("nothing was advised in {TRIES} traces"));
    commands
}

/// The same where the verdict names this place. A slow disk of these tests lies on one that a limit makes slow, and sometimes more of the
/// wait is found there.
///
/// # Panics
/// If nothing is advised there.
#[must_use]
pub fn advised_on(target: u32, place: &str) -> Vec<String> {
    let mut tries = (0..TRIES).map(|_| advised_once(target));
    let found = tries.find(|(at, commands)| at == place && !commands.is_empty());
    let (_, commands) =
        found.unwrap_or_else(|| panic!("nothing was advised on {place} in {TRIES} traces"));
    commands
}

/// Where the verdict is, and the commands.
fn advised_once(target: u32) -> (String, Vec<String>) {
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
    let place = report["verdict"]["place"].as_str().unwrap_or_default();
    (place.to_owned(), commands)
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
