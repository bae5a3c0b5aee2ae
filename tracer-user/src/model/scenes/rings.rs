//! Rings of `io_uring`: a thread receives and sends in the ring's own calls, or a thread of the kernel does it for one (SQPOLL).

use tracer_common::tcp::CALL_POLLER;

use super::*;

const CLIENT: u64 = 9;
/// A connection to another server.
const UPSTREAM: u64 = 8;
/// A thread of the kernel that polls the server's ring, and never sleeps.
const POLLER: u32 = 102;
/// A thread that blocks for the ring (`io-wq`).
const HELPER: u32 = 103;

/// Stacks of their own.
const RING: u64 = 40;
const HELPS: u64 = 41;

fn stacks() -> [Event; 2] {
    [
        stack(
            RING,
            &["schedule", "io_cqring_wait", "__do_sys_io_uring_enter"],
        ),
        stack(HELPS, &["schedule", "io_wq_worker", "ret_from_fork"]),
    ]
}

/// The server's thread takes from a ring, and has a CPU from 1 on.
fn played(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let known = stacks()
        .into_iter()
        .chain(running(POLLER))
        .chain([Event::Wait(first(SERVER, 1, 0))]);
    books(sleeper(known.chain(events)), end_ms)
}

/// The poller does this.
fn polled(event: Event) -> Event {
    match event {
        Event::Call(call) => Event::Call(Call {
            tid: POLLER,
            flags: call.flags | CALL_POLLER,
            ..call
        }),
        Event::Io(io) => Event::Io(Io { tid: POLLER, ..io }),
        other => other,
    }
}

/// The server's thread waits for what its ring brings, until the poller has some.
fn takes(off: u64, on: u64) -> Event {
    until_thread((SERVER, POLLER), sleep(SERVER, off, on, RING))
}

/// Short reads of the server alone: what one takes.
fn alone() -> impl Iterator<Item = Event> {
    (0..5).map(|i| polled(read(SERVER, 10 + 10 * i, 11 + 10 * i, 4096)))
}

#[test]
fn what_a_polled_ring_reads_for_a_request_is_waited_for_although_the_poller_spins() {
    let mut events: Vec<Event> = alone().collect();
    events.extend([
        polled(receive(SERVER, CLIENT, 90, 90)),
        takes(2, 90),
        read(TAR, 101, 120, 1 << 20),
        polled(read(SERVER, 101, 121, 4096)),
        takes(100, 121),
        polled(send(SERVER, CLIENT, 122)),
    ]);
    let books = played(events, 130);
    assert_eq!(tally(&books).count, 1);
    assert_eq!(requests(&books, Class::Disk), 20);
    assert_eq!(requests(&books, Class::OnCpu), 10 + 1);
    assert_eq!(requests(&books, Class::Other), 1);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((17..=19).contains(&theirs), "{theirs}");
    assert_closed(&books);
}

#[test]
fn a_read_of_the_poller_is_waited_for_through_all_sleeps_of_whoever_takes_it() {
    let mut events: Vec<Event> = alone().collect();
    events.extend([
        polled(receive(SERVER, CLIENT, 90, 90)),
        takes(2, 90),
        // Another connection comes while the read is under way.
        takes(101, 105),
        read(TAR, 101, 120, 1 << 20),
        polled(read(SERVER, 101, 121, 4096)),
        takes(105, 121),
        polled(send(SERVER, CLIENT, 122)),
    ]);
    let books = played(events, 130);
    assert_eq!(requests(&books, Class::Disk), 20);
    assert_eq!(threads(&books, Class::Disk), 5 + 20);
    assert_closed(&books);
}

#[test]
fn of_two_that_take_from_one_poller_the_one_waits_for_a_read_that_its_completion_wakes() {
    let takes_too = |off, on| until_thread((SERVER, POLLER), sleep(WORKER, off, on, RING));
    let events = [
        polled(receive(SERVER, CLIENT, 5, 5)),
        takes(2, 5),
        takes_too(2, 6),
        polled(read(SERVER, 20, 50, 4096)),
        takes(8, 50),
        takes_too(8, 60),
    ];
    let books = played(running(WORKER).into_iter().chain(events), 70);
    assert_eq!(threads(&books, Class::Disk), 30);
}

