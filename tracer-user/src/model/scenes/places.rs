//! Disks as places, through the whole fold.

use tracer_common::block::{IO_OPEN, IO_UNOWNED, IO_UNSEEN};

use super::*;

/// The target reads `n` times 4 KiB in 1 ms, alone: so its own service is known.
fn alone(n: u64) -> Vec<Event> {
    let mut events: Vec<Event> = running(SERVER).into();
    events.extend((0..n).map(|i| read(SERVER, 10 * i, 10 * i + 1, 4096)));
    events
}

#[test]
fn a_wait_behind_others_is_its_usual_time_and_the_rest_theirs() {
    let mut events = alone(8);
    events.extend([
        read(TAR, 100, 120, 2 << 20),
        read(RSYNC, 100, 120, 1 << 20),
        read(SERVER, 100, 121, 4096),
        sleep(SERVER, 100, 121, PAGE),
    ]);
    let books = books(events, 200);
    assert_eq!(threads(&books, Class::Disk), 21);
    // Usual: 1 ms, in a bucket of at most 9 %. The rest, 20 ms, by demand: (16 KiB + 2 MiB) to (16 KiB + 1 MiB), 0.665 to 0.335.
    let own = charged_ns(&books, Resource::Disk, Holder::Own);
    assert!((MS..=MS * 110 / 100).contains(&own), "{own}");
    let [tar, rsync] =
        [TAR, RSYNC].map(|pid| charged_ns(&books, Resource::Disk, holder(&books, pid)));
    assert!(tar.abs_diff(13_300_000) < 200_000, "{tar}");
    assert!(rsync.abs_diff(6_700_000) < 200_000, "{rsync}");
    assert_closed(&books);
}

#[test]
fn a_wait_that_began_late_owes_itself_only_what_was_left() {
    let mut events = alone(8);
    // Queued at 100, waited for only from 100.5 ms on: half of its usual time had passed.
    let late = Wait {
        off_ns: at(100) + MS / 2,
        ..asleep(SERVER, 100, 121, 0, PAGE)
    };
    events.extend([
        read(TAR, 100, 120, 1 << 20),
        read(SERVER, 100, 121, 4096),
        Event::Wait(late),
    ]);
    let books = books(events, 200);
    let own = charged_ns(&books, Resource::Disk, Holder::Own);
    assert!((MS / 2..MS * 6 / 10).contains(&own), "{own}");
    assert_closed(&books);
}

#[test]
fn a_split_without_any_read_alone_is_an_estimate() {
    let events = [
        read(TAR, 100, 120, 1 << 20),
        read(SERVER, 101, 121, 4096),
        sleep(SERVER, 101, 121, PAGE),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 200);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let disk: Vec<_> = charges
        .filter(|charge| charge.resource == Resource::Disk)
        .collect();
    assert!(
        disk.iter().all(|charge| charge.estimated_ns == charge.ns),
        "{disk:?}"
    );
    assert_closed(&books);
}

#[test]
fn a_disk_wait_without_any_request_is_nobodys() {
    let books = books(
        running(SERVER)
            .into_iter()
            .chain([sleep(SERVER, 20, 50, PAGE)]),
        60,
    );
    assert_eq!(charged(&books, Resource::Disk, Holder::Nobody), 30);
    assert_closed(&books);
}

#[test]
fn a_request_in_flight_at_the_end_is_judged_by_who_stood_before_it() {
    let mut events = alone(8);
    let hung = |pid, bytes| {
        Event::Io(Io {
            flags: IO_OPEN,
            ..io(pid, 100, 500, bytes)
        })
    };
    events.extend([
        still(SERVER, 100, 500, PAGE),
        hung(TAR, 1 << 20),
        hung(SERVER, 4096),
    ]);
    let books = books(events, 500);
    assert_eq!(threads(&books, Class::Disk), 400);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((398..400).contains(&theirs), "{theirs}");
    assert_closed(&books);
}

