//! Databases: sessions that wait for each other's locks, and those that wait for nobody.

use super::{clients::*, *};
use crate::{
    event::{Deaf, UnheardConnection},
    model::books::{Client, Session},
};

/// Processes of the server, one a session. The first has the lock.
const HOLDER: u32 = 130;
const FIRST: u32 = 131;
const SECOND: u32 = 132;
/// So much higher is the number of a session's client.
const CLIENTS: u32 = 570;
/// A stack.
const FUTEX: u64 = 30;

/// A session's connection.
fn stream(pid: u32) -> u64 {
    pid.into()
}

fn connected(pid: u32) -> Event {
    Event::Client(event::Client {
        ns: at(1),
        socket: stream(pid),
        pid,
        client_pid: pid + CLIENTS,
    })
}

fn clients() -> impl Iterator<Item = Event> {
    let all = [HOLDER, FIRST, SECOND].into_iter();
    all.map(|pid| client(pid + CLIENTS, "psql", 0))
}

/// A session that begins with the window, and runs.
fn session(pid: u32) -> [Event; 3] {
    let fork = event::Fork {
        ns: at(0),
        pid,
        tid: pid,
        parent_pid: SERVER,
        target: true,
        start_ns: u64::from(pid),
        comm: "postgres".to_owned(),
        ..event::Fork::default()
    };
    let runs = Wait {
        pid,
        ..first(pid, 0, 0)
    };
    [Event::Fork(fork), Event::Wait(runs), connected(pid)]
}

/// A session that was there before the window, and has slept since.
fn sleeping(pid: u32) -> [Event; 2] {
    let process = event::Process {
        target: true,
        ..process(pid, "postgres")
    };
    let thread = event::Thread {
        pid,
        tid: pid,
        state: 'S',
        stack: vec!["schedule".to_owned(), "ep_poll".to_owned()],
    };
    [Event::Process(process), Event::Thread(thread)]
}

fn asks(pid: u32, ms: u64) -> Event {
    Event::Call(Call {
        pid,
        arrived_ns: at(ms),
        ..call(pid, stream(pid), ms)
    })
}

fn answers(pid: u32, ms: u64) -> Event {
    Event::Call(Call {
        pid,
        flags: CALL_SEND,
        ..call(pid, stream(pid), ms)
    })
}

/// It sleeps on its latch until a timer ends that.
fn timed(pid: u32, off: u64, on: u64) -> Wait {
    Wait {
        pid,
        ..asleep(pid, off, on, 0, EPOLL)
    }
}

/// The same until another process ends it.
fn woken(pid: u32, off: u64, on: u64, by: u32) -> Event {
    Event::Wait(Wait {
        waker_pid: by,
        waker_tid: by,
        waking_ns: at(on),
        flags: WAIT_TASK_WAKER,
        ..timed(pid, off, on)
    })
}

/// The session that has the lock was given it at 6, and its client lets it go at `ms`.
fn holds_until(ms: u64) -> Vec<Event> {
    vec![
        asks(HOLDER, 5),
        answers(HOLDER, 6),
        woken(HOLDER, 7, ms, HOLDER + CLIENTS),
        asks(HOLDER, ms),
        answers(HOLDER, ms + 3),
    ]
}

/// Nobody but its fellows can wake a session, and nobody hears its client.
fn unheard(pid: u32, ms: u64, last: bool) -> Event {
    Event::Unheard(event::Unheard {
        ns: at(ms),
        pid,
        last,
        connections: vec![UnheardConnection {
            remote: (pid + CLIENTS).to_string(),
            registered: true,
            ..UnheardConnection::default()
        }],
        threads: vec![Deaf {
            tid: pid,
            own: true,
            function: "do_epoll_wait".to_owned(),
            asks: None,
        }],
    })
}

fn titled(pid: u32, title: &str) -> Event {
    Event::Named(event::Named {
        ns: at(1),
        pid,
        tid: 0,
        comm: String::new(),
        cmdline: title.to_owned(),
    })
}

fn books_of(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let mut events: Vec<Event> = events.into_iter().collect();
    events.sort_by_key(Event::ns);
    let futex = stack(FUTEX, &["schedule", "futex_do_wait", "do_futex"]);
    let before = clients().chain([futex, seed(SERVER, 'S', "ep_poll")]);
    let books = books(before.chain(events), end_ms);
    assert_closed(&books);
    books
}

/// Time for which a thread had the lock that others waited for, ms, and for which clients.
fn had(books: &Books, tid: u32) -> (u64, Vec<Option<Client>>) {
    let of = books.own.iter().filter(|own| own.part.tid == tid);
    let of = of.filter(|own| own.resource == Resource::Lock);
    let ns: u64 = of.clone().map(|own| own.ns).sum();
    (ns / MS, of.map(|own| own.part.client).collect())
}

fn client_of(books: &Books, pid: u32) -> Vec<Option<Client>> {
    let Holder::Process(id) = holder(books, pid + CLIENTS) else {
        unreachable!("it is no part of the target");
    };
    vec![Some(Client::Process(id))]
}

