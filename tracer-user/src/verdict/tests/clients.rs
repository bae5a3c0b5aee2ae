//! Clients that hold the disk through the target, on whole streams; and those that must not be accused of it.

use crate::{
    class::{Cause, Resource},
    model::scenes::{clients::*, *},
    verdict::{Verdict, fixture::judge},
};

const ELSEWHERE: [&str; 3] = ["10.0.0.7:40001", "10.0.0.7:40002", "127.0.0.1:40003"];

fn judged(events: Vec<Event>) -> Verdict {
    judge(&books(events, 10_000))
}

#[track_caller]
fn assert_own(verdict: &Verdict) {
    let first = verdict.primary().unwrap();
    assert_eq!(
        (first.resource, first.cause),
        (Resource::Disk, Some(Cause::Own))
    );
    assert_eq!(first.culprits, [], "{}", verdict.sentence);
}

#[test]
fn a_backup_for_whom_the_target_reads_is_accused_and_its_own_request_is_left_out() {
    let verdict = judged(dump([Some(SHOP), Some(SHOP), Some(DUMP)], HERE));
    let who = "it stood behind pg_dump (pid 600, for whom server works) on 0:7; ";
    assert!(verdict.sentence.contains(who), "{}", verdict.sentence);
    // 198 waits of 41 ms, of which 40 · 1040/1060 were the dump's (see the stream).
    let first = verdict.primary().unwrap();
    let share = first.culprits[0].share;
    assert!((share - 0.957).abs() < 0.02, "{share}");
    // The dump's own 40 of each 122 ms are no part of it.
    assert!(
        (first.self_share - 0.043).abs() < 0.02,
        "{}",
        first.self_share
    );
}

#[test]
fn requests_from_elsewhere_stand_behind_it_too() {
    let verdict = judged(dump([None, None, Some(DUMP)], ELSEWHERE));
    let first = verdict.primary().unwrap();
    assert_eq!(first.culprits[0].name, "pg_dump");
    assert!(first.culprits[0].through);
}

#[test]
fn what_is_restrained_is_what_reads_for_it() {
    for (scheduler, applies) in [("bfq", true), ("none", false)] {
        let mut events = dump([Some(SHOP), Some(SHOP), Some(DUMP)], HERE);
        events.push(Event::Disk(event::Disk {
            dev: 7,
            name: "sda".to_owned(),
            scheduler: scheduler.to_owned(),
            ..event::Disk::default()
        }));
        events.sort_by_key(Event::ns);
        let verdict = judged(events);
        let commands = verdict
            .remedies
            .iter()
            .map(|remedy| remedy.command.as_str());
        let commands: Vec<&str> = commands.collect();
        // Nothing that changes how the client itself reads is among them.
        assert_eq!(commands.len(), 2, "{commands:?}");
        let command = format!("ionice -c3 -p {COPY}");
        let ionice = verdict
            .remedies
            .iter()
            .find(|remedy| remedy.command == command);
        assert_eq!(
            ionice.map(|remedy| remedy.applies),
            Some(applies),
            "{commands:?}"
        );
    }
}

#[test]
fn what_has_ended_is_not_restrained() {
    let mut events = dump([Some(SHOP), Some(SHOP), Some(DUMP)], HERE);
    events.push(Event::ThreadEnd(event::ThreadEnd {
        ns: at(9_990),
        pid: SERVER,
        tid: COPY,
    }));
    let remedies = judged(events).remedies;
    let ionice = remedies
        .iter()
        .find(|remedy| remedy.command.starts_with("ionice"));
    let note = ionice.map(|remedy| remedy.note.as_str());
    assert_eq!(
        note,
        Some(
            "does nothing here, because no thread of server works for pg_dump any more (ionice(1))"
        )
    );
}

#[test]
fn who_asks_on_all_connections_is_not_accused_of_what_it_waits_for_itself() {
    assert_own(&judged(dump([Some(SHOP); 3], HERE)));
}

#[test]
fn where_either_client_is_not_known_nobody_is_accused() {
    assert_own(&judged(dump([None, None, Some(DUMP)], HERE)));
    assert_own(&judged(dump([Some(SHOP), Some(SHOP), None], HERE)));
}

#[test]
fn clients_of_two_machines_that_ask_for_the_same_do_not_hold_each_other_up() {
    // Three connections of one job here, and one of another machine: each waits behind the other three.
    let mut events = vec![client(SHOP, "shop", 0)];
    let remotes = [
        "127.0.0.1:40001",
        "127.0.0.1:40002",
        "127.0.0.1:40003",
        "10.9.0.2:40004",
    ];
    for (socket, remote) in (1..).zip(remotes) {
        let tid = LOOKUP + socket as u32 - 1;
        events.extend(running(tid));
        let of = remote.starts_with("127.").then_some(SHOP);
        events.extend(accepted(socket, remote, of, 1));
        for turn in 0..99 {
            let begin = 100 + 100 * turn;
            events.push(receive(tid, socket, begin, begin));
            events.push(own_read(tid, begin, begin + 41, 64 << 10));
            events.push(sleep(tid, begin, begin + 41, PAGE));
            events.push(send(tid, socket, begin + 43));
        }
    }
    events.extend((0..8).map(|i| own_read(LOOKUP, 10 + 2 * i, 11 + 2 * i, 64 << 10)));
    events.sort_by_key(Event::ns);
    let verdict = judged(events);
    assert_own(&verdict);
    assert!(!verdict.healthy.contains(&Resource::Disk));
}

#[test]
fn the_processes_of_one_job_do_not_hold_each_other_up() {
    let mut events = vec![client(599, "manager", 0)];
    let one_job = |event| match event {
        Event::Process(found) if [SHOP, DUMP].contains(&found.pid) => {
            Event::Process(event::Process {
                parent_pid: 599,
                pgid: 599,
                sid: 599,
                ..found
            })
        }
        other => other,
    };
    let stream = dump([Some(SHOP), Some(SHOP), Some(DUMP)], HERE);
    events.extend(stream.into_iter().map(one_job));
    assert_own(&judged(events));
}

#[test]
fn clients_that_ask_for_the_same_do_not_hold_each_other_up() {
    let mut events = vec![client(DUMP, "blog", 0), client(SHOP, "shop", 0)];
    for (socket, tid, of) in [(1, LOOKUP, SHOP), (2, SECOND, DUMP)] {
        events.extend(running(tid));
        let remote = HERE[socket as usize - 1];
        events.extend(accepted(socket, remote, Some(of), 1));
        for turn in 0..99 {
            let begin = 100 + 100 * turn;
            events.push(receive(tid, socket, begin, begin));
            events.push(own_read(tid, begin, begin + 41, 64 << 10));
            events.push(sleep(tid, begin, begin + 41, PAGE));
            events.push(send(tid, socket, begin + 43));
        }
    }
    events.extend((0..8).map(|i| own_read(LOOKUP, 10 + 2 * i, 11 + 2 * i, 64 << 10)));
    events.sort_by_key(Event::ns);
    assert_own(&judged(events));
}
