//! Connections that nobody hears: a server of several threads that hangs, and those that only wait for their clients.

use std::collections::BTreeMap;

use super::*;
use crate::event::{Deaf, UnheardConnection};

const CLIENT: u64 = 9;
const HERE: &str = "10.0.0.1:80";
const OWN_PORT: &str = "10.0.0.1:33000";
const UPSTREAM: &str = "10.0.0.1:9000";
/// A stack.
const FUTEX: u64 = 9;

/// So many threads of the pool, each with a client.
const POOL: u32 = 8;

fn worker(index: u32) -> u32 {
    300 + index
}

/// Address of a client.
fn there(index: u32) -> String {
    format!("10.0.0.2:{}", 4000 + index)
}

/// A client of the pool asked `ago` ms before the window.
fn asked(index: u32, ago: u64) -> Event {
    Event::Unanswered(event::Unanswered {
        pid: SERVER,
        local: HERE.to_owned(),
        remote: there(index),
        asks: false,
        since_ns: T0 - ago * MS,
    })
}

fn connection(index: u32) -> UnheardConnection {
    UnheardConnection {
        local: HERE.to_owned(),
        remote: there(index),
        since_ns: T0 - 600 * MS,
        unread: false,
        registered: false,
    }
}

fn deaf(tid: u32) -> Deaf {
    Deaf {
        tid,
        own: true,
        function: "futex_do_wait".to_owned(),
        asks: None,
    }
}

/// Nobody hears these connections at `ms`.
fn unheard(ms: u64, last: bool, connections: &[UnheardConnection], threads: &[Deaf]) -> Event {
    Event::Unheard(event::Unheard {
        ns: at(ms),
        pid: SERVER,
        last,
        connections: connections.to_vec(),
        threads: threads.to_vec(),
    })
}

/// Neither at attach, nor at the end at `ms`.
fn never_heard(ms: u64, connections: &[UnheardConnection], threads: &[Deaf]) -> [Event; 2] {
    [(1, false), (ms, true)].map(|(ms, last)| unheard(ms, last, connections, threads))
}

/// The connection of a client of the pool gets its name.
fn named(index: u32) -> Event {
    Event::Socket(event::Socket {
        ns: at(1),
        socket: CLIENT,
        pid: SERVER,
        local: HERE.to_owned(),
        local_port: 80,
        remote: there(index),
    })
}

/// A server at attach: one thread accepts, and those of the pool sleep for a futex. Each client has asked.
fn pool() -> Vec<Event> {
    let accepts = seed(SERVER, 'S', "inet_csk_accept");
    let workers = (0..POOL).map(|index| seed(worker(index), 'S', "futex_do_wait"));
    let asked = (0..POOL).map(|index| asked(index, 600 + u64::from(index)));
    [accepts].into_iter().chain(workers).chain(asked).collect()
}

fn connections() -> Vec<UnheardConnection> {
    (0..POOL).map(connection).collect()
}

fn workers() -> Vec<Deaf> {
    (0..POOL).map(|index| deaf(worker(index))).collect()
}

/// The pool hangs for as long as it is looked at.
pub(crate) fn hung_pool() -> Books {
    let hung = never_heard(700, &connections(), &workers());
    books(pool().into_iter().chain(hung), 700)
}

#[test]
fn a_pool_that_hangs_since_before_the_window_waits_for_locks_of_its_own() {
    let books = hung_pool();
    let found = tally(&books);
    assert_eq!((found.count, found.open), (0, POOL.into()));
    assert_eq!(found.oldest_open_ns, Some(1307 * MS));
    let all = u64::from(POOL) * 700;
    assert_eq!(requests(&books, Class::Lock), all);
    assert_eq!(threads(&books, Class::Lock), all);
    assert_eq!(charged(&books, Resource::Lock, Holder::OwnLock), all);
    let asleep_in = BTreeMap::from([("futex_do_wait".to_owned(), POOL.into())]);
    assert_eq!(found.asleep_in, asleep_in);
    assert_closed(&books);
}

#[test]
fn threads_whose_sleep_a_timer_may_end_wait_for_something_unknown_and_are_not_idle() {
    let timed = workers().into_iter().map(|thread| Deaf {
        own: false,
        ..thread
    });
    let hung = never_heard(700, &connections(), &Vec::from_iter(timed));
    let books = books(pool().into_iter().chain(hung), 700);
    assert_eq!(tally(&books).open, u64::from(POOL));
    assert_eq!(requests(&books, Class::Other), u64::from(POOL) * 700);
    assert_closed(&books);
}

