//! Disk waits: layers of stacked devices, what kernel threads write, slow devices.

use tracer_common::{
    block::{IO_BEFORE, IO_ERROR, IO_JOURNAL, IO_THROTTLED, IO_WRITEBACK},
    sched::WAIT_MEMSTALL,
};

use super::*;
use crate::class::Cause;

/// Device number of a stacked disk above disk 7.
const UPPER: u32 = 8;
/// Identity of a stack of its own.
const COMMIT: u64 = 30;

fn stacked() -> Event {
    Event::Disk(event::Disk {
        dev: UPPER,
        name: "loop0".to_owned(),
        below: vec![7],
        ..event::Disk::default()
    })
}

/// A request with these `IO_*` bits.
fn flagged(pid: u32, queue: u64, end: u64, bytes: u32, flags: u32) -> Event {
    let io = io(pid, queue, end, bytes);
    Event::Io(Io { flags, ..io })
}

/// The stack in which a thread waits for a commit of the journal.
fn commit() -> Event {
    stack(COMMIT, &["schedule", "jbd2_log_wait_commit"])
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
    let mut events = vec![stacked()];
    events.extend([
        Event::Wait(first(SERVER, 1, 0)),
        read(KWORKER, 100, 120, 1 << 20),
        read(SERVER, 101, 121, 4096),
        sleep(SERVER, 101, 121, PAGE),
        above(read(TAR, 95, 130, 1 << 20)),
    ]);
    let books = books(sleeper(events), 130);
    assert!(charged(&books, Resource::Disk, holder(&books, TAR)) >= 15);
    assert_closed(&books);
}

#[test]
fn who_crowds_the_disk_below_a_loop_device_is_named_there() {
    let mut events = vec![stacked()];
    events.push(Event::Wait(first(SERVER, 1, 0)));
    for at in [10, 20, 30, 40, 50, 60] {
        events.push(read(KWORKER, at, at + 1, 4096));
        events.push(above(read(SERVER, at, at + 1, 4096)));
    }
    // Nobody else is on the loop device. Its worker stands behind a reader of the disk that holds its file.
    events.extend([
        read(TAR, 100, 120, 1 << 20),
        read(KWORKER, 101, 121, 4096),
        above(read(SERVER, 101, 121, 4096)),
        sleep(SERVER, 101, 121, PAGE),
    ]);
    let books = books(sleeper(events), 130);
    // 20 ms of which 1 ms is what such a read takes alone.
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 18);
    assert_eq!(place(&books, holder(&books, TAR)), ["0:7"]);
    assert_closed(&books);
}

#[test]
fn a_commit_is_charged_to_those_who_have_a_part_in_it_and_the_pause_to_nobody() {
    let events = vec![
        Event::Wait(first(SERVER, 1, 0)),
        // The journal writes 3 MiB of another's data, then 1 MiB of the transaction. A quarter of the transaction is the target's.
        flagged(TAR, 100, 130, 3 << 20, IO_WRITEBACK),
        flagged(TAR, 130, 136, 768 << 10, IO_JOURNAL),
        flagged(SERVER, 136, 138, 256 << 10, IO_JOURNAL),
        commit(),
        sleep(SERVER, 100, 140, COMMIT),
    ];
    let books = books(sleeper(events), 150);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 36);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 2);
    assert_eq!(charged(&books, Resource::Disk, Holder::Nobody), 2);
    assert_closed(&books);
}

#[test]
fn what_was_dirtied_before_the_trace_is_a_holder_and_no_process() {
    let events = vec![
        Event::Wait(first(SERVER, 1, 0)),
        flagged(0, 100, 130, 3 << 20, IO_WRITEBACK | IO_BEFORE),
        flagged(SERVER, 130, 138, 256 << 10, IO_JOURNAL),
        commit(),
        sleep(SERVER, 100, 140, COMMIT),
    ];
    let books = books(sleeper(events), 150);
    assert_eq!(charged(&books, Resource::Disk, Holder::Earlier), 30);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 8);
    assert_eq!(charged(&books, Resource::Disk, Holder::Nobody), 2);
    assert_closed(&books);
}

