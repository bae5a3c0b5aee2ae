//! Processes that do nothing but pass on what they are asked: `sshfs`, `ssh`, `stunnel`, `socat`. The last one on the way is the end.

use super::{
    upstream::{self, BACK, BEYOND, DEEP, FETCH, FETCHED, STORE, asked, end},
    *,
};

const CLIENT: u64 = 9;
const OTHER: u64 = 8;

const WRITE: u64 = 30;
const FUTEX: u64 = 31;
const READ: u64 = 32;

/// A thread of the relay that has all the answers, and a second one that asks.
const READER: u32 = 510;
const SECOND: u32 = 511;

fn stacks() -> [Event; 3] {
    let write = ["schedule", "anon_pipe_write", "vfs_write"];
    let futex = ["schedule", "futex_do_wait", "do_futex"];
    let read = ["schedule", "anon_pipe_read", "vfs_read"];
    [
        stack(WRITE, &write),
        stack(FUTEX, &futex),
        stack(READ, &read),
    ]
}

/// The same event, of a thread of the relay.
fn relays(event: Event) -> Event {
    match event {
        Event::Wait(wait) => Event::Wait(Wait { pid: BACK, ..wait }),
        Event::Call(call) => Event::Call(Call { pid: BACK, ..call }),
        other => other,
    }
}

/// A process is followed from `ms` on, since it ends waits of another one. It is asked on no port.
fn follow(pid: u32, by_pid: u32, comm: &str, ms: u64) -> [Event; 3] {
    let follow = event::Follow {
        ns: at(ms),
        pid,
        by_pid,
        listening: vec![event::NO_PORT],
    };
    [
        Event::Process(process(pid, comm)),
        Event::FollowHand(follow),
        of(pid, Event::Wait(first(pid, ms, 0))),
    ]
}

fn scene(more: Vec<Event>) -> Books {
    let mut more = more;
    more.extend(follow(BACK, SERVER, "sshfs", 1));
    more.extend([READER, SECOND].map(|tid| relays(Event::Wait(first(tid, 2, 0)))));
    more.sort_by_key(Event::ns);
    let threads = running(SERVER).into_iter().chain(running(WORKER));
    let events = stacks().into_iter().chain(threads).chain(more);
    let books = books(events, 120);
    assert_closed(&books);
    books
}

/// A request of a thread from 10 to 94, which waits from 12 to 92 until a thread of the relay ends that.
fn request(tid: u32, socket: u64, by: u32) -> Vec<Event> {
    vec![
        receive(tid, socket, 10, 10),
        until_thread((BACK, by), sleep(tid, 12, 92, WRITE)),
        send(tid, socket, 94),
    ]
}

/// The last one reads from 20 to 86, and tar before it.
fn store_behind_tar() -> Vec<Event> {
    let mut events: Vec<Event> = (0..8)
        .map(|i| read(STORE, 100 + 2 * i, 101 + 2 * i, 4096))
        .collect();
    events.extend([
        read(TAR, 19, 85, 1 << 20),
        read(STORE, 20, 86, 4096),
        of(STORE, sleep(STORE, 20, 86, PAGE)),
    ]);
    events
}

/// What the relay's threads do: some ask at 14, and wait for the one that has the answers until 90. That one slept before they asked.
fn passes_on(asking: &[u32]) -> Vec<Event> {
    let asks = asking.iter().flat_map(|tid| {
        let waits = sleep(*tid, 14, 90, FUTEX);
        [
            relays(send(*tid, FETCH, 14)),
            relays(until_thread((BACK, READER), waits)),
        ]
    });
    asks.collect()
}

/// They ask over one connection: the first that is seen on it is the answer to what was asked before. STORE answers at 87.
fn over_tcp(asking: &[u32], does: Vec<Event>) -> Vec<Event> {
    let mut events = upstream::follow(STORE, BACK, 9000, 3);
    events.extend([
        end(BACK, FETCH, BEYOND, DEEP, 4),
        end(STORE, FETCHED, DEEP, BEYOND, 4),
        relays(receive(READER, FETCH, 5, 5)),
        relays(sleep(READER, 6, 88, EPOLL)),
        relays(receive(READER, FETCH, 88, 87)),
        of(STORE, receive(STORE, FETCHED, 15, 14)),
        of(STORE, send(STORE, FETCHED, 87)),
    ]);
    events.extend(passes_on(asking));
    events.extend(does);
    events
}