#[test]
fn more_clients_than_threads_wait_for_the_same_threads() {
    let hung = never_heard(700, &connections(), &[deaf(worker(0))]);
    let books = books(pool().into_iter().chain(hung), 700);
    assert_eq!(tally(&books).open, u64::from(POOL));
    assert_eq!(requests(&books, Class::Lock), u64::from(POOL) * 700);
    assert_eq!(threads(&books, Class::Lock), 700);
    assert_closed(&books);
}

#[test]
fn a_thread_that_is_blocked_owes_an_answer_rather_than_a_pool_that_may_be_idle() {
    let reads = seed(WORKER, 'D', "io_schedule");
    let hung = never_heard(
        700,
        &[connection(0)],
        &[
            deaf(worker(0)),
            Deaf {
                own: false,
                ..deaf(WORKER)
            },
        ],
    );
    let books = books(pool().into_iter().chain([reads]).chain(hung), 700);
    assert_eq!(tally(&books).open, 1);
    assert_eq!(requests(&books, Class::Disk), 700);
    assert_eq!(threads(&books, Class::Lock), 0);
    assert_closed(&books);
}

#[test]
fn what_a_client_said_last_is_no_request_where_a_thread_hears_it() {
    assert_eq!(books(pool(), 700).requests, None);
}

#[test]
fn a_connection_that_is_heard_again_at_the_end_has_no_request() {
    let quiet = unheard(1, false, &connections(), &workers());
    let books = books(pool().into_iter().chain([quiet]), 700);
    assert_eq!(books.requests, None);
    assert_eq!(threads(&books, Class::Lock), 0);
    assert_closed(&books);
}

#[test]
fn a_loop_that_serves_others_comes_back_to_what_is_in_its_set() {
    let registered = UnheardConnection {
        registered: true,
        ..connection(0)
    };
    let scene = |serves: Vec<Event>| {
        let hung = never_heard(700, std::slice::from_ref(&registered), &[deaf(worker(0))]);
        books(pool().into_iter().chain(serves).chain(hung), 700)
    };
    let serves = vec![
        named(1),
        receive(SERVER, CLIENT, 100, 99),
        send(SERVER, CLIENT, 110),
    ];
    let loops = scene(serves);
    assert_eq!((tally(&loops).count, tally(&loops).open), (1, 0));
    // All of it hangs.
    assert_eq!(tally(&scene(Vec::new())).open, 1);
}

#[test]
fn a_process_that_hears_only_its_fellows_waits_for_a_lock_of_theirs() {
    let latch = Deaf {
        function: "do_epoll_wait".to_owned(),
        ..deaf(SERVER)
    };
    let backend = seed(SERVER, 'S', "ep_poll");
    // The question may have come in the same tick as the answer before it.
    for asked in [Some(asked(0, 600)), None] {
        let hung = never_heard(700, &[connection(0)], std::slice::from_ref(&latch));
        let begin = [backend.clone()].into_iter().chain(asked);
        let books = books(begin.chain(hung), 700);
        assert_eq!(requests(&books, Class::Lock), 700);
        assert_eq!(
            (tally(&books).open, tally(&books).oldest_open_ns),
            (1, Some(1300 * MS))
        );
    }
    let another = seed(WORKER, 'S', "inet_csk_accept");
    let hung = never_heard(700, &[connection(0)], &[latch]);
    let books = books([backend, another].into_iter().chain(hung), 700);
    assert_eq!(books.requests, None);
}

#[test]
fn an_answer_in_the_window_ends_a_request_that_nobody_heard() {
    let wakes = [
        unheard(1, false, &connections(), &workers()),
        named(3),
        Event::Wait(first(worker(3), 100, 0)),
        send(worker(3), CLIENT, 100),
    ];
    let books = books(pool().into_iter().chain(wakes), 700);
    let found = tally(&books);
    assert_eq!((found.count, found.clipped, found.open), (1, 1, 0));
    assert_eq!(requests(&books, Class::Lock), 100);
    assert_closed(&books);
}

/// A thread of the pool hangs with a request from `ago` ms before the window, and answers at 100.
fn answers_after(ago: u64, seen: &[UnheardConnection]) -> Books {
    let accepts = seed(SERVER, 'S', "inet_csk_accept");
    let hangs = seed(worker(3), 'S', "futex_do_wait");
    let wakes = [
        asked(3, ago),
        unheard(1, false, seen, &workers()),
        named(3),
        Event::Wait(first(worker(3), 100, 0)),
        send(worker(3), CLIENT, 100),
    ];
    books([accepts, hangs].into_iter().chain(wakes), 700)
}

