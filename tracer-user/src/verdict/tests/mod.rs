//! Hand-made books with answers worked out by hand.

mod accuse;
mod clients;
mod confidence;
mod cpus;
mod earlier;
mod groups;
mod ledgers;
mod limits;
mod memory;
mod naps;
mod nobody;
mod parts;
mod remedies;
mod sessions;
mod spare;
mod stopped;
mod streams;
mod thresholds;
mod words;

use super::Hypothesis;
use crate::class::Resource;

fn of(hypotheses: &[Hypothesis], resource: Resource) -> &Hypothesis {
    let mut found = hypotheses.iter();
    found.find(|h| h.resource == resource).unwrap()
}

#[track_caller]
fn near(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}