/// They ask through a pipe: STORE itself wakes the one that has the answers.
fn over_pipe(does: Vec<Event>) -> Vec<Event> {
    let mut events = Vec::from(follow(STORE, BACK, "sftp-server", 3));
    events.extend([
        of(STORE, sleep(STORE, 4, 15, EPOLL)),
        relays(until(STORE, sleep(READER, 6, 88, EPOLL))),
    ]);
    events.extend(passes_on(&[BACK]));
    events.extend(does);
    events
}

#[test]
fn a_relay_that_has_its_answers_in_another_thread_waits_for_what_its_server_waits_for() {
    for way in [
        over_tcp(&[BACK], store_behind_tar()),
        over_pipe(store_behind_tar()),
    ] {
        let mut events = request(SERVER, CLIENT, BACK);
        events.extend(way);
        let books = scene(events);
        assert!((65..=66).contains(&requests(&books, Class::Disk)));
        assert!((65..=66).contains(&threads(&books, Class::Disk)));
        let whole = requests(&books, Class::Disk) + requests(&books, Class::Upstream);
        assert!((79..=80).contains(&whole), "{whole}");
        let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
        assert!((58..=66).contains(&theirs), "{theirs}");
        let way = [BACK, STORE].map(|pid| asked(&books, pid)).to_vec();
        assert!(books.ways.contains_key(&(Resource::Disk, way)));
    }
}

#[test]
fn a_relay_whose_server_computes_waits_for_that_one_and_for_nobody_at_a_disk() {
    // Tar reads as much as ever.
    let reads = || vec![read(TAR, 19, 85, 1 << 20)];
    for way in [over_tcp(&[BACK], reads()), over_pipe(reads())] {
        let mut events = request(SERVER, CLIENT, BACK);
        events.extend(way);
        let books = scene(events);
        assert_eq!(requests(&books, Class::Disk), 0);
        assert!((79..=80).contains(&requests(&books, Class::Upstream)));
        assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 0);
        let itself = charged(&books, Resource::Upstream, holder(&books, STORE));
        assert!(itself >= 70, "{itself}");
    }
}

#[test]
fn two_that_wait_at_once_on_one_connection_wait_for_the_disk_both() {
    let mut events = request(SERVER, CLIENT, BACK);
    events.extend(request(WORKER, OTHER, SECOND));
    events.extend(over_tcp(&[BACK, SECOND], store_behind_tar()));
    let books = scene(events);
    // Of a slice of 100 ms the connection was there for all of it, and they waited 2 × 74 ms.
    let disk = requests(&books, Class::Disk);
    assert!((95..=2 * 66).contains(&disk), "{disk}");
    assert!(charged(&books, Resource::Disk, holder(&books, TAR)) >= 80);
}

/// A process answers one request from 12 to 91, and reads in it behind tar. Another thread has asked it on a connection of its own, before
/// it was followed, and hears nothing.
#[test]
fn who_hears_nothing_on_a_connection_of_its_own_does_not_wait_for_what_is_made_on_another_one() {
    const SILENT: u64 = 3;
    let mut events: Vec<Event> = running(SERVER).into_iter().chain(running(WORKER)).collect();
    events.extend([
        end(SERVER, SILENT, "127.0.0.1:40002", upstream::THERE, 2),
        receive(WORKER, OTHER, 3, 3),
        send(WORKER, SILENT, 4),
        still(WORKER, 5, 120, EPOLL),
    ]);
    events.extend(upstream::follow(BACK, SERVER, 5432, 8));
    events.extend([
        end(SERVER, upstream::ASK, upstream::HERE, upstream::THERE, 9),
        end(BACK, upstream::ASKED, upstream::THERE, upstream::HERE, 9),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, upstream::ASK, 12),
        sleep(SERVER, 12, 92, EPOLL),
        of(BACK, receive(BACK, upstream::ASKED, 13, 12)),
        of(BACK, send(BACK, upstream::ASKED, 91)),
        receive(SERVER, upstream::ASK, 92, 91),
        send(SERVER, CLIENT, 94),
    ]);
    events.extend(upstream::behind_tar());
    events.sort_by_key(Event::ns);
    let books = books(events, 120);
    // It read for 69 ms. What the other one waits for is not known.
    let disk = requests(&books, Class::Disk);
    assert!((60..=70).contains(&disk), "{disk}");
    // The one that hears nothing is in the books of threads, too: of all that both waited, the disk explains no more than one answer.
    let waited = threads(&books, Class::Disk);
    assert!((60..=70).contains(&waited), "{waited}");
    assert_closed(&books);
}

