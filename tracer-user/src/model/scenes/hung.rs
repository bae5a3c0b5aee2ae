//! Servers that hung before anybody looked.

use super::*;

const CLIENT: u64 = 9;
const HERE: &str = "10.0.0.1:80";
const THERE: &str = "10.0.0.2:4000";
const UPSTREAM: &str = "10.0.0.1:9000";

/// On a connection of the server with these ends the last word fell `ago` ms before the window.
fn unanswered(local: &str, remote: &str, asks: bool, ago: u64) -> Event {
    Event::Unanswered(event::Unanswered {
        pid: SERVER,
        local: local.to_owned(),
        remote: remote.to_owned(),
        asks,
        since_ns: T0 - ago * MS,
    })
}

fn asked(ago: u64) -> Event {
    unanswered(HERE, THERE, false, ago)
}

fn asks(ago: u64) -> Event {
    unanswered("10.0.0.1:33000", UPSTREAM, true, ago)
}

fn in_poll() -> Event {
    seed(SERVER, 'S', "ep_poll")
}

/// The connection of the client gets its name.
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
fn who_waits_for_an_answer_since_before_the_window_has_an_open_request_of_that_age() {
    let books = books([in_poll(), asked(600), asks(590)], 700);
    assert_eq!(
        (tally(&books).open, tally(&books).oldest_open_ns),
        (1, Some(1300 * MS))
    );
    assert_eq!(requests(&books, Class::Upstream), 700);
    assert_closed(&books);
}

#[test]
fn a_last_word_of_the_client_alone_is_no_request() {
    assert_eq!(books([in_poll(), asked(600)], 700).requests, None);
    // A question long after it, or before it, was not asked because of it.
    for (asked_ago, ago) in [(1000, 0), (600, 650)] {
        let books = books([in_poll(), asked(asked_ago), asks(ago)], 700);
        assert_eq!(books.requests, None, "{ago}");
    }
}

#[test]
fn a_process_that_hangs_at_a_disk_since_before_the_window_has_its_request_open() {
    let books = books([seed(SERVER, 'D', "io_schedule"), asked(600)], 700);
    assert_eq!(
        (tally(&books).open, requests(&books, Class::Disk)),
        (1, 700)
    );
}

#[test]
fn an_answer_ends_a_request_from_before_the_window_and_a_further_question_does_not() {
    let polls = || [in_poll(), asked(600), asks(590), named()];
    let answered = books(polls().into_iter().chain([send(SERVER, CLIENT, 100)]), 700);
    assert_eq!(
        (
            tally(&answered).count,
            tally(&answered).clipped,
            tally(&answered).open
        ),
        (1, 1, 0)
    );
    let next = [receive(SERVER, CLIENT, 100, 99), send(SERVER, CLIENT, 110)];
    let books = books(polls().into_iter().chain(next), 700);
    assert_eq!((tally(&books).count, tally(&books).clipped), (1, 0));
}

#[test]
fn a_look_that_finds_nothing_on_the_connection_answers_nothing() {
    const EAGAIN: i64 = 11;
    let looks = Event::Call(Call {
        result: -EAGAIN,
        ..call(SERVER, CLIENT, 100)
    });
    let books = books([in_poll(), asked(600), asks(590), named(), looks], 700);
    assert_eq!((tally(&books).open, tally(&books).count), (1, 0));
}

/// An answer to the client that was under way from before the window to its end at 100 ms, while tar sent with such a backlog.
fn under_way(backlog: u32, backoff: u32, limited_ms: u64) -> Vec<Event> {
    let found = Event::UnderWay(event::UnderWay {
        pid: SERVER,
        local: HERE.to_owned(),
        local_port: 80,
        remote: THERE.to_owned(),
        netns: 0,
        ifindex: 5,
        backoff,
        limited_ns: limited_ms * MS,
    });
    let sends = (0..10).map(|slice| sent(TAR, 10 * slice, 3000, backlog));
    [in_poll()]
        .into_iter()
        .chain(sends)
        .chain([found])
        .collect()
}

