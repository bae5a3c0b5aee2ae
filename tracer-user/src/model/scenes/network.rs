//! Links as places, through the whole fold.

use tracer_common::tcp::LINK_UNREAD;

use super::*;

const CLIENT: u64 = 9;
/// A connection on which the target asks.
const ASKED: u64 = 8;

fn events(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    running(SERVER).into_iter().chain(more).collect()
}

/// A request with an answer that does not fit at 11 ms and goes on at 39 ms.
fn stuck() -> [Event; 4] {
    [
        receive(SERVER, CLIENT, 10, 10),
        send_part(SERVER, CLIENT, 11),
        sleep(SERVER, 11, 39, EPOLL),
        send(SERVER, CLIENT, 39),
    ]
}

fn acknowledged(ms: u64) -> Event {
    Event::Ack(event::Ack {
        ns: at(ms),
        socket: CLIENT,
    })
}

#[test]
fn the_part_of_a_wait_in_which_the_queue_was_empty_is_the_peers() {
    let full = [10, 20].map(|ms| sent(TAR, ms, 3000, 2));
    let empty = sent(SERVER, 30, 100, 0);
    let books = books(events(full.into_iter().chain([empty]).chain(stuck())), 40);
    // 11 to 30 the queue never emptied, 30 to 39 it did.
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 19);
    assert_eq!(charged(&books, Resource::Network, Holder::Peer), 9);
    assert_eq!(requests(&books, Class::Network), 28);
    assert_closed(&books);
}

/// The client opens its window, or asks for more on the same connection (HTTP/2): that is a request of its own.
#[test]
fn what_did_not_fit_stands_in_the_way_of_the_next_request_until_it_is_acknowledged() {
    let played = |acknowledged_ms: Option<u64>| {
        let full = [10, 20, 30].map(|ms| sent(TAR, ms, 3000, 2));
        let first = [
            receive(SERVER, CLIENT, 10, 10),
            send_part(SERVER, CLIENT, 11),
        ];
        let second = [
            sleep(SERVER, 11, 20, EPOLL),
            receive(SERVER, CLIENT, 20, 20),
            sleep(SERVER, 20, 39, EPOLL),
            send(SERVER, CLIENT, 39),
        ];
        let turns = first.into_iter();
        let turns = turns.chain(acknowledged_ms.map(acknowledged)).chain(second);
        let books = books(events(full.into_iter().chain(turns)), 39);
        let waits = [Class::Network, Class::Other].map(|class| requests(&books, class));
        (
            waits,
            charged(&books, Resource::Network, holder(&books, TAR)),
        )
    };
    assert_eq!(played(None), ([19, 0], 19));
    // What was under way until 15 ms waited for the link, too.
    assert_eq!(played(Some(15)), ([4, 19], 4));
}

/// [`sent`], through one transmit queue, by packets that were so late.
fn queued(queue: u32, pid: u32, ms: u64, late_ms: u64) -> Event {
    let Event::Link(link) = sent(pid, ms, 1000, 2) else {
        panic!("no link")
    };
    Event::Queue(event::Queue {
        queue,
        timed: 1,
        late_ns: late_ms * MS,
        ..event::Queue::from(&link)
    })
}

/// A socket sends through the second transmit queue from `ms` on.
fn moves(socket: u64, ms: u64) -> Event {
    Event::QueuedFlow(event::QueuedFlow {
        flow: event::Flow {
            ns: at(ms),
            socket,
            ifindex: 5,
            ..event::Flow::default()
        },
        queue: 1,
    })
}

