//! Two tiers and more: what the target waits for is what the process that it asks waits for.

use tracer_common::tcp::{CALL_CLOSE, QUESTION_DATAGRAM, QUESTION_OVER};

use super::*;
use crate::model::followed::Reach;

/// Processes that are followed, each with one thread.
pub(crate) const BACK: u32 = 500;
pub(crate) const STORE: u32 = 600;

/// The client's connection, and both ends of those to the next tier.
const CLIENT: u64 = 9;
pub(crate) const ASK: u64 = 8;
pub(crate) const ASKED: u64 = 7;
pub(crate) const FETCH: u64 = 6;
pub(crate) const FETCHED: u64 = 5;

pub(crate) const HERE: &str = "127.0.0.1:40000";
pub(crate) const THERE: &str = "127.0.0.1:5432";
pub(crate) const BEYOND: &str = "127.0.0.1:41000";
pub(crate) const DEEP: &str = "127.0.0.1:9000";

pub(crate) fn end(pid: u32, socket: u64, local: &str, remote: &str, ms: u64) -> Event {
    let port = local.rsplit(':').next().and_then(|port| port.parse().ok());
    Event::Socket(event::Socket {
        ns: at(ms),
        socket,
        pid,
        local: local.to_owned(),
        local_port: port.unwrap_or_default(),
        remote: remote.to_owned(),
    })
}

pub(crate) fn follow(pid: u32, by_pid: u32, port: u32, ms: u64) -> Vec<Event> {
    let process = event::Process {
        pid,
        comm: if pid == BACK { "back" } else { "store" }.to_owned(),
        ..event::Process::default()
    };
    let follow = event::Follow {
        ns: at(ms),
        pid,
        by_pid,
        listening: vec![port],
    };
    vec![
        Event::Process(process),
        Event::Follow(follow),
        of(pid, Event::Wait(first(pid, ms, 0))),
    ]
}

/// The server asks at 12 and is answered at 92; its backend takes bytes at 13 and answers at 91.
pub(crate) fn asks(between: Vec<Event>) -> Vec<Event> {
    let mut events: Vec<Event> = running(SERVER).into();
    events.extend(follow(BACK, SERVER, 5432, 1));
    events.extend([
        end(SERVER, ASK, HERE, THERE, 2),
        end(BACK, ASKED, THERE, HERE, 2),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, ASK, 12),
        sleep(SERVER, 12, 92, EPOLL),
        of(BACK, receive(BACK, ASKED, 13, 12)),
        of(BACK, send(BACK, ASKED, 91)),
        receive(SERVER, ASK, 92, 91),
        send(SERVER, CLIENT, 94),
    ]);
    events.extend(between);
    events.sort_by_key(Event::ns);
    events
}

/// The backend reads, and tar before it.
pub(crate) fn behind_tar() -> Vec<Event> {
    let mut events: Vec<Event> = (0..8)
        .map(|i| read(BACK, 100 + 2 * i, 101 + 2 * i, 4096))
        .collect();
    events.extend([
        read(TAR, 19, 88, 1 << 20),
        read(BACK, 20, 89, 4096),
        of(BACK, sleep(BACK, 20, 89, PAGE)),
    ]);
    events
}

#[test]
fn a_backend_that_waits_for_the_disk_behind_tar_makes_it_the_disk_behind_tar() {
    let books = books(asks(behind_tar()), 120);
    // 80 ms were waited for the answer: the backend had 79 of them, of which 69 on the disk.
    assert_eq!(requests(&books, Class::Disk), 69);
    assert_eq!(threads(&books, Class::Disk), 69);
    assert_eq!(requests(&books, Class::Upstream), 80 - 69);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((66..=68).contains(&theirs), "{theirs}");
    let itself = charged(&books, Resource::Disk, Holder::Asked(asked(&books, BACK)));
    assert_eq!(theirs + itself, 68);
    assert_closed(&books);
}

pub(crate) fn asked(books: &Books, pid: u32) -> usize {
    match holder(books, pid) {
        Holder::Process(id) => id,
        _ => unreachable!(),
    }
}

#[test]
fn a_backend_that_computes_is_upstream_from_the_backend_and_nobodys_fault() {
    let books = books(asks(Vec::new()), 120);
    assert_eq!(requests(&books, Class::Upstream), 80);
    let theirs = charged(&books, Resource::Upstream, holder(&books, BACK));
    assert!((78..=79).contains(&theirs), "{theirs}");
    assert_closed(&books);
}

