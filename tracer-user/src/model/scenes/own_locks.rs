//! Locks that a part of the target has while another part of it sleeps for them: that part is known, and nobody is accused.

use super::{
    locks::{FLOCK, FUTEX, NAP, books_of, in_memory, locked, on_file, refused, seen, tried},
    parts::{CHILD, child, part_ms, parts_ms},
    *,
};
use crate::event::LockOutcome;

/// Each ns that is charged to the target's own locks has a part.
fn assert_all_known(books: &Books) {
    let charged = locked(books, Holder::OwnLock);
    let known = parts_ms(books, Resource::Lock);
    assert!(charged.abs_diff(known) <= 1, "{known} of {charged} ms");
}

/// Two threads of the server sleep all the time for a lock on a file, which a child of the server has. The child sleeps, too.
pub(crate) fn held_by_a_child() -> Books {
    let asleep = |tid| {
        let looks = (0..10).map(move |look| on_file(tid, 100 + 500 * look, CHILD));
        let asleep = seed(tid, 'S', "locks_lock_inode_wait");
        [asleep].into_iter().chain(looks)
    };
    let mut events: Vec<Event> = asleep(SERVER).chain(asleep(WORKER)).collect();
    events.extend([
        child(),
        of(CHILD, Event::Wait(first(CHILD, 2, 0))),
        of(CHILD, still(CHILD, 3, 5_000, NAP)),
    ]);
    events.sort_by_key(Event::ns);
    books_of(events, 5_000)
}

#[test]
fn the_process_of_the_target_that_has_a_lock_on_a_file_is_known() {
    let books = held_by_a_child();
    assert_eq!(locked(&books, Holder::OwnLock), 10_000);
    assert_eq!(part_ms(&books, Resource::Lock, CHILD, 0), 10_000);
    assert_all_known(&books);
}

#[test]
fn several_processes_of_the_target_that_share_a_lock_have_their_parts_of_it() {
    let asleep = seed(WORKER, 'S', "locks_lock_inode_wait");
    let readers = seen(WORKER, 500, &[(CHILD, 0), (TAR, 0)], Some("/run/lock"));
    let books = books_of([asleep, child(), readers], 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 500);
    assert_eq!(part_ms(&books, Resource::Lock, CHILD, 0), 500);
    assert_all_known(&books);
}

#[test]
fn the_thread_that_owns_a_futex_is_known() {
    let events = running(SERVER).into_iter().chain([
        seed(WORKER, 'S', "do_futex"),
        in_memory(WORKER, 500, SERVER, SERVER),
    ]);
    let books = books_of(events, 1_000);
    assert_eq!(locked(&books, Holder::OwnLock), 1_000);
    assert_eq!(part_ms(&books, Resource::Lock, SERVER, SERVER), 1_000);
    assert_all_known(&books);
}

#[test]
fn the_process_that_has_a_lock_as_a_thread_tries_to_get_it_is_known() {
    let waits = [
        child(),
        tried(100, CHILD, LockOutcome::Waits),
        sleep(SERVER, 100, 150, FLOCK),
        tried(200, CHILD, LockOutcome::Kernel),
        sleep(SERVER, 200, 260, MUTEX),
    ];
    let books = books_of(running(SERVER).into_iter().chain(waits), 1_000);
    assert_eq!(part_ms(&books, Resource::Lock, CHILD, 0), 50 + 60);
    assert_all_known(&books);
    let books = refused(SERVER, []);
    assert_eq!(part_ms(&books, Resource::Lock, SERVER, 0), 50);
    assert_all_known(&books);
}

#[test]
fn a_thread_that_releases_a_mutex_has_not_held_it_while_another_own_one_was_seen_with_it() {
    const OTHER: u32 = 102;
    let waits = [
        in_memory(SERVER, 200, SERVER, OTHER),
        in_memory(SERVER, 900, SERVER, OTHER),
        until_thread((SERVER, WORKER), sleep(SERVER, 0, 1_000, FUTEX)),
    ];
    let books = books_of(running(SERVER).into_iter().chain(waits), 1_000);
    assert_eq!(part_ms(&books, Resource::Lock, SERVER, OTHER), 950);
    assert_eq!(part_ms(&books, Resource::Lock, SERVER, WORKER), 50);
    assert_all_known(&books);
}

#[test]
fn who_waits_behind_a_thread_that_waits_for_an_own_lock_waits_for_who_has_that() {
    let asleep = [
        seed(SERVER, 'S', "locks_lock_inode_wait"),
        seed(WORKER, 'S', "do_futex"),
        child(),
        on_file(SERVER, 500, CHILD),
        in_memory(WORKER, 500, SERVER, SERVER),
    ];
    let books = books_of(asleep, 1_000);
    assert_eq!(locked(&books, Holder::OwnLock), 2_000);
    assert_eq!(part_ms(&books, Resource::Lock, CHILD, 0), 2_000);
    assert_all_known(&books);
}