#[test]
fn a_socket_waits_for_its_own_transmit_queue_and_for_nobody_in_another() {
    let slices = [10, 20, 30].into_iter().flat_map(|ms| {
        [
            queued(0, RSYNC, ms, 50),
            queued(1, TAR, ms, 50),
            queued(1, SERVER, ms, 50),
        ]
    });
    let [received, rest @ ..] = stuck();
    let turn = [received, moves(CLIENT, 10)].into_iter().chain(rest);
    let books = books(events(slices.chain(turn)), 39);
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 14);
    assert_eq!(charged(&books, Resource::Network, Holder::Own), 14);
    assert_eq!(charged(&books, Resource::Network, holder(&books, RSYNC)), 0);
    assert_closed(&books);
}

/// What leaves interface 7 at once, of which nobody can read how long its queue is. Of datagrams nobody knows when they were due.
fn passes(pid: u32, ms: u64, timed: u32) -> Event {
    let backlog_min = if timed == 0 { u32::MAX } else { 0 };
    let link = sent_elsewhere(pid, ms, 3000, backlog_min);
    Event::Queue(event::Queue {
        timed,
        flags: LINK_UNREAD,
        ..event::Queue::from(&link)
    })
}

/// A tunnel with a shaper, on an interface that queues: the packets of both tunnellers leave both.
#[test]
fn who_stands_behind_a_shaper_waits_for_nobody_in_the_queue_that_is_passed_after_it() {
    let slices = [10, 20, 30].into_iter().flat_map(|ms| {
        [
            queued(0, RSYNC, ms, 50),
            queued(0, SERVER, ms, 50),
            passes(RSYNC, ms, 1),
            passes(SERVER, ms, 1),
            passes(TAR, ms, 0),
        ]
    });
    let books = books(events(slices.chain(stuck())), 39);
    let of = |holder| charged(&books, Resource::Network, holder);
    assert_eq!(of(holder(&books, RSYNC)), 14);
    assert_eq!(of(Holder::Own), 14);
    assert_eq!(of(holder(&books, TAR)), 0);
    assert_closed(&books);
}

#[test]
fn a_link_that_drops_is_full() {
    let dropping = |ms, drops| match sent(TAR, ms, 1000, 0) {
        Event::Link(link) => Event::Link(Link { drops, ..link }),
        other => other,
    };
    let slices = [
        dropping(0, 7),
        dropping(10, 7),
        dropping(20, 9),
        dropping(30, 9),
    ];
    let books = books(events(slices.into_iter().chain(stuck())), 40);
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 10);
    assert_eq!(charged(&books, Resource::Network, Holder::Peer), 18);
    assert_closed(&books);
}

#[test]
fn a_link_at_its_highest_rate_is_full_only_if_two_send() {
    let rates = [(10, 900, 50), (20, 950, 0), (30, 500, 100)];
    let slices = rates.into_iter().flat_map(|(ms, tar, own)| {
        let own = (own > 0).then(|| sent(SERVER, ms, own, 0));
        [sent(TAR, ms, tar, 0)].into_iter().chain(own)
    });
    // At its begin the link was full for certain: that is its rate.
    let certain = [sent(TAR, 0, 950, 3)];
    let books = books(events(certain.into_iter().chain(slices).chain(stuck())), 40);
    // From 11 to 20 ms: 950 bytes by two, 18 parts to 1 of 9 ms. From 20 to 30 ms: by one. From 30 to 39 ms: far below the highest
    // rate.
    assert_eq!(
        charged_ns(&books, Resource::Network, holder(&books, TAR)),
        9 * MS * 900 / 950
    );
    assert_eq!(charged(&books, Resource::Network, Holder::Peer), 19);
    assert_closed(&books);
}

#[test]
fn a_blocking_send_waits_for_the_link_of_its_connection() {
    let full = [20, 30]
        .into_iter()
        .flat_map(|ms| [sent(TAR, ms, 3000, 3), sent(RSYNC, ms, 1000, 3)]);
    let call = [
        receive(SERVER, CLIENT, 10, 10),
        sleep(SERVER, 20, 40, SEND),
        send(SERVER, CLIENT, 41),
        acknowledged(41),
    ];
    let books = books(events(full.chain(call)), 50);
    assert_eq!(threads(&books, Class::Network), 20);
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 15);
    assert_eq!(charged(&books, Resource::Network, holder(&books, RSYNC)), 5);
    assert_closed(&books);
}