#[test]
fn an_answer_to_what_nobody_heard_for_long_took_as_long_as_that_and_the_window_has_its_part() {
    let long = answers_after(2000, &connections());
    let found = tally(&long);
    assert_eq!((found.count, found.clipped), (1, 0));
    assert_eq!(
        (found.p50_ns, found.p99_ns),
        (Some(2100 * MS), Some(2100 * MS))
    );
    assert_eq!((found.sum_ns, found.before_ns), (2100 * MS, 2000 * MS));
    assert_eq!(requests(&long, Class::Lock), 100);
    assert_closed(&long);
    // The ticks of the kernel are too coarse for it.
    let short = answers_after(600, &connections());
    assert_eq!((tally(&short).clipped, tally(&short).p50_ns), (1, None));
    assert_eq!(tally(&short).before_ns, 0);
}

#[test]
fn what_is_sent_long_after_the_last_bytes_on_a_connection_that_is_heard_may_be_no_answer() {
    let heard = answers_after(2000, &[]);
    assert_eq!(tally(&heard).p50_ns, None);
}

#[test]
fn more_bytes_of_the_client_begin_a_request_of_their_own() {
    let wakes = [
        unheard(1, false, &connections(), &workers()),
        named(3),
        Event::Wait(first(worker(3), 99, 0)),
        receive(worker(3), CLIENT, 100, 99),
        send(worker(3), CLIENT, 110),
    ];
    let books = books(pool().into_iter().chain(wakes), 700);
    let found = tally(&books);
    assert_eq!((found.count, found.clipped, found.open), (1, 0, 0));
}

/// A thread receives a request at 10.
fn receives() -> Vec<Event> {
    let futex = stack(FUTEX, &["schedule", "futex_do_wait", "do_futex"]);
    let begin = running(WORKER).into_iter().chain([futex, named(0)]);
    begin.chain([receive(WORKER, CLIENT, 10, 10)]).collect()
}

#[test]
fn an_old_request_on_a_connection_that_nobody_hears_is_no_long_poll() {
    let scene = |last: Option<Event>| {
        let sleeps = [still(WORKER, 12, 7000, FUTEX)];
        books(receives().into_iter().chain(sleeps).chain(last), 7000)
    };
    assert_eq!(tally(&scene(None)).open, 0);
    let last = unheard(7000, true, &[connection(0)], &[deaf(WORKER)]);
    let books = scene(Some(last));
    assert_eq!(
        (tally(&books).open, tally(&books).oldest_open_ns),
        (1, Some(6990 * MS))
    );
    assert_eq!(requests(&books, Class::Lock), 6988);
    assert_eq!(charged(&books, Resource::Lock, Holder::OwnLock), 6988);
    assert_closed(&books);
}

#[test]
fn a_request_that_nobody_heard_for_long_and_that_is_answered_in_the_end_is_no_long_poll() {
    let scene = |seen: Option<Event>| {
        let answers = [sleep(WORKER, 12, 8000, FUTEX), send(WORKER, CLIENT, 8010)];
        books(receives().into_iter().chain(seen).chain(answers), 8100)
    };
    assert_eq!(tally(&scene(None)).count, 0);
    let seen = unheard(3000, false, &[connection(0)], &[deaf(WORKER)]);
    let books = scene(Some(seen));
    assert_eq!((tally(&books).count, tally(&books).open), (1, 0));
    assert_eq!(requests(&books, Class::Lock), 7988);
    assert_closed(&books);
}

#[test]
fn a_web_socket_that_was_answered_is_not_owed_again() {
    let pushes = [
        send(WORKER, CLIENT, 11),
        still(WORKER, 12, 7000, FUTEX),
        unheard(7000, true, &[connection(0)], &[deaf(WORKER)]),
    ];
    let books = books(receives().into_iter().chain(pushes), 7000);
    assert_eq!((tally(&books).count, tally(&books).open), (1, 0));
    assert_eq!(requests(&books, Class::Lock), 0);
}

/// Nobody hears the Unix streams that the server accepted.
fn streams() -> UnheardConnection {
    UnheardConnection {
        registered: true,
        ..UnheardConnection::default()
    }
}

/// A client connected on a Unix stream.
fn connected() -> Event {
    Event::Client(event::Client {
        ns: at(1),
        socket: CLIENT,
        pid: SERVER,
        client_pid: TAR,
    })
}

#[test]
fn an_old_request_on_a_unix_stream_that_nobody_hears_is_no_long_poll() {
    let latch = stack(FUTEX, &["schedule", "ep_poll", "do_epoll_wait"]);
    let begin = running(SERVER).into_iter().chain([latch, connected()]);
    let hangs = [
        receive(SERVER, CLIENT, 10, 10),
        still(SERVER, 12, 7000, FUTEX),
        unheard(7000, true, &[streams()], &[deaf(SERVER)]),
    ];
    let books = books(begin.chain(hangs), 7000);
    assert_eq!(
        (tally(&books).open, tally(&books).oldest_open_ns),
        (1, Some(6990 * MS))
    );
    assert_eq!(requests(&books, Class::Lock), 6988);
    assert_closed(&books);
}

