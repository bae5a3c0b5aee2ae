//! Requests, links, and the identity of processes.

use super::*;

const CLIENT: u64 = 9;

#[test]
fn a_keep_alive_connection_has_one_turn_for_each_answer() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        receive(SERVER, CLIENT, 11, 10),
        send(SERVER, CLIENT, 20),
        send(SERVER, CLIENT, 25),
        sleep(SERVER, 26, 50, EPOLL),
        receive(SERVER, CLIENT, 51, 49),
        send(SERVER, CLIENT, 55),
        Event::Wait(Wait {
            flags: WAIT_OPEN | WAIT_NO_WAKER,
            ..asleep(SERVER, 56, 100, 0, EPOLL)
        }),
    ];
    let books = books(sleeper(events), 100);
    let tally = tally(&books);
    assert_eq!((tally.count, tally.open), (2, 0));
    assert_eq!(tally.max_ns, Some(15 * MS));
    assert_eq!(threads(&books, Class::Idle), 10 + 24 - 1 + 44);
    assert_closed(&books);
}

#[test]
fn a_request_takes_the_waits_of_the_thread_that_owns_it() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        receive(SERVER, CLIENT, 10, 10),
        Event::Wait(asleep(SERVER, 12, 42, 5, PAGE)),
        send(SERVER, CLIENT, 43),
    ];
    let books = books(sleeper(events), 50);
    assert_eq!(requests(&books, Class::Disk), 25);
    assert_eq!(requests(&books, Class::Cpu), 5);
    assert_eq!(requests(&books, Class::OnCpu), 3);
}

#[test]
fn an_open_request_is_counted_with_its_age() {
    let open = Wait {
        flags: WAIT_OPEN | WAIT_IOWAIT | WAIT_NO_WAKER,
        ..asleep(SERVER, 12, 100, 0, PAGE)
    };
    let books = books(
        sleeper(vec![
            Event::Wait(first(SERVER, 10, 0)),
            receive(SERVER, CLIENT, 10, 10),
            Event::Wait(open),
        ]),
        100,
    );
    let tally = tally(&books);
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
    let mut events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        receive(SERVER, CLIENT, 10, 10),
        send_part(SERVER, CLIENT, 11),
    ];
    for at in [10, 20, 30] {
        events.extend([link(TAR, 3000, at), link(SERVER, 1000, at)]);
    }
    events.extend([sleep(SERVER, 11, 39, EPOLL), send(SERVER, CLIENT, 39)]);
    let books = books(sleeper(events), 39);
    assert_eq!(threads(&books, Class::Network), 28);
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 21);
    assert_eq!(charged(&books, Resource::Network, Holder::Own), 7);
    assert_closed(&books);
}

#[test]
fn a_full_socket_without_a_queue_behind_it_means_a_slow_peer() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        receive(SERVER, CLIENT, 10, 10),
        send_part(SERVER, CLIENT, 11),
        sleep(SERVER, 11, 39, EPOLL),
        send(SERVER, CLIENT, 39),
    ];
    let books = books(sleeper(events), 40);
    assert_eq!(charged(&books, Resource::Network, Holder::Peer), 28);
    assert_closed(&books);
}

#[test]
fn a_reused_pid_is_another_process() {
    let reborn = event::Fork {
        ns: at(20),
        pid: TAR,
        tid: TAR,
        parent_pid: 1,
        ..event::Fork::default()
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 10, 15),
        Event::Wait(preempted(SERVER, 10, 15)),
        Event::Exit(event::Exit {
            ns: at(16),
            pid: TAR,
        }),
        Event::Fork(reborn),
        slice(0, TAR, 30, 35),
        Event::Wait(preempted(SERVER, 30, 35)),
    ];
    let books = books(sleeper(events), 40);
    let theirs = books
        .processes
        .iter()
        .enumerate()
        .filter(|(_, process)| process.pid == TAR);
    let charges: Vec<u64> = theirs
        .map(|(id, _)| charged(&books, Resource::Cpu, Holder::Process(id)))
        .collect();
    assert_eq!(charges, [5, 5]);
}

#[test]
fn ten_thousand_idle_connections_end_in_a_copy_of_the_books_as_in_the_books() {
    const MANY: u64 = 10_000;
    let calls = |client: u64, ns: u64| {
        let call = |ns, flags| Call {
            ns,
            socket: CLIENT + client,
            result: 100,
            arrived_ns: ns,
            pid: SERVER,
            tid: SERVER,
            flags,
            ..Call::default()
        };
        [call(ns, 0), call(ns + 10_000, CALL_SEND)].map(Event::Call)
    };
    let seen = |client: u64| {
        Event::Socket(event::Socket {
            ns: at(11),
            socket: CLIENT + client,
            pid: SERVER,
            local: "10.0.0.1:80".to_owned(),
            local_port: 80,
            remote: format!("10.0.0.2:{}", 10_000 + client),
        })
    };
    let mut model = Model::new();
    let begin = attach().into_iter();
    let begin = begin.chain(sleeper([Event::Wait(first(SERVER, 10, 0))]));
    let each = (0..MANY).flat_map(|client| calls(client, at(11) + client * 20_000));
    let all = begin.chain((0..MANY).map(seen)).chain(each);
    all.for_each(|event| model.apply(&event));
    let so_far = |model: &Model| {
        let tally = tally(&model.clone().close());
        (tally.count, tally.open, tally.sum_ns)
    };
    let expected = (MANY, 0, MANY * 10_000);
    // A copy that was closed took nothing from the books.
    assert_eq!([so_far(&model), so_far(&model)], [expected; 2]);
    calls(7, at(500))
        .iter()
        .for_each(|event| model.apply(event));
    assert_eq!(so_far(&model), (MANY + 1, 0, (MANY + 1) * 10_000));
    assert_eq!(tally(&model.close()).count, MANY + 1);
}