#[test]
fn slices_of_a_long_trace_are_forgotten_and_a_wait_that_reaches_back_to_them_is_nobodys_there() {
    let (slices, end) = (170_000, 1_700_000);
    let begin = [
        sent(TAR, 0, 3000, 3),
        receive(SERVER, CLIENT, 10, 10),
        sleep(SERVER, 20, 40, SEND),
        send(SERVER, CLIENT, 41),
    ];
    let full = (1..slices).map(|slice| sent(TAR, 10 * slice, 3000, 3));
    let stuck = [sleep(SERVER, 50, end, SEND), send(SERVER, CLIENT, end)];
    let books = books(events(begin.into_iter().chain(full).chain(stuck)), end);
    // The first 32,768 slices are charged and forgotten when a quarter more than 131,072 are there; the last of them is that of the
    // window's begin and of the second before it.
    let forgotten = 326_680;
    assert_eq!(
        charged(&books, Resource::Network, Holder::Nobody),
        forgotten - 50
    );
    let rest = 20 + end - forgotten;
    assert_eq!(
        charged(&books, Resource::Network, holder(&books, TAR)),
        rest
    );
    assert_eq!(books.end.map_losses, [("link_slices".to_owned(), 1)]);
    assert_closed(&books);
}

/// While a client waits for its answer, the target sends what it asks for through the second queue, which rsync fills. Tar fills the
/// first one, which is the client's.
fn sends_on_both_queues() -> Vec<Event> {
    let full = [20, 30]
        .into_iter()
        .flat_map(|ms| [queued(0, TAR, ms, 50), queued(1, RSYNC, ms, 50)]);
    let asks = [
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, ASKED, 11),
        moves(ASKED, 12),
    ];
    events(full.chain(asks))
}

#[test]
fn a_send_on_another_connection_waits_for_the_link_of_that_one() {
    let mut events = sends_on_both_queues();
    // A receive between shows that the send before it is over.
    events.extend([
        receive(SERVER, CLIENT, 15, 15),
        sleep(SERVER, 20, 40, SEND),
        send(SERVER, ASKED, 41),
    ]);
    let books = books(events, 50);
    assert_eq!(
        charged(&books, Resource::Network, holder(&books, RSYNC)),
        20
    );
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 0);
    assert_closed(&books);
}

#[test]
fn a_send_that_has_not_returned_waits_for_the_link_of_the_send_before_it() {
    let mut events = sends_on_both_queues();
    events.push(still(SERVER, 20, 40, SEND));
    let books = books(events, 40);
    assert_eq!(
        charged(&books, Resource::Network, holder(&books, RSYNC)),
        20
    );
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 0);
    assert_closed(&books);
}

#[test]
fn an_answer_under_way_counts_while_the_link_is_full_and_for_requests_only() {
    let slices = [
        sent(TAR, 20, 3000, 2),
        sent(SERVER, 20, 1000, 2),
        sent(TAR, 30, 3000, 2),
        sent(SERVER, 30, 1000, 2),
        sent(SERVER, 40, 100, 0),
    ];
    let answer = [receive(SERVER, CLIENT, 15, 15), send(SERVER, CLIENT, 20)];
    let books = books(
        events(slices.into_iter().chain(answer).chain([acknowledged(45)])),
        50,
    );
    assert_eq!(requests(&books, Class::Network), 20);
    assert_eq!(threads(&books, Class::Network), 0);
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 15);
    assert_eq!(charged(&books, Resource::Network, Holder::Own), 5);
    let drain = tally(&books).drain_p99_ns.unwrap();
    assert!(drain.abs_diff(25 * MS) * 100 <= 9 * 25 * MS, "{drain}");
    // Then nothing holds it up, and the client has it 5 ms later.
    assert_eq!(requests(&books, Class::Idle), 5);
    assert_eq!((tally(&books).count, tally(&books).sum_ns), (1, 30 * MS));
}

