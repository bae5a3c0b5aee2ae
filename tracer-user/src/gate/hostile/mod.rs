//! Hostile recordings: valid encodings with wild values. From each a report must come, without a panic, within ten seconds.
//!
//! An input is a scene of the model with changed values, with wild events between its own, or nothing but wild events. A number names
//! an input, so a failure can be tried again. What once failed is in the [`corpus`], because a number means another input as soon as
//! the generator, a scene or an event changes.
//!
//! The corpus and some hundreds of inputs are tried with all other tests. `cargo xtask fuzz` tries a million, with the checks that a
//! release leaves out, and with a limit to the memory of each.

mod corpus;
mod wild;

use std::{
    env,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize as _;
use serde_json::Value;

use self::wild::Random;
use super::Gated;
use crate::{
    assemble::assemble,
    event::{End, Event},
    model::scenes::{
        SERVER, WORKER, asleep, at, attach, by_hand, clients, receive, running, send, sent, slice,
        upstream,
    },
    render::{
        flame::{folded, svg},
        json::json,
        text::{TextOptions, text},
    },
    report::Report,
};

/// The longest that a report may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Inputs that are tried with all other tests.
const FEW: u64 = 300;

/// Variables by which `cargo xtask fuzz` names the first input, how many follow it, and the file in which one is kept.
const FIRST: &str = "TRACER_HOSTILE_FIRST";
const INPUTS: &str = "TRACER_HOSTILE";
const KEEP: &str = "TRACER_HOSTILE_KEEP";

#[test]
fn a_report_comes_from_hundreds_of_hostile_recordings() {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    thread::scope(|scope| {
        for begin in 0..threads {
            let of = (begin..FEW).step_by(threads as usize);
            scope.spawn(move || of.for_each(try_one));
        }
    });
}

#[test]
#[ignore = "`cargo xtask fuzz` says which inputs"]
fn a_report_comes_from_each_hostile_recording_of_a_range() {
    let first = asked(FIRST);
    // The test runner may have begun a line.
    println!();
    for number in first..first + asked(INPUTS) {
        // Whoever reads this knows the input that ends the process, or never ends.
        println!("input {number}");
        try_one(number);
    }
}

#[test]
#[ignore = "`cargo xtask fuzz` says which input, and where"]
fn a_hostile_recording_is_kept_in_the_corpus() {
    let file = env::var_os(KEEP).expect("`cargo xtask fuzz` names the file");
    let events = input(&mut Random::new(asked(FIRST)));
    corpus::keep(Path::new(&file), &events);
}

/// A number that `cargo xtask fuzz` gives.
fn asked(name: &str) -> u64 {
    let given = env::var(name).ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| panic!("{name} has no number: run `cargo xtask fuzz`"))
}

/// Says which input it was, if it fails.
struct Input(String);

impl Drop for Input {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("hostile input {} fails", self.0);
        }
    }
}

fn try_one(number: u64) {
    let _input = Input(format!(
        "{number} (cargo xtask fuzz --first {number} --inputs 1)"
    ));
    let mut random = Random::new(number);
    let events = input(&mut random);
    try_events(&events, random.below(16) == 0);
}

fn try_events(events: &[Event], draws: bool) {
    let begun = Instant::now();
    report(events, draws);
    let took = begun.elapsed();
    assert!(took < PATIENCE, "{} events took {took:?}", events.len());
}

/// All that `tracer report` does with these events.
fn report(events: &[Event], draws: bool) {
    let mut gated = Gated::new();
    for event in events {
        gated.apply(event);
    }
    let (books, refused) = gated.close();
    let (mut report, flame) = assemble(&books);
    report.losses.refused = refused;
    let options = TextOptions {
        top: 10,
        colour: false,
    };
    let shown = text(&report, &options);
    let drives = |c: char| c.is_control() && c != '\n';
    assert!(!shown.contains(drives), "{shown:?}");
    let shown = json(&report).unwrap();
    serde_json::from_str::<Report>(&shown).unwrap();
    let _ = folded(&flame);
    if draws {
        svg(&flame).unwrap();
    }
}

