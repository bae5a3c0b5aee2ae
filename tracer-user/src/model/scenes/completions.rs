//! Asynchronous I/O: a wait for completions is a wait for the disk while requests of the thread's own are in flight.

use tracer_common::block::{IO_OPEN, IO_READAHEAD, IO_THROTTLED, IO_WRITEBACK};

use super::*;

/// Stacks of their own.
const RING: u64 = 40;
const AIO: u64 = 41;
const COMPLETION: u64 = 42;
const POLLER: u64 = 43;

fn stacks() -> Vec<Event> {
    vec![
        stack(
            RING,
            &["schedule", "io_cqring_wait", "__do_sys_io_uring_enter"],
        ),
        stack(AIO, &["schedule", "read_events", "do_io_getevents"]),
        stack(
            COMPLETION,
            &[
                "try_to_wake_up",
                "aio_complete_rw",
                "bio_endio",
                "handle_softirqs",
            ],
        ),
        stack(
            POLLER,
            &["try_to_wake_up", "io_cqring_wake", "io_sq_thread"],
        ),
    ]
}

/// The thread of the server with its sleeps, and requests of others.
fn played(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let known = stacks()
        .into_iter()
        .chain([Event::Wait(first(SERVER, 1, 0))]);
    let books = books(sleeper(known.chain(events)), end_ms);
    assert_closed(&books);
    books
}

/// Short reads of the server alone: what one takes.
fn alone() -> Vec<Event> {
    let reads = (0..5).map(|i| read(SERVER, 10 + 10 * i, 11 + 10 * i, 4096));
    reads.collect()
}

/// Asleep, and woken by this stack.
fn woken(tid: u32, off: u64, on: u64, in_stack: u64, by: u64) -> Event {
    let wait = asleep(tid, off, on, 0, in_stack);
    Event::Wait(Wait {
        waking_ns: at(on),
        waker_stack: by,
        flags: 0,
        ..wait
    })
}

#[test]
fn a_thread_that_waits_for_completions_stands_behind_the_other_reader_of_its_disk() {
    for stack in [RING, AIO] {
        let mut events = alone();
        events.extend([
            read(TAR, 101, 120, 1 << 20),
            read(SERVER, 101, 121, 4096),
            sleep(SERVER, 101, 121, stack),
        ]);
        let books = played(events, 130);
        assert_eq!(threads(&books, Class::Disk), 20);
        assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 18);
    }
}

#[test]
fn the_same_sleep_without_a_request_is_a_wait_for_work() {
    let mut events = alone();
    events.extend([
        read(TAR, 101, 120, 1 << 20),
        sleep(SERVER, 101, 121, RING),
        sleep(SERVER, 121, 125, AIO),
    ]);
    let books = played(events, 130);
    assert_eq!(threads(&books, Class::Disk), 0);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 0);
}

#[test]
fn only_the_time_in_which_a_request_is_in_flight_is_the_disks() {
    // Two requests are reaped at once; the second was queued by a thread that polls the ring, 10 ms later.
    let later = Event::Io(Io {
        tid: WORKER,
        ..io(SERVER, 115, 121, 4096)
    });
    let by_stack = woken(SERVER, 101, 121, RING, POLLER);
    // The kernel half takes no stack of a thread of the target that wakes another in its own context.
    let by_own = Event::Wait(Wait {
        waking_ns: at(121),
        waker_pid: SERVER,
        waker_tid: WORKER,
        flags: WAIT_TASK_WAKER,
        ..asleep(SERVER, 101, 121, 0, RING)
    });
    for woken in [by_stack, by_own] {
        let events = [read(SERVER, 100, 105, 4096), later.clone(), woken];
        let books = played(events, 130);
        assert_eq!(threads(&books, Class::Disk), 4 + 6);
        assert_eq!(charged(&books, Resource::Disk, Holder::Own), 10);
    }
}

