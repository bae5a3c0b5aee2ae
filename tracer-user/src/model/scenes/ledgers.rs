//! Whose time a request takes: servers of every build, long polls, and servers that hang.

use super::*;

const CLIENT: u64 = 9;
const UPSTREAM: u64 = 8;
/// A second process of the target, and its only thread.
const CHILD: u32 = 110;

fn all(parts: impl IntoIterator<Item = Vec<Event>>) -> Vec<Event> {
    let mut events: Vec<Event> = parts.into_iter().flatten().collect();
    // Stable: what was written first comes first at the same time.
    events.sort_by_key(Event::ns);
    events
}

fn on(tid: u32) -> Vec<Event> {
    running(tid).into()
}

fn forked(ms: u64, pid: u32, tid: u32) -> Event {
    Event::Fork(event::Fork {
        ns: at(ms),
        pid,
        tid,
        parent_pid: SERVER,
        target: true,
        ..event::Fork::default()
    })
}

#[test]
fn processes_that_accept_on_their_own_keep_their_requests_apart() {
    let books = books(
        all([
            on(SERVER),
            on(CHILD),
            vec![
                receive(SERVER, 1, 10, 10),
                receive(CHILD, 2, 10, 10),
                sleep(CHILD, 12, 40, PAGE),
                send(SERVER, 1, 14),
                send(CHILD, 2, 41),
            ],
        ]),
        50,
    );
    assert_eq!(requests(&books, Class::Disk), 28);
    assert_eq!(requests(&books, Class::OnCpu), 4 + 3);
    assert_closed(&books);
}

#[test]
fn a_child_inherits_the_connection_and_before_its_birth_the_time_is_its_parents() {
    let born = Wait {
        pid: CHILD,
        ..first(CHILD, 35, 5)
    };
    let books = books(
        all([
            on(SERVER),
            vec![
                // The bytes came at 10; the parent was on the disk until 28, and forked at 30.
                sleep(SERVER, 8, 28, PAGE),
                forked(30, CHILD, CHILD),
                Event::Wait(born),
                receive(CHILD, CLIENT, 36, 10),
                sleep(CHILD, 40, 50, PAGE),
                send(CHILD, CLIENT, 52),
            ],
        ]),
        60,
    );
    assert_eq!(tally(&books).max_ns, Some(42 * MS));
    assert_eq!(requests(&books, Class::Disk), 18 + 10);
    assert_eq!(requests(&books, Class::Cpu), 5);
    assert_eq!(requests(&books, Class::OnCpu), 2 + 5 + 2);
    assert_closed(&books);
}

#[test]
fn a_long_poll_that_is_answered_in_the_end_was_idle_too() {
    let books = books(
        all([
            on(SERVER),
            vec![
                receive(SERVER, CLIENT, 10, 10),
                sleep(SERVER, 12, 7000, EPOLL),
                send(SERVER, CLIENT, 7001),
                receive(SERVER, CLIENT, 7010, 7010),
                send(SERVER, CLIENT, 7015),
            ],
        ]),
        7100,
    );
    assert_eq!((tally(&books).count, tally(&books).open), (1, 0));
    assert_eq!(tally(&books).max_ns, Some(5 * MS));
    assert_eq!(threads(&books, Class::Idle), 6988);
    assert_eq!(requests(&books, Class::Other), 0);
    assert_closed(&books);
}

#[test]
fn an_answer_that_goes_on_when_something_happens_ends_before_the_silence() {
    let books = books(
        all([
            on(SERVER),
            vec![
                receive(SERVER, CLIENT, 10, 10),
                sleep(SERVER, 11, 19, PAGE),
                send(SERVER, CLIENT, 20),
                sleep(SERVER, 21, 6021, EPOLL),
                send(SERVER, CLIENT, 6022),
            ],
        ]),
        6100,
    );
    assert_eq!(
        (tally(&books).count, tally(&books).max_ns),
        (1, Some(10 * MS))
    );
    assert_eq!(threads(&books, Class::Idle), 6000);
    assert_closed(&books);
}

#[test]
fn what_one_thread_asks_elsewhere_is_nothing_that_another_waits_for() {
    let books = books(
        all([
            on(SERVER),
            on(WORKER),
            vec![
                // The worker hears from a message queue all day.
                send(WORKER, UPSTREAM, 1),
                still(WORKER, 2, 7000, EPOLL),
                receive(SERVER, CLIENT, 10, 10),
                still(SERVER, 12, 7000, EPOLL),
            ],
        ]),
        7000,
    );
    assert_eq!((tally(&books).count, tally(&books).open), (0, 0));
    assert_eq!(threads(&books, Class::Upstream), 0);
    assert_closed(&books);
}

#[test]
fn what_was_asked_before_the_request_came_is_not_for_it() {
    let books = books(
        all([
            on(SERVER),
            vec![
                send(SERVER, UPSTREAM, 1),
                receive(SERVER, CLIENT, 10, 10),
                still(SERVER, 12, 7000, EPOLL),
            ],
        ]),
        7000,
    );
    assert_eq!(tally(&books).open, 0);
    assert_eq!(threads(&books, Class::Upstream), 0);
}

#[test]
fn a_server_that_hangs_on_the_disk_shows_where_it_hangs() {
    let tids: Vec<u32> = (300..325).collect();
    let mut events: Vec<Event> = tids.iter().flat_map(|tid| running(*tid)).collect();
    for (tid, socket) in tids.iter().zip(1..) {
        events.extend([
            receive(*tid, socket, 100, 100),
            still(*tid, 110, 1100, PAGE),
        ]);
    }
    let books = books(all([events]), 1100);
    let tally = tally(&books);
    assert_eq!((tally.count, tally.open), (0, 25));
    assert_eq!(tally.oldest_open_ns, Some(1000 * MS));
    assert_eq!(requests(&books, Class::Disk), 25 * 990);
    assert_closed(&books);
    // Nobody was answered, and yet it is their time that counts.
    let verdict = crate::verdict::judge(&books);
    assert!(verdict.of_requests);
    assert_eq!(verdict.primary().unwrap().resource, Resource::Disk);
}