#[test]
fn a_backend_without_a_cpu_stands_behind_who_runs_there() {
    let queued = of(BACK, Event::Wait(preempted(BACK, 20, 80)));
    let books = books(
        asks(vec![
            slice(0, TAR, 20, 70),
            slice(0, SERVER, 70, 80),
            queued,
        ]),
        120,
    );
    assert_eq!(requests(&books, Class::Cpu), 60);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 50);
    // Its own caller holds the CPU that it needs: the target itself.
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 10);
    assert_closed(&books);
}

/// The backend asks a third process, which waits for a lock.
pub(crate) fn deep() -> Vec<Event> {
    let mut events = follow(STORE, BACK, 9000, 3);
    events.extend([
        end(BACK, FETCH, BEYOND, DEEP, 4),
        end(STORE, FETCHED, DEEP, BEYOND, 4),
        of(BACK, send(BACK, FETCH, 15)),
        of(BACK, sleep(BACK, 15, 85, EPOLL)),
        of(STORE, receive(STORE, FETCHED, 16, 15)),
        of(STORE, sleep(STORE, 20, 80, MUTEX)),
        of(STORE, send(STORE, FETCHED, 84)),
        of(BACK, receive(BACK, FETCH, 85, 84)),
    ]);
    events
}

#[test]
fn a_chain_of_three_ends_where_the_last_one_waits() {
    let books = books(asks(deep()), 120);
    assert_eq!(requests(&books, Class::Lock), 60);
    assert_eq!(charged(&books, Resource::Lock, Holder::Nobody), 60);
    assert_closed(&books);
}

#[test]
fn who_answers_over_a_unix_socket_is_followed_to_what_its_threads_wait_for() {
    let Event::Wait(wait) = sleep(SERVER, 12, 92, EPOLL) else {
        unreachable!()
    };
    let mut events: Vec<Event> = running(SERVER).into();
    events.extend(follow(BACK, SERVER, 0, 1));
    events.extend([
        receive(SERVER, CLIENT, 10, 10),
        Event::Wait(Wait {
            waker_pid: BACK,
            waker_tid: BACK,
            waker_stack: FUTEX_WAKE,
            waking_ns: at(92),
            flags: 0,
            ..wait
        }),
        send(SERVER, CLIENT, 94),
        of(BACK, sleep(BACK, 1, 13, EPOLL)),
        of(BACK, sleep(BACK, 91, 120, EPOLL)),
    ]);
    events.extend(behind_tar());
    events.sort_by_key(Event::ns);
    let books = books(events, 120);
    // Its calls are not seen. From 20 to 89 ms its one thread waited for the disk. Before and after that it was on a CPU.
    assert_eq!(requests(&books, Class::Disk), 69);
    assert_eq!(requests(&books, Class::Upstream), 80 - 69);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((66..=68).contains(&theirs), "{theirs}");
    assert_closed(&books);
}

/// The server sends a datagram to a name service at 11, and is answered at 92. A name service of this machine is followed.
fn asks_for_a_name(remote: &str) -> Books {
    let datagram = |ms, flags| {
        Event::Question(event::Question {
            ns: at(ms),
            socket: ASK,
            pid: SERVER,
            tid: SERVER,
            local: HERE.to_owned(),
            remote: remote.to_owned(),
            flags: QUESTION_DATAGRAM | flags,
        })
    };
    let mut events: Vec<Event> = running(SERVER).into();
    events.extend(follow(BACK, SERVER, event::DATAGRAM_PORT | 53, 1));
    events.extend([
        receive(SERVER, CLIENT, 10, 10),
        datagram(11, 0),
        sleep(SERVER, 12, 92, EPOLL),
        datagram(92, QUESTION_OVER),
        send(SERVER, CLIENT, 94),
        of(BACK, sleep(BACK, 1, 13, EPOLL)),
        of(BACK, sleep(BACK, 91, 120, EPOLL)),
    ]);
    events.extend(behind_tar());
    events.sort_by_key(Event::ns);
    books(events, 120)
}

#[test]
fn who_answers_datagrams_here_is_followed_and_who_is_asked_elsewhere_has_nothing_to_do_with_it() {
    for (remote, disk) in [("127.0.0.53:53", 69), ("10.0.0.53:53", 0)] {
        let books = asks_for_a_name(remote);
        assert_eq!(requests(&books, Class::Disk), disk, "{remote}");
        assert_eq!(requests(&books, Class::Upstream), 80 - disk, "{remote}");
        assert_closed(&books);
    }
}