#[test]
fn a_request_that_outlives_the_timeouts_of_its_waits_counts_for_them_all() {
    let mut events = alone();
    events.extend([
        sleep(SERVER, 90, 99, RING),
        sleep(SERVER, 102, 110, RING),
        sleep(SERVER, 110, 120, RING),
        read(TAR, 101, 125, 1 << 20),
        read(SERVER, 101, 126, 4096),
        sleep(SERVER, 120, 126, RING),
    ]);
    let books = played(events, 130);
    assert_eq!(threads(&books, Class::Disk), 24);
    assert!(charged(&books, Resource::Disk, holder(&books, TAR)) >= 20);
}

#[test]
fn a_request_that_is_in_flight_at_the_end_counts_too() {
    let open = Event::Io(Io {
        flags: IO_OPEN,
        ..io(SERVER, 100, 130, 4096)
    });
    for events in [
        [still(SERVER, 101, 130, AIO), open.clone()],
        [open, still(SERVER, 101, 130, AIO)],
    ] {
        let books = played(events, 130);
        assert_eq!(threads(&books, Class::Disk), 29);
    }
}

#[test]
fn a_request_that_the_own_limit_held_back_is_waited_for_from_the_begin() {
    let held_back = Event::Io(Io {
        tid: 0,
        flags: IO_THROTTLED,
        ..io(SERVER, 118, 121, 4096)
    });
    let events = [held_back, sleep(SERVER, 101, 121, RING)];
    let books = played(events, 130);
    assert_eq!(threads(&books, Class::Disk), 20);
    assert_eq!(charged(&books, Resource::Disk, Holder::OwnQuota), 17);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 3);
}

#[test]
fn an_event_loop_waits_for_the_disk_only_where_the_completion_wakes_it() {
    let slow = |waker| {
        let mut events = alone();
        events.extend([
            read(TAR, 101, 120, 1 << 20),
            read(SERVER, 101, 121, 4096),
            woken(SERVER, 101, 121, EPOLL, waker),
        ]);
        played(events, 130)
    };
    assert_eq!(threads(&slow(COMPLETION), Class::Disk), 20);
    // A packet woke it at that moment.
    assert_eq!(threads(&slow(INTERRUPT), Class::Disk), 0);
}

#[test]
fn what_is_read_ahead_or_written_back_is_not_waited_for() {
    for flags in [IO_READAHEAD, IO_WRITEBACK] {
        let beside = Event::Io(Io {
            flags,
            ..io(SERVER, 100, 115, 1 << 17)
        });
        let events = [beside, woken(SERVER, 101, 121, RING, INTERRUPT)];
        assert_eq!(threads(&played(events, 130), Class::Disk), 0);
    }
}

#[test]
fn a_read_for_which_another_thread_waits_itself_is_not_waited_for_twice() {
    let read = Event::Io(Io {
        tid: WORKER,
        ..io(SERVER, 100, 120, 4096)
    });
    let events = running(WORKER).into_iter().chain([
        read,
        sleep(WORKER, 100, 120, PAGE),
        // The worker hands the result over at once.
        Event::Wait(Wait {
            waking_ns: at(120),
            waker_pid: SERVER,
            waker_tid: WORKER,
            flags: WAIT_TASK_WAKER,
            ..asleep(SERVER, 90, 120, 0, RING)
        }),
    ]);
    let books = played(events, 130);
    assert_eq!(threads(&books, Class::Disk), 20);
}

#[test]
fn what_a_threads_requests_stood_behind_is_known_although_it_polls_for_them_and_never_sleeps() {
    let mut events = alone();
    for begin in (100..300).step_by(20) {
        events.extend([
            read(TAR, begin, begin + 19, 1 << 20),
            read(SERVER, begin, begin + 20, 4096),
        ]);
    }
    let books = books(running(SERVER).into_iter().chain(events), 300);
    assert_eq!(threads(&books, Class::Disk), 0);
    assert_eq!(books.flights.ns / MS, 5 + 200);
    let behind = |of| {
        let behind = books.flights.behind.iter();
        let behind = behind.filter(|((_, holder), _)| *holder == of);
        behind.map(|(_, ns)| ns / MS).sum::<u64>()
    };
    // Ten of 20 ms, of which one is its own.
    let theirs = behind(holder(&books, TAR));
    assert!((180..=190).contains(&theirs), "{theirs}");
    assert_closed(&books);
}
