//! Connects that nobody answers: who asked waits for whoever is at that address.

use tracer_common::tcp::QUESTION_OVER;

use super::*;

const CLIENT: u64 = 9;
/// The connection of another client.
const OTHER: u64 = 8;
/// Sockets that connect.
const FIRST: u64 = 20;
const SECOND: u64 = 21;

const HERE: &str = "10.0.0.1:80";
const THERE: &str = "10.0.0.2:4000";
const OWN_END: &str = "10.99.0.1:33000";
/// The same once the kernel has let the port go: before it records that a process gives up.
const LET_GO: &str = "10.99.0.1:0";
const DEAD: &str = "10.99.0.9:81";

/// Stacks: of a wait for one descriptor, and of a blocking connect.
pub(super) const POLL: u64 = 30;
const CONNECT: u64 = 31;

fn question(tid: u32, socket: u64, ms: u64, flags: u32) -> Event {
    Event::Question(event::Question {
        ns: at(ms),
        socket,
        pid: SERVER,
        tid,
        local: OWN_END.to_owned(),
        remote: DEAD.to_owned(),
        flags,
    })
}

/// A thread connects.
fn asks(tid: u32, socket: u64, ms: u64) -> Event {
    question(tid, socket, ms, 0)
}

/// It is over; a thread gave it up, or none (0).
fn over(tid: u32, socket: u64, ms: u64) -> Event {
    question(tid, socket, ms, QUESTION_OVER)
}

/// Two threads, each busy but for these events.
pub(super) fn serving(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let stacks = [
        stack(POLL, &["schedule", "do_sys_poll"]),
        stack(
            CONNECT,
            &["schedule", "inet_stream_connect", "__sys_connect"],
        ),
    ];
    let threads = running(SERVER).into_iter().chain(running(WORKER));
    let events = stacks.into_iter().chain(threads).chain(events);
    let books = books(events, end_ms);
    assert_closed(&books);
    books
}

/// What is charged for answers: the place, and ms.
pub(super) fn asked(books: &Books) -> Vec<(Option<&str>, u64)> {
    let mut asked: Vec<(Option<&str>, u64)> = Vec::new();
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    for charge in charges.filter(|charge| charge.resource == Resource::Upstream) {
        let place = charge.place.map(|place| books.places[place].as_str());
        match asked.iter_mut().find(|(known, _)| *known == place) {
            Some((_, ns)) => *ns += charge.ns,
            None => asked.push((place, charge.ns)),
        }
    }
    asked
        .into_iter()
        .map(|(place, ns)| (place, ns / MS))
        .collect()
}

/// A request from 10 to 95, for which a thread connects at 12. A timer wakes it at 92, and it gives up.
fn unanswered(sleeps_in: u64) -> Books {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        asks(SERVER, FIRST, 12),
        sleep(SERVER, 12, 92, sleeps_in),
        over(SERVER, FIRST, 93),
        send(SERVER, CLIENT, 95),
    ];
    serving(events, 120)
}

/// The same in a server that waits for many things.
pub(crate) fn unanswered_in_a_loop() -> Books {
    unanswered(EPOLL)
}

#[test]
fn a_request_waits_for_whoever_does_not_answer_its_connect() {
    for sleeps_in in [POLL, EPOLL, CONNECT] {
        let books = unanswered(sleeps_in);
        assert_eq!(requests(&books, Class::Upstream), 80, "{sleeps_in}");
        assert_eq!(requests(&books, Class::Other), 0);
        assert_eq!(asked(&books), [(Some(DEAD), 80)]);
    }
}

#[test]
fn from_the_answer_on_it_waits_for_something_else() {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        asks(SERVER, FIRST, 12),
        over(0, FIRST, 42),
        sleep(SERVER, 12, 92, EPOLL),
        send(SERVER, CLIENT, 95),
    ];
    let books = serving(events, 120);
    let waited = [Class::Upstream, Class::Other].map(|class| requests(&books, class));
    assert_eq!(waited, [30, 50]);
}

#[test]
fn who_uses_the_connection_has_the_answer_though_no_record_told_that() {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        asks(SERVER, FIRST, 12),
        sleep(SERVER, 12, 42, EPOLL),
        send(SERVER, FIRST, 42),
        sleep(SERVER, 43, 92, EPOLL),
        send(SERVER, CLIENT, 95),
    ];
    let books = serving(events, 120);
    let waited = [Class::Upstream, Class::Other].map(|class| requests(&books, class));
    assert_eq!(waited, [30, 49]);
    assert_eq!(asked(&books), [(Some(DEAD), 30)]);
}

