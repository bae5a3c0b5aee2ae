//! A loop device on a disk. A limit of the target's group holds back what the loop's worker asks the disk for, for anybody in the group.

use tracer_common::block::IO_THROTTLED;

use super::*;

/// The loop on the disk 7.
const LOOP: u32 = 8;
/// A stack of its own.
const RING: u64 = 40;

/// The server with one thread that runs, and the devices.
fn played(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let disk = |dev, name: &str, below: &[u32]| {
        Event::Disk(event::Disk {
            dev,
            name: name.to_owned(),
            below: below.to_vec(),
            ..event::Disk::default()
        })
    };
    let ring = stack(
        RING,
        &["schedule", "io_cqring_wait", "__do_sys_io_uring_enter"],
    );
    let known = [disk(7, "sda", &[]), disk(LOOP, "loop0", &[7]), ring];
    let known = known.into_iter().chain(running(SERVER));
    let books = books(known.chain(events), end_ms);
    assert_closed(&books);
    books
}

/// A read of the loop.
fn above(pid: u32, queue: u64, end: u64, bytes: u32) -> Event {
    Event::Io(Io {
        dev: LOOP,
        ..io(pid, queue, end, bytes)
    })
}

/// Short reads of the server alone: what one takes.
fn alone() -> Vec<Event> {
    let reads = (0..5).map(|i| above(SERVER, 10 + 10 * i, 11 + 10 * i, 4096));
    reads.collect()
}

/// The limit let this go at `queue`. Its group is the server's.
fn held_back(queue: u64, end: u64) -> Event {
    Event::Io(Io {
        tid: 0,
        flags: IO_THROTTLED,
        ..io(SERVER, queue, end, 4096)
    })
}

#[test]
fn what_the_loop_asks_the_disk_for_is_no_request_of_a_thread_that_waits_for_completions() {
    let mut events = alone();
    events.extend([
        above(SERVER, 101, 120, 4096),
        // For the other reader of the loop, as its own read below shows.
        held_back(119, 121),
        sleep(SERVER, 101, 121, RING),
        above(TAR, 100, 122, 1 << 20),
    ]);
    let books = played(events, 130);
    assert_eq!(threads(&books, Class::Disk), 20);
    assert_eq!(charged(&books, Resource::Disk, Holder::OwnQuota), 0);
    assert!(charged(&books, Resource::Disk, holder(&books, TAR)) >= 17);
}

#[test]
fn what_was_held_back_before_anything_was_known_of_the_loop_is_of_the_request_above_all_the_same() {
    let events = [
        held_back(58, 60),
        sleep(SERVER, 20, 60, PAGE),
        above(TAR, 10, 61, 4096),
    ];
    let books = played(events, 100);
    assert_eq!(threads(&books, Class::Disk), 40);
    assert_eq!(charged(&books, Resource::Disk, Holder::OwnQuota), 0);
}

#[test]
fn where_nobody_asks_the_loop_the_own_limit_holds_back_the_own_requests() {
    let mut events = alone();
    events.extend([held_back(4_998, 5_000), sleep(SERVER, 4_900, 5_000, PAGE)]);
    let books = played(events, 5_100);
    assert_eq!(charged(&books, Resource::Disk, Holder::OwnQuota), 98);
}

#[test]
fn a_loop_is_not_slow_while_a_limit_of_the_disk_below_holds_back_what_it_asks_for() {
    let mut events = Vec::new();
    for at in [0, 150, 300, 450, 600, 750] {
        events.extend([
            held_back(at + 98, at + 99),
            above(SERVER, at, at + 100, 4096),
            sleep(SERVER, at.max(2), at + 100, PAGE),
        ]);
    }
    let books = played(events, 900);
    let slow = charged(&books, Resource::Disk, Holder::SlowDevice);
    assert!(slow <= 12, "{slow}");
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let quota = charges.filter(|charge| charge.holder == Holder::OwnQuota);
    let at_disk = quota.filter(|charge| charge.place.map(|at| &*books.places[at]) == Some("sda"));
    let limited: u64 = at_disk.map(|charge| charge.ns).sum();
    assert!((580 * MS..=586 * MS).contains(&limited), "{limited}");
}

/// The server's read waits in the queue of the loop, which takes 1 ms for the other's read in front of it at its usual rate.
#[test]
fn a_loop_is_not_slow_while_a_limit_holds_back_the_request_in_front() {
    let mut events = Vec::new();
    for round in (0..2_000).step_by(100) {
        // At this rate, without a limit.
        events.extend((0..40).map(|i| above(SERVER, round + 2 * i, round + 2 * i + 1, 4096)));
    }
    let in_queue = Event::Io(Io {
        dev: LOOP,
        issue_ns: at(2_601),
        ..io(SERVER, 2_100, 2_602, 4096)
    });
    events.extend([
        held_back(2_599, 2_600),
        above(TAR, 2_090, 2_601, 4096),
        in_queue,
        sleep(SERVER, 2_100, 2_602, PAGE),
    ]);
    let books = played(events, 3_000);
    assert!(charged(&books, Resource::Disk, Holder::SlowDevice) <= 1);
    assert!(charged(&books, Resource::Disk, Holder::OwnQuota) >= 480);
}