/// What the one that lets a lock go does at the end is no wait for it.
fn near(found: u64, expected: u64) {
    let most = 5 + expected / 100;
    assert!(
        found.abs_diff(expected) <= most,
        "{found} is not {expected}"
    );
}

#[test]
fn who_wakes_for_a_moment_while_it_waits_for_a_lock_waits_for_who_lets_it_go_all_the_time() {
    // After a second a session looks for a deadlock.
    let waits = |look: Option<Event>| {
        let waits = [
            asks(FIRST, 10),
            Event::Wait(timed(FIRST, 12, 1012)),
            woken(FIRST, 1013, 2001, HOLDER),
            answers(FIRST, 2005),
        ];
        let sessions = session(HOLDER).into_iter().chain(session(FIRST));
        let events = sessions.chain(holds_until(2000)).chain(waits).chain(look);
        books_of(events, 2005)
    };
    let books = waits(Some(unheard(FIRST, 1100, false)));
    near(requests(&books, Class::Lock), 1988);
    assert_eq!(requests(&books, Class::Other), 0);
    let (ms, clients) = had(&books, HOLDER);
    near(ms, 1988);
    assert_eq!(clients, client_of(&books, HOLDER));
    // Without a look the first sleep may be one for anything.
    let books = waits(None);
    near(requests(&books, Class::Lock), 988);
    near(requests(&books, Class::Other), 1000);
}

#[test]
fn who_waits_behind_one_that_waits_itself_waits_for_the_first_of_them_all() {
    let waits = [
        asks(FIRST, 10),
        woken(FIRST, 12, 1001, HOLDER),
        answers(FIRST, 1009),
        asks(SECOND, 20),
        woken(SECOND, 22, 1008, FIRST),
        answers(SECOND, 1015),
    ];
    let sessions = [HOLDER, FIRST, SECOND].into_iter().flat_map(session);
    let books = books_of(sessions.chain(holds_until(1000)).chain(waits), 1015);
    let (ms, clients) = had(&books, HOLDER);
    near(ms, 988 + 978);
    assert_eq!(clients, client_of(&books, HOLDER));
    assert_eq!(had(&books, FIRST).0, 0);
}

#[test]
fn a_wait_from_before_the_window_is_for_who_lets_go_in_it() {
    let released = Wait {
        pid: FIRST,
        waker_pid: HOLDER,
        waker_tid: HOLDER,
        waking_ns: at(500),
        ..first(FIRST, 500, 0)
    };
    let scene = |flags: u32| {
        let holder = Wait {
            pid: HOLDER,
            ..first(HOLDER, 498, 0)
        };
        let events = [
            unheard(FIRST, 1, false),
            connected(HOLDER),
            Event::Wait(holder),
            asks(HOLDER, 499),
            Event::Wait(Wait {
                flags: released.flags | flags,
                ..released.clone()
            }),
            answers(HOLDER, 503),
            connected(FIRST),
            answers(FIRST, 505),
        ];
        let sessions = sleeping(HOLDER).into_iter().chain(sleeping(FIRST));
        books_of(sessions.chain(events), 505)
    };
    let books = scene(WAIT_TASK_WAKER);
    near(requests(&books, Class::Lock), 498);
    near(had(&books, HOLDER).0, 498);
    // As before, and in old recordings: the waker is not known.
    for flags in [0, WAIT_NO_WAKER] {
        let books = scene(flags);
        assert_eq!(requests(&books, Class::Lock), 500);
        assert_eq!(had(&books, HOLDER).0, 0);
    }
}

#[test]
fn a_lock_that_is_held_all_the_time_is_the_targets_own_and_the_client_of_who_may_have_it_is_known()
{
    let waits = [FIRST, SECOND].into_iter().flat_map(|pid| {
        let title = titled(pid, "postgres: al shop [local] INSERT waiting");
        [unheard(pid, 1, false), unheard(pid, 700, true), title]
    });
    let client = Event::SoleClient(event::SoleClient {
        ns: at(1),
        pid: HOLDER,
        client_pid: HOLDER + CLIENTS,
    });
    let holds = titled(HOLDER, "postgres: al shop [local] idle in transaction");
    let sessions = [HOLDER, FIRST, SECOND].into_iter().flat_map(sleeping);
    let books = books_of(sessions.chain([client, holds]).chain(waits), 700);
    assert_eq!(
        (tally(&books).open, requests(&books, Class::Lock)),
        (2, 1400)
    );
    assert_eq!(charged(&books, Resource::Lock, Holder::OwnLock), 1400);
    let Holder::Process(psql) = holder(&books, HOLDER + CLIENTS) else {
        unreachable!("it is no part of the target");
    };
    assert_eq!(books.workers[&psql], [HOLDER]);
    let of = |pid: u32| books.processes.iter().find(|process| process.pid == pid);
    let session = Session::of(&of(FIRST).unwrap().cmdline).unwrap();
    assert!(session.waits() && of(FIRST).unwrap().titled);
}

