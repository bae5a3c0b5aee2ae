//! Requests as turns.

use tracer_common::tcp::CALL_CLOSE;

use super::*;

/// The one thread of an event loop, and its connection to a client.
const LOOP: u32 = SERVER;
const CLIENT: u64 = 9;
/// Its connection to another server.
const UPSTREAM: u64 = 8;

fn events(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    running(LOOP).into_iter().chain(more).collect()
}

#[test]
fn the_last_send_before_the_next_receive_ends_a_turn() {
    let events = events([
        receive(LOOP, CLIENT, 10, 10),
        send(LOOP, CLIENT, 20),
        send(LOOP, CLIENT, 25),
        send(LOOP, CLIENT, 30),
        receive(LOOP, CLIENT, 50, 49),
    ]);
    let books = books(events, 100);
    let tally = tally(&books);
    assert_eq!((tally.count, tally.open), (1, 1));
    assert_eq!(tally.max_ns, Some(20 * MS));
    assert_eq!(tally.oldest_open_ns, Some(51 * MS));
    assert_eq!(requests(&books, Class::OnCpu), 20 + 51);
}

#[test]
fn a_body_that_comes_in_pieces_is_one_request_and_waiting_for_it_is_network() {
    let events = events([
        receive(LOOP, CLIENT, 10, 10),
        sleep(LOOP, 12, 30, EPOLL),
        receive(LOOP, CLIENT, 30, 30),
        send(LOOP, CLIENT, 35),
    ]);
    let books = books(events, 40);
    assert_eq!(
        (tally(&books).count, tally(&books).max_ns),
        (1, Some(25 * MS))
    );
    assert_eq!(requests(&books, Class::Network), 18);
    assert_eq!(threads(&books, Class::Network), 18);
    assert_eq!(charged(&books, Resource::Network, Holder::Peer), 18);
    assert_closed(&books);
}

#[test]
fn requests_sent_before_the_answer_merge_into_one_turn() {
    let events = events([
        receive(LOOP, CLIENT, 10, 10),
        receive(LOOP, CLIENT, 12, 12),
        send(LOOP, CLIENT, 20),
        send(LOOP, CLIENT, 22),
    ]);
    let books = books(events, 40);
    assert_eq!(
        (tally(&books).count, tally(&books).max_ns),
        (1, Some(12 * MS))
    );
}

#[test]
fn the_end_of_a_stream_is_no_request() {
    let nothing = |result| {
        Event::Call(Call {
            result,
            ..call(LOOP, CLIENT, 40)
        })
    };
    let events = events([
        receive(LOOP, CLIENT, 10, 10),
        send(LOOP, CLIENT, 20),
        nothing(0),
        nothing(-11),
        Event::Call(Call {
            flags: CALL_CLOSE,
            ..call(LOOP, CLIENT, 41)
        }),
    ]);
    let books = books(events, 50);
    assert_eq!((tally(&books).count, tally(&books).open), (1, 0));
}

#[test]
fn a_target_without_calls_on_sockets_has_no_requests() {
    assert_eq!(
        books(events([sleep(LOOP, 10, 90, EPOLL)]), 100).requests,
        None
    );
}

#[test]
fn a_request_that_waits_behind_another_takes_that_ones_time() {
    let events = events([
        receive(LOOP, CLIENT, 10, 10),
        sleep(LOOP, 12, 40, PAGE),
        send(LOOP, CLIENT, 41),
        receive(LOOP, 10, 42, 20),
        send(LOOP, 10, 43),
    ]);
    let books = books(events, 50);
    // From 10 to 41 ms: 2 + 1 on the CPU, 28 on the disk. From 20 to 43 ms: 20 on the disk, 3 on the CPU.
    assert_eq!(requests(&books, Class::Disk), 28 + 20);
    assert_eq!(requests(&books, Class::OnCpu), 3 + 3);
    assert_eq!(threads(&books, Class::Disk), 28);
    assert_closed(&books);
}

#[test]
fn a_request_handed_to_a_worker_takes_the_workers_time() {
    let events = events(running(WORKER)).into_iter().chain([
        receive(LOOP, CLIENT, 10, 10),
        sleep(WORKER, 12, 30, PAGE),
        send(WORKER, CLIENT, 32),
    ]);
    let books = books(events, 40);
    assert_eq!(requests(&books, Class::Disk), 18);
    assert_eq!(requests(&books, Class::OnCpu), 2 + 2);
}

#[test]
fn a_sleep_ended_by_a_worker_is_what_the_worker_did() {
    let woken = Wait {
        waker_pid: SERVER,
        waker_tid: WORKER,
        waker_stack: FUTEX_WAKE,
        flags: 0,
        ..asleep(LOOP, 20, 60, 0, EPOLL)
    };
    let events = events(running(WORKER)).into_iter().chain([
        receive(LOOP, CLIENT, 10, 10),
        sleep(WORKER, 22, 58, PAGE),
        Event::Wait(woken),
        send(LOOP, CLIENT, 61),
    ]);
    let books = books(events, 70);
    assert_eq!(requests(&books, Class::Disk), 36);
    // 10 to 20 and 60 to 61 itself, 20 to 22 and 58 to 60 through the worker.
    assert_eq!(requests(&books, Class::OnCpu), 11 + 4);
    assert_eq!(threads(&books, Class::Disk), 36 + 36);
    assert_eq!(threads(&books, Class::Idle), 0);
    assert_closed(&books);
}

