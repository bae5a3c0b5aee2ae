//! Datagrams: some ask, and many tell something to whom it may concern.

use tracer_common::tcp::{QUESTION_DATAGRAM, QUESTION_LISTENS, QUESTION_MORE, QUESTION_OVER};

use super::{
    questions::{POLL, asked, serving},
    *,
};

const CLIENT: u64 = 9;
/// A connection to a database.
const DATABASE: u64 = 8;
/// UDP sockets.
const ASKS: u64 = 20;
const TELLS: u64 = 21;

const NAMES: &str = "10.0.0.53:53";
const OTHER_NAMES: &str = "10.0.0.54:53";
/// Takes figures, and answers nobody.
const FIGURES: &str = "10.0.0.9:8125";
/// Of an own protocol.
const STORE: &str = "10.0.0.7:9999";

/// Stacks: of a receive of a datagram, and of a futex.
const RECEIVE: u64 = 40;
const FUTEX: u64 = 41;

fn datagram(socket: u64, remote: &str, ms: u64, flags: u32) -> Event {
    Event::Question(event::Question {
        ns: at(ms),
        socket,
        pid: SERVER,
        tid: SERVER,
        local: "10.0.0.1:40000".to_owned(),
        remote: remote.to_owned(),
        flags: QUESTION_DATAGRAM | flags,
    })
}

/// It sends one.
fn sends(socket: u64, remote: &str, ms: u64) -> Event {
    datagram(socket, remote, ms, 0)
}

/// One comes back.
fn answered(socket: u64, remote: &str, ms: u64) -> Event {
    datagram(socket, remote, ms, QUESTION_OVER)
}

/// The first of several comes back.
fn answered_partly(socket: u64, remote: &str, ms: u64) -> Event {
    datagram(socket, remote, ms, QUESTION_OVER | QUESTION_MORE)
}

/// A request from 10 to 95 in which this happens; from 12 to 92 its thread sleeps in `sleeps_in`, until a timer wakes it.
fn during(sleeps_in: u64, events: impl IntoIterator<Item = Event>) -> Books {
    let receives = ["schedule", "__skb_wait_for_more_packets", "udp_recvmsg"];
    let mut all = vec![
        stack(RECEIVE, &receives),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, CLIENT, 95),
    ];
    all.extend(events);
    all.push(sleep(SERVER, 12, 92, sleeps_in));
    all.sort_by_key(Event::ns);
    serving(all, 120)
}

fn waited(books: &Books) -> [u64; 2] {
    [Class::Upstream, Class::Other].map(|class| requests(books, class))
}

/// The name service does not answer.
pub(crate) fn no_name() -> Books {
    during(POLL, [sends(ASKS, NAMES, 11)])
}

/// Figures are sent for a request that waits for nothing known.
pub(crate) fn only_told() -> Books {
    during(EPOLL, [sends(TELLS, FIGURES, 11)])
}

#[test]
fn who_asks_for_a_name_waits_for_the_name_service() {
    for sleeps_in in [POLL, EPOLL] {
        let books = during(sleeps_in, [sends(ASKS, NAMES, 11)]);
        assert_eq!(waited(&books), [80, 0]);
        assert_eq!(asked(&books), [(Some("10.0.0.53:53 (UDP)"), 80)]);
    }
}

#[test]
fn who_sends_figures_to_somebody_waits_for_nobody() {
    for sleeps_in in [POLL, EPOLL] {
        let books = during(sleeps_in, [sends(TELLS, FIGURES, 11)]);
        assert_eq!(waited(&books), [0, 80]);
    }
    let idle = [sends(TELLS, FIGURES, 11), sleep(SERVER, 12, 92, EPOLL)];
    let books = serving(idle, 120);
    assert_eq!(threads(&books, Class::Idle), 80);
    // Nor does it after a request.
    let after = [
        receive(SERVER, CLIENT, 1, 1),
        send(SERVER, CLIENT, 5),
        sends(TELLS, FIGURES, 6),
        sleep(SERVER, 7, 6000, EPOLL),
    ];
    let books = serving(after, 6010);
    assert_eq!((tally(&books).count, tally(&books).open), (1, 0));
    assert_eq!(threads(&books, Class::Upstream), 0);
}

#[test]
fn figures_do_not_hide_the_question_before_them() {
    let books = during(EPOLL, [sends(ASKS, NAMES, 11), sends(TELLS, FIGURES, 12)]);
    assert_eq!(asked(&books), [(Some("10.0.0.53:53 (UDP)"), 80)]);
}

#[test]
fn an_answer_shows_that_it_was_asked_for() {
    let books = during(EPOLL, [sends(ASKS, STORE, 11), answered(ASKS, STORE, 52)]);
    assert_eq!(waited(&books), [40, 40]);
    assert_eq!(asked(&books), [(Some("10.0.0.7:9999 (UDP)"), 40)]);
    // So are those that never come, from the same peer.
    let books = during(
        EPOLL,
        [
            sends(TELLS, STORE, 2),
            answered(TELLS, STORE, 3),
            sends(ASKS, STORE, 11),
        ],
    );
    assert_eq!(waited(&books), [80, 0]);
}

#[test]
fn who_looks_for_an_answer_waits_for_it() {
    let looks = |event| during(POLL, [sends(ASKS, STORE, 11), event]);
    let tried = looks(datagram(ASKS, STORE, 12, QUESTION_LISTENS));
    assert_eq!(waited(&tried), [80, 0]);
    // A look at the machine finds that the thread listens to nobody else.
    let seen = looks(Event::Unheard(event::Unheard {
        ns: at(60),
        pid: SERVER,
        threads: vec![event::Deaf {
            tid: SERVER,
            asks: Some(("10.0.0.1:40000".to_owned(), STORE.to_owned())),
            ..event::Deaf::default()
        }],
        ..event::Unheard::default()
    }));
    assert_eq!(waited(&seen), [80, 0]);
    let receives = during(RECEIVE, [sends(ASKS, STORE, 11)]);
    assert_eq!(waited(&receives), [80, 0]);
}

