//! Facts in an order or a shape that no machine has, as a damaged recording may have them. The books close all the same.

use super::*;
use crate::event::{Disk, Freeze, LockOwner, LockSeen};

const FUTEX: u64 = 11;

fn seen(ms: u64, owner: u32) -> Event {
    Event::LockSeen(LockSeen {
        ns: at(ms),
        pid: SERVER,
        tid: SERVER,
        owners: vec![LockOwner { pid: owner, tid: 0 }],
        file: None,
    })
}

fn freeze(ms: u64, file: &str) -> Event {
    Event::Freeze(Freeze {
        ns: at(ms),
        pid: SERVER,
        file: file.to_owned(),
        by_pid: TAR,
    })
}

/// The server sleeps from 100 to 1000, and these are found meanwhile.
fn asleep_beside(stack_id: u64, found: impl IntoIterator<Item = Event>) -> Books {
    let futex = stack(FUTEX, &["schedule", "futex_do_wait", "do_futex"]);
    let events = [futex].into_iter().chain(running(SERVER)).chain(found);
    let books = books(events.chain([sleep(SERVER, 100, 1_000, stack_id)]), 1_000);
    assert_closed(&books);
    books
}

#[test]
fn sights_of_a_lock_that_are_not_in_order_of_time_cover_no_time_twice() {
    let sights = [
        seen(900, TAR),
        seen(300, RSYNC),
        seen(600, TAR),
        seen(200, RSYNC),
    ];
    let books = asleep_beside(FUTEX, sights);
    assert_eq!(threads(&books, Class::Lock), 900);
}

#[test]
fn freezes_that_are_not_in_order_of_time_end() {
    let freezes = [freeze(500, "/c/f"), freeze(400, ""), freeze(300, "/c/f")];
    let books = asleep_beside(EPOLL, freezes);
    assert_eq!(threads(&books, Class::Stopped), 500);
}

#[test]
fn a_disk_that_lies_on_itself_has_one_layer() {
    let circle = |dev, below| {
        Event::Disk(Disk {
            dev,
            name: format!("dm-{dev}"),
            below: vec![below],
            ..Disk::default()
        })
    };
    let requests = (0..8).flat_map(|i| {
        let below = Io {
            dev: 8,
            ..io(KWORKER, 100 + 10 * i, 150 + 10 * i, 4096)
        };
        [
            read(KWORKER, 100 + 10 * i, 150 + 10 * i, 4096),
            Event::Io(below),
        ]
    });
    let own = [read(SERVER, 100, 1_000, 4096)];
    let found = [circle(7, 8), circle(8, 7)].into_iter();
    let books = asleep_beside(PAGE, found.chain(requests).chain(own));
    assert_eq!(threads(&books, Class::Disk), 900);
}
