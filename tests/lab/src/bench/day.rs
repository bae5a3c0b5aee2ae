//! A simulated day: does memory stay flat, and does a sentence cost at its end what it cost before?
//!
//! The day is played by a program of its own, `bench-day`, which is built as a release is.

use std::{collections::BTreeMap, process::Stdio};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use xtask::paths;

use super::{Report, figures::json_in, watcher::command};

/// The memory that is wanted at most, bytes.
const WANTED: f64 = 64e6;
/// In the second half memory may grow by this, bytes. By then all that has a bound is full, but a table grows by leaps, and the allocator
/// keeps pages that are in part in use.
const GROWS: f64 = 4e6;
/// At the end a sentence may cost so many times as much as in the middle. It takes some milliseconds, on a machine that does other things.
const COSTS: f64 = 2.0;
/// The part of the requests that the books have at least. Some are open at the end.
const COUNTED: f64 = 0.999;

/// The result of the program.
#[derive(Debug, Deserialize)]
struct Day {
    seconds: f64,
    records: u64,
    malformed: u64,
    refused: u64,
    /// Requests played, and those in the books.
    requests: u64,
    counted: u64,
    /// The first one is of the first step, the last one of the end.
    samples: Vec<Sample>,
    /// What is kept in coarser sums only. What had no bound, or never reached it, has 0.
    forgotten: BTreeMap<String, u64>,
    /// Facts that are lost.
    lost: BTreeMap<String, u64>,
    /// What the report says of both, and more.
    evidence: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Sample {
    hour: u64,
    rss_bytes: f64,
    sentence_ns: f64,
}

/// Plays the day.
pub(crate) fn run() -> Result<Report> {
    let program = paths::target().join("release/bench-day");
    let program = program
        .to_str()
        .context("the path of bench-day is no text")?;
    let said = json_in(&command(&[program]).start(Stdio::piped())?.output()?)?;
    let day: Day = serde_json::from_value(said.clone()).context("bench-day says something else")?;
    let faults = day.faults();
    Ok(Report {
        text: day.text(&faults),
        json: day.json(said, &faults),
        faults,
    })
}

impl Day {
    /// The samples of the second half, and the one before it.
    fn second_half(&self) -> &[Sample] {
        &self.samples[self.samples.len() / 2..]
    }

    /// By how much memory grew in the second half, bytes.
    fn growth(&self) -> f64 {
        let half = self.second_half();
        let all = half.iter().map(|sample| sample.rss_bytes);
        let most = all.fold(0.0, f64::max);
        half.first().map_or(0.0, |first| most - first.rss_bytes)
    }

    /// How many times as much a sentence cost at the end as in the middle.
    fn dearer(&self) -> f64 {
        let half = self.second_half();
        let ends = half.first().zip(half.last());
        ends.map_or(1.0, |(first, last)| last.sentence_ns / first.sentence_ns)
    }

    /// The promises that are broken, and what the day did not try.
    fn faults(&self) -> Vec<String> {
        let (growth, dearer) = (self.growth(), self.dearer());
        let counted = self.counted as f64 / self.requests as f64;
        let broken = [
            (
                growth > GROWS,
                format!(
                    "memory grew by {:.1} MB in the second half, limit {:.0}",
                    growth / 1e6,
                    GROWS / 1e6
                ),
            ),
            (
                dearer > COSTS,
                format!("a sentence cost {dearer:.1} times as much at the end, limit {COSTS:.0}"),
            ),
            (
                counted < COUNTED,
                format!(
                    "the books have {} of {} requests",
                    self.counted, self.requests
                ),
            ),
            (
                self.malformed + self.refused > 0,
                format!(
                    "{} records were malformed, and {} refused",
                    self.malformed, self.refused
                ),
            ),
        ];
        let broken = broken.into_iter().filter(|(is_broken, _)| *is_broken);
        let untried = self.forgotten.iter().filter(|(_, count)| **count == 0);
        let untried = untried.map(|(what, _)| format!("it never reached the bound of {what}"));
        let all = broken.map(|(_, what)| what).chain(untried);
        all.map(|what| format!("day: {what}")).collect()
    }

    fn text(&self, faults: &[String]) -> String {
        let millions = self.records as f64 / 1e6;
        let mut text = format!(
            "\nday (24 hours in steps of 30 s, a tenth of a second of each at 10,000 requests, 100,000 switches and 1,000 programs a \
             second; {millions:.0} million records in {:.0} s)\n{:<20}",
            self.seconds, "hour"
        );
        let shown: Vec<&Sample> = self.samples.iter().step_by(4).collect();
        let row = |of: fn(&Sample) -> f64, digits: usize| -> String {
            let cells = shown
                .iter()
                .map(|sample| format!("{:>9.digits$}", of(sample)));
            cells.collect()
        };
        text += &row(|sample| sample.hour as f64, 0);
        text += &format!("\n{:<20}", "MB resident");
        text += &row(|sample| sample.rss_bytes / 1e6, 1);
        text += &format!(
            "   (target {:.0}, and {:+.1} in the second half)\n{:<20}",
            WANTED / 1e6,
            self.growth() / 1e6,
            "ms for a sentence"
        );
        text += &row(|sample| sample.sentence_ns / 1e6, 1);
        text += "\n";
        for line in &self.evidence {
            text += &format!("  {line}\n");
        }
        for (what, count) in &self.lost {
            text += &format!("  lost: {count} {what}\n");
        }
        for fault in faults {
            text += &format!("  BROKEN {fault}\n");
        }
        text
    }

    fn json(&self, said: Value, faults: &[String]) -> Value {
        json!({
            "title": "day", "figures": said, "growth_bytes": self.growth(), "target_bytes": WANTED, "sentence_ratio": self.dearer(),
            "faults": faults,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day with this memory, and with this cost of a sentence, at the begin, in the middle, and at the end.
    fn day(mb: [f64; 3], ms: [f64; 3]) -> Day {
        let samples = (0..).zip(mb.into_iter().zip(ms));
        let sample = |(number, (mb, ms)): (u64, (f64, f64))| Sample {
            hour: 12 * number,
            rss_bytes: mb * 1e6,
            sentence_ns: ms * 1e6,
        };
        Day {
            seconds: 60.0,
            records: 40_000_000,
            malformed: 0,
            refused: 0,
            requests: 2_880_000,
            counted: 2_880_000,
            samples: samples.map(sample).collect(),
            forgotten: BTreeMap::from([("processes".to_owned(), 7)]),
            lost: BTreeMap::new(),
            evidence: Vec::new(),
        }
    }

    #[test]
    fn memory_may_grow_until_noon_and_a_sentence_may_become_dearer_until_then() {
        assert!(
            day([10.0, 50.0, 53.0], [1.0, 20.0, 22.0])
                .faults()
                .is_empty()
        );
        assert_eq!(day([10.0, 50.0, 55.0], [1.0; 3]).faults().len(), 1);
        assert_eq!(day([50.0; 3], [1.0, 20.0, 41.0]).faults().len(), 1);
    }

    #[test]
    fn a_day_that_did_not_reach_a_bound_or_lost_requests_shows_nothing() {
        let mut day = day([50.0; 3], [20.0; 3]);
        day.forgotten.insert("places".to_owned(), 0);
        day.counted = 2_000_000;
        day.refused = 1;
        let faults = day.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            day.text(&faults)
                .contains("BROKEN day: it never reached the bound of places")
        );
    }
}