#[test]
fn the_file_of_what_was_dirtied_before_the_trace_is_the_one_with_half_of_it() {
    const MIB: u64 = 1 << 20;
    let file = |inode, bytes, is_disk| {
        Event::EarlierFile(Box::new(event::EarlierFile {
            dev: 7,
            inode,
            bytes,
            is_disk,
            ..event::EarlierFile::default()
        }))
    };
    let found = |files: &[Event]| {
        let request = flagged(0, 100, 130, 3 << 20, IO_WRITEBACK | IO_BEFORE);
        // Others' requests do not count.
        let other = flagged(TAR, 100, 130, 9 << 20, IO_WRITEBACK);
        let events = [request, other].into_iter().chain(files.iter().cloned());
        let books = books(sleeper(events), 150);
        let mut disks = books.earlier.values();
        let known = disks.next().unwrap();
        assert_eq!(disks.next(), None);
        (known.files, known.main_file().map(|file| file.inode))
    };
    let small = file(13, MIB, false);
    assert_eq!(
        found(&[file(12, 2 * MIB, false), small.clone()]),
        (2, Some(12))
    );
    let three = [file(12, MIB, false), small.clone(), file(14, MIB, false)];
    assert_eq!(found(&three), (3, None));
    // The kernel half has forgotten two of them.
    assert_eq!(found(&three[..1]), (1, None));
    // The tables of the file system are no file.
    assert_eq!(found(&[file(5, 2 * MIB, true), small]), (1, None));
    assert_eq!(found(&[]), (0, None));
}

#[test]
fn what_the_target_dirtied_itself_is_its_own_even_when_it_waits_for_the_commit() {
    let events = vec![
        Event::Wait(first(SERVER, 1, 0)),
        flagged(SERVER, 100, 130, 3 << 20, IO_WRITEBACK),
        flagged(SERVER, 130, 140, 1 << 20, IO_JOURNAL),
        commit(),
        sleep(SERVER, 100, 140, COMMIT),
    ];
    let books = books(sleeper(events), 150);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 40);
    assert_closed(&books);
}

#[test]
fn a_read_does_not_wait_for_what_the_target_has_written_back() {
    let events = vec![
        Event::Wait(first(SERVER, 1, 0)),
        flagged(SERVER, 90, 119, 3 << 20, IO_WRITEBACK),
        read(TAR, 100, 120, 4096),
        sleep(SERVER, 101, 120, PAGE),
    ];
    let books = books(sleeper(events), 130);
    // Somebody else reads the page that it waits for: ended with the wait, as the writeback did not.
    let own = charged(&books, Resource::Disk, Holder::Own);
    assert_eq!(own + charged(&books, Resource::Disk, Holder::Nobody), 19);
    assert_closed(&books);
}

#[test]
fn a_device_that_needs_a_tenth_of_a_second_for_a_page_is_slow_and_nobody_is_accused() {
    let mut events = vec![Event::Wait(first(SERVER, 1, 0))];
    for at in [0, 150, 300, 450, 600, 750] {
        events.push(read(SERVER, at, at + 100, 4096));
        events.push(sleep(SERVER, at.max(2), at + 100, PAGE));
    }
    let books = books(sleeper(events), 900);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 0);
    let slow = charged(&books, Resource::Disk, Holder::SlowDevice);
    assert!((580..=598).contains(&slow), "{slow}");
    assert_closed(&books);
}

#[test]
fn a_device_that_becomes_slower_is_slow_by_what_it_takes_more() {
    let mut events = vec![Event::Wait(first(SERVER, 1, 0))];
    for at in 0..20 {
        events.push(read(SERVER, 10 * at, 10 * at + 1, 4096));
    }
    for at in 20..60 {
        events.push(read(SERVER, 10 * at, 10 * at + 8, 4096));
    }
    events.push(sleep(SERVER, 590, 598, PAGE));
    let books = books(sleeper(events), 4000);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 1);
    assert!(charged(&books, Resource::Disk, Holder::SlowDevice) >= 6);
    assert_closed(&books);
}

#[test]
fn what_its_own_limit_holds_back_stands_behind_those_at_the_device_only_from_then_on() {
    // Submitted at 100 ms, let go at 160, on the device until 180. Somebody else's is beside it from 150 on. Alone it takes 1 ms.
    let held_back = flagged(SERVER, 160, 180, 4096, IO_THROTTLED);
    let mut events = vec![Event::Wait(first(SERVER, 1, 0))];
    events.extend([10, 20, 30, 40, 50, 60].map(|at| read(SERVER, at, at + 1, 4096)));
    events.extend([
        held_back,
        sleep(SERVER, 100, 180, PAGE),
        read(TAR, 150, 190, 1 << 20),
    ]);
    let books = books(sleeper(events), 190);
    assert_eq!(charged(&books, Resource::Disk, Holder::OwnQuota), 60);
    // 20 ms, of which 1 ms is its own, in whole milliseconds.
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 18);
    assert_closed(&books);
}

