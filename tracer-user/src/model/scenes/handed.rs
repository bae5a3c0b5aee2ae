//! An interface of which a process takes the packets, as a VPN does, and sends them on through another one.

use tracer_common::tcp::LINK_HANDED;

use super::*;

const CLIENT: u64 = 9;
/// Numbers of the interfaces: that of the process, and the one through which it sends.
const TUNNEL: u32 = 9;

/// The target sends through the tunnel in the 10 ms from `ms` on, and nothing waits there.
fn into_tunnel(ms: u64) -> Event {
    let Event::Link(link) = sent(SERVER, ms, 1000, 0) else {
        panic!("no link")
    };
    let link = Link {
        ifindex: TUNNEL,
        name: "tun0".to_owned(),
        ..link
    };
    Event::Queue(event::Queue {
        timed: 1,
        flags: LINK_HANDED,
        ..event::Queue::from(&link)
    })
}

fn through_tunnel(event: Event) -> Event {
    match event {
        Event::Call(call) => Event::Call(Call {
            ifindex: TUNNEL,
            ..call
        }),
        other => other,
    }
}

/// The target waits from 20 to 40 ms to send into the tunnel. RSYNC takes what is in there, and TAR sends beside it, through a queue
/// with so many packets.
fn books_of(backlog: u32, is_known: bool) -> Books {
    let taken = Event::Handed(event::Handed {
        ns: at(1),
        ifindex: TUNNEL,
        pid: RSYNC,
        ..event::Handed::default()
    });
    let slices = [20, 30].into_iter().flat_map(|ms| {
        [
            sent(TAR, ms, 3000, backlog),
            sent(RSYNC, ms, 1000, backlog),
            into_tunnel(ms),
        ]
    });
    let calls = [
        receive(SERVER, CLIENT, 10, 10),
        sleep(SERVER, 20, 40, SEND),
        send(SERVER, CLIENT, 41),
        Event::Ack(event::Ack {
            ns: at(41),
            socket: CLIENT,
        }),
    ];
    let calls = calls.map(through_tunnel);
    let events = running(SERVER).into_iter();
    let events = events.chain(is_known.then_some(taken));
    let books = books(events.chain(slices).chain(calls), 50);
    assert_eq!(threads(&books, Class::Network), 20);
    assert_closed(&books);
    books
}

#[test]
fn who_sends_into_a_tunnel_waits_for_the_queue_through_which_its_process_sends() {
    let books = books_of(3, true);
    let of = |holder| charged(&books, Resource::Network, holder);
    assert_eq!(of(holder(&books, TAR)), 15);
    // What the process sends is the target's.
    assert_eq!(of(Holder::Own), 5);
    assert_eq!(of(holder(&books, RSYNC)), 0);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let mut network = charges.filter(|charge| charge.resource == Resource::Network);
    assert!(network.all(|charge| {
        let place = charge.place.map(|place| books.places[place].as_str());
        (place, charge.estimated_ns) == (Some("eth0"), charge.ns)
    }));
    assert_eq!(books.blind_links, []);
}

#[test]
fn nobody_is_known_to_hold_a_tunnel_without_a_process_or_with_room_behind_it() {
    let unknown = books_of(3, false);
    assert_eq!(charged(&unknown, Resource::Network, Holder::Nobody), 20);
    assert_eq!(unknown.blind_links.len(), 1);
    let free = books_of(0, true);
    assert_eq!(charged(&free, Resource::Network, Holder::Nobody), 20);
}