#[test]
fn an_answer_still_under_way_at_the_end_is_an_open_request_until_there() {
    let full = [20, 30].map(|ms| sent(TAR, ms, 3000, 2));
    let answer = [receive(SERVER, CLIENT, 15, 15), send(SERVER, CLIENT, 20)];
    let books = books(events(full.into_iter().chain(answer)), 40);
    assert_eq!(requests(&books, Class::Network), 20);
    let found = tally(&books);
    assert_eq!(found.drain_p99_ns, None);
    assert_eq!((found.count, found.open, found.open_ns), (0, 1, 25 * MS));
}

#[test]
fn an_answer_that_is_acknowledged_before_its_send_returns_is_not_under_way() {
    let full = [20, 30].map(|ms| sent(TAR, ms, 3000, 2));
    let Event::Call(last) = send(SERVER, CLIENT, 20) else {
        panic!("no call")
    };
    let gone = Event::Call(Call {
        unacked_bytes: 0,
        ..last
    });
    let answer = [receive(SERVER, CLIENT, 15, 15), gone];
    let books = books(events(full.into_iter().chain(answer)), 40);
    assert_eq!(requests(&books, Class::Network), 0);
    assert_eq!((tally(&books).count, tally(&books).open), (1, 0));
}

/// Pipelined: the next request comes while the answer before it is under way.
#[test]
fn an_answer_leaves_although_the_next_request_is_there() {
    let full = (1..6).map(|i| sent(TAR, 10 * i, 3000, 2));
    let delivered = Event::Delivered(event::Delivered {
        ns: at(27),
        socket: CLIENT,
        left_ns: at(25),
    });
    let turns = [
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, CLIENT, 12),
        receive(SERVER, CLIENT, 14, 14),
        delivered,
        send(SERVER, CLIENT, 30),
        acknowledged(30),
    ];
    let books = books(events(full.chain(turns)), 50);
    assert_eq!(requests(&books, Class::Network), 25 - 12);
    assert_eq!(requests(&books, Class::OnCpu), 2 + 16);
    let found = tally(&books);
    assert_eq!((found.count, found.open), (2, 0));
    assert_eq!(found.sum_ns, (15 + 16) * MS);
}

#[test]
fn an_answer_stuck_at_the_end_is_an_open_request_on_the_network() {
    let full = (1..10).map(|i| sent(TAR, 10 * i, 3000, 2));
    let stuck = [
        receive(SERVER, CLIENT, 10, 10),
        send_part(SERVER, CLIENT, 12),
        still(SERVER, 12, 100, EPOLL),
    ];
    let books = books(events(full.chain(stuck)), 100);
    assert_eq!((tally(&books).count, tally(&books).open), (0, 1));
    assert_eq!(requests(&books, Class::Network), 88);
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 88);
    assert_closed(&books);
}

#[test]
fn an_acknowledgement_in_the_middle_of_an_answer_ends_no_drain() {
    let full = (1..6).map(|i| sent(TAR, 10 * i, 3000, 2));
    let answer = [
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, CLIENT, 12),
        sleep(SERVER, 13, 40, PAGE),
        acknowledged(30),
        send(SERVER, CLIENT, 41),
        acknowledged(45),
        receive(SERVER, CLIENT, 48, 48),
        send(SERVER, CLIENT, 49),
        acknowledged(49),
    ];
    let events = running(SERVER).into_iter().chain(full);
    let books = books(events.chain(answer), 50);
    // From 10 to 41 ms: 27 on the disk, 4 on the CPU. From 41 to 45 ms: under way. From 48 to 49 ms: on the CPU.
    assert_eq!(requests(&books, Class::Disk), 27);
    assert_eq!(requests(&books, Class::OnCpu), 4 + 1);
    assert_eq!(requests(&books, Class::Network), 4);
}