#[test]
fn a_poller_that_spins_while_nobody_works_does_nothing_for_a_request() {
    let events = [
        polled(receive(SERVER, CLIENT, 10, 10)),
        takes(2, 10),
        takes(12, 52),
        polled(send(SERVER, CLIENT, 53)),
    ];
    let books = played(events, 60);
    assert_eq!(requests(&books, Class::OnCpu), 2 + 1);
    assert_eq!(requests(&books, Class::Other), 40);
    // The poller has its CPU all the same.
    assert_eq!(threads(&books, Class::OnCpu), 60 + 1 + 2 + 8);
    assert_closed(&books);
}

#[test]
fn whoever_takes_from_a_polled_ring_waits_for_the_answer_that_it_asked_for() {
    let events = [
        polled(receive(SERVER, CLIENT, 10, 10)),
        takes(2, 10),
        polled(send(SERVER, UPSTREAM, 12)),
        polled(receive(SERVER, UPSTREAM, 62, 62)),
        takes(12, 62),
        polled(send(SERVER, CLIENT, 63)),
    ];
    let books = played(events, 70);
    assert_eq!(requests(&books, Class::Upstream), 50);
    assert_eq!(requests(&books, Class::OnCpu), 2 + 1);
    assert_eq!(threads(&books, Class::Upstream), 50);
}

#[test]
fn whoever_takes_from_a_polled_ring_remembers_what_it_did_since_the_poller_received_a_request() {
    let known = stacks()
        .into_iter()
        .chain(running(POLLER))
        .chain([Event::Wait(first(SERVER, 1, 0))]);
    let begin = known.chain([polled(receive(SERVER, CLIENT, 10, 10)), takes(2, 10)]);
    // It takes what others ask for.
    let events = begin.chain((0..400).map(|i| takes(12 + 2 * i, 13 + 2 * i)));
    let mut model = Model::new();
    let all = attach().into_iter().chain(sleeper(events));
    all.for_each(|event| model.apply(&event));
    let taker = model.threads.get(SERVER).unwrap();
    assert_eq!(taker.remembered_ns(), at(10));
}

#[test]
fn who_has_ended_takes_no_more_and_the_next_one_of_those_that_took_is_asked() {
    let events = [
        polled(receive(SERVER, CLIENT, 10, 10)),
        takes(2, 10),
        takes(12, 52),
        until_thread((SERVER, POLLER), sleep(WORKER, 2, 53, RING)),
        Event::ThreadEnd(event::ThreadEnd {
            ns: at(54),
            pid: SERVER,
            tid: WORKER,
        }),
        polled(send(SERVER, CLIENT, 55)),
    ];
    let books = played(running(WORKER).into_iter().chain(events), 60);
    assert_eq!(requests(&books, Class::OnCpu), 2 + 3);
    assert_eq!(requests(&books, Class::Other), 40);
}

#[test]
fn a_poller_for_nobody_who_sleeps_is_on_a_cpu() {
    let events = [
        polled(receive(SERVER, CLIENT, 10, 10)),
        polled(send(SERVER, CLIENT, 50)),
    ];
    let books = played(events, 60);
    assert_eq!(requests(&books, Class::OnCpu), 40);
}

#[test]
fn what_a_thread_receives_in_its_rings_own_call_is_its_own_request() {
    let mut events: Vec<Event> = (0..5)
        .map(|i| read(SERVER, 10 + 10 * i, 11 + 10 * i, 4096))
        .collect();
    events.extend([
        sleep(SERVER, 2, 90, RING),
        receive(SERVER, CLIENT, 90, 90),
        read(TAR, 92, 110, 1 << 20),
        read(SERVER, 92, 111, 4096),
        sleep(SERVER, 92, 111, RING),
        send(SERVER, CLIENT, 112),
        // Then nothing more comes.
        still(SERVER, 113, 130, RING),
    ]);
    let books = played(events, 130);
    assert_eq!(requests(&books, Class::Disk), 19);
    assert_eq!(requests(&books, Class::OnCpu), 2 + 1);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((16..=18).contains(&theirs), "{theirs}");
    assert!(threads(&books, Class::Idle) >= 17);
    assert_closed(&books);
}

#[test]
fn a_helper_that_tells_a_ring_what_is_done_has_let_go_no_lock() {
    let events = running(HELPER).into_iter().chain([
        sleep(HELPER, 2, 11, HELPS),
        receive(SERVER, CLIENT, 10, 10),
        sleep(HELPER, 12, 50, HELPS),
        until_thread((SERVER, HELPER), sleep(SERVER, 12, 51, RING)),
        send(SERVER, CLIENT, 52),
    ]);
    let books = played(events, 60);
    assert_eq!(requests(&books, Class::Lock), 0);
    assert_eq!(charged(&books, Resource::Lock, Holder::OwnLock), 0);
}