#[test]
fn a_transaction_that_idles_and_a_session_that_listens_hold_nobody_up() {
    let idles = |pid: u32| {
        let still = Wait {
            flags: WAIT_NO_WAKER | WAIT_OPEN,
            ..timed(pid, 7, 7000)
        };
        let events = [asks(pid, 5), answers(pid, 6), Event::Wait(still)];
        session(pid).into_iter().chain(events)
    };
    let titles = [
        titled(HOLDER, "postgres: al shop [local] idle in transaction"),
        titled(FIRST, "postgres: al shop [local] idle"),
    ];
    let books = books_of(idles(HOLDER).chain(idles(FIRST)).chain(titles), 7000);
    assert_eq!((tally(&books).count, tally(&books).open), (2, 0));
    assert_eq!(
        (threads(&books, Class::Lock), threads(&books, Class::Other)),
        (0, 0)
    );
}

/// A session sleeps from 12 on for what only its fellows can end. One of these runs, and has been born for it, by its title.
fn leads(title: &str, before: bool) -> Books {
    let still = Wait {
        flags: WAIT_NO_WAKER | WAIT_OPEN,
        ..timed(FIRST, 12, 700)
    };
    let leader: Vec<Event> = match before {
        true => sleeping(FIRST)
            .into_iter()
            .chain([unheard(FIRST, 1, false)])
            .collect(),
        false => {
            let events = [asks(FIRST, 10), Event::Wait(still)];
            session(FIRST).into_iter().chain(events).collect()
        }
    };
    let [fork, runs, _] = session(SECOND);
    let titles = [
        titled(FIRST, title),
        titled(
            SECOND,
            &format!("postgres: parallel worker for PID {FIRST}"),
        ),
        unheard(FIRST, 700, true),
    ];
    books_of(leader.into_iter().chain([fork, runs]).chain(titles), 700)
}

#[test]
fn who_waits_for_those_that_work_for_it_waits_for_no_lock() {
    for before in [false, true] {
        let begun = if before { 0 } else { 12 };
        let books = leads("postgres: al shop [local] SELECT", before);
        assert_eq!(requests(&books, Class::Lock), 0);
        near(requests(&books, Class::OnCpu), 700 - begun);
        assert_eq!(tally(&books).open, 1);
        // It says itself that it waits for a lock.
        let books = leads("postgres: al shop [local] SELECT waiting", before);
        near(requests(&books, Class::Lock), 700 - begun);
    }
}

/// A database of one process, with a thread for each client. Every second who waits for a lock there looks whether its client is still
/// there.
#[test]
fn a_thread_that_asks_for_a_lock_every_second_waits_for_the_thread_that_lets_it_go() {
    let tries = |off, on| {
        Event::Wait(Wait {
            ran_since_ns: at(off),
            ..asleep(LOOKUP, off, on, 0, FUTEX)
        })
    };
    let got = Wait {
        ran_since_ns: at(2012),
        waker_pid: SERVER,
        waker_tid: COPY,
        waking_ns: at(2500),
        flags: WAIT_TASK_WAKER,
        ..asleep(LOOKUP, 2012, 2500, 0, FUTEX)
    };
    let mut events: Vec<Event> = running(LOOKUP).into_iter().chain(running(COPY)).collect();
    events.extend(accepted(1, "10.9.0.1:40001", None, 1));
    events.extend(accepted(2, "10.9.0.2:40002", None, 1));
    events.extend([
        receive(COPY, 2, 3, 3),
        send(COPY, 2, 4),
        sleep(COPY, 5, 2499, EPOLL),
        receive(COPY, 2, 2499, 2499),
        send(COPY, 2, 2502),
        receive(LOOKUP, 1, 10, 10),
        tries(12, 1012),
        tries(1012, 2012),
        Event::Wait(got),
        send(LOOKUP, 1, 2505),
    ]);
    let books = books_of(events, 2505);
    near(requests(&books, Class::Lock), 2487);
    let (ms, clients) = had(&books, COPY);
    near(ms, 2487);
    let [Some(Client::Address(address))] = clients[..] else {
        panic!("one client, not {clients:?}");
    };
    assert_eq!(books.addresses[address as usize], "10.9.0.2");
}

#[test]
fn requests_stand_behind_the_client_for_which_the_one_thread_works_for_long() {
    let scene = |ms: u64| {
        let mut events = vec![client(DUMP, "redis-cli", 0), client(SHOP, "shop", 0)];
        events.extend(running(SERVER));
        events.extend(accepted(1, HERE[0], Some(DUMP), 1));
        events.extend(accepted(2, HERE[1], Some(SHOP), 1));
        events.extend([
            sleep(SERVER, 2, 9, EPOLL),
            receive(SERVER, 1, 10, 10),
            send(SERVER, 1, 10 + ms),
            receive(SERVER, 2, 11 + ms, 11),
            send(SERVER, 2, 12 + ms),
        ]);
        let books = books(events, 12 + ms);
        let Holder::Process(dump) = holder(&books, DUMP) else {
            unreachable!("it is no part of the target");
        };
        let behind = books.before_others.get(&Client::Process(dump));
        (books.before_others.len(), behind.map_or(0, |ns| ns / MS))
    };
    assert_eq!(scene(3000), (1, 2999));
    // Nobody feels so little.
    assert_eq!(scene(5), (0, 0));
}
