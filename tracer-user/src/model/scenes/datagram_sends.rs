//! Sends of datagrams that wait until earlier ones have left.

use super::*;

/// A stack of such a send.
const DATAGRAM: u64 = 20;

/// The target waits from 20 to 40 ms in one.
fn sends() -> [Event; 2] {
    let frames = ["schedule", "sock_alloc_send_pskb", "udp_sendmsg"];
    [stack(DATAGRAM, &frames), sleep(SERVER, 20, 40, DATAGRAM)]
}

/// [`sent`], through another interface, by TCP.
fn elsewhere(ms: u64) -> Event {
    let link = sent_elsewhere(SERVER, ms, 3000, 3);
    Event::Queue(event::Queue {
        timed: 1,
        late_ns: 50 * MS,
        ..event::Queue::from(&link)
    })
}

fn books_of(more: impl IntoIterator<Item = Event>) -> Books {
    let books = books(running(SERVER).into_iter().chain(more), 50);
    assert_closed(&books);
    books
}

#[test]
fn a_datagram_waits_for_the_link_through_which_its_process_sends_and_never_for_its_receiver() {
    // What leaves while it waits is recorded later.
    let left = [20, 30]
        .into_iter()
        .flat_map(|ms| [sent(TAR, ms, 3000, 3), sent(SERVER, ms, 1000, 3)]);
    let full = books_of(sends().into_iter().chain(left));
    assert_eq!(threads(&full, Class::Network), 20);
    assert_eq!(charged(&full, Resource::Network, holder(&full, TAR)), 15);
    assert_eq!(charged(&full, Resource::Network, Holder::Own), 5);
    let unseen = books_of(sends());
    assert_eq!(charged(&unseen, Resource::Network, Holder::Nobody), 20);
}

#[test]
fn of_two_links_a_datagram_waits_for_that_through_which_datagrams_of_the_target_left() {
    let own = [20, 30].map(|ms| sent(SERVER, ms, 1000, 3));
    let full = [20, 30].map(|ms| sent(TAR, ms, 3000, 3));
    let other = [10, 20, 30].map(elsewhere);
    let books = books_of(own.into_iter().chain(full).chain(other).chain(sends()));
    assert_eq!(books.places, ["eth0", "eth1"]);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let mut network = charges.filter(|charge| charge.resource == Resource::Network);
    assert!(network.all(|charge| charge.place == Some(0)));
    assert_eq!(charged(&books, Resource::Network, holder(&books, TAR)), 15);
}

#[test]
fn datagrams_that_nobody_waits_for_show_among_whose_packets_they_left() {
    let full = [20, 30]
        .into_iter()
        .flat_map(|ms| [sent(TAR, ms, 3000, 3), sent(SERVER, ms, 1000, 3)]);
    let books = books_of(full.chain([sent(SERVER, 40, 1000, 0)]));
    let [found] = &books.datagrams_behind[..] else {
        panic!("{:?}", books.datagrams_behind)
    };
    assert_eq!((found.slices, found.full), (3, 2));
    let bytes = [(holder(&books, TAR), 6000), (Holder::Own, 2000)];
    assert_eq!(found.bytes, bytes.into());
    assert_eq!(threads(&books, Class::Network), 0);
}

#[test]
fn what_left_late_by_tcp_is_no_datagram() {
    let books = books_of([10, 20, 30].map(elsewhere));
    assert_eq!(books.datagrams_behind, []);
}
