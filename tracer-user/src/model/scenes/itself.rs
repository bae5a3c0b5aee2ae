//! The target asks itself over TCP: a gateway in front of its own service.

use tracer_common::tcp::CALL_CLOSE;

use super::{
    upstream::{HERE, THERE, end},
    *,
};
use crate::event::{Opened, Origin};

/// Connections of two clients.
const CLIENT: u64 = 9;
const OTHER: u64 = 8;
/// Both ends of the one between the gateway and the service.
const ASK: u64 = 7;
const SERVED: u64 = 11;
/// The service's own address.
const OWN: &str = "127.0.0.1:80";
/// A second thread of the gateway. The first one is the server's; the service has the worker.
const SECOND: u32 = 102;

/// Both ends, first seen at 2 by a call: the connection is older than the trace.
fn old() -> Vec<Event> {
    vec![
        end(SERVER, ASK, HERE, OWN, 2),
        end(SERVER, SERVED, OWN, HERE, 2),
    ]
}

/// Both ends of a connection that is made at 11, in the trace.
fn new() -> Vec<Event> {
    let origins = [Origin::Connected, Origin::Accepted];
    let ends = [
        end(SERVER, ASK, HERE, OWN, 11),
        end(SERVER, SERVED, OWN, HERE, 11),
    ];
    let opened = |(end, origin)| match end {
        Event::Socket(socket) => Event::Opened(Opened { socket, origin }),
        other => other,
    };
    ends.into_iter().zip(origins).map(opened).collect()
}

fn closed(socket: u64, ms: u64) -> Event {
    Event::Call(Call {
        result: 0,
        flags: CALL_CLOSE,
        ..call(0, socket, ms)
    })
}

/// The service takes what is asked at 12, reads its disk from 20 on until `read`, and answers 1 ms later.
fn serves(read: u64) -> [Event; 4] {
    [
        sleep(WORKER, 1, 13, EPOLL),
        receive(WORKER, SERVED, 13, 12),
        sleep(WORKER, 20, read, PAGE),
        send(WORKER, SERVED, read + 1),
    ]
}

/// The gateway has a request at 10, asks the service at 12, is answered at `answered`, and answers 2 ms later.
fn asks(answered: u64) -> [Event; 5] {
    [
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, ASK, 12),
        sleep(SERVER, 12, answered, EPOLL),
        receive(SERVER, ASK, answered, answered - 1),
        send(SERVER, CLIENT, answered + 2),
    ]
}

fn played(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let known = running(SERVER).into_iter().chain(running(WORKER));
    let mut events: Vec<Event> = known.chain(events).collect();
    events.sort_by_key(Event::ns);
    let books = books(events, end_ms);
    assert_closed(&books);
    books
}

#[test]
fn who_asks_the_target_itself_waits_for_what_that_does_and_for_no_other_process() {
    for ends in [old(), new()] {
        let events = ends.into_iter().chain(serves(90)).chain(asks(92));
        let books = played(events, 100);
        assert_eq!(tally(&books).count, 2);
        assert_eq!(requests(&books, Class::Disk), 70 + 70);
        assert_eq!(requests(&books, Class::Upstream), 0);
        // Of what nobody did, only the way there and back is left.
        assert_eq!(requests(&books, Class::Other), 1 + 2);
        assert_eq!(threads(&books, Class::Disk), 70 + 70);
        assert_eq!(threads(&books, Class::Upstream), 0);
        assert_all_has_a_class(&books);
    }
}

#[test]
fn a_connection_that_is_over_before_the_gateway_answers_was_to_itself_all_the_same() {
    let closes = [closed(SERVED, 91), closed(ASK, 93)];
    let events = new().into_iter().chain(serves(90)).chain(closes);
    let books = played(events.chain(asks(92)), 100);
    assert_eq!(requests(&books, Class::Disk), 70 + 70);
    assert_eq!(requests(&books, Class::Upstream), 0);
}

