//! Answers in parts, and what a server sends unasked.

use super::*;

const CLIENT: u64 = 9;

/// Asked at 10, answered at 11; then it sleeps twice in this stack for 100 ms and sends after each.
fn sends_after_sleeps(stack: u64) -> Books {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, CLIENT, 11),
        sleep(SERVER, 12, 112, stack),
        send(SERVER, CLIENT, 113),
        sleep(SERVER, 114, 214, stack),
        send(SERVER, CLIENT, 215),
    ];
    books(sleeper(events), 230)
}

#[test]
fn what_the_server_sends_unasked_is_no_part_of_the_answer() {
    let books = sends_after_sleeps(EPOLL);
    let tally = tally(&books);
    assert_eq!((tally.count, tally.open), (1, 0));
    assert_eq!(tally.max_ns, Some(MS));
    assert_eq!(requests(&books, Class::Other), 0);
    // Each push takes the time since something woke the thread.
    assert_eq!(requests(&books, Class::OnCpu), 1 + 1 + 1);
    assert_eq!((tally.sum_ns, tally.uncounted_ns), (MS, 2 * MS));
    assert_eq!(threads(&books, Class::Idle), 10 + 100 + 100);
    assert_closed(&books);
}

#[test]
fn an_answer_in_parts_for_which_the_thread_works_is_one() {
    let books = sends_after_sleeps(PAGE);
    let tally = tally(&books);
    assert_eq!((tally.count, tally.open), (1, 0));
    assert_eq!(tally.max_ns, Some(205 * MS));
    assert_eq!(requests(&books, Class::Disk), 200);
}

#[test]
fn work_for_others_between_two_pushes_is_no_work_for_the_answer() {
    const OTHER: u64 = 10;
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, CLIENT, 11),
        sleep(SERVER, 11, 31, EPOLL),
        receive(SERVER, OTHER, 31, 31),
        send(SERVER, OTHER, 90),
        sleep(SERVER, 90, 112, EPOLL),
        send(SERVER, CLIENT, 113),
    ];
    let books = books(sleeper(events), 130);
    let tally = tally(&books);
    assert_eq!((tally.count, tally.max_ns), (2, Some(59 * MS)));
    assert_eq!(requests(&books, Class::Other), 0);
}