#[test]
fn only_the_request_that_it_was_asked_for_waits_for_it() {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        asks(SERVER, FIRST, 11),
        receive(SERVER, OTHER, 12, 12),
        sleep(SERVER, 12, 92, EPOLL),
        over(SERVER, FIRST, 92),
        send(SERVER, CLIENT, 93),
        send(SERVER, OTHER, 94),
    ];
    let books = serving(events, 120);
    let waited = [Class::Upstream, Class::Other].map(|class| requests(&books, class));
    assert_eq!(waited, [80, 80]);
}

#[test]
fn what_a_loop_asks_on_its_own_account_is_nothing_that_a_request_waits_for() {
    // At 20 ms a timer tells it to connect to some other server again.
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        sleep(SERVER, 11, 20, EPOLL),
        asks(SERVER, FIRST, 21),
        sleep(SERVER, 22, 92, EPOLL),
        send(SERVER, CLIENT, 95),
    ];
    let books = serving(events, 120);
    let waited = [Class::Upstream, Class::Other].map(|class| requests(&books, class));
    assert_eq!(waited, [0, 79]);
    let idle = [asks(SERVER, FIRST, 12), sleep(SERVER, 12, 92, EPOLL)];
    let books = serving(idle, 120);
    assert_eq!(
        (
            threads(&books, Class::Upstream),
            threads(&books, Class::Idle)
        ),
        (0, 80)
    );
}

#[test]
fn who_gives_up_one_asks_the_next_for_the_same_request() {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        asks(SERVER, FIRST, 11),
        receive(SERVER, OTHER, 12, 12),
        sleep(SERVER, 12, 52, EPOLL),
        over(SERVER, FIRST, 52),
        asks(SERVER, SECOND, 53),
        sleep(SERVER, 54, 92, EPOLL),
        over(0, SECOND, 92),
        send(SERVER, CLIENT, 95),
    ];
    assert_eq!(requests(&serving(events, 120), Class::Upstream), 40 + 38);
}

#[test]
fn a_request_that_waits_for_an_answer_to_the_end_is_no_long_poll() {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        asks(SERVER, FIRST, 12),
        still(SERVER, 12, 7000, EPOLL),
    ];
    let books = serving(events, 7000);
    assert_eq!((tally(&books).count, tally(&books).open), (0, 1));
    assert_eq!(requests(&books, Class::Upstream), 6988);
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        asks(SERVER, FIRST, 12),
        sleep(SERVER, 12, 7000, EPOLL),
        over(SERVER, FIRST, 7001),
        send(SERVER, CLIENT, 7002),
    ];
    let books = serving(events, 7010);
    assert_eq!((tally(&books).count, tally(&books).open), (1, 0));
    assert_eq!(requests(&books, Class::Upstream), 6988);
}