#[test]
fn of_several_clients_on_unix_streams_those_whose_streams_nobody_hears_are_owed_an_answer() {
    let unheard_of = |pid: u32| {
        let of = UnheardConnection {
            remote: pid.to_string(),
            registered: false,
            ..streams()
        };
        let begin = running(SERVER).into_iter().chain([connected()]);
        let hangs = [
            receive(SERVER, CLIENT, 10, 10),
            still(SERVER, 12, 7000, EPOLL),
            unheard(7000, true, &[of], &[deaf(SERVER)]),
        ];
        books(begin.chain(hangs), 7000)
    };
    assert_eq!(tally(&unheard_of(TAR)).open, 1);
    assert_eq!(tally(&unheard_of(RSYNC)).open, 0);
}

#[test]
fn a_process_that_waits_for_its_fellows_since_before_attach_owes_an_answer_on_its_stream() {
    let backend = || [seed(SERVER, 'S', "ep_poll")].into_iter();
    let hung = || never_heard(700, &[streams()], &[deaf(SERVER)]);
    let hangs = books(backend().chain(hung()), 700);
    assert_eq!(
        (tally(&hangs).open, requests(&hangs, Class::Lock)),
        (1, 700)
    );
    assert_closed(&hangs);
    // It gets the lock, answers, and waits for the next request.
    let [attach, _] = hung();
    let goes_on = [
        attach,
        Event::Wait(first(SERVER, 100, 0)),
        connected(),
        send(SERVER, CLIENT, 110),
        still(SERVER, 120, 700, EPOLL),
    ];
    let goes_on = books(backend().chain(goes_on), 700);
    let found = tally(&goes_on);
    assert_eq!((found.count, found.clipped, found.open), (1, 1, 0));
    assert_eq!(requests(&goes_on, Class::Lock), 100);
    assert_closed(&goes_on);
}

#[test]
fn the_stream_of_another_client_is_not_the_one_on_which_an_answer_is_owed() {
    let owed = UnheardConnection {
        remote: RSYNC.to_string(),
        registered: false,
        ..streams()
    };
    let [attach, last] = never_heard(700, &[owed], &[deaf(SERVER)]);
    let events = [
        seed(SERVER, 'S', "ep_poll"),
        attach,
        Event::Wait(first(SERVER, 100, 0)),
        connected(),
        receive(SERVER, CLIENT, 105, 105),
        send(SERVER, CLIENT, 110),
        still(SERVER, 120, 700, EPOLL),
        last,
    ];
    let found = tally(&books(events, 700));
    assert_eq!((found.count, found.clipped, found.open), (1, 0, 1));
}

#[test]
fn a_thread_that_listens_to_whom_the_process_asks_waits_for_that_answer() {
    let asks = Event::Unanswered(event::Unanswered {
        pid: SERVER,
        local: OWN_PORT.to_owned(),
        remote: UPSTREAM.to_owned(),
        asks: true,
        since_ns: T0 - 590 * MS,
    });
    let listens = Deaf {
        own: false,
        asks: Some((OWN_PORT.to_owned(), UPSTREAM.to_owned())),
        ..deaf(worker(0))
    };
    let hung = never_heard(700, &[connection(0)], &[listens, deaf(worker(1))]);
    let books = books(pool().into_iter().chain([asks]).chain(hung), 700);
    assert_eq!(tally(&books).open, 1);
    assert_eq!(requests(&books, Class::Upstream), 700);
    assert_closed(&books);
}

#[test]
fn a_request_that_nobody_reads_is_open_though_the_threads_only_wait_for_work() {
    let open = event::OpenSocket {
        pid: SERVER,
        local: HERE.to_owned(),
        local_port: 80,
        remote: there(20),
        unread_bytes: 5,
    };
    let unread = UnheardConnection {
        unread: true,
        ..connection(20)
    };
    let scene = |hung: Vec<Event>| {
        let open = [Event::OpenSocket(open.clone())];
        books(pool().into_iter().chain(open).chain(hung), 700)
    };
    assert_eq!(scene(Vec::new()).requests, None);
    let found = scene(never_heard(700, &[unread], &workers()).to_vec());
    assert_eq!(
        (tally(&found).open, tally(&found).oldest_open_ns),
        (1, Some(1300 * MS))
    );
    assert_eq!(requests(&found, Class::Lock), 700);
}