#[test]
fn an_answer_that_has_left_waits_for_no_link_however_long_its_acknowledgement_takes() {
    let full = (1..10).map(|i| sent(TAR, 10 * i, 3000, 2));
    let answer = [receive(SERVER, CLIENT, 15, 15), send(SERVER, CLIENT, 20)];
    let delivered = Event::Delivered(event::Delivered {
        ns: at(90),
        socket: CLIENT,
        left_ns: at(33),
    });
    let books = books(events(full.chain(answer).chain([delivered])), 95);
    assert_eq!(requests(&books, Class::Network), 13);
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 13);
    assert_eq!(tally(&books).max_ns, Some(18 * MS));
    let drain = tally(&books).drain_p99_ns.unwrap();
    assert!(drain.abs_diff(70 * MS) * 100 <= 9 * 70 * MS, "{drain}");
}

#[test]
fn an_answer_that_left_before_its_send_returned_waited_for_nothing() {
    let full = (1..10).map(|i| sent(TAR, 10 * i, 3000, 2));
    let answer = [receive(SERVER, CLIENT, 15, 15), send(SERVER, CLIENT, 20)];
    let delivered = Event::Delivered(event::Delivered {
        ns: at(90),
        socket: CLIENT,
        left_ns: at(19),
    });
    let books = books(events(full.chain(answer).chain([delivered])), 95);
    assert_eq!(requests(&books, Class::Network), 0);
    assert_closed(&books);
}

/// An answer over a way without a link that queues. Its last send at 20 ms leaves so many bytes behind, and the client acknowledges all
/// of them at 90 ms.
fn answered_to_a_slow_client(unsent_bytes: u32, left_ns: Option<u64>) -> Books {
    let Event::Call(last) = send(SERVER, CLIENT, 20) else {
        panic!("no call")
    };
    let last = Event::Call(Call {
        unsent_bytes,
        ..last
    });
    let all = left_ns.map_or(acknowledged(90), |left_ns| {
        Event::Delivered(event::Delivered {
            ns: at(90),
            socket: CLIENT,
            left_ns,
        })
    });
    books(events([receive(SERVER, CLIENT, 15, 15), last, all]), 95)
}

#[test]
fn over_loopback_an_answer_lasts_until_the_client_has_room_for_the_rest_of_it() {
    let slow = answered_to_a_slow_client(1000, Some(at(60)));
    assert_eq!((tally(&slow).count, tally(&slow).sum_ns), (1, 45 * MS));
    assert_eq!(requests(&slow, Class::Idle), 40);
    assert_eq!(requests(&slow, Class::Network), 0);
}

#[test]
fn over_loopback_an_answer_of_which_nothing_was_left_behind_ends_with_its_send() {
    // The acknowledgement of an earlier part came at 60 ms.
    let fast = answered_to_a_slow_client(0, Some(at(60)));
    assert_eq!((tally(&fast).count, tally(&fast).sum_ns), (1, 5 * MS));
    // Nobody knows when the rest left: the acknowledgement may come with the next request.
    let unknown = answered_to_a_slow_client(1000, None);
    assert_eq!(tally(&unknown).sum_ns, 5 * MS);
}

#[test]
fn an_answer_that_waits_for_a_slow_client_at_the_end_is_an_open_request() {
    let Event::Call(last) = send(SERVER, CLIENT, 20) else {
        panic!("no call")
    };
    let last = Event::Call(Call {
        unsent_bytes: 1000,
        ..last
    });
    let books = books(events([receive(SERVER, CLIENT, 15, 15), last]), 95);
    let found = tally(&books);
    assert_eq!((found.count, found.open, found.open_ns), (0, 1, 80 * MS));
    assert_eq!(requests(&books, Class::Idle), 75);
}
