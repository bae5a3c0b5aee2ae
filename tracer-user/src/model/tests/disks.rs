//! Disk waits: layers of stacked devices, what kernel threads write, slow devices.

use tracer_common::sched::WAIT_MEMSTALL;

use tracer_common::block::{IO_ERROR, IO_JOURNAL, IO_THROTTLED, IO_WRITEBACK};

use super::*;
use crate::class::Cause;

/// Device number of a stacked disk above disk 7.
const UPPER: u32 = 8;

fn stacked() -> [Event; 2] {
    let upper = event::Disk {
        dev: UPPER,
        name: "loop0".to_owned(),
        below: vec![7],
        ..event::Disk::default()
    };
    let worker = event::Process {
        pid: 300,
        kernel: true,
        ..event::Process::default()
    };
    [Event::Disk(upper), Event::Process(worker)]
}

/// The same request on the stacked disk.
fn above(event: Event) -> Event {
    match event {
        Event::Io(io) => Event::Io(Io { dev: UPPER, ..io }),
        _ => unreachable!(),
    }
}

fn place(books: &Books, holder: Holder) -> Vec<&str> {
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let places = charges.filter(|charge| charge.holder == holder && charge.ns > 0);
    places
        .map(|charge| books.places[charge.place.unwrap()].as_str())
        .collect()
}

#[test]
fn a_kernel_thread_below_a_loop_device_works_for_those_above() {
    let mut events = stacked().to_vec();
    events.extend([
        first(1, 0),
        io(300, 100, 120, 1 << 20, IO_KTHREAD),
        io(TARGET, 101, 121, 4096, IO_TARGET),
        Event::Wait(wait(101, 121, 0, PAGE)),
        above(io(OTHER, 95, 130, 1 << 20, 0)),
    ]);
    let books = books(events, 130);
    assert!(charged(&books, Resource::Disk, other(&books)) >= 15);
    close(&books);
}

#[test]
fn who_crowds_the_disk_below_a_loop_device_is_named_there() {
    let mut events = stacked().to_vec();
    events.push(first(1, 0));
    for at in [10, 20, 30, 40, 50, 60] {
        events.push(io(300, at, at + 1, 4096, IO_KTHREAD));
        events.push(above(io(TARGET, at, at + 1, 4096, IO_TARGET)));
    }
    // Nobody else is on the loop device; the worker that serves it stands behind a reader of the disk that holds its file.
    events.extend([
        io(OTHER, 100, 120, 1 << 20, 0),
        io(300, 101, 121, 4096, IO_KTHREAD),
        above(io(TARGET, 101, 121, 4096, IO_TARGET)),
        Event::Wait(wait(101, 121, 0, PAGE)),
    ]);
    let books = books(events, 130);
    // 20 ms of which 1 ms is what such a read takes alone.
    assert_eq!(charged(&books, Resource::Disk, other(&books)), 18);
    assert_eq!(place(&books, other(&books)), ["0:7"]);
    close(&books);
}

#[test]
fn a_commit_is_charged_to_those_who_have_a_part_in_it_and_the_pause_to_nobody() {
    let events = vec![
        first(1, 0),
        // The journal writes 3 MiB of another's data, then 1 MiB of the transaction, of which the target has a quarter.
        io(OTHER, 100, 130, 3 << 20, IO_WRITEBACK),
        io(OTHER, 130, 136, 768 << 10, IO_JOURNAL),
        io(TARGET, 136, 138, 256 << 10, IO_JOURNAL | IO_TARGET),
        Event::Wait(wait(100, 140, 0, COMMIT)),
    ];
    let books = books(events, 150);
    assert_eq!(charged(&books, Resource::Disk, other(&books)), 36);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 2);
    assert_eq!(charged(&books, Resource::Disk, Holder::Nobody), 2);
    close(&books);
}

#[test]
fn what_the_target_dirtied_itself_is_its_own_even_when_it_waits_for_the_commit() {
    let events = vec![
        first(1, 0),
        io(TARGET, 100, 130, 3 << 20, IO_WRITEBACK | IO_TARGET),
        io(TARGET, 130, 140, 1 << 20, IO_JOURNAL | IO_TARGET),
        Event::Wait(wait(100, 140, 0, COMMIT)),
    ];
    let books = books(events, 150);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 40);
    close(&books);
}

#[test]
fn a_read_does_not_wait_for_what_the_target_has_written_back() {
    let events = vec![
        first(1, 0),
        io(TARGET, 90, 119, 3 << 20, IO_WRITEBACK | IO_TARGET),
        io(OTHER, 100, 120, 4096, 0),
        Event::Wait(wait(101, 120, 0, PAGE)),
    ];
    let books = books(events, 130);
    // Somebody else reads the page that it waits for: ended with the wait, as the writeback did not.
    let own = charged(&books, Resource::Disk, Holder::Own);
    assert_eq!(own + charged(&books, Resource::Disk, Holder::Nobody), 19);
    close(&books);
}