#[test]
fn of_two_questions_on_one_connection_each_waits_for_what_is_done_there() {
    let second = running(SECOND).into_iter().chain([
        receive(SECOND, OTHER, 13, 13),
        send(SECOND, ASK, 14),
        receive(WORKER, SERVED, 15, 14),
        // The first one has both answers, and gives the second its own.
        until_thread((SERVER, SERVER), sleep(SECOND, 14, 93, EPOLL)),
        send(SECOND, OTHER, 95),
    ]);
    let events = old().into_iter().chain(serves(90)).chain(asks(92));
    let books = played(events.chain(second), 100);
    assert_eq!(tally(&books).count, 3);
    assert_eq!(requests(&books, Class::Upstream), 0);
    let disk = requests(&books, Class::Disk);
    assert!((3 * 70 - 4..=3 * 70).contains(&disk), "{disk}");
}

#[test]
fn a_thread_that_has_the_answer_for_the_one_with_the_request_waited_for_the_same() {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        until_thread((SERVER, SERVER), sleep(SECOND, 1, 11, EPOLL)),
        send(SECOND, ASK, 12),
        sleep(SECOND, 12, 92, EPOLL),
        receive(SECOND, ASK, 92, 91),
        until_thread((SERVER, SECOND), sleep(SERVER, 12, 93, EPOLL)),
        send(SERVER, CLIENT, 94),
    ];
    let events = old().into_iter().chain(serves(90)).chain(events);
    let books = played(running(SECOND).into_iter().chain(events), 100);
    assert_eq!(requests(&books, Class::Upstream), 0);
    let disk = requests(&books, Class::Disk);
    assert!((2 * 70 - 3..=2 * 70).contains(&disk), "{disk}");
}

#[test]
fn a_question_to_itself_without_an_answer_at_the_end_has_the_time_of_the_other_end() {
    let events = [
        sleep(WORKER, 1, 13, EPOLL),
        receive(WORKER, SERVED, 13, 12),
        still(WORKER, 20, 100, PAGE),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, ASK, 12),
        still(SERVER, 12, 100, EPOLL),
    ];
    let books = played(old().into_iter().chain(events), 100);
    assert_eq!(tally(&books).open, 2);
    assert_eq!(requests(&books, Class::Disk), 80 + 80);
    assert_eq!(requests(&books, Class::Upstream), 0);
}

#[test]
fn who_asks_the_target_to_tell_of_an_event_waits_for_nothing_through_a_gateway_too() {
    let service = [
        sleep(WORKER, 1, 13, EPOLL),
        receive(WORKER, SERVED, 13, 12),
        sleep(WORKER, 14, 7000, EPOLL),
        send(WORKER, SERVED, 7001),
    ];
    let events = old().into_iter().chain(service).chain(asks(7002));
    let books = played(events, 7010);
    let all: u64 = books.budget(|bin| &bin.requests).iter().sum();
    assert!(all < 20 * MS, "{all}");
    // If the service reads its disk meanwhile, both are requests.
    let events = old().into_iter().chain(serves(7000)).chain(asks(7002));
    let books = played(events, 7010);
    assert_eq!(requests(&books, Class::Disk), 2 * (7000 - 20));
}

#[test]
fn another_process_at_an_address_of_this_machine_is_still_waited_for() {
    let ends = [end(SERVER, ASK, HERE, THERE, 2)];
    let books = played(ends.into_iter().chain(asks(92)), 100);
    assert_eq!(tally(&books).count, 1);
    assert_eq!(requests(&books, Class::Upstream), 92 - 12);
    assert_eq!(charged(&books, Resource::Upstream, Holder::Peer), 92 - 12);
}

#[test]
fn an_answer_may_be_received_before_the_call_returns_that_sent_it() {
    let service = [
        sleep(WORKER, 1, 13, EPOLL),
        receive(WORKER, SERVED, 13, 12),
        sleep(WORKER, 20, 90, PAGE),
        send(WORKER, SERVED, 95),
    ];
    let events = old().into_iter().chain(service).chain(asks(92));
    let books = played(events, 100);
    assert_eq!(requests(&books, Class::Upstream), 0);
    assert_eq!(requests(&books, Class::Disk), 70 + 70);
}
