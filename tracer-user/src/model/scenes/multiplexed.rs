//! Several requests on one connection at once, as HTTP/2 and pipelining have them.

use super::*;

const LOOP: u32 = SERVER;
const CLIENT: u64 = 9;
/// Stack of a thread of a pool.
const FUTEX: u64 = 40;

/// The loop receives at 10, and wakes a worker at 11.
fn played_from_11(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let pool = stack(FUTEX, &["schedule", "futex_wait", "do_futex"]);
    let known = [pool].into_iter().chain(running(WORKER));
    let begin = known.chain([
        Event::Wait(first(LOOP, 10, 0)),
        receive(LOOP, CLIENT, 10, 10),
        until_thread((SERVER, LOOP), sleep(WORKER, 2, 11, FUTEX)),
    ]);
    books(sleeper(begin.chain(events)), end_ms)
}

/// The worker reads from the disk until 60. More comes at 30.
fn played(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let begin = [sleep(LOOP, 12, 30, EPOLL), receive(LOOP, CLIENT, 30, 30)];
    played_from_11(begin.into_iter().chain(events), end_ms)
}

#[test]
fn one_more_request_on_a_connection_is_not_what_the_first_one_waited_for() {
    let books = played(
        [
            sleep(WORKER, 12, 60, PAGE),
            until_thread((SERVER, WORKER), sleep(LOOP, 31, 61, EPOLL)),
            send(LOOP, CLIENT, 62),
        ],
        70,
    );
    assert_eq!(tally(&books).count, 1);
    assert_eq!(requests(&books, Class::Network), 0);
    assert_eq!(requests(&books, Class::Disk), 18 + 29);
    assert_eq!(requests(&books, Class::OnCpu), 2 + 1 + 1 + 1);
}

#[test]
fn a_worker_that_sends_the_answer_itself_had_the_request_while_more_came() {
    let books = played(
        [
            sleep(WORKER, 12, 60, PAGE),
            send(WORKER, CLIENT, 61),
            sleep(LOOP, 31, 65, EPOLL),
        ],
        70,
    );
    assert_eq!(requests(&books, Class::Network), 0);
    assert!(requests(&books, Class::Disk) >= 18 + 29);
}

#[test]
fn what_a_worker_does_for_others_after_it_came_back_is_not_what_a_slow_body_waits_for() {
    let events = [
        until_thread((SERVER, WORKER), sleep(LOOP, 12, 20, EPOLL)),
        sleep(WORKER, 21, 90, PAGE),
        sleep(LOOP, 21, 95, EPOLL),
        receive(LOOP, CLIENT, 95, 95),
        until_thread((SERVER, WORKER), sleep(LOOP, 96, 97, EPOLL)),
        send(LOOP, CLIENT, 98),
    ];
    let books = played_from_11(events, 105);
    assert_eq!(tally(&books).count, 1);
    assert_eq!(requests(&books, Class::Disk), 0);
    assert_eq!(requests(&books, Class::Network), 95 - 21);
}

#[test]
fn who_only_writes_a_log_does_not_have_the_request_while_its_body_comes() {
    let books = played([send(LOOP, CLIENT, 31), sleep(WORKER, 12, 60, PAGE)], 70);
    assert_eq!(requests(&books, Class::Network), 18);
    assert_eq!(requests(&books, Class::Disk), 0);
}

/// The loop waits for a tenth of a millisecond, and has more of a body after it: so many times from 100 on, in each millisecond five.
fn body(parts: u64) -> impl Iterator<Item = Event> {
    const TENTH: u64 = MS / 10;
    (0..parts).flat_map(|part| {
        let ns = at(100) + part * 2 * TENTH;
        let waited = Wait {
            ns: ns + TENTH,
            off_ns: ns,
            ..asleep(LOOP, 0, 0, 0, EPOLL)
        };
        let more = Call {
            ns: ns + TENTH,
            arrived_ns: ns + TENTH,
            ..call(LOOP, CLIENT, 0)
        };
        [Event::Wait(waited), Event::Call(more)]
    })
}

#[test]
fn of_a_body_in_many_parts_no_part_is_forgotten_while_a_worker_has_the_request() {
    let answer = [
        until_thread((SERVER, WORKER), sleep(LOOP, 2110, 2120, EPOLL)),
        send(LOOP, CLIENT, 2121),
    ];
    let books = played(body(10_000).chain(answer), 2130);
    assert_eq!(tally(&books).sum_ns, (2121 - 10) * MS);
    assert_eq!(tally(&books).unaccounted_ns, 0);
}

#[test]
fn what_a_thread_received_that_has_ended_since_and_did_not_own_the_request_is_known() {
    let events = [
        // The worker receives, too, and owns the request from then on.
        receive(WORKER, CLIENT, 32, 32),
        receive(LOOP, CLIENT, 35, 35),
        Event::ThreadEnd(event::ThreadEnd {
            ns: at(45),
            pid: SERVER,
            tid: LOOP,
        }),
        send(WORKER, CLIENT, 62),
    ];
    let books = played(events, 70);
    assert_eq!(tally(&books).count, 1);
    assert_eq!(tally(&books).unaccounted_ns, 0);
    assert_eq!(requests(&books, Class::OnCpu), 62 - 10);
}

#[test]
fn a_worker_that_sends_the_answer_after_very_many_reads_has_read_all_the_time() {
    let answer = [send(WORKER, CLIENT, 815), sleep(LOOP, 31, 818, EPOLL)];
    let books = played(many_sleeps(WORKER, 12, PAGE).chain(answer), 820);
    assert_eq!(tally(&books).sum_ns, (815 - 10) * MS);
    let disk = requests(&books, Class::Disk);
    assert!((385..=405).contains(&disk), "{disk}");
    assert_all_has_a_class(&books);
}