/// The events of an input.
fn input(random: &mut Random) -> Vec<Event> {
    if random.below(8) == 0 {
        return (0..random.below(64)).map(|_| wild(random)).collect();
    }
    let mut events = scene(random);
    for _ in 0..random.below(12) {
        let index = random.below(events.len() as u64) as usize;
        if let Some(changed) = changed(random, &events[index]) {
            events[index] = changed;
        }
    }
    let wilds = if random.below(4) == 0 { 0 } else { 96 };
    for _ in 0..random.below(wilds + 1) {
        let index = random.below(events.len() as u64 + 1) as usize;
        let event = wild(random);
        events.insert(index, event);
    }
    if random.below(2) == 0 {
        // Kinds without a time stay where they are, at the begin.
        events.sort_by_key(Event::ns);
    }
    let mut all = attach();
    if random.below(16) == 0 {
        let index = random.below(all.len() as u64) as usize;
        let changed = changed(random, &all[index]);
        drop(all.splice(index..=index, changed));
    }
    all.extend(events);
    all.extend(end(random));
    all
}

/// A scene with disks, sockets, links, CPUs, and processes that are asked.
fn scene(random: &mut Random) -> Vec<Event> {
    let mut events: Vec<Event> = running(SERVER).into_iter().chain(running(WORKER)).collect();
    events.extend(match random.below(6) {
        0 => by_hand::reader_behind_tar(),
        1 => upstream::asks(upstream::behind_tar()),
        2 => upstream::deep(),
        3 => upstream::elsewhere(),
        4 => {
            let remotes = ["10.0.0.1:1", "10.0.0.2:2", "127.0.0.1:3"];
            clients::dump([Some(SERVER + 7), None, Some(SERVER + 8)], remotes)
        }
        _ => (0..random.below(40)).flat_map(|_| step(random)).collect(),
    });
    events
}

/// A request that stands somewhere.
fn step(random: &mut Random) -> Vec<Event> {
    let (tid, socket) = (SERVER + random.below(2) as u32, random.below(3) + 7);
    let begin = random.below(2000);
    let end = begin + random.below(500);
    let (stack, cpu) = (random.below(7), random.below(3) as u32);
    vec![
        receive(tid, socket, begin, begin),
        Event::Wait(asleep(
            tid,
            begin,
            end,
            random.below(end - begin + 1),
            stack,
        )),
        slice(cpu, 200 + random.below(2) as u32, begin, end),
        sent(tid, begin, random.below(9000), random.below(3) as u32),
        send(tid, socket, end),
    ]
}

fn wild(random: &mut Random) -> Event {
    // Errors are values that no type has, such as a text for a letter.
    loop {
        if let Ok(event) = Event::deserialize(&mut *random) {
            return event;
        }
    }
}

/// The end: a usual one, a wild one, or none.
fn end(random: &mut Random) -> Option<Event> {
    let ns = match random.below(16) {
        0 => return None,
        1 => random.number(),
        2 => at(0) + (1 << random.below(53)),
        _ => at(random.below(4000)),
    };
    Some(Event::End(Box::new(End {
        ns,
        ..End::default()
    })))
}

/// The event with one wild value; `None` if the type does not have that value.
fn changed(random: &mut Random, event: &Event) -> Option<Event> {
    let mut value = serde_json::to_value(event).unwrap();
    let mut left = random.below(leaves(&value));
    change(random, &mut value, &mut left);
    serde_json::from_value(value).ok()
}

fn leaves(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(leaves).sum(),
        Value::Object(fields) => fields.values().map(leaves).sum(),
        _ => 1,
    }
}

/// Changes the leaf behind so many others.
fn change(random: &mut Random, value: &mut Value, left: &mut u64) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| change(random, item, left)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| change(random, field, left)),
        leaf => {
            if *left == 0 {
                *leaf = match &*leaf {
                    Value::Number(_) => random.number().into(),
                    Value::String(_) => random.text().into(),
                    Value::Bool(known) => (!known).into(),
                    other => other.clone(),
                };
            }
            *left = left.wrapping_sub(1);
        }
    }
}