#[test]
fn what_the_device_refuses_is_neither_its_service_nor_the_others_fault() {
    let mut events = vec![Event::Wait(first(SERVER, 1, 0))];
    events.extend([10, 20, 30, 40, 50, 60].map(|at| read(SERVER, at, at + 1, 4096)));
    events.extend([
        flagged(SERVER, 100, 150, 4096, IO_ERROR),
        sleep(SERVER, 100, 150, PAGE),
    ]);
    let books = books(sleeper(events), 190);
    assert_eq!(charged(&books, Resource::Disk, Holder::FailedDevice), 50);
    assert_eq!(books.failed.values().sum::<u64>(), 1);
    assert_closed(&books);
}

#[test]
fn a_page_that_was_in_use_and_evicted_says_why_it_is_read_again() {
    let again = Wait {
        flags: WAIT_MEMSTALL,
        ..asleep(SERVER, 100, 120, 0, PAGE)
    };
    let events = vec![
        Event::Wait(first(SERVER, 1, 0)),
        read(SERVER, 100, 120, 4096),
        Event::Wait(again),
        read(SERVER, 130, 140, 4096),
        sleep(SERVER, 130, 140, PAGE),
    ];
    let books = books(sleeper(events), 190);
    let evicted = books
        .causes
        .iter()
        .find(|(resource, cause, _)| (*resource, *cause) == (Resource::Disk, Cause::CacheEviction));
    assert_eq!(evicted.map(|(_, _, ns)| ns / MS), Some(20));
    assert_closed(&books);
}

#[test]
fn a_request_that_completed_as_its_thread_went_to_sleep_is_what_it_waited_for() {
    let events = vec![
        Event::Wait(first(SERVER, 1, 0)),
        read(SERVER, 100, 101, 4096),
        read(TAR, 90, 190, 1 << 20),
        sleep(SERVER, 102, 110, PAGE),
    ];
    let books = books(sleeper(events), 190);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 8);
    assert_closed(&books);
}

#[test]
fn on_a_fast_device_waits_are_judged_before_their_requests_are_forgotten() {
    let mut events = vec![Event::Wait(first(SERVER, 1, 0))];
    // 40,000 reads a second for 4 s, each of which is waited for.
    for i in 0..160_000_u64 {
        let read = io(SERVER, 0, 0, 4096);
        let begin = at(2) + i * 25_000;
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
            ..asleep(SERVER, 100, 101, 0, PAGE)
        };
        events.push(Event::Wait(slept));
    }
    let books = books(sleeper(events), 4_003);
    assert_eq!(
        charged(&books, Resource::Disk, Holder::Own),
        160_000 * 20_000 / MS
    );
    assert_closed(&books);
}

#[test]
fn on_a_fast_device_the_burst_before_a_wait_is_not_forgotten_before_the_wait_is_judged() {
    const ROUNDS: u64 = 50;
    const BURST: u64 = 3_000;
    let mut events = vec![Event::Wait(first(SERVER, 1, 0))];
    events.extend((1..10).map(|i| read(SERVER, 100 * i, 100 * i + 1, 4096)));
    // In each tenth of a second the device serves a burst in 18 ms, and stands still until its rate allows the next read.
    for round in (0..ROUNDS).map(|round| 1_000 + 100 * round) {
        for i in 0..BURST {
            let begin = at(round) + 6_000 * i;
            events.push(Event::Io(Io {
                ns: begin + 6_000,
                queue_ns: begin,
                issue_ns: begin,
                ..io(TAR, 0, 0, 4096)
            }));
        }
        events.extend([
            read(SERVER, round + 20, round + 100, 4096),
            sleep(SERVER, round + 20, round + 100, PAGE),
        ]);
    }
    let books = books(sleeper(events), 1_000 + 100 * ROUNDS);
    // Of 80 ms in each round. The list has the last 2 s of them.
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!(theirs >= 50 * ROUNDS, "{theirs}");
    assert_closed(&books);
}
