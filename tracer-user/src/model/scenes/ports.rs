//! Ports that are new since attach, who connected, and sockets that get the address of others.

use tracer_common::tcp::CALL_CLOSE;

use super::*;
use crate::event::{Opened, Origin};

/// The one address of the kernel's at which the sockets lie.
const SOCKET: u64 = 9;
/// A client's connection.
const CLIENT: u64 = 8;

const PEER: &str = "10.0.0.2:4000";
const OTHER: &str = "10.0.0.3:5000";

fn socket(ms: u64, address: u64, local_port: u32, remote: &str) -> event::Socket {
    event::Socket {
        ns: at(ms),
        socket: address,
        pid: SERVER,
        local: format!("10.0.0.1:{local_port}"),
        local_port,
        remote: remote.to_owned(),
    }
}

fn opened(ms: u64, local_port: u32, remote: &str, origin: Origin) -> Event {
    let socket = socket(ms, SOCKET, local_port, remote);
    Event::Opened(Opened { socket, origin })
}

fn events(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    running(SERVER).into_iter().chain(more).collect()
}

/// The facts at attach of a target that listens on these ports.
fn listening(ports: &[u32]) -> Vec<Event> {
    let mut events = attach();
    if let Some(Event::Start(start)) = events.first_mut() {
        start.listening = ports.to_vec();
    }
    events
}

#[test]
fn clients_of_a_port_that_is_new_since_attach_ask_for_something() {
    let asked = |origin| {
        events([
            opened(9, 8080, PEER, origin),
            receive(SERVER, SOCKET, 10, 10),
            send(SERVER, SOCKET, 20),
        ])
    };
    let books = books(asked(Origin::Accepted), 30);
    assert_eq!(tally(&books).count, 1);
    assert_eq!(requests(&books, Class::OnCpu), 10);
    // What the target itself connected is no request, whatever its port.
    let books = books_from(listening(&[80]), asked(Origin::Connected), 30);
    assert_eq!(books.requests, None);
}

#[test]
fn whoever_listens_nowhere_and_is_greeted_asks() {
    let greeted = |origin| {
        let begin = opened(9, 40_000, "10.0.0.9:3306", origin);
        let calls = [
            receive(SERVER, SOCKET, 10, 10),
            send(SERVER, SOCKET, 11),
            receive(SERVER, SOCKET, 40, 40),
        ];
        events([begin].into_iter().chain(calls))
    };
    let books = books_from(listening(&[]), greeted(Origin::Connected), 50);
    assert_eq!(books.requests, None);
    // A server greets before it is asked, too.
    let books = books_from(listening(&[]), greeted(Origin::Accepted), 50);
    assert_eq!(tally(&books).open, 1);
}

#[test]
fn a_server_that_speaks_first_on_a_new_port_is_no_client() {
    let events = events([
        opened(9, 2525, PEER, Origin::Accepted),
        send(SERVER, SOCKET, 10),
        receive(SERVER, SOCKET, 20, 20),
        send(SERVER, SOCKET, 25),
    ]);
    let tally = tally(&books(events, 30));
    assert_eq!((tally.count, tally.max_ns), (1, Some(5 * MS)));
}

#[test]
fn on_a_port_on_which_a_connection_was_accepted_the_others_ask_too() {
    // The kernel half had forgotten the second one before it was used.
    let events = events([
        opened(5, 8080, PEER, Origin::Accepted),
        Event::Socket(socket(9, CLIENT, 8080, OTHER)),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, CLIENT, 20),
    ]);
    assert_eq!(tally(&books(events, 30)).count, 1);
}

/// The target has not answered on a connection that ended unseen, and the next one is at its address from 50 on.
fn reused(next: Event) -> Vec<Event> {
    events([
        Event::Socket(socket(9, SOCKET, 80, PEER)),
        receive(SERVER, SOCKET, 10, 10),
        sleep(SERVER, 11, 49, EPOLL),
        next,
    ])
}

#[test]
fn a_socket_at_the_address_of_another_one_has_none_of_its_request() {
    let mut events = reused(opened(50, 80, OTHER, Origin::Accepted));
    events.extend([receive(SERVER, SOCKET, 51, 51), send(SERVER, SOCKET, 55)]);
    let books = books(events, 60);
    let tally = tally(&books);
    assert_eq!(
        (tally.count, tally.open, tally.max_ns),
        (1, 0, Some(4 * MS))
    );
    // The silence before belongs to no request.
    assert_eq!(threads(&books, Class::Idle), 38);
    assert_closed(&books);
}

#[test]
fn a_socket_at_the_address_of_another_one_has_none_of_its_role() {
    let mut events = reused(opened(50, 40_000, OTHER, Origin::Connected));
    events.extend([send(SERVER, SOCKET, 51), receive(SERVER, SOCKET, 55, 55)]);
    let books = books(events, 60);
    assert_eq!((tally(&books).count, tally(&books).open), (0, 0));
}

#[test]
fn a_connection_that_begins_with_the_ends_of_one_from_before_has_none_of_its_request() {
    let before = event::Unanswered {
        pid: SERVER,
        local: "10.0.0.1:80".to_owned(),
        remote: PEER.to_owned(),
        since_ns: at(0) - 5 * MS,
        ..event::Unanswered::default()
    };
    let begins = |next: Event| {
        let calls = [receive(SERVER, SOCKET, 20, 20), send(SERVER, SOCKET, 25)];
        let begin = [Event::Unanswered(before.clone()), next];
        tally(&books(events(begin.into_iter().chain(calls)), 30))
    };
    let found = begins(opened(10, 80, PEER, Origin::Accepted));
    assert_eq!((found.count, found.clipped, found.open), (1, 0, 0));
    // The same connection: more of it came before an answer.
    let found = begins(Event::Socket(socket(10, SOCKET, 80, PEER)));
    assert_eq!((found.count, found.clipped, found.open), (1, 0, 0));
}

#[test]
fn a_socket_that_is_seen_again_after_the_kernel_half_forgot_it_goes_on() {
    let mut events = reused(Event::Socket(socket(50, SOCKET, 80, PEER)));
    events.push(send(SERVER, SOCKET, 55));
    let tally = tally(&books(events, 60));
    assert_eq!((tally.count, tally.max_ns), (1, Some(45 * MS)));
}

#[test]
fn a_client_at_the_address_of_the_socket_on_which_the_target_asked_is_not_whom_it_asked() {
    let upstream = "10.0.0.9:5432";
    let asks = |next: Vec<Event>| {
        let mut events = events([
            opened(9, 40_000, upstream, Origin::Connected),
            receive(SERVER, CLIENT, 10, 10),
            send(SERVER, SOCKET, 11),
            sleep(SERVER, 12, 42, EPOLL),
            receive(SERVER, SOCKET, 42, 42),
        ]);
        events.extend(next);
        events.push(send(SERVER, CLIENT, 45));
        books(events, 50)
    };
    let books = asks(Vec::new());
    assert_eq!(requests(&books, Class::Upstream), 30);
    assert!(books.places.iter().any(|place| place == upstream));
    let closed = Event::Call(Call {
        flags: CALL_CLOSE,
        ..call(SERVER, SOCKET, 43)
    });
    let books = asks(vec![closed, opened(44, 80, PEER, Origin::Accepted)]);
    assert_eq!(requests(&books, Class::Upstream), 30);
    assert_eq!(books.places.len(), 0);
    assert_closed(&books);
}