#[test]
fn a_device_that_needs_a_tenth_of_a_second_for_a_page_is_slow_and_nobody_is_accused() {
    let mut events = vec![first(1, 0)];
    for at in [0, 150, 300, 450, 600, 750] {
        events.push(io(TARGET, at, at + 100, 4096, IO_TARGET));
        events.push(Event::Wait(wait(at.max(2), at + 100, 0, PAGE)));
    }
    let books = books(events, 900);
    assert_eq!(charged(&books, Resource::Disk, other(&books)), 0);
    let slow = charged(&books, Resource::Disk, Holder::SlowDevice);
    assert!((580..=598).contains(&slow), "{slow}");
    close(&books);
}

#[test]
fn a_device_that_becomes_slower_is_slow_by_what_it_takes_more() {
    let mut events = vec![first(1, 0)];
    for at in 0..20 {
        events.push(io(TARGET, 10 * at, 10 * at + 1, 4096, IO_TARGET));
    }
    for at in 20..60 {
        events.push(io(TARGET, 10 * at, 10 * at + 8, 4096, IO_TARGET));
    }
    events.push(Event::Wait(wait(590, 598, 0, PAGE)));
    let books = books(events, 4000);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 1);
    assert!(charged(&books, Resource::Disk, Holder::SlowDevice) >= 6);
    close(&books);
}

#[test]
fn what_its_own_limit_holds_back_stands_behind_those_at_the_device_only_from_then_on() {
    // Submitted at 100, let go at 160, on the device until 180, beside somebody else's from 150 on; alone such a read takes 1 ms.
    let held_back = io(0, 160, 180, 4096, IO_TARGET | IO_THROTTLED);
    let Event::Io(held_back) = held_back else {
        unreachable!()
    };
    let mut events = vec![first(1, 0)];
    events.extend([10, 20, 30, 40, 50, 60].map(|at| io(TARGET, at, at + 1, 4096, IO_TARGET)));
    events.extend([
        Event::Io(Io {
            pid: TARGET,
            ..held_back
        }),
        Event::Wait(wait(100, 180, 0, PAGE)),
        io(OTHER, 150, 190, 1 << 20, 0),
    ]);
    let books = books(events, 190);
    assert_eq!(charged(&books, Resource::Disk, Holder::OwnQuota), 60);
    // 20 ms, of which 1 ms is its own, in whole milliseconds.
    assert_eq!(charged(&books, Resource::Disk, other(&books)), 18);
    close(&books);
}

#[test]
fn what_the_device_refuses_is_neither_its_service_nor_the_others_fault() {
    let mut events = vec![first(1, 0)];
    events.extend([10, 20, 30, 40, 50, 60].map(|at| io(TARGET, at, at + 1, 4096, IO_TARGET)));
    events.extend([
        io(TARGET, 100, 150, 4096, IO_TARGET | IO_ERROR),
        Event::Wait(wait(100, 150, 0, PAGE)),
    ]);
    let books = books(events, 190);
    assert_eq!(charged(&books, Resource::Disk, Holder::FailedDevice), 50);
    assert_eq!(books.failed.values().sum::<u64>(), 1);
    close(&books);
}

#[test]
fn a_page_that_was_in_use_and_evicted_says_why_it_is_read_again() {
    let again = Wait {
        flags: WAIT_MEMSTALL,
        ..wait(100, 120, 0, PAGE)
    };
    let events = vec![
        first(1, 0),
        io(TARGET, 100, 120, 4096, IO_TARGET),
        Event::Wait(again),
        io(TARGET, 130, 140, 4096, IO_TARGET),
        Event::Wait(wait(130, 140, 0, PAGE)),
    ];
    let books = books(events, 190);
    let evicted = books
        .causes
        .iter()
        .find(|(resource, cause, _)| (*resource, *cause) == (Resource::Disk, Cause::CacheEviction));
    assert_eq!(evicted.map(|(_, _, ns)| ns / MS), Some(20));
    close(&books);
}

#[test]
fn a_request_that_completed_as_its_thread_went_to_sleep_is_what_it_waited_for() {
    let events = vec![
        first(1, 0),
        io(TARGET, 100, 101, 4096, IO_TARGET),
        io(OTHER, 90, 190, 1 << 20, 0),
        Event::Wait(wait(102, 110, 0, PAGE)),
    ];
    let books = books(events, 190);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 8);
    close(&books);
}

#[test]
fn on_a_fast_device_waits_are_judged_before_their_requests_are_forgotten() {
    let mut events = vec![first(1, 0)];
    // 40,000 reads a second for 4 s, each of which is waited for.
    for i in 0..160_000_u64 {
        let Event::Io(read) = io(TARGET, 0, 0, 4096, IO_TARGET) else {
            unreachable!()
        };
        let begin = T0 + 2 * MS + i * 25_000;
        let (queue_ns, issue_ns, ns) = (begin, begin, begin + 20_000);
        events.push(Event::Io(Io {
            ns,
            queue_ns,
            issue_ns,
            ..read
        }));
        let slept = Wait {
            ns,
            ran_since_ns: 0,
            off_ns: begin,
            ..wait(100, 101, 0, PAGE)
        };
        events.push(Event::Wait(slept));
    }
    let books = books(events, 4_003);
    assert_eq!(
        charged(&books, Resource::Disk, Holder::Own),
        160_000 * 20_000 / MS
    );
    close(&books);
}
