//! A simulated day of a busy server: its records, from their bytes to the books, and what that costs at each hour.
//!
//! A step stands for half a minute. Its first tenth of a second is played at full speed, with 10,000 requests, 100,000 switches and 1,000
//! new programs a second, and in the rest nothing happens. So the window is a day long, and all that has a bound grows beyond it.
//! Prints JSON, which the lab judges.

mod fold;
mod records;
mod server;

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use tracer::{
    assemble::assemble,
    event::{End, Event},
};
use xtask::command::say;

use self::{
    fold::{Fold, resident},
    server::{BEAT_NS, Server},
};

/// Begin of the window, ns.
const BEGIN_NS: u64 = 10_000_000_000_000;
/// Length of a step.
const STEP_NS: u64 = 30_000_000_000;
/// Beats of a step: a tenth of a second.
const BEATS: u64 = 100_000_000 / BEAT_NS;
const HOURS: u64 = 24;
/// Steps of an hour.
const HOUR: u64 = 3_600_000_000_000 / STEP_NS;

fn main() -> Result<()> {
    let begun = Instant::now();
    let mut fold = Fold::default();
    let mut server = Server::begin(BEGIN_NS, &mut fold);
    let mut samples = Vec::new();
    for step in 0..=HOURS * HOUR {
        let ns = BEGIN_NS + (step + 1) * STEP_NS;
        server.containers(step, ns, &mut fold);
        for beat in 0..BEATS {
            server.beat(ns + beat * BEAT_NS, &mut fold);
        }
        if step.is_multiple_of(HOUR) {
            samples.push(sample(step / HOUR, &fold)?);
        }
    }
    let (records, malformed) = (fold.records, fold.malformed);
    let end_ns = BEGIN_NS + (HOURS * HOUR + 2) * STEP_NS;
    fold.event(&Event::End(Box::new(End {
        ns: end_ns,
        sent: records,
        received: records,
        ..End::default()
    })));
    let (books, refused) = fold.close();
    let (report, _) = assemble(&books);
    let day = json!({
        "seconds": begun.elapsed().as_secs_f64(),
        "records": records,
        "malformed": malformed,
        "refused": refused,
        "requests": server.requests,
        "counted": report.requests.map_or(0, |requests| requests.count),
        "samples": samples,
        "forgotten": {
            "processes": books.folded.processes.0,
            "places": books.folded.places,
            "stacks": books.folded.stacks,
            "connections": books.folded.connections,
        },
        "lost": report.losses.maps,
        "evidence": report.evidence,
    });
    println!("{day}");
    Ok(())
}

/// The memory, and the cost of a sentence, after so many hours.
fn sample(hour: u64, fold: &Fold) -> Result<Value> {
    let rss_bytes = resident()?;
    let sentence = fold.sentence()?;
    say(&format!(
        "hour {hour} of {HOURS}: {:.1} MB resident, {:.1} ms for a sentence",
        rss_bytes as f64 / 1e6,
        1e3 * sentence.as_secs_f64()
    ));
    Ok(json!({"hour": hour, "rss_bytes": rss_bytes, "sentence_ns": sentence.as_nanos() as u64}))
}
