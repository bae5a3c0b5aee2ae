//! Streams with a part for which the ring had no room.

use tracer_common::histogram::Family;

use super::*;

/// The books at the end, with these drops of a thousand records.
pub(crate) fn dropped(
    events: impl IntoIterator<Item = Event>,
    end_ms: u64,
    drops: &[(&str, u64)],
) -> Books {
    let mut model = Model::new();
    let drops = drops.iter().map(|(kind, n)| ((*kind).to_owned(), *n));
    let end = event::End {
        ns: at(end_ms),
        sent: 1000,
        ring_drops: drops.collect(),
        ..event::End::default()
    };
    let events = attach().into_iter().chain(events);
    for event in events.chain([Event::End(Box::new(end))]) {
        model.apply(&event);
    }
    model.close()
}

/// All the CPU time that a process held.
pub(crate) fn held(pid: u32, ms: u64) -> Event {
    Event::Histogram(Box::new(event::Histogram {
        pid,
        family: Family::RunQueue as u32,
        held_ns: ms * MS,
        ..event::Histogram::default()
    }))
}

/// The target stands in a run queue for 80 ms; of 20 ms the slice came, in which rsync ran.
fn queued() -> Vec<Event> {
    let mut events: Vec<Event> = running(SERVER).into();
    events.push(slice(0, RSYNC, 10, 30));
    events.push(Event::Wait(preempted(SERVER, 10, 90)));
    events.extend([held(TAR, 300), held(RSYNC, 100)]);
    events
}

fn estimated(books: &Books, resource: Resource) -> u64 {
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let of = charges.filter(|charge| charge.resource == resource);
    of.map(|charge| charge.estimated_ns).sum::<u64>() / MS
}

#[test]
fn what_lost_slices_would_have_told_is_estimated_from_the_totals() {
    let books = dropped(queued(), 200, &[("cpu_slices", 100)]);
    assert_eq!(threads(&books, Class::Cpu), 80);
    // 60 ms have no slice: 3 to 1, as both held CPUs in the whole window.
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 45);
    assert_eq!(
        charged(&books, Resource::Cpu, holder(&books, RSYNC)),
        20 + 15
    );
    assert_eq!(charged(&books, Resource::Cpu, Holder::Nobody), 0);
    assert_eq!(estimated(&books, Resource::Cpu), 60);
    assert_closed(&books);
}

#[test]
fn where_no_slice_was_lost_nobody_is_charged_for_what_nobody_was_seen_to_hold() {
    for drops in [&[][..], &[("waits", 9), ("block_io", 9)]] {
        let books = dropped(queued(), 200, drops);
        assert_eq!(charged(&books, Resource::Cpu, Holder::Nobody), 60);
        assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 0);
        assert_eq!(estimated(&books, Resource::Cpu), 0);
    }
}

#[test]
fn of_a_disk_the_totals_stand_for_lost_requests() {
    let total = |pid, ms: u64| {
        Event::DiskTotal(event::DiskTotal {
            dev: 7,
            pid,
            device_ns: ms * MS,
            ..event::DiskTotal::default()
        })
    };
    let mut events: Vec<Event> = running(SERVER).into();
    events.push(sleep(SERVER, 50, 150, PAGE));
    events.extend([total(TAR, 900), total(SERVER, 100)]);
    let books = dropped(events, 200, &[("block_io", 7)]);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 90);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 10);
    assert_eq!(estimated(&books, Resource::Disk), 100);
    assert_closed(&books);
}

#[test]
fn of_a_link_whose_slices_were_lost_in_part_that_part_is_an_estimate() {
    let mut events: Vec<Event> = running(SERVER).into();
    events.push(Event::Socket(event::Socket {
        ns: at(1),
        socket: 9,
        pid: SERVER,
        local_port: 80,
        ..event::Socket::default()
    }));
    events.push(receive(SERVER, 9, 2, 1));
    events.extend((2..16).map(|slice| sent(TAR, slice * 10, 3000, 5)));
    events.push(sleep(SERVER, 50, 150, SEND));
    let books = dropped(events, 200, &[("link_slices", 14)]);
    let charged = charged(&books, Resource::Network, holder(&books, TAR));
    assert_eq!((charged, estimated(&books, Resource::Network)), (100, 50));
}
