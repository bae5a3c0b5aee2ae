//! Intervals of a machine, from the events of its processes.

use tracer_common::sched::{WAIT_OPEN, WAIT_RUNNABLE};

use super::*;
use crate::{
    class::Resource,
    counters::Counters,
    event::{Start, Wait},
    model::scenes::{
        EPOLL, MS, RSYNC, SERVER, T0, TAR, WORKER, asleep, at, attach, of, preempted, process,
        sleep, slice,
    },
};

/// The intervals of these events.
fn tops(events: impl IntoIterator<Item = Event>) -> Vec<Top> {
    let mut state = State::new();
    let all = events.into_iter();
    all.filter_map(|event| state.apply(&event)).collect()
}

fn counted(ms: u64) -> Event {
    Event::Counted(Box::new(Counted {
        ns: at(ms),
        ..Counted::default()
    }))
}

/// In whole milliseconds. A share is no whole number of nanoseconds.
fn ms(ns: u64) -> u64 {
    (ns + MS / 2) / MS
}

/// From `begin` on for a second, tar has a CPU for 9 ms of each 10, and the server for the rest.
fn contended(begin: u64) -> Vec<Event> {
    let round = |ms: u64| {
        [
            slice(0, SERVER, ms, ms + 1),
            of(TAR, Event::Wait(preempted(TAR, ms, ms + 1))),
            slice(0, TAR, ms + 1, ms + 10),
            Event::Wait(preempted(SERVER, ms + 1, ms + 10)),
        ]
    };
    (begin..begin + 1000).step_by(10).flat_map(round).collect()
}

#[test]
fn the_first_row_names_who_is_harmed_most_and_who_harms() {
    let events = attach().into_iter().chain(contended(0));
    let top = tops(events.chain([counted(1000)])).remove(0);
    assert!(top.contended);
    assert!(
        top.sentence.starts_with("server waits for the CPU"),
        "{}",
        top.sentence
    );
    let first = &top.waits[0];
    assert_eq!((first.victim.pid, first.resource), (SERVER, Resource::Cpu));
    assert_eq!(first.culprit.as_ref().unwrap().pid, TAR);
    assert!(first.felt);
    assert_eq!(ms(first.ns), 900);
    let of_tar = top.waits.iter().find(|wait| wait.victim.pid == TAR);
    assert_eq!(ms(of_tar.unwrap().ns), 100);
    assert_eq!(top.interval_ns, 1000 * MS);
}

#[test]
fn each_interval_has_its_own_waits_and_a_calm_one_says_so() {
    let idle = [sleep(SERVER, 1000, 1900, EPOLL), counted(2000)];
    let events = attach().into_iter().chain(contended(0));
    let events = events.chain([counted(1000)]).chain(idle);
    let events = events.chain(contended(2000)).chain([counted(3000)]);
    let tops = tops(events);
    let contended: Vec<bool> = tops.iter().map(|top| top.contended).collect();
    assert_eq!(contended, [true, false, true]);
    assert_eq!(tops[1].sentence, CALM);
    assert!(tops[1].waits.is_empty() && tops[1].confidence.is_none());
    assert_eq!(tops[0].waits[0].ns, tops[2].waits[0].ns);
}

#[test]
fn a_wait_from_before_the_interval_counts_from_its_begin_and_one_that_is_open_to_its_end() {
    let end = |ms: u64, held_ms: u64, waits: Vec<Wait>| {
        let held = match slice(0, TAR, held_ms, ms) {
            Event::Slice(slice) => slice,
            other => unreachable!("{other:?}"),
        };
        Event::Counted(Box::new(Counted {
            ns: at(ms),
            waits,
            slices: vec![held],
            ..Counted::default()
        }))
    };
    let open = Wait {
        flags: WAIT_RUNNABLE | WAIT_OPEN,
        ..preempted(SERVER, 500, 1000)
    };
    let events = [
        end(1000, 0, vec![open]),
        slice(0, TAR, 1000, 1700),
        Event::Wait(preempted(SERVER, 500, 1700)),
        end(2000, 1700, Vec::new()),
    ];
    let tops = tops(attach().into_iter().chain(events));
    let lost = |top: &Top| ms(top.waits.iter().map(|wait| wait.ns).sum());
    assert_eq!((lost(&tops[0]), lost(&tops[1])), (500, 700));
}

#[test]
fn workers_of_one_name_and_session_are_one_victim() {
    let worker = |pid, parent_pid, sid| {
        Event::Process(Process {
            parent_pid,
            sid,
            ..process(pid, "server")
        })
    };
    // A process of the same name in another session has nothing to do with them.
    let mut events = attach();
    events.extend([worker(WORKER, SERVER, 7), worker(RSYNC, 1, 8)]);
    events.extend(contended(0));
    events.push(of(WORKER, Event::Wait(asleep(WORKER, 0, 900, 0, EPOLL))));
    let mut state = State::new();
    for event in &events {
        assert!(state.apply(event).is_none());
    }
    let lost = state.survey.take();
    let end = Counted {
        ns: at(1000),
        ..Counted::default()
    };
    let interval = Interval {
        begin_ns: T0,
        end: &end,
        standing: &state.standing,
        ended: &state.ended,
        signals: &state.signals,
        events: &state.events,
    };
    let families: Vec<Vec<u32>> = interval
        .victims(&lost)
        .into_iter()
        .map(|family| family.pids)
        .collect();
    assert_eq!(families, [vec![SERVER, WORKER], vec![TAR]]);
}

#[test]
fn an_interval_without_counts_says_so_and_the_next_one_has_the_rates_of_both() {
    let end = |ms: u64, counted_ns: u64| {
        let counters = Counters {
            ns: counted_ns,
            ..Counters::default()
        };
        Event::Counted(Box::new(Counted {
            ns: at(ms),
            counters,
            ..Counted::default()
        }))
    };
    let ends = [
        end(0, at(0)),
        end(1000, at(1000)),
        end(2000, 0),
        end(3000, at(3000)),
    ];
    let tops = tops(attach().into_iter().chain(ends));
    let counted: Vec<u64> = tops.iter().map(|top| ms(top.counted_ns)).collect();
    assert_eq!(counted, [1000, 0, 2000]);
    let uncounted = |top: &Top| {
        let mut missing = top.tracer.missing.iter();
        missing.any(|missing| missing.probe == UNCOUNTED.0)
    };
    let uncounted: Vec<bool> = tops.iter().map(uncounted).collect();
    assert_eq!(uncounted, [false, true, false]);
}

#[test]
fn nothing_comes_of_a_recording_without_a_start() {
    assert!(tops([counted(1000)]).is_empty());
    let start = Event::Start(Box::new(Start {
        ns: T0,
        ..Start::default()
    }));
    let tops = tops([start, counted(1000)]);
    assert_eq!((tops.len(), tops[0].sentence.as_str()), (1, CALM));
    assert_eq!(tops[0].machine, None);
}