#[test]
fn an_answer_from_before_the_window_waits_for_the_link_that_holds_it_up() {
    let full = books(under_way(2, 0, 0), 100);
    assert_eq!(requests(&full, Class::Network), 100);
    assert_eq!(charged(&full, Resource::Network, holder(&full, TAR)), 100);
    assert_eq!(
        (tally(&full).open, tally(&full).oldest_open_ns),
        (1, Some(100 * MS))
    );
    let empty = books(under_way(0, 0, 0), 100);
    assert_eq!(requests(&empty, Class::Network), 0);
}

/// The own address is that of an interface that queues nothing.
#[test]
fn an_answer_from_before_the_window_waits_for_the_link_to_which_others_of_its_peer_lead() {
    const OTHER: u64 = 11;
    let waited = |own: &str, peer: &str| {
        let mut events = under_way(2, 0, 0);
        for event in &mut events {
            if let Event::UnderWay(found) = event {
                found.ifindex = 7;
            }
        }
        let socket = event::Socket {
            ns: at(91),
            socket: OTHER,
            pid: SERVER,
            local: own.to_owned(),
            local_port: 80,
            remote: peer.to_owned(),
        };
        let acknowledged = event::Ack {
            ns: at(93),
            socket: OTHER,
        };
        events.extend([
            Event::Socket(socket),
            receive(SERVER, OTHER, 92, 92),
            send(SERVER, OTHER, 93),
            Event::Ack(acknowledged),
        ]);
        requests(&books(events, 100), Class::Network)
    };
    let peer = "10.0.0.2:4001";
    assert_eq!(waited(HERE, peer), 100);
    assert_eq!(waited("10.0.9.1:80", peer), 0);
    // To another peer may lead another way, and nothing left through the interface with the own address.
    assert_eq!(waited(HERE, "10.0.0.3:4000"), 0);
}

#[test]
fn an_answer_that_left_without_an_echo_or_that_nobody_takes_waits_for_no_link() {
    for (backoff, limited_ms) in [(1, 0), (0, 50)] {
        let books = books(under_way(2, backoff, limited_ms), 100);
        assert_eq!(books.requests, None, "{backoff}");
        assert_eq!(requests(&books, Class::Network), 0);
    }
}

#[test]
fn an_answer_on_a_connection_with_calls_is_judged_by_these() {
    let mut events = under_way(2, 0, 0);
    events.extend([named(), send(SERVER, CLIENT, 95)]);
    let books = books(events, 100);
    assert_eq!(
        (tally(&books).open, requests(&books, Class::Network)),
        (0, 0)
    );
}

#[test]
fn who_hangs_with_what_the_target_asked_it_is_named() {
    let relay = {
        let asked_of_it = event::Unanswered {
            pid: TAR,
            local: UPSTREAM.to_owned(),
            remote: "10.0.0.1:33000".to_owned(),
            since_ns: T0 - 590 * MS,
            asks: false,
        };
        let followed = event::Follow {
            ns: at(1),
            pid: TAR,
            by_pid: SERVER,
            listening: vec![9000],
        };
        let thread = event::Thread {
            pid: TAR,
            tid: TAR,
            state: 'S',
            ..event::Thread::default()
        };
        [
            Event::Follow(followed),
            Event::Thread(thread),
            Event::Unanswered(asked_of_it),
        ]
    };
    let books = books(
        [in_poll(), asked(600), asks(590)].into_iter().chain(relay),
        700,
    );
    let ways = books.ways.iter().filter(|((resource, way), _)| {
        *resource == Resource::Upstream && way.iter().any(|id| books.processes[*id].pid == TAR)
    });
    let through_it: u64 = ways.map(|(_, (requests, _))| requests / MS).sum();
    assert!(through_it >= 690, "{:?}", books.ways);
}