#[test]
fn an_answer_that_is_awaited_from_another_server_is_upstream() {
    let events = events([
        receive(LOOP, CLIENT, 10, 10),
        send(LOOP, UPSTREAM, 12),
        sleep(LOOP, 13, 53, EPOLL),
        receive(LOOP, UPSTREAM, 53, 52),
        send(LOOP, CLIENT, 55),
    ]);
    let books = books(events, 60);
    assert_eq!(requests(&books, Class::Upstream), 40);
    assert_eq!(threads(&books, Class::Upstream), 40);
    assert_eq!(requests(&books, Class::OnCpu), 3 + 2);
    assert_eq!(tally(&books).count, 1);
    assert_closed(&books);
}

#[test]
fn an_answer_that_never_comes_is_upstream_too() {
    let events = events([
        receive(LOOP, CLIENT, 10, 10),
        send(LOOP, UPSTREAM, 12),
        still(LOOP, 13, 6013, EPOLL),
    ]);
    let books = books(events, 6013);
    assert_eq!(
        (tally(&books).open, tally(&books).oldest_open_ns),
        (1, Some(6003 * MS))
    );
    assert_eq!(requests(&books, Class::Upstream), 6000);
    assert_closed(&books);
}

#[test]
fn threads_of_a_pool_stay_idle_while_another_works() {
    let pool = (101..105).map(|tid| seed(tid, 'S', "futex_do_wait"));
    let work = [
        receive(LOOP, CLIENT, 10, 10),
        sleep(LOOP, 12, 90, PAGE),
        send(LOOP, CLIENT, 95),
    ];
    let books = books(events(pool).into_iter().chain(work), 100);
    assert_eq!(threads(&books, Class::Idle), 4 * 100);
    assert_eq!(threads(&books, Class::Disk), 78);
    assert_closed(&books);
}

#[test]
fn a_long_poll_is_idle() {
    let woken = Wait {
        ns: at(10) + 30_000,
        run_queue_ns: 30_000,
        ..asleep(LOOP, 5, 10, 0, EPOLL)
    };
    // The thread that takes the request had to be put on a CPU first: that alone makes it no work.
    let taken = Event::Call(Call {
        ns: at(10) + 50_000,
        arrived_ns: at(10),
        ..call(LOOP, CLIENT, 10)
    });
    let events = events([Event::Wait(woken), taken, still(LOOP, 11, 7000, EPOLL)]);
    let books = books(events, 7000);
    assert_eq!((tally(&books).count, tally(&books).open), (0, 0));
    assert_eq!(threads(&books, Class::Idle), 5 - 1 + 1 + 6989);
    assert_closed(&books);
}

#[test]
fn a_request_whose_thread_is_stuck_on_the_disk_is_no_long_poll() {
    let events = events([receive(LOOP, CLIENT, 10, 10), still(LOOP, 11, 7000, PAGE)]);
    let books = books(events, 7000);
    assert_eq!(
        (tally(&books).open, tally(&books).oldest_open_ns),
        (1, Some(6990 * MS))
    );
    assert_eq!(requests(&books, Class::Disk), 6989);
}

#[test]
fn a_request_that_began_before_the_window_is_clipped() {
    let early = Event::Call(Call {
        arrived_ns: T0 - 30 * MS,
        ..call(LOOP, CLIENT, 10)
    });
    let books = books(events([early, send(LOOP, CLIENT, 20)]), 30);
    let tally = tally(&books);
    assert_eq!((tally.count, tally.clipped, tally.p50_ns), (1, 1, None));
    assert_eq!((tally.sum_ns, tally.clipped_ns), (0, 20 * MS));
    // Its time in the window counts.
    assert_eq!(requests(&books, Class::OnCpu), 20);
}

/// The client's socket held bytes at attach that nobody had read.
fn unread() -> [Event; 2] {
    let (local, remote) = ("10.0.0.1:80".to_owned(), "10.0.0.2:4000".to_owned());
    let open = event::OpenSocket {
        pid: SERVER,
        local: local.clone(),
        local_port: 80,
        remote: remote.clone(),
        unread_bytes: 512,
    };
    let seen = event::Socket {
        ns: at(9),
        socket: CLIENT,
        pid: SERVER,
        local,
        local_port: 80,
        remote,
    };
    [Event::OpenSocket(open), Event::Socket(seen)]
}

