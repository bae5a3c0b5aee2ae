//! Sleeps in file systems with their data on another machine.

use super::*;
use crate::file_system::Kind;

/// Identity of a stack of its own.
const ELSEWHERE: u64 = 77;
/// That of the process that brings a page.
const ANSWERS: u64 = 78;

/// Places of the upstream waits, with their time in ms, for these mounts. The thread sleeps 40 ms in `function`.
fn waited(mounts: &[(Kind, &str)], function: &str) -> Vec<(String, u64)> {
    let mut events: Vec<Event> = mounts
        .iter()
        .map(|(kind, source)| {
            Event::RemoteMount(event::RemoteMount {
                kind: *kind,
                source: (*source).to_owned(),
            })
        })
        .collect();
    events.extend([
        stack(ELSEWHERE, &["schedule", function, "nfs_file_read"]),
        Event::Wait(first(SERVER, 10, 0)),
        Event::Wait(Wait {
            state: 2,
            ..asleep(SERVER, 20, 60, 0, ELSEWHERE)
        }),
    ]);
    let books = books(sleeper(events), 100);
    assert_eq!(threads(&books, Class::Upstream), 40);
    assert_closed(&books);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let upstream = charges.filter(|charge| charge.resource == Resource::Upstream);
    upstream
        .map(|charge| (books.places[charge.place.unwrap()].clone(), charge.ns / MS))
        .collect()
}

#[test]
fn the_only_mount_of_its_kind_is_named() {
    let mounts = [(Kind::Nfs, "files:/export"), (Kind::Fuse, "me@box:")];
    assert_eq!(
        waited(&mounts, "rpc_wait_bit_killable"),
        [("nfs:files:/export".to_owned(), 40)]
    );
}

#[test]
fn a_page_that_comes_from_elsewhere_is_no_disks() {
    let mounts = [(Kind::Nfs, "files:/export")];
    assert_eq!(
        waited(&mounts, "folio_wait_bit_common"),
        [("nfs:files:/export".to_owned(), 40)]
    );
}

/// The server reads a file that another process serves (FUSE), by a call with this function; the process `by` ends the wait. Just then a
/// stranger has read from a disk of this machine.
fn served_in(function: &str, by: u32) -> Books {
    let events = [
        Event::RemoteMount(event::RemoteMount {
            kind: Kind::Fuse,
            source: "me@box:".to_owned(),
        }),
        stack(ELSEWHERE, &["folio_wait_bit_common", function]),
        stack(
            ANSWERS,
            &["folio_end_read", "fuse_request_end", "fuse_dev_do_write"],
        ),
        Event::Wait(first(SERVER, 10, 0)),
        read(RSYNC, 20, 60, 4096),
        Event::Wait(Wait {
            state: 2,
            waker_pid: by,
            waker_tid: by,
            waker_stack: if by == TAR { ANSWERS } else { 0 },
            flags: WAIT_TASK_WAKER | WAIT_IOWAIT,
            ..asleep(SERVER, 20, 60, 0, ELSEWHERE)
        }),
    ];
    books(sleeper(events), 100)
}

/// [`served_in`] a call that shows the file system.
pub(crate) fn served(by: u32) -> Books {
    served_in("fuse_file_read_iter", by)
}

#[test]
fn the_process_that_serves_a_file_system_is_named_if_it_ends_the_wait() {
    let shares = |by| {
        let books = served(by);
        assert_closed(&books);
        assert_eq!(threads(&books, Class::Disk), 0);
        [holder(&books, TAR), Holder::Peer]
            .map(|holder| charged(&books, Resource::Upstream, holder))
    };
    assert_eq!(shares(TAR), [40, 0]);
    assert_eq!(shares(KWORKER), [0, 40]);
}

/// The server waits from 20 on for a process that serves files, until the end at 100.
fn hung(look: &[u32]) -> Books {
    let seen = event::WriteSeen {
        ns: at(40),
        known_ns: at(41),
        pid: SERVER,
        tid: SERVER,
        readers: look.to_vec(),
        keepers: Vec::new(),
        place: String::new(),
    };
    let events = [
        Event::RemoteMount(event::RemoteMount {
            kind: Kind::Fuse,
            source: "me@box:".to_owned(),
        }),
        stack(
            ELSEWHERE,
            &["schedule", "request_wait_answer", "fuse_simple_request"],
        ),
        Event::Wait(first(SERVER, 10, 0)),
        Event::WriteSeen(seen),
        Event::Wait(Wait {
            state: 2,
            flags: WAIT_NO_WAKER | WAIT_OPEN,
            ..asleep(SERVER, 20, 100, 0, ELSEWHERE)
        }),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(threads(&books, Class::Upstream), 80);
    assert_closed(&books);
    books
}

#[test]
fn the_process_that_serves_a_file_system_is_named_while_it_hangs_if_it_was_seen() {
    let seen = hung(&[TAR]);
    let named = [holder(&seen, TAR), Holder::Peer];
    let theirs = named.map(|holder| charged(&seen, Resource::Upstream, holder));
    assert_eq!(theirs, [80, 0]);
    assert_eq!(charged(&hung(&[]), Resource::Upstream, Holder::Peer), 80);
    // Two may serve it.
    let several = hung(&[TAR, RSYNC]);
    assert_eq!(charged(&several, Resource::Upstream, Holder::Peer), 80);
}

#[test]
fn a_page_of_a_mapping_shows_its_file_system_by_who_brings_it() {
    let books = served_in("filemap_fault", TAR);
    assert_closed(&books);
    assert_eq!(threads(&books, Class::Disk), 0);
    assert_eq!(charged(&books, Resource::Upstream, holder(&books, TAR)), 40);
    let local = served_in("filemap_fault", KWORKER);
    assert_closed(&local);
    assert_eq!(threads(&local, Class::Disk), 40);
}

#[test]
fn of_several_mounts_nobody_knows_which() {
    let mounts = [(Kind::Nfs, "files:/a"), (Kind::Nfs, "files:/b")];
    assert_eq!(
        waited(&mounts, "rpc_wait_bit_killable"),
        [("nfs: one of 2 mounts".to_owned(), 40)]
    );
}
