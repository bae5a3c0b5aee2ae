//! Requests, links, and who is who.

use super::*;

#[test]
fn a_keep_alive_connection_has_one_turn_for_each_answer() {
    let events = vec![
        first(10, 0),
        receive(11, 10),
        send(20, false),
        send(25, false),
        Event::Wait(wait(26, 50, 0, EPOLL)),
        receive(51, 49),
        send(55, false),
        Event::Wait(Wait {
            flags: WAIT_OPEN | WAIT_NO_WAKER,
            ..wait(56, 100, 0, EPOLL)
        }),
    ];
    let books = books(events, 100);
    let tally = books.requests.clone().unwrap();
    assert_eq!((tally.count, tally.open), (2, 0));
    assert_eq!(tally.max_ns, Some(15 * MS));
    assert_eq!(threads(&books, Class::Idle), 10 + 24 - 1 + 44);
    close(&books);
}

#[test]
fn a_request_takes_the_waits_of_the_thread_that_owns_it() {
    let events = vec![
        first(10, 0),
        receive(10, 10),
        Event::Wait(wait(12, 42, 5, PAGE)),
        send(43, false),
    ];
    let books = books(events, 50);
    assert_eq!(requests(&books, Class::Disk), 25);
    assert_eq!(requests(&books, Class::Cpu), 5);
    assert_eq!(requests(&books, Class::OnCpu), 3);
}

#[test]
fn an_open_request_is_counted_with_its_age() {
    let open = Wait {
        flags: WAIT_OPEN | WAIT_IOWAIT | WAIT_NO_WAKER,
        ..wait(12, 100, 0, PAGE)
    };
    let books = books(vec![first(10, 0), receive(10, 10), Event::Wait(open)], 100);
    let tally = books.requests.clone().unwrap();
    assert_eq!(
        (tally.count, tally.open, tally.oldest_open_ns),
        (0, 1, Some(90 * MS))
    );
    assert_eq!(requests(&books, Class::Disk), 88);
}

#[test]
fn a_sleep_with_a_full_socket_is_a_wait_for_the_network_by_bytes_of_the_senders() {
    let link = |pid, bytes, at: u64| {
        let ns = T0 + at * MS;
        Event::Link(Link {
            ns,
            ifindex: 5,
            name: "eth0".to_owned(),
            pid,
            bytes,
            packets: 9,
            backlog_min: 4,
            ..Link::default()
        })
    };
    let mut events = vec![first(10, 0), receive(10, 10), send(11, true)];
    for at in [10, 20, 30] {
        events.extend([link(OTHER, 3000, at), link(TARGET, 1000, at)]);
    }
    events.extend([Event::Wait(wait(11, 39, 0, EPOLL)), send(39, false)]);
    let books = books(events, 39);
    assert_eq!(threads(&books, Class::Network), 28);
    assert_eq!(charged(&books, Resource::Network, other(&books)), 21);
    assert_eq!(charged(&books, Resource::Network, Holder::Own), 7);
    close(&books);
}

#[test]
fn a_full_socket_without_a_queue_behind_it_means_a_slow_peer() {
    let events = vec![
        first(10, 0),
        receive(10, 10),
        send(11, true),
        Event::Wait(wait(11, 39, 0, EPOLL)),
        send(39, false),
    ];
    let books = books(events, 40);
    assert_eq!(charged(&books, Resource::Network, Holder::Peer), 28);
    close(&books);
}

#[test]
fn a_reused_pid_is_another_process() {
    let reborn = event::Fork {
        ns: T0 + 20 * MS,
        pid: OTHER,
        tid: OTHER,
        parent_pid: 1,
        ..event::Fork::default()
    };
    let events = vec![
        first(10, 0),
        slice(0, OTHER, 10, 15),
        Event::Wait(preempted(10, 15)),
        Event::Exit(event::Exit {
            ns: T0 + 16 * MS,
            pid: OTHER,
        }),
        Event::Fork(reborn),
        slice(0, OTHER, 30, 35),
        Event::Wait(preempted(30, 35)),
    ];
    let books = books(events, 40);
    let theirs = books
        .processes
        .iter()
        .enumerate()
        .filter(|(_, process)| process.pid == OTHER);
    let charges: Vec<u64> = theirs
        .map(|(id, _)| charged(&books, Resource::Cpu, Holder::Process(id)))
        .collect();
    assert_eq!(charges, [5, 5]);
}
