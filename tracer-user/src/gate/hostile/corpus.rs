//! The corpus: inputs that once failed, and some that people thought of. An input is a file of events in JSON, one a line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Input, try_events};
use crate::event::Event;

/// Below the package.
const FOLDER: &str = "corpus";

/// Writes an input.
pub(super) fn keep(file: &Path, events: &[Event]) {
    let lines = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap() + "\n");
    fs::write(file, lines.collect::<String>()).unwrap();
}

fn read(file: &Path) -> Vec<Event> {
    let text = fs::read_to_string(file).unwrap();
    let event = |line| match serde_json::from_str(line) {
        Ok(event) => event,
        Err(error) => panic!("{error}: {line}"),
    };
    text.lines().map(event).collect()
}

/// All inputs, in the order of their names.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let files = fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_report_comes_from_each_input_of_the_corpus() {
    let files = files();
    assert!(!files.is_empty());
    for file in files {
        let _input = Input(file.display().to_string());
        try_events(&read(&file), true);
    }
}

#[test]
fn an_input_is_read_as_it_was_kept() {
    let events = super::input(&mut super::Random::new(7));
    let name = format!("tracer-corpus-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    keep(&file, &events);
    assert_eq!(read(&file), events);
    fs::remove_file(&file).unwrap();
}