#[test]
fn what_others_ask_a_backend_is_not_what_the_target_waits_for() {
    let other = vec![
        end(BACK, 50, THERE, "127.0.0.1:50000", 2),
        // Half the time it hangs on the disk for somebody else, before the target asks.
        of(BACK, receive(BACK, 50, 3, 3)),
        of(BACK, sleep(BACK, 4, 8, PAGE)),
        of(BACK, send(BACK, 50, 9)),
    ];
    let books = books(asks(other), 120);
    assert_eq!(requests(&books, Class::Disk), 0);
    assert_eq!(threads(&books, Class::Disk), 0);
    assert_eq!(tally(&books).count, 1);
    assert_closed(&books);
}

#[test]
fn what_the_target_asks_at_the_address_of_a_strangers_connection_is_the_targets() {
    let closed = Call {
        flags: CALL_CLOSE,
        ..call(BACK, ASKED, 1)
    };
    let calls = (0..20).map(|_| of(BACK, receive(BACK, ASKED, 1, 1)));
    let mut other = vec![end(BACK, ASKED, THERE, "127.0.0.1:50000", 1)];
    other.extend(calls.chain([of(BACK, Event::Call(closed))]));
    let mut events = behind_tar();
    events.extend(other);
    let books = books(asks(events), 120);
    assert_eq!(requests(&books, Class::Disk), 69);
    assert_closed(&books);
}

#[test]
fn a_followed_process_is_no_part_of_the_target() {
    let books = books(asks(behind_tar()), 120);
    assert_eq!((books.threads, books.wall_ns), (1, 120 * MS));
    let back = asked(&books, BACK);
    assert!(!books.processes[back].target);
    assert_eq!(books.targets.len(), 1);
}

#[test]
fn a_child_of_a_followed_process_is_followed_and_no_target() {
    const CHILD: u32 = 510;
    let fork = event::Fork {
        ns: at(5),
        pid: CHILD,
        tid: CHILD,
        parent_pid: BACK,
        target: true,
        ..event::Fork::default()
    };
    let more = vec![
        Event::Fork(fork),
        of(CHILD, Event::Wait(first(CHILD, 6, 0))),
    ];
    let books = books(asks(more), 120);
    assert_eq!(books.threads, 1);
    assert!(!books.processes[asked(&books, CHILD)].target);
    assert_closed(&books);
}

#[test]
fn an_answer_that_never_comes_is_followed_to_where_it_hangs() {
    let mut events: Vec<Event> = running(SERVER).into();
    events.extend(follow(BACK, SERVER, 5432, 1));
    events.extend([
        end(SERVER, ASK, HERE, THERE, 2),
        end(BACK, ASKED, THERE, HERE, 2),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, ASK, 12),
        of(BACK, receive(BACK, ASKED, 13, 12)),
        of(BACK, still(BACK, 14, 900, PAGE)),
        still(SERVER, 12, 900, EPOLL),
    ]);
    let books = books(events, 900);
    assert_eq!(tally(&books).open, 1);
    assert_eq!(requests(&books, Class::Disk), 886);
    assert_closed(&books);
}

/// A server of another machine takes 80 ms to answer.
pub(crate) fn elsewhere() -> Vec<Event> {
    let events = running(SERVER).into_iter().chain([
        end(SERVER, ASK, "10.0.0.1:40000", "10.0.0.5:5432", 2),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, ASK, 12),
        sleep(SERVER, 12, 92, EPOLL),
        receive(SERVER, ASK, 92, 91),
        send(SERVER, CLIENT, 94),
    ]);
    events.collect()
}

#[test]
fn a_server_elsewhere_is_named_by_its_address() {
    let books = books(elsewhere(), 100);
    assert_eq!(charged(&books, Resource::Upstream, Holder::Peer), 80);
    assert_closed(&books);
}

#[test]
fn what_was_waited_for_before_a_process_was_followed_stays_upstream() {
    let mut events = asks(Vec::new());
    events.retain(|event| !matches!(event, Event::Follow(_)) && !is_of(event, BACK));
    let books = books(events, 120);
    assert_eq!(requests(&books, Class::Upstream), 80);
    assert_eq!(charged(&books, Resource::Upstream, Holder::Peer), 80);
    assert_closed(&books);
}

fn is_of(event: &Event, pid: u32) -> bool {
    match event {
        Event::Wait(e) => e.pid == pid,
        Event::Call(e) => e.pid == pid,
        Event::Thread(e) => e.pid == pid,
        Event::Socket(e) => e.pid == pid,
        _ => false,
    }
}