#[test]
fn an_address_that_is_not_known_is_not_that_of_another_datagram() {
    let books = during(
        EPOLL,
        [
            sends(TELLS, "", 2),
            answered(TELLS, "", 3),
            sends(ASKS, "", 11),
        ],
    );
    assert_eq!(waited(&books), [0, 80]);
    let books = during(EPOLL, [sends(ASKS, "", 11), answered(ASKS, "", 92)]);
    let not_known = "an address that is not known (UDP)";
    assert_eq!(asked(&books), [(Some(not_known), 80)]);
}

#[test]
fn who_asks_the_next_name_server_has_given_up_the_first() {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        sends(ASKS, NAMES, 11),
        sleep(SERVER, 12, 52, POLL),
        sends(ASKS, OTHER_NAMES, 53),
        sleep(SERVER, 54, 92, POLL),
        answered(ASKS, OTHER_NAMES, 93),
        sleep(SERVER, 94, 104, POLL),
        send(SERVER, CLIENT, 105),
    ];
    let books = serving(events, 120);
    let expected = [
        (Some("10.0.0.53:53 (UDP)"), 40),
        (Some("10.0.0.54:53 (UDP)"), 38),
    ];
    assert_eq!(asked(&books), expected);
    assert_eq!(waited(&books), [78, 10]);
}

#[test]
fn who_has_slept_for_an_answer_since_before_the_window_waits_for_it() {
    let question = event::Question {
        pid: SERVER,
        tid: SERVER,
        local: "10.0.0.1:40000".to_owned(),
        remote: STORE.to_owned(),
        flags: QUESTION_DATAGRAM | QUESTION_LISTENS,
        ..event::Question::default()
    };
    let request = event::Unanswered {
        pid: SERVER,
        local: "10.0.0.1:80".to_owned(),
        remote: "10.0.0.2:4000".to_owned(),
        asks: false,
        since_ns: T0 - 600 * MS,
    };
    let events = [
        seed(SERVER, 'S', "do_sys_poll"),
        Event::Question(question),
        Event::Unanswered(request),
    ];
    let books = books(events, 700);
    assert_eq!((tally(&books).open, waited(&books)), (1, [700, 0]));
    assert_eq!(asked(&books), [(Some("10.0.0.7:9999 (UDP)"), 700)]);
}

#[test]
fn who_asks_a_database_has_given_up_the_name_service() {
    let ends = event::Socket {
        ns: at(1),
        socket: DATABASE,
        pid: SERVER,
        local: "10.0.0.1:33000".to_owned(),
        local_port: 33_000,
        remote: "10.0.0.5:5432".to_owned(),
    };
    for remote in [NAMES, FIGURES] {
        let books = during(
            EPOLL,
            [
                Event::Socket(ends.clone()),
                sends(ASKS, remote, 11),
                send(SERVER, DATABASE, 12),
                receive(SERVER, DATABASE, 93, 92),
            ],
        );
        assert_eq!(asked(&books), [(Some("10.0.0.5:5432"), 80)], "{remote}");
    }
}

/// A request from 10 to 95 asks twice at once, and has one answer at 20. From 21 to 92 its thread sleeps in `then`.
fn half_answered(remote: &str, then: u64) -> Vec<Event> {
    vec![
        stack(FUTEX, &["schedule", "futex_do_wait", "do_futex"]),
        receive(SERVER, CLIENT, 10, 10),
        sends(ASKS, remote, 11),
        sleep(SERVER, 12, 19, POLL),
        answered_partly(ASKS, remote, 20),
        sleep(SERVER, 21, 92, then),
        send(SERVER, CLIENT, 95),
    ]
}

#[test]
fn who_asks_for_two_addresses_of_a_name_waits_for_both() {
    for then in [POLL, EPOLL] {
        let books = serving(half_answered(NAMES, then), 120);
        assert_eq!(waited(&books), [7 + 71, 0], "{then}");
        assert_eq!(asked(&books), [(Some("10.0.0.53:53 (UDP)"), 7 + 71)]);
    }
    // Of a socket without a peer, the answer does not show who sent it.
    let mut events = half_answered(NAMES, POLL);
    events[4] = answered_partly(ASKS, "", 20);
    assert_eq!(waited(&serving(events, 120)), [7 + 71, 0]);
}

#[test]
fn from_the_second_answer_on_it_waits_for_something_else() {
    let mut events = half_answered(NAMES, POLL);
    events.insert(5, answered(ASKS, NAMES, 20));
    assert_eq!(waited(&serving(events, 120)), [7, 71]);
}

#[test]
fn who_sleeps_where_no_answer_would_wake_it_does_not_wait_for_the_second() {
    let books = serving(half_answered(NAMES, FUTEX), 120);
    assert_eq!(waited(&books), [7, 71]);
    // Nor does it later.
    let mut events = half_answered(NAMES, FUTEX);
    events[5] = sleep(SERVER, 21, 50, FUTEX);
    events.insert(6, sleep(SERVER, 51, 92, POLL));
    assert_eq!(waited(&serving(events, 120)), [7, 29 + 41]);
}

#[test]
fn one_answer_is_enough_where_nobody_knows_that_each_gets_one() {
    let books = serving(half_answered(STORE, POLL), 120);
    assert_eq!(waited(&books), [7, 71]);
    assert_eq!(asked(&books), [(Some("10.0.0.7:9999 (UDP)"), 7)]);
}