#[test]
fn bytes_unread_at_attach_are_a_request_of_unknown_age() {
    let taken = Event::Call(call(LOOP, CLIENT, 10));
    let answered = [
        send(LOOP, CLIENT, 20),
        receive(LOOP, CLIENT, 31, 30),
        send(LOOP, CLIENT, 35),
    ];
    let books = books(
        events(unread()).into_iter().chain([taken]).chain(answered),
        40,
    );
    let tally = tally(&books);
    assert_eq!((tally.count, tally.clipped), (2, 1));
    assert_eq!(tally.max_ns, Some(5 * MS));
}

#[test]
fn an_answer_to_what_was_unread_at_attach_ends_a_clipped_request() {
    let books = books(
        events(unread()).into_iter().chain([send(LOOP, CLIENT, 20)]),
        40,
    );
    assert_eq!((tally(&books).count, tally(&books).clipped), (1, 1));
}

#[test]
fn what_was_unread_at_attach_lies_there_no_more_once_its_connection_is_closed() {
    let closed = Event::Call(Call {
        flags: CALL_CLOSE,
        ..call(LOOP, CLIENT, 21)
    });
    // Its thread hangs then.
    let later = [send(LOOP, CLIENT, 20), closed, sleep(LOOP, 22, 39, PAGE)];
    let books = books(events(unread()).into_iter().chain(later), 40);
    assert_eq!((tally(&books).clipped, tally(&books).open), (1, 0));
}

#[test]
fn an_answer_to_nothing_that_was_seen_is_no_request() {
    let books = books(events([send(LOOP, CLIENT, 20), send(LOOP, CLIENT, 30)]), 40);
    assert_eq!((tally(&books).count, tally(&books).open), (0, 0));
}

#[test]
fn quantiles_are_of_the_requests_that_ended() {
    let mut all = events([]);
    for i in 0..40 {
        let took = if i < 30 { 2 } else { 8 };
        all.extend([
            receive(LOOP, CLIENT, 20 * i, 20 * i),
            send(LOOP, CLIENT, 20 * i + took),
        ]);
    }
    let tally = tally(&books(all, 800));
    let near =
        |ns: Option<u64>, ms: u64| ns.is_some_and(|ns| ns.abs_diff(ms * MS) * 100 <= 9 * ms * MS);
    assert_eq!(tally.count, 40);
    assert!(near(tally.p50_ns, 2) && near(tally.p99_ns, 8), "{tally:?}");
    assert_eq!(tally.max_ns, Some(8 * MS));
}

#[test]
fn a_wait_of_a_request_leaves_the_idle_time_of_other_slices_alone() {
    // Half a second of work, then half a second in which the client takes nothing: one judgement for both.
    let events = events([
        receive(LOOP, CLIENT, 0, 0),
        send_part(LOOP, CLIENT, 1),
        sleep(LOOP, 500, 1000, EPOLL),
        send(LOOP, CLIENT, 1001),
    ]);
    let books = books(events, 1100);
    let network: Vec<u64> = books
        .bins
        .iter()
        .map(|bin| bin.threads[Class::Network.index()] / MS)
        .collect();
    assert_eq!(network, [0, 0, 0, 0, 0, 100, 100, 100, 100, 100, 0]);
    assert_eq!(requests(&books, Class::Network), 500);
    assert_closed(&books);
}

/// The loop receives these, each on its connection at its time. Another thread that owns nothing looks for work very often, and does this
/// once the loop waits for more.
fn looked_for_work(
    received: impl IntoIterator<Item = (u64, u64)>,
    then: impl IntoIterator<Item = Event>,
) -> Books {
    let received = received.into_iter();
    let received = received.map(|(socket, ms)| receive(LOOP, socket, ms, ms));
    let looks = many_sleeps(WORKER, 20, EPOLL);
    let later = then.into_iter().chain([still(LOOP, 210, 900, EPOLL)]);
    let all = running(WORKER).into_iter().chain(received).chain(looks);
    let mut all = events(all.chain(later));
    all.sort_by_key(Event::ns);
    books(all, 900)
}

#[test]
fn who_answers_after_it_looked_for_work_very_often_has_a_class_for_all_of_that() {
    let books = looked_for_work([(CLIENT, 10)], [send(WORKER, CLIENT, 821)]);
    assert_eq!((tally(&books).count, tally(&books).sum_ns), (1, 811 * MS));
    let on_cpu = requests(&books, Class::OnCpu);
    assert!((400..=430).contains(&on_cpu), "{on_cpu}");
    assert_all_has_a_class(&books);
}

#[test]
fn several_requests_of_one_that_looked_for_work_very_often_have_a_class_for_all_of_that() {
    let received = [(CLIENT, 10), (CLIENT + 1, 100), (CLIENT + 2, 200)];
    let books = looked_for_work(
        received,
        [
            send(WORKER, CLIENT, 821),
            send(WORKER, CLIENT + 1, 822),
            // It takes the last one over, and owes the answer.
            receive(WORKER, CLIENT + 2, 823, 823),
        ],
    );
    let tally = tally(&books);
    assert_eq!((tally.count, tally.open), (2, 1));
    assert_eq!(tally.sum_ns, (811 + 722) * MS);
    assert_eq!(tally.open_ns, 700 * MS);
    assert_all_has_a_class(&books);
}