/// While the target rests, nothing of others is emitted that completes. What they had in flight as it comes back is: it is known of each
/// bio when it was queued.
#[test]
fn who_filled_the_queue_while_the_target_rested_holds_its_first_request() {
    let mut events = alone(8);
    let queued = (1..=4).map(|i| read(TAR, 4_900, 5_000 + 10 * i, 1 << 20));
    events.extend(queued);
    events.extend([
        read(SERVER, 5_001, 5_041, 4096),
        sleep(SERVER, 5_001, 5_041, PAGE),
    ]);
    let books = books(events, 5_100);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((37..=39).contains(&theirs), "{theirs}");
    assert_closed(&books);
}

/// What others had done just before is not emitted: it may have used up the device's rate.
#[test]
fn a_first_request_that_nothing_explains_is_an_estimate_after_a_rest() {
    let estimated = |rest: u64| {
        let mut events = alone(8);
        let begin = 71 + rest;
        events.extend([
            read(SERVER, begin, begin + 40, 4096),
            sleep(SERVER, begin, begin + 40, PAGE),
        ]);
        let books = books(events, begin + 100);
        let charges = books.bins.iter().flat_map(|bin| &bin.charges);
        charges.map(|charge| charge.estimated_ns).sum::<u64>() / MS
    };
    assert_eq!(estimated(1_900), 0);
    assert_eq!(estimated(2_100), 40);
}

#[test]
fn what_went_to_the_device_before_the_trace_holds_the_wait_in_nobodys_name() {
    let unseen = Event::Io(Io {
        flags: IO_UNOWNED | IO_UNSEEN,
        ..io(0, 0, 20, 1 << 20)
    });
    let mut events: Vec<Event> = running(SERVER).into();
    events.extend([
        unseen,
        read(SERVER, 1, 21, 4096),
        sleep(SERVER, 1, 21, PAGE),
    ]);
    events.extend((10..18).map(|i| read(SERVER, 10 * i, 10 * i + 1, 4096)));
    let books = books(events, 200);
    let nobodys = charged(&books, Resource::Disk, Holder::Nobody);
    assert!((18..=19).contains(&nobodys), "{nobodys}");
    assert_closed(&books);
}

#[test]
fn the_targets_other_threads_are_its_own() {
    let mut events = alone(8);
    let other = Event::Io(Io {
        tid: WORKER,
        ..io(SERVER, 100, 120, 1 << 20)
    });
    events.extend([
        other,
        read(SERVER, 101, 121, 4096),
        sleep(SERVER, 101, 121, PAGE),
    ]);
    let books = books(events, 200);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 20);
    assert_closed(&books);
}

#[test]
fn a_kernel_thread_works_for_those_above_it_by_bytes() {
    let loop0 = event::Disk {
        dev: 8,
        name: "loop0".to_owned(),
        below: vec![7],
        ..event::Disk::default()
    };
    let above = |pid, bytes| {
        Event::Io(Io {
            dev: 8,
            ..io(pid, 90, 130, bytes)
        })
    };
    let events = [
        Event::Disk(loop0),
        read(KWORKER, 100, 120, 1 << 20),
        read(SERVER, 101, 121, 4096),
        sleep(SERVER, 101, 121, PAGE),
        above(TAR, 3 << 20),
        above(RSYNC, 1 << 20),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 200);
    // Nothing is known of the own time, so all 20 ms are excess: three parts to one.
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 15);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, RSYNC)), 5);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, KWORKER)), 0);
    assert_closed(&books);
}

#[test]
fn totals_of_a_disk_are_kept_by_owner() {
    let total = |pid, reads| {
        let read_bytes = 4096 * reads;
        Event::DiskTotal(event::DiskTotal {
            dev: 7,
            pid,
            reads,
            read_bytes,
            ..event::DiskTotal::default()
        })
    };
    let books = books([total(TAR, 11), total(SERVER, 3)], 100);
    let held = |holder| {
        let found = books.held.iter().find(|((_, _, by), _)| *by == holder);
        found.map(|(_, held)| (held.ios, held.bytes))
    };
    assert_eq!(held(holder(&books, TAR)), Some((11, 11 * 4096)));
    assert_eq!(held(Holder::Own), Some((3, 3 * 4096)));
}