#[test]
fn a_blocking_connect_names_the_address_whoever_it_is_for() {
    let events = [
        asks(SERVER, FIRST, 12),
        sleep(SERVER, 12, 92, CONNECT),
        over(0, FIRST, 92),
    ];
    let books = serving(events, 120);
    assert_eq!(threads(&books, Class::Upstream), 80);
    assert_eq!(asked(&books), [(Some(DEAD), 80)]);
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

/// A loop has a thread of a pool connect for a request, and sleeps meanwhile until `until`.
fn through_a_pool(until: u64) -> Vec<Event> {
    vec![
        receive(SERVER, CLIENT, 10, 10),
        woken_by(SERVER, asleep(WORKER, 1, 12, 0, EPOLL), 12),
        asks(WORKER, FIRST, 13),
        sleep(SERVER, 13, until, EPOLL),
        sleep(WORKER, 14, 92, POLL),
        over(WORKER, FIRST, 92),
    ]
}

#[test]
fn what_a_threads_hand_asked_is_what_its_request_waits_for() {
    let mut events = through_a_pool(13);
    events.extend([
        woken_by(WORKER, asleep(SERVER, 13, 93, 0, EPOLL), 93),
        send(SERVER, CLIENT, 95),
    ]);
    let books = serving(events, 120);
    assert_eq!(requests(&books, Class::Upstream), 78);
    assert_eq!(asked(&books), [(Some(DEAD), 78)]);
}

#[test]
fn so_it_is_over_all_sleeps_of_a_loop() {
    // Another client wakes it in between.
    let mut events = through_a_pool(50);
    events.extend([
        woken_by(WORKER, asleep(SERVER, 51, 93, 0, EPOLL), 93),
        send(SERVER, CLIENT, 95),
    ]);
    events.sort_by_key(Event::ns);
    let books = serving(events, 120);
    assert_eq!(requests(&books, Class::Upstream), 36 + 41);
    assert_eq!(asked(&books), [(Some(DEAD), 77)]);
}

/// On a connection of the server the client asked so long before the window.
fn asked_before(ago: u64) -> Event {
    Event::Unanswered(event::Unanswered {
        pid: SERVER,
        local: HERE.to_owned(),
        remote: THERE.to_owned(),
        asks: false,
        since_ns: T0 - ago * MS,
    })
}

/// A thread of the server, or nobody knows which (0), connected so long before the window.
fn connected_before(tid: u32, ago: u64) -> Event {
    Event::Question(event::Question {
        ns: T0 - ago * MS,
        pid: SERVER,
        tid,
        local: OWN_END.to_owned(),
        remote: DEAD.to_owned(),
        ..event::Question::default()
    })
}

fn named() -> Event {
    Event::Socket(event::Socket {
        ns: at(90),
        socket: CLIENT,
        pid: SERVER,
        local: HERE.to_owned(),
        local_port: 80,
        remote: THERE.to_owned(),
    })
}

#[test]
fn who_connected_before_the_window_has_an_open_request_that_waits_for_that() {
    let polls = || seed(SERVER, 'S', "ep_poll");
    for tid in [SERVER, 0] {
        let books = books(
            [polls(), connected_before(tid, 590), asked_before(600)],
            700,
        );
        assert_eq!(
            (tally(&books).open, requests(&books, Class::Upstream)),
            (1, 700)
        );
        assert_eq!(asked(&books), [(Some(DEAD), 700)]);
        assert_closed(&books);
    }
    // It was asked because of something else.
    for (asked_ago, ago) in [(590, 700), (5000, 590)] {
        let events = [
            polls(),
            connected_before(SERVER, ago),
            asked_before(asked_ago),
        ];
        assert_eq!(books(events, 700).requests, None, "{ago}");
    }
}

/// The server is one thread, or has another one. Nobody hears the connection of its client.
fn threads_at_attach(is_alone: bool) -> Vec<Event> {
    let unheard = event::Unheard {
        ns: at(1),
        pid: SERVER,
        connections: vec![event::UnheardConnection {
            local: HERE.to_owned(),
            remote: THERE.to_owned(),
            since_ns: T0 - 600 * MS,
            ..event::UnheardConnection::default()
        }],
        ..event::Unheard::default()
    };
    let mut events = vec![seed(SERVER, 'S', "do_sys_poll")];
    if !is_alone {
        events.push(seed(WORKER, 'S', "futex_wait"));
    }
    events.extend([
        connected_before(0, 590),
        asked_before(600),
        Event::Unheard(unheard),
    ]);
    events
}

#[test]
fn who_gives_up_what_it_asked_before_the_window_waited_for_that_until_then() {
    for is_alone in [true, false] {
        let gives_up = [
            named(),
            Event::Wait(first(SERVER, 100, 0)),
            Event::Question(event::Question {
                ns: at(100),
                socket: FIRST,
                pid: SERVER,
                tid: SERVER,
                local: LET_GO.to_owned(),
                remote: DEAD.to_owned(),
                flags: QUESTION_OVER,
            }),
            send(SERVER, CLIENT, 101),
        ];
        let books = books(threads_at_attach(is_alone).into_iter().chain(gives_up), 200);
        assert_eq!((tally(&books).count, tally(&books).clipped), (1, 1));
        assert_eq!(requests(&books, Class::Upstream), 100);
        assert_eq!(asked(&books), [(Some(DEAD), 100)]);
        assert_closed(&books);
    }
}

#[test]
fn who_wakes_from_the_wait_for_one_that_it_was_in_at_attach_waits_for_that_no_more() {
    // A reset ended its connect, of which there is no record. Then it waits for something else.
    let goes_on = [
        Event::Wait(first(SERVER, 50, 0)),
        sleep(SERVER, 51, 89, POLL),
        named(),
        send(SERVER, CLIENT, 101),
    ];
    let stack = stack(POLL, &["schedule", "do_sys_poll"]);
    let events = [stack].into_iter().chain(threads_at_attach(true));
    let books = books(events.chain(goes_on), 200);
    let waited = [Class::Upstream, Class::Other].map(|class| requests(&books, class));
    assert_eq!(waited, [50, 38]);
    assert_eq!(asked(&books), [(Some(DEAD), 50)]);
    assert_closed(&books);
}
