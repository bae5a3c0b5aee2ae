//! An event loop that forks a child for a request, and computes for another one while the child reads.

use super::{
    children::{born, ends},
    *,
};

const LOOP: u32 = SERVER;
const CHILD: u32 = 110;
const CLIENT: u64 = 9;
const OTHER: u64 = 8;

/// A request from 10 to 63 forks a child at `forks`, and another one has the loop from 12 to 62.
fn scene(forks: u64, child: Vec<Event>) -> Books {
    let mut events = vec![
        receive(LOOP, CLIENT, 10, 10),
        receive(LOOP, OTHER, 12, 12),
        send(LOOP, OTHER, 62),
        send(LOOP, CLIENT, 63),
    ];
    events.extend(born(CHILD, LOOP, "app.pl", forks));
    events.extend(child);
    played(events)
}

fn played(mut events: Vec<Event>) -> Books {
    events.push(read(TAR, 13, 59, 1 << 20));
    events.extend((0..8).map(|i| read(LOOP, 70 + 2 * i, 71 + 2 * i, 4096)));
    events.sort_by_key(Event::ns);
    let books = books(running(LOOP).into_iter().chain(events), 100);
    assert_closed(&books);
    books
}

/// The child waits for the disk behind tar from 14 until then.
fn reads_until(ms: u64) -> Vec<Event> {
    vec![
        read(CHILD, 14, ms, 4096),
        of(CHILD, sleep(CHILD, 14, ms, PAGE)),
    ]
}

/// The same until 60, and its end.
fn reads() -> Vec<Event> {
    let mut events = reads_until(60);
    events.push(ends(CHILD, 61));
    events
}

/// Time for which requests stood behind others, ms.
fn behind_own(books: &Books, class: Class) -> u64 {
    books.budget(|bin| &bin.behind_own)[class.index()] / MS
}

#[test]
fn a_request_whose_child_reads_waits_for_the_disk_although_its_loop_computes_for_another() {
    let books = scene(11, reads());
    assert_eq!(requests(&books, Class::Disk), 46);
    assert_eq!(requests(&books, Class::OnCpu), 53 - 46 + 50);
    // From the end of the child until the loop has time for it.
    assert_eq!(behind_own(&books, Class::OnCpu), 2);
    assert_eq!(threads(&books, Class::Disk), 46);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((40..=46).contains(&theirs), "{theirs}");
}

#[test]
fn a_request_whose_child_computes_waits_for_no_disk() {
    let books = scene(11, vec![ends(CHILD, 61)]);
    assert_eq!(requests(&books, Class::Disk), 0);
    assert_eq!(requests(&books, Class::OnCpu), 53 + 50);
}

#[test]
fn a_child_that_goes_on_after_the_answer_does_not_have_the_request() {
    let books = scene(11, reads_until(90));
    assert_eq!(threads(&books, Class::Disk), 76);
    assert_eq!(requests(&books, Class::Disk), 0);
    assert_eq!(requests(&books, Class::OnCpu), 53 + 50);
    assert_eq!(behind_own(&books, Class::OnCpu), 51);
}

#[test]
fn a_child_of_one_request_is_none_of_another_ones() {
    // The loop works for the other one itself all the time.
    let books = scene(13, reads());
    assert_eq!(requests(&books, Class::Disk), 0);
    assert_eq!(behind_own(&books, Class::OnCpu), 51);
}

#[test]
fn a_loop_that_takes_two_requests_and_then_forks_for_both_has_one_child_of_each() {
    const SECOND: u32 = 111;
    let mut child = reads();
    child.extend(born(SECOND, LOOP, "app.pl", 14));
    child.extend([
        read(SECOND, 15, 58, 4096),
        of(SECOND, sleep(SECOND, 15, 58, PAGE)),
        ends(SECOND, 60),
    ]);
    let books = scene(13, child);
    assert_eq!(requests(&books, Class::Disk), 58 - 15);
    assert_eq!(threads(&books, Class::Disk), 46 + 43);
}

#[test]
fn a_request_has_what_its_child_did_in_all_that_its_loop_does_meanwhile() {
    let mut events = vec![
        receive(LOOP, CLIENT, 10, 10),
        sleep(LOOP, 12, 40, EPOLL),
        receive(LOOP, OTHER, 40, 40),
        send(LOOP, OTHER, 41),
        until(CHILD, sleep(LOOP, 42, 62, EPOLL)),
        send(LOOP, CLIENT, 63),
    ];
    events.extend(born(CHILD, LOOP, "app.pl", 11));
    events.extend(reads());
    let books = played(events);
    assert_eq!(requests(&books, Class::Disk), 46);
    // Between its end and the wakeup nothing is known of it.
    assert_eq!(requests(&books, Class::Other), 1);
}

/// A worker thread has the two requests, and a child is born while the first thread has a third one, from 9 to 20. That one has another
/// one after it.
fn forked_by(bearer: Option<u32>) -> Books {
    const THIRD: u64 = 6;
    let mut events = vec![
        receive(LOOP, THIRD, 9, 9),
        send(LOOP, THIRD, 20),
        receive(LOOP, THIRD, 30, 30),
        send(LOOP, THIRD, 31),
        receive(WORKER, CLIENT, 10, 10),
        receive(WORKER, OTHER, 12, 12),
        send(WORKER, OTHER, 62),
        send(WORKER, CLIENT, 63),
    ];
    let borne = bearer.map(|tid| event::Borne {
        ns: at(11),
        pid: SERVER,
        tid,
        child_tid: CHILD,
    });
    events.extend(borne.map(Event::Borne));
    events.extend(born(CHILD, SERVER, "app.pl", 11));
    events.extend(reads());
    events.extend(running(WORKER));
    played(events)
}

#[test]
fn a_child_is_of_the_request_of_the_thread_that_forks_it_and_not_of_the_first_thread() {
    let books = forked_by(Some(WORKER));
    assert_eq!(requests(&books, Class::Disk), 46);
    assert_eq!(behind_own(&books, Class::OnCpu), 2);
    // The first thread's request was answered before the child was done.
    let books = forked_by(Some(LOOP));
    assert_eq!(requests(&books, Class::Disk), 0);
    // A recording that does not say which.
    let books = forked_by(None);
    assert_eq!(requests(&books, Class::Disk), 0);
}
