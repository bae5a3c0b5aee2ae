//! The threads that give a request its time: servers of every build, long polls, and servers that hang.

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

/// 25 requests. Their threads have all been on the disk for 990 ms.
pub(crate) fn hung() -> Books {
    let tids: Vec<u32> = (300..325).collect();
    let mut events: Vec<Event> = tids.iter().flat_map(|tid| running(*tid)).collect();
    for (tid, socket) in tids.iter().zip(1..) {
        events.extend([
            receive(*tid, socket, 100, 100),
            still(*tid, 110, 1100, PAGE),
        ]);
    }
    books(all([events]), 1100)
}

#[test]
fn a_server_that_hangs_on_the_disk_shows_where_it_hangs() {
    let books = hung();
    let tally = tally(&books);
    assert_eq!((tally.count, tally.open), (0, 25));
    assert_eq!(tally.oldest_open_ns, Some(1000 * MS));
    assert_eq!(requests(&books, Class::Disk), 25 * 990);
    assert_closed(&books);
}

fn woken_by(waker: u32, wait: Wait, waking: u64) -> Event {
    Event::Wait(Wait {
        waker_pid: SERVER,
        waker_tid: waker,
        waker_stack: FUTEX_WAKE,
        waking_ns: at(waking),
        flags: 0,
        ..wait
    })
}

#[test]
fn a_pool_that_hangs_has_the_time_of_the_worker_that_was_woken() {
    let books = books(
        all([
            on(SERVER),
            on(WORKER),
            vec![
                receive(SERVER, CLIENT, 10, 10),
                woken_by(SERVER, asleep(WORKER, 1, 12, 0, EPOLL), 12),
                still(SERVER, 13, 7000, EPOLL),
                still(WORKER, 15, 7000, PAGE),
            ],
        ]),
        7000,
    );
    assert_eq!(
        (tally(&books).open, tally(&books).oldest_open_ns),
        (1, Some(6990 * MS))
    );
    // Until 12 the worker's sleep is what its waker did.
    assert_eq!(requests(&books, Class::OnCpu), 5);
    assert_eq!(requests(&books, Class::Disk), 6985);
    assert_closed(&books);
}

#[test]
fn a_request_handed_on_twice_hangs_where_the_third_thread_does() {
    const THIRD: u32 = 102;
    let books = books(
        all([
            on(SERVER),
            on(WORKER),
            on(THIRD),
            vec![
                receive(SERVER, CLIENT, 10, 10),
                woken_by(SERVER, asleep(WORKER, 1, 12, 0, EPOLL), 12),
                woken_by(WORKER, asleep(THIRD, 1, 14, 0, EPOLL), 14),
                still(SERVER, 13, 900, EPOLL),
                still(WORKER, 15, 900, EPOLL),
                still(THIRD, 20, 900, MUTEX),
            ],
        ]),
        900,
    );
    assert_eq!(requests(&books, Class::Lock), 880);
    assert_eq!(tally(&books).open, 1);
    assert_closed(&books);
}

#[test]
fn a_thread_that_only_writes_the_log_is_not_who_holds_a_request() {
    let books = books(
        all([
            on(SERVER),
            on(WORKER),
            vec![
                receive(SERVER, CLIENT, 10, 10),
                woken_by(SERVER, asleep(WORKER, 1, 12, 0, EPOLL), 12),
                still(SERVER, 13, 900, PAGE),
                still(WORKER, 15, 900, MUTEX),
            ],
        ]),
        900,
    );
    assert_eq!(
        (requests(&books, Class::Disk), requests(&books, Class::Lock)),
        (887, 0)
    );
}

/// Part of the requests' time behind other requests of the target.
fn behind_own(books: &Books, class: Class) -> u64 {
    books.budget(|bin| &bin.behind_own)[class.index()] / MS
}

#[test]
fn in_an_event_loop_requests_stand_behind_the_one_that_is_worked_on() {
    let books = books(
        all([
            on(SERVER),
            vec![
                sleep(SERVER, 1, 10, EPOLL),
                receive(SERVER, 1, 11, 10),
                sleep(SERVER, 12, 40, PAGE),
                send(SERVER, 1, 41),
                // Came at 20: behind the first one's disk until 41; the access log is its work, too.
                receive(SERVER, 2, 43, 20),
                send(SERVER, 2, 48),
            ],
        ]),
        50,
    );
    assert_eq!(requests(&books, Class::Disk), 28 + 20);
    assert_eq!(behind_own(&books, Class::Disk), 20);
    // First: 10 to 12 and 40 to 41. Second: 40 to 43 behind the first, 43 to 48 its own.
    assert_eq!(requests(&books, Class::OnCpu), 3 + 8);
    assert_eq!(behind_own(&books, Class::OnCpu), 3);
}

#[test]
fn a_request_whose_answer_is_awaited_stands_behind_what_its_loop_does_meanwhile() {
    let books = books(
        all([
            on(SERVER),
            vec![
                receive(SERVER, 1, 10, 10),
                send(SERVER, UPSTREAM, 11),
                sleep(SERVER, 12, 20, EPOLL),
                receive(SERVER, 2, 21, 20),
                sleep(SERVER, 22, 30, PAGE),
                send(SERVER, 2, 31),
                sleep(SERVER, 32, 50, EPOLL),
                receive(SERVER, UPSTREAM, 51, 50),
                send(SERVER, 1, 52),
            ],
        ]),
        60,
    );
    // 20 to 32: the other request's receive, disk and send.
    assert_eq!(behind_own(&books, Class::Disk), 8);
    assert_eq!(behind_own(&books, Class::OnCpu), 4);
    assert_eq!(requests(&books, Class::Upstream), 8 + 18);
    assert_eq!(requests(&books, Class::Disk), 8 + 8);
    assert_closed(&books);
}

