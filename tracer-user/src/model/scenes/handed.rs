//! An interface of which a process takes the packets, as a VPN does, and sends them on through another one.

use tracer_common::tcp::LINK_HANDED;

use super::*;

const CLIENT: u64 = 9;
/// Numbers of the interfaces that hand over to a process: the target's, and one into which the process behind that sends.
const TUNNEL: u32 = 9;
const OUTER: u32 = 10;
/// The process behind that one.
const VPN: u32 = 900;

/// A process sends into such an interface in the 10 ms from `ms` on, and nothing waits there.
fn into(ifindex: u32, pid: u32, ms: u64) -> Event {
    let Event::Link(link) = sent(pid, ms, 1000, 0) else {
        panic!("no link")
    };
    let link = Link {
        ifindex,
        name: format!("tun{ifindex}"),
        ..link
    };
    Event::Queue(event::Queue {
        timed: u32::from(pid == SERVER),
        flags: LINK_HANDED,
        ..event::Queue::from(&link)
    })
}

fn taken(ifindex: u32, pid: u32) -> Event {
    Event::Handed(event::Handed {
        ns: at(1),
        ifindex,
        pid,
        ..event::Handed::default()
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
    let slices = [20, 30].into_iter().flat_map(|ms| {
        [
            sent(TAR, ms, 3000, backlog),
            sent(RSYNC, ms, 1000, backlog),
            into(TUNNEL, SERVER, ms),
        ]
    });
    let known = is_known.then(|| taken(TUNNEL, RSYNC));
    waiting(known.into_iter().chain(slices))
}

/// RSYNC sends into another tunnel, and VPN what is in that, beside TAR.
fn books_of_two(backlog: u32) -> Books {
    let slices = [20, 30].into_iter().flat_map(|ms| {
        [
            sent(TAR, ms, 3000, backlog),
            sent(VPN, ms, 1000, backlog),
            into(OUTER, RSYNC, ms),
            into(TUNNEL, SERVER, ms),
        ]
    });
    let known = [taken(TUNNEL, RSYNC), taken(OUTER, VPN)];
    waiting(known.into_iter().chain(slices))
}

fn waiting(more: impl Iterator<Item = Event>) -> Books {
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
    let events = running(SERVER).into_iter().chain(more);
    let books = books(events.chain(calls), 50);
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

#[test]
fn who_sends_into_a_tunnel_within_a_tunnel_waits_for_the_queue_beyond_both() {
    let full = books_of_two(3);
    let of = |holder| charged(&full, Resource::Network, holder);
    assert_eq!((of(holder(&full, TAR)), of(Holder::Own)), (15, 5));
    assert_eq!(full.blind_links, []);
    let free = books_of_two(0);
    assert_eq!(charged(&free, Resource::Network, Holder::Nobody), 20);
}

#[test]
fn processes_that_send_into_each_others_tunnels_have_a_last_way() {
    // RSYNC takes what is in every other one, and sends into those of VPN.
    let all = (20..1_020).flat_map(|ifindex| {
        let (takes, sends) = match ifindex % 2 {
            0 => (VPN, RSYNC),
            _ => (RSYNC, VPN),
        };
        [taken(ifindex, takes), into(ifindex, sends, 20)]
    });
    let target = [taken(TUNNEL, RSYNC), into(TUNNEL, SERVER, 20)];
    let books = waiting(target.into_iter().chain(all));
    assert_eq!(charged(&books, Resource::Network, Holder::Nobody), 20);
}
