//! Readers of what the target sends over TCP, which answer nobody: while one does something else, all that send wait for what it does.

use super::{
    upstream::{
        ASK, ASKED, BACK, BEYOND, DEEP, FETCH, FETCHED, HERE, STORE, THERE, behind_tar, end, follow,
    },
    *,
};

const CLIENT: u64 = 9;
const OTHER: u64 = 4;
/// Another thread of the reader.
const POOL: u32 = 501;

fn on(tid: u32, socket: u64, ms: u64) -> Call {
    Call {
        flags: CALL_SEND,
        ifindex: 0,
        unacked_bytes: 0,
        ..call(tid, socket, ms)
    }
}

/// A request of a thread from 10 to 94. It sends to the reader, and there is no room from 12 to 92.
fn feeds(tid: u32, client: u64, socket: u64) -> Vec<Event> {
    vec![
        receive(tid, client, 10, 10),
        sleep(tid, 12, 92, SEND),
        Event::Call(on(tid, socket, 93)),
        Event::Call(on(tid, client, 94)),
    ]
}

/// Two threads of the server send on one connection. The reader takes something at 11 and at 91.
fn feed(does: Vec<Event>) -> Vec<Event> {
    let mut events: Vec<Event> = running(SERVER).into_iter().chain(running(WORKER)).collect();
    events.extend(follow(BACK, SERVER, 5432, 1));
    events.extend([
        end(SERVER, ASK, HERE, THERE, 2),
        end(BACK, ASKED, THERE, HERE, 2),
        of(BACK, receive(BACK, ASKED, 11, 11)),
    ]);
    events.extend(does);
    events.push(of(BACK, receive(BACK, ASKED, 91, 90)));
    events.extend(feeds(SERVER, CLIENT, ASK));
    events.extend(feeds(WORKER, OTHER, ASK));
    events.sort_by_key(Event::ns);
    events
}

/// The reader reads a disk behind tar for each line.
fn reader_behind_tar() -> Vec<Event> {
    feed(behind_tar())
}

fn closed(events: Vec<Event>) -> Books {
    let books = books(events, 120);
    assert_closed(&books);
    books
}

/// What requests waited for whoever is asked at an address, ms.
fn at_its_address(books: &Books) -> u64 {
    charged(books, Resource::Upstream, Holder::Peer)
}

#[test]
fn all_that_send_wait_for_the_disk_for_which_one_waits_that_answers_nobody() {
    let books = closed(reader_behind_tar());
    assert_eq!(requests(&books, Class::Disk), 2 * 69);
    assert_eq!(threads(&books, Class::Disk), 2 * 69);
    assert_eq!(requests(&books, Class::Upstream), 2 * 11);
    assert_eq!(requests(&books, Class::Network), 0);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((132..=136).contains(&theirs), "{theirs}");
    // While it runs it is waited for itself.
    let itself = charged(&books, Resource::Upstream, holder(&books, BACK));
    assert_eq!((itself, at_its_address(&books)), (22, 0));
}

#[test]
fn a_reader_that_has_nothing_left_to_take_is_not_named_and_its_address_is() {
    let books = closed(feed(vec![of(BACK, sleep(BACK, 20, 89, EPOLL))]));
    assert_eq!(requests(&books, Class::Upstream), 160);
    let itself = charged(&books, Resource::Upstream, holder(&books, BACK));
    assert_eq!((itself, at_its_address(&books)), (22, 2 * 69));
}

/// An event of the reader's other thread.
fn pool(event: Event) -> Event {
    match event {
        Event::Wait(wait) => Event::Wait(Wait { pid: BACK, ..wait }),
        Event::Call(call) => Event::Call(Call { pid: BACK, ..call }),
        other => other,
    }
}

#[test]
fn a_loop_that_reads_no_more_until_its_pool_is_through_waits_for_what_the_pool_waits_for() {
    let books = closed(feed(vec![
        pool(Event::Wait(first(POOL, 2, 0))),
        pool(until(BACK, sleep(POOL, 3, 13, EPOLL))),
        pool(sleep(POOL, 20, 89, MUTEX)),
        of(BACK, until_thread((BACK, POOL), sleep(BACK, 15, 90, EPOLL))),
    ]));
    assert_eq!(requests(&books, Class::Lock), 2 * 69);
    assert_eq!(requests(&books, Class::Disk), 0);
    assert_eq!(at_its_address(&books), 0);
}

#[test]
fn of_several_connections_the_thread_counts_that_receives_on_this_one() {
    let (second, local) = (3, "127.0.0.1:40002");
    let books = closed(feed(vec![
        pool(Event::Wait(first(POOL, 2, 0))),
        end(BACK, second, THERE, local, 3),
        pool(receive(POOL, second, 4, 4)),
        pool(sleep(POOL, 20, 89, PAGE)),
        of(BACK, sleep(BACK, 20, 89, MUTEX)),
    ]));
    assert_eq!(requests(&books, Class::Lock), 2 * 69);
    assert_eq!(requests(&books, Class::Disk), 0);
}

#[test]
fn who_sends_on_what_it_receives_waits_for_the_next_one_and_so_do_all_before_it() {
    let mut does = follow(STORE, BACK, 9000, 3);
    does.extend([
        end(BACK, FETCH, BEYOND, DEEP, 4),
        end(STORE, FETCHED, DEEP, BEYOND, 4),
        of(STORE, receive(STORE, FETCHED, 14, 13)),
        of(BACK, sleep(BACK, 15, 85, SEND)),
        of(STORE, sleep(STORE, 20, 80, MUTEX)),
        of(STORE, receive(STORE, FETCHED, 84, 84)),
        of(BACK, Event::Call(on(BACK, FETCH, 86))),
    ]);
    let books = closed(feed(does));
    assert_eq!(requests(&books, Class::Lock), 2 * 60);
    assert_eq!(requests(&books, Class::Network), 0);
}

#[test]
fn a_reader_in_a_send_that_has_not_returned_may_wait_for_its_own_reader_and_is_no_network() {
    let mut events = feed(vec![
        end(BACK, FETCH, BEYOND, DEEP, 4),
        of(BACK, sleep(BACK, 15, 85, SEND)),
    ]);
    // It takes nothing more.
    events.retain(
        |event| !matches!(event, Event::Call(call) if call.pid == BACK && call.ns == at(91)),
    );
    let books = closed(events);
    assert_eq!(requests(&books, Class::Network), 0);
    assert_eq!(at_its_address(&books), 2 * 70);
}

#[test]
fn who_has_had_no_room_since_before_the_window_waits_for_what_the_reader_hangs_in() {
    let seen = event::WriteSeen {
        ns: at(0),
        known_ns: at(1),
        pid: SERVER,
        tid: SERVER,
        readers: Vec::new(),
        keepers: Vec::new(),
        place: THERE.to_owned(),
    };
    let follow = event::Follow {
        ns: at(100),
        pid: BACK,
        by_pid: SERVER,
        listening: vec![5432],
    };
    let books = books(
        [
            seed(SERVER, 'S', "sk_stream_wait_memory"),
            Event::WriteSeen(seen),
            Event::Follow(follow),
            of(BACK, seed(BACK, 'D', "io_schedule")),
        ],
        700,
    );
    // What it did before it was followed is not known.
    assert_eq!(threads(&books, Class::Disk), 600);
    assert_eq!(at_its_address(&books), 100);
    assert_closed(&books);
}