#[test]
fn work_for_nobody_else_is_behind_nobody() {
    let books = books(
        all([
            on(SERVER),
            vec![
                receive(SERVER, CLIENT, 10, 10),
                sleep(SERVER, 12, 40, PAGE),
                send(SERVER, CLIENT, 41),
                sleep(SERVER, 42, 60, EPOLL),
                receive(SERVER, CLIENT, 63, 60),
                send(SERVER, CLIENT, 65),
            ],
        ]),
        70,
    );
    assert_eq!(books.budget(|bin| &bin.behind_own), [0; Class::COUNT]);
}

fn unread_at_attach(port: u32) -> Event {
    Event::OpenSocket(event::OpenSocket {
        pid: SERVER,
        local: format!("10.0.0.1:{port}"),
        local_port: port,
        remote: "10.0.0.2:4000".to_owned(),
        unread_bytes: 512,
    })
}

#[test]
fn what_lay_unread_and_is_never_touched_by_a_server_that_hangs_is_open() {
    let hang = [seed(SERVER, 'D', "io_schedule")];
    let books = books([unread_at_attach(80)].into_iter().chain(hang), 700);
    assert_eq!(
        (tally(&books).open, tally(&books).oldest_open_ns),
        (1, Some(700 * MS))
    );
    assert_eq!(requests(&books, Class::Disk), 700);
}

#[test]
fn what_lay_unread_waits_too_while_the_server_that_hangs_now_and_then_waits_for_work() {
    let mut events = vec![unread_at_attach(80)];
    events.extend(running(SERVER));
    // Woken from the sleep by the disk's interrupt, it owns no request: its wait for work would be one for nothing known.
    events.extend([sleep(SERVER, 0, 400, PAGE), sleep(SERVER, 400, 700, EPOLL)]);
    let books = books(events, 700);
    assert_eq!(tally(&books).open, 1);
    assert_eq!(
        (
            requests(&books, Class::Disk),
            requests(&books, Class::Other)
        ),
        (400, 300)
    );
}

#[test]
fn what_nobody_reads_though_nothing_stops_them_is_no_request() {
    let idle = [seed(SERVER, 'S', "ep_poll")];
    let sockets = [unread_at_attach(80)];
    assert_eq!(books(sockets.into_iter().chain(idle), 700).requests, None);
    // An answer to a question of the target is none either.
    let hang = [seed(SERVER, 'D', "io_schedule")];
    let answer = [unread_at_attach(33_000)];
    assert_eq!(books(answer.into_iter().chain(hang), 700).requests, None);
}

#[test]
fn a_worker_that_ends_without_an_answer_leaves_its_time_in_the_books() {
    let end = event::ThreadEnd {
        ns: at(60),
        pid: SERVER,
        tid: WORKER,
    };
    let books = books(
        all([
            on(SERVER),
            on(WORKER),
            vec![
                receive(WORKER, CLIENT, 10, 10),
                sleep(WORKER, 12, 59, PAGE),
                Event::ThreadEnd(end),
            ],
        ]),
        100,
    );
    let tally = tally(&books);
    // A stream without addresses is closed by the end of its process.
    assert_eq!((tally.count, tally.open), (0, 0));
    assert_eq!(requests(&books, Class::Disk), 47);
    assert_closed(&books);
}

#[test]
fn a_request_that_no_thread_of_a_busy_pool_takes_has_the_time_of_one_of_them() {
    let books = books(
        all([
            on(SERVER),
            on(WORKER),
            vec![
                receive(SERVER, 1, 10, 10),
                woken_by(SERVER, asleep(WORKER, 1, 12, 0, EPOLL), 12),
                sleep(SERVER, 13, 100, EPOLL),
                still(WORKER, 15, 900, PAGE),
                // It signals a condition that nobody waits for.
                receive(SERVER, 2, 101, 100),
                still(SERVER, 102, 900, EPOLL),
            ],
        ]),
        900,
    );
    assert_eq!(tally(&books).open, 2);
    // The first from 15 on; the second from 101 on: the bytes were picked up until then by the loop.
    assert_eq!(requests(&books, Class::Disk), 885 + 799);
}

fn unread_at_the_end(socket: u64, arrived: u64, end: u64) -> Event {
    Event::Unread(event::Unread {
        ns: at(end),
        socket,
        pid: SERVER,
        arrived_ns: at(arrived),
    })
}

#[test]
fn a_request_that_nobody_picked_up_is_open_and_behind_the_one_that_hangs() {
    let books = books(
        all([
            on(SERVER),
            vec![
                // A connection that was served before.
                receive(SERVER, 1, 5, 5),
                send(SERVER, 1, 6),
                receive(SERVER, 2, 10, 10),
                still(SERVER, 12, 900, PAGE),
                unread_at_the_end(1, 100, 900),
            ],
        ]),
        900,
    );
    assert_eq!((tally(&books).count, tally(&books).open), (1, 2));
    assert_eq!(requests(&books, Class::Disk), 888 + 800);
    assert_eq!(behind_own(&books, Class::Disk), 800);
}

#[test]
fn bytes_that_an_idle_server_leaves_are_no_request() {
    let books = books(
        all([
            on(SERVER),
            vec![
                receive(SERVER, 1, 5, 5),
                send(SERVER, 1, 6),
                still(SERVER, 12, 900, EPOLL),
                unread_at_the_end(1, 100, 900),
            ],
        ]),
        900,
    );
    assert_eq!((tally(&books).count, tally(&books).open), (1, 0));
    assert_eq!(threads(&books, Class::Idle), 888);
}