#[test]
fn a_backend_that_hung_before_it_was_followed_hangs_for_the_target_too() {
    let mut events: Vec<Event> = running(SERVER).into();
    events.extend([
        end(SERVER, ASK, HERE, THERE, 2),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, ASK, 12),
    ]);
    let hangs = of(BACK, seed(BACK, 'D', "io_schedule"));
    let follow = event::Follow {
        ns: at(100),
        pid: BACK,
        by_pid: SERVER,
        listening: vec![5432],
    };
    events.extend([Event::Follow(follow), hangs, still(SERVER, 12, 900, EPOLL)]);
    let books = books(events, 900);
    // Its time before it was followed is not known.
    assert_eq!(requests(&books, Class::Disk), 800);
    assert_eq!(requests(&books, Class::Upstream), 88);
    assert_eq!(books.threads, 1);
    assert_closed(&books);
}

#[test]
fn what_holds_a_followed_processs_socket_back_makes_no_connection_of_the_targets() {
    let flow = Event::Flow(event::Flow {
        ns: at(50),
        socket: ASKED,
        netns: 3,
        ifindex: 1,
        unsent_bytes: 1,
        ..event::Flow::default()
    });
    let mut model = Model::new();
    for event in attach().into_iter().chain(asks(vec![flow])) {
        model.apply(&event);
    }
    assert!(model.requests.route(ASKED).is_none());
    let theirs = model.followed.all().next().unwrap();
    let route = theirs.model.requests.route(ASKED).unwrap();
    assert_eq!(route.flow.netns, 3);
}

#[test]
fn what_interrupted_the_target_is_kept_where_it_asks_nobody() {
    let took = event::Interrupted {
        took: vec![(event::Source::Irq, 7 * MS)],
    };
    let books = books([Event::Interrupted(took.clone())], 100);
    assert_eq!(books.interrupted, took);
}

#[test]
fn what_interrupted_the_target_is_not_known_where_it_asks_another_process() {
    // The kernel counts the interrupts of both together.
    let took = event::Interrupted {
        took: vec![(event::Source::Irq, 7 * MS)],
    };
    let books = books(asks(vec![Event::Interrupted(took)]), 120);
    assert_eq!(books.interrupted, event::Interrupted::default());
}

#[test]
fn a_child_of_the_target_stays_its_own_while_another_process_is_followed() {
    const CHILD: u32 = 110;
    let fork = event::Fork {
        ns: at(5),
        pid: CHILD,
        tid: CHILD,
        parent_pid: SERVER,
        target: true,
        ..event::Fork::default()
    };
    let books = books(asks(vec![Event::Fork(fork)]), 120);
    assert_eq!(books.threads, 2);
    assert!(books.processes[asked(&books, CHILD)].target);
    assert_closed(&books);
}

/// The fold that takes an event while the server asks the backend: `Some(true)` the backend's, `Some(false)` the server's, `None`
/// neither.
fn taken_by_backend(event: &Event) -> Option<bool> {
    let mut model = Model::new();
    for event in attach().into_iter().chain(asks(Vec::new())) {
        model.apply(&event);
    }
    match model.followed.reach(&model.requests, event) {
        Reach::Here => Some(false),
        Reach::One(_) => Some(true),
        Reach::Nobody => None,
        Reach::All => panic!("an event of one process goes to all"),
    }
}

#[test]
fn bytes_that_a_followed_process_left_unread_are_none_of_the_targets() {
    let unread = |pid, socket| {
        Event::Unread(event::Unread {
            ns: at(110),
            socket,
            pid,
            arrived_ns: at(100),
        })
    };
    assert_eq!(taken_by_backend(&unread(BACK, ASKED)), Some(true));
    assert_eq!(taken_by_backend(&unread(SERVER, CLIENT)), Some(false));
}

#[test]
fn a_followed_process_hears_of_its_own_question_and_of_the_targets_but_of_no_strangers() {
    let found = |asks, remote: &str| {
        Event::Unanswered(event::Unanswered {
            pid: BACK,
            local: THERE.to_owned(),
            remote: remote.to_owned(),
            asks,
            since_ns: at(1),
        })
    };
    assert_eq!(taken_by_backend(&found(true, DEEP)), Some(true));
    assert_eq!(taken_by_backend(&found(false, HERE)), Some(true));
    assert_eq!(taken_by_backend(&found(false, "127.0.0.1:50000")), None);
}