#[test]
fn who_listens_on_the_port_on_which_the_target_asks_another_machine_is_not_asked_there() {
    const ELSEWHERE: &str = "10.0.0.5:5432";
    // The pool ends waits of the server, and reads behind tar for others.
    let [process, _, first] = follow(BACK, SERVER, "pool", 1);
    let follow = event::Follow {
        ns: at(1),
        pid: BACK,
        by_pid: SERVER,
        listening: vec![event::NO_PORT, 5432],
    };
    let mut events: Vec<Event> = running(SERVER).into();
    events.extend([process, Event::FollowHand(follow), first]);
    events.extend([
        end(SERVER, upstream::ASK, "10.0.0.1:40000", ELSEWHERE, 2),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, upstream::ASK, 12),
        sleep(SERVER, 12, 92, EPOLL),
        receive(SERVER, upstream::ASK, 92, 91),
        send(SERVER, CLIENT, 94),
    ]);
    events.extend(upstream::behind_tar());
    events.sort_by_key(Event::ns);
    let books = books(events, 120);
    assert_eq!(requests(&books, Class::Disk), 0);
    assert_eq!(requests(&books, Class::Upstream), 80);
    assert_eq!(charged(&books, Resource::Upstream, Holder::Peer), 80);
    assert_closed(&books);
}

#[test]
fn a_thread_that_hears_only_what_nobody_waits_for_holds_nothing_up() {
    let mut events = over_tcp(&[BACK], store_behind_tar());
    // The request does not wait for the relay.
    events.extend([receive(SERVER, CLIENT, 10, 10), send(SERVER, CLIENT, 94)]);
    let books = scene(events);
    assert_eq!(requests(&books, Class::Disk), 0);
    assert_eq!(requests(&books, Class::Upstream), 0);
}

/// Six processes, each of which waits in `stack` for the next one. The last one does this.
fn chain(stack: u64, does: fn(u32) -> Event) -> Books {
    const CHAIN: [u32; 6] = [BACK, STORE, 700, 710, 720, 730];
    let mut events = request(SERVER, CLIENT, BACK);
    for (at, pair) in CHAIN.windows(2).enumerate() {
        let (depth, [asks, next]) = (at as u64, [pair[0], pair[1]]);
        events.extend(follow(next, asks, "socat", 2 + depth));
        let waits = sleep(asks, 13 + depth, 91 - depth, stack);
        events.push(until(next, of(asks, waits)));
    }
    events.push(does(CHAIN[CHAIN.len() - 1]));
    scene(events)
}

#[test]
fn however_many_pass_on_the_last_one_is_the_end() {
    for stack in [WRITE, READ] {
        let locked = chain(stack, |last| of(last, sleep(last, 30, 80, MUTEX)));
        assert!((49..=50).contains(&requests(&locked, Class::Lock)));
        let way = locked.ways.keys().map(|(_, way)| way.len()).max();
        assert_eq!(way, Some(6));
        let computes = chain(stack, |last| of(last, sleep(last, 100, 110, MUTEX)));
        assert_eq!(requests(&computes, Class::Lock), 0);
        assert!((79..=80).contains(&requests(&computes, Class::Upstream)));
    }
}
