//! A server with a thread for each Unix stream, and clients that have waited on these since before the window.

use super::*;
use crate::event::{Deaf, UnheardConnection};

/// A stream.
const STREAM: u64 = 9;

/// So many clients, each a process with one stream.
const CLIENTS: u32 = 4;

/// The thread that serves a client.
fn worker(index: u32) -> u32 {
    300 + index
}

fn client(index: u32) -> u32 {
    700 + index
}

/// The server at attach: one thread accepts, and the others sleep for a futex.
fn server() -> Vec<Event> {
    let accepts = seed(SERVER, 'S', "inet_csk_accept");
    let workers = (0..CLIENTS).map(|index| seed(worker(index), 'S', "futex_do_wait"));
    [accepts].into_iter().chain(workers).collect()
}

/// A client sleeps until something comes on its stream.
fn awaited(index: u32) -> Event {
    Event::Unanswered(event::Unanswered {
        pid: SERVER,
        remote: client(index).to_string(),
        ..event::Unanswered::default()
    })
}

/// Nobody hears the streams of these clients at `ms`.
fn unheard(ms: u64, last: bool, clients: impl Iterator<Item = u32>) -> Event {
    let connections = clients.map(|index| UnheardConnection {
        remote: client(index).to_string(),
        ..UnheardConnection::default()
    });
    let threads = (0..CLIENTS).map(|index| Deaf {
        tid: worker(index),
        own: true,
        function: "futex_do_wait".to_owned(),
        asks: None,
    });
    Event::Unheard(event::Unheard {
        ns: at(ms),
        pid: SERVER,
        last,
        connections: connections.collect(),
        threads: threads.collect(),
    })
}

/// The same for all of them as the window begins, and the clients that wait.
fn hung() -> Vec<Event> {
    let mut events = server();
    events.extend((0..CLIENTS).map(awaited));
    events.push(unheard(1, false, 0..CLIENTS));
    events
}

/// The last client's stream is used for the first time.
fn named() -> Event {
    Event::Client(event::Client {
        ns: at(99),
        socket: STREAM,
        pid: SERVER,
        client_pid: client(CLIENTS - 1),
    })
}

#[test]
fn clients_that_wait_on_streams_that_nobody_hears_are_owed_an_answer_since_before_the_window() {
    let last = unheard(700, true, 0..CLIENTS);
    let books = books(hung().into_iter().chain([last]), 700);
    let found = tally(&books);
    assert_eq!((found.count, found.open), (0, CLIENTS.into()));
    assert_eq!(found.oldest_open_ns.map(|ns| ns / MS), Some(700));
    let all = u64::from(CLIENTS) * 700;
    assert_eq!(requests(&books, Class::Lock), all);
    assert_eq!(threads(&books, Class::Lock), all);
    assert_eq!(charged(&books, Resource::Lock, Holder::OwnLock), all);
    assert_closed(&books);
}

#[test]
fn a_stream_that_nobody_hears_and_on_which_nobody_waits_has_no_request() {
    let looks = [(1, false), (700, true)].map(|(ms, last)| unheard(ms, last, 0..CLIENTS));
    let nobody_waits = books(server().into_iter().chain(looks), 700);
    assert_eq!(nobody_waits.requests, None);
    assert_eq!(threads(&nobody_waits, Class::Lock), 0);
}

#[test]
fn a_client_that_waits_on_a_stream_that_is_heard_has_no_request() {
    let heard = server().into_iter().chain((0..CLIENTS).map(awaited));
    assert_eq!(books(heard, 700).requests, None);
    // They are heard again at the end.
    assert_eq!(books(hung(), 700).requests, None);
}

#[test]
fn an_answer_in_the_window_ends_the_request_of_its_client_alone() {
    let waits = CLIENTS - 1;
    let answers = [
        named(),
        Event::Wait(first(worker(waits), 100, 0)),
        send(worker(waits), STREAM, 100),
        unheard(700, true, 0..waits),
    ];
    let books = books(hung().into_iter().chain(answers), 700);
    let found = tally(&books);
    assert_eq!((found.count, found.clipped), (1, 1));
    assert_eq!(found.open, u64::from(waits));
    let waited = 100 + u64::from(waits) * 700;
    assert_eq!(requests(&books, Class::Lock), waited);
    assert_closed(&books);
}

#[test]
fn more_bytes_of_a_client_show_that_it_waited_for_no_answer() {
    let waits = CLIENTS - 1;
    let asks = [
        named(),
        Event::Wait(first(worker(waits), 99, 0)),
        receive(worker(waits), STREAM, 100, 99),
        send(worker(waits), STREAM, 110),
    ];
    let found = tally(&books(hung().into_iter().chain(asks), 700));
    assert_eq!((found.count, found.clipped, found.open), (1, 0, 0));
}
