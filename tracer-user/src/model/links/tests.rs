//! Links: which senders a wait is charged to, by whose packets stood in the queue.

use tracer_common::tcp::{LINK_HANDED, LINK_SLICE_NS, LINK_UNREAD};

use super::{
    charge,
    flow::Limit,
    link::{Link, Share},
    slice::AFTER_DROP,
};
use crate::{
    event,
    model::books::{Blind, Holder},
};

/// What was sent in a slice: one packet.
pub(super) fn sent(ns: u64, bytes: u64, backlog_min: u32) -> event::Queue {
    event::Queue::from(&event::Link {
        ns,
        bytes,
        backlog_min,
        packets: 1,
        ..event::Link::default()
    })
}

/// As [`sent`], with the time by which the latest packet was late.
fn timed(ns: u64, bytes: u64, backlog_min: u32, late_ns: u64) -> event::Queue {
    event::Queue {
        timed: 1,
        late_ns,
        ..sent(ns, bytes, backlog_min)
    }
}

#[test]
fn a_share_is_charged_over_its_slice() {
    let share = Share {
        holder: Holder::Own,
        begin: 7 * LINK_SLICE_NS,
        ns: 5,
    };
    let charge = charge(&Link::new(3), share);
    assert_eq!(charge.span, (7 * LINK_SLICE_NS, 8 * LINK_SLICE_NS));
    assert_eq!((charge.place, charge.ns), (Some(3), 5));
}

/// Charges of a wait of 4 ms in the first slice.
fn charged(sent: &[(event::Queue, Holder)], limit: Limit) -> Vec<(Holder, u64)> {
    let mut link = Link::new(0);
    for (slice, holder) in sent {
        link.sent(slice, *holder);
    }
    link.waited(1_000_000, 5_000_000, 4_000_000, limit);
    let shares = link.shares().waits.into_iter();
    shares.map(|share| (share.holder, share.ns)).collect()
}

const BACKUP: Holder = Holder::Process(1);

#[test]
fn a_queue_that_others_fill_is_not_full_for_a_target_whose_packets_leave_on_time() {
    let shaped = (timed(0, 9000, 3, 80_000_000), BACKUP);
    let at_once = (timed(0, 1000, u32::MAX, 100_000), Holder::Own);
    let both = [shaped.clone(), at_once];
    assert_eq!(charged(&both, Limit::Path), [(Holder::Peer, 4_000_000)]);
    assert_eq!(
        charged(&both, Limit::Loss),
        [(Holder::LossyPath, 4_000_000)]
    );
    let late = (timed(0, 1000, 3, 80_000_000), Holder::Own);
    assert_eq!(
        charged(&[shaped, late], Limit::Path),
        [(BACKUP, 3_600_000), (Holder::Own, 400_000)]
    );
}

#[test]
fn an_answer_under_way_to_a_client_far_away_waits_for_no_class_of_others() {
    let mut link = Link::new(0);
    for slice in 0..20 {
        link.sent(&timed(slice * LINK_SLICE_NS, 9000, 3, 80_000_000), BACKUP);
    }
    link.sent(&timed(0, 1000, u32::MAX, 0), Holder::Own);
    link.sent(&timed(15 * LINK_SLICE_NS, 1000, u32::MAX, 0), Holder::Own);
    link.drained(0, 20 * LINK_SLICE_NS, Limit::Path);
    assert_eq!(link.shares().drains, []);
}

#[test]
fn a_sender_whose_packets_leave_on_time_takes_no_room_from_those_that_wait() {
    let on_time = (timed(0, 9000, u32::MAX, 0), BACKUP);
    let own = (timed(0, 1000, 3, 5_000_000), Holder::Own);
    assert_eq!(
        charged(&[on_time, own.clone()], Limit::Path),
        [(Holder::Own, 4_000_000)]
    );
    // Datagrams show no time, however punctual the rest of a process is.
    let mixed = event::Queue {
        timed: 1,
        ..sent(0, 9000, 3)
    };
    let two = event::Queue {
        link: event::Link {
            packets: 2,
            ..mixed.link
        },
        ..mixed
    };
    assert_eq!(charged(&[(two, BACKUP), own], Limit::Path)[0].0, BACKUP);
}

#[test]
fn who_has_a_class_with_a_rate_of_its_own_is_charged_with_nothing() {
    let mut link = Link::new(0);
    for slice in 0..100 {
        let (ns, own) = (slice * LINK_SLICE_NS, 1000 * (slice * 7 % 10));
        let mut backup = timed(ns, 25_000, 3, 80_000_000);
        backup.link.packets = 20;
        link.sent(&backup, BACKUP);
        link.sent(&timed(ns, own, 3, 5_000_000), Holder::Own);
    }
    link.waited(0, 1_000_000_000, 1_000_000_000, Limit::Path);
    assert!(
        link.shares()
            .waits
            .iter()
            .all(|share| share.holder == Holder::Own)
    );
}

#[test]
fn a_queue_that_cannot_be_read_leaves_the_wait_to_nobody() {
    let mut unread = sent(0, 9000, u32::MAX);
    unread.flags = LINK_UNREAD;
    let untimed = [(unread.clone(), BACKUP), (unread.clone(), Holder::Own)];
    assert_eq!(
        charged(&untimed, Limit::Path),
        [(Holder::Nobody, 4_000_000)]
    );
    assert_eq!(
        charged(&untimed, Limit::Closed),
        [(Holder::Peer, 4_000_000)]
    );
    let late = event::Queue {
        flags: LINK_UNREAD,
        ..timed(0, 1000, 1, 5_000_000)
    };
    let seen = [(unread.clone(), BACKUP), (late, Holder::Own)];
    assert_eq!(charged(&seen, Limit::Path)[0], (BACKUP, 3_600_000));
    let blind = |sent: &[event::Queue]| {
        let mut link = Link::new(0);
        sent.iter().for_each(|slice| link.sent(slice, Holder::Own));
        link.blind()
    };
    assert_eq!(blind(std::slice::from_ref(&unread)), Some(Blind::Unread));
    assert_eq!(blind(&[unread, seen[1].0.clone()]), None);
    assert_eq!(blind(&[]), None);
}

#[test]
fn what_is_behind_a_tunnels_process_is_nobodys() {
    let mut own = timed(0, 1000, u32::MAX, 0);
    own.flags = LINK_HANDED;
    let sent = [(own.clone(), Holder::Own)];
    assert_eq!(charged(&sent, Limit::Path), [(Holder::Nobody, 4_000_000)]);
    assert_eq!(charged(&sent, Limit::Closed), [(Holder::Peer, 4_000_000)]);
    let mut link = Link::new(0);
    link.sent(&own, Holder::Own);
    assert_eq!(link.blind(), Some(Blind::Handed));
    // Nor does its own data tell for what it stands in the queue there; that of another one takes its turns.
    let mut stands = timed(0, 1000, 2, LINK_SLICE_NS);
    stands.flags = LINK_HANDED;
    let alone = (stands.clone(), Holder::Own);
    assert_eq!(
        charged(std::slice::from_ref(&alone), Limit::Path),
        [(Holder::Nobody, 4_000_000)]
    );
    let beside = [(stands, BACKUP), alone];
    assert_eq!(charged(&beside, Limit::Path)[0], (BACKUP, 2_000_000));
}

#[test]
fn a_datagram_that_waits_behind_no_full_queue_waits_for_nobody_known_and_never_for_its_receiver() {
    let empty = [(sent(0, 3000, 0), Holder::Own)];
    assert_eq!(charged(&empty, Limit::Queue), [(Holder::Nobody, 4_000_000)]);
    let full = [(sent(0, 3000, 2), BACKUP), (sent(0, 1000, 2), Holder::Own)];
    assert_eq!(
        charged(&full, Limit::Queue),
        [(BACKUP, 3_000_000), (Holder::Own, 1_000_000)]
    );
}

#[test]
fn a_datagram_waits_for_nobody_known_where_packets_are_sorted_into_classes() {
    let held_up = |own: event::Queue| {
        let mut link = Link::new(0);
        link.has_classes = true;
        link.sent(&sent(0, 3000, 2), BACKUP);
        link.sent(&own, Holder::Own);
        link.waited(1_000_000, 5_000_000, 4_000_000, Limit::Queue);
        link.shares().waits[0].holder
    };
    assert_eq!(held_up(sent(0, 1000, 2)), Holder::Nobody);
    // Its packets of TCP stood in the queue, too.
    assert_eq!(held_up(timed(0, 1000, 2, 80_000_000)), BACKUP);
}

#[test]
fn nobody_is_out_of_the_way_in_an_interface_with_one_queue() {
    let holders = |has_one_queue: bool| {
        let mut link = Link::new(0);
        link.has_one_queue = has_one_queue;
        for slice in 0..100 {
            let at = slice * LINK_SLICE_NS;
            link.sent(&sent(at, 25_000, 2), BACKUP);
            link.sent(&sent(at, 1000 * (slice * 7 % 10), 2), Holder::Own);
        }
        link.waited(1_000_000, 5_000_000, 4_000_000, Limit::Path);
        let shares = link.shares();
        shares.waits.iter().any(|share| share.holder == BACKUP)
    };
    assert!(holders(true));
    assert!(!holders(false));
}

/// A link on which the target waits all the time while a backup fills each of these slices.
fn waited_on(slices: u64) -> Link {
    let mut link = Link::new(0);
    for slice in 0..slices {
        link.sent(&sent(slice * LINK_SLICE_NS, 3000, 2), BACKUP);
    }
    let ns = slices * LINK_SLICE_NS;
    link.waited(0, ns, ns, Limit::Path);
    link
}

#[test]
fn a_link_charges_what_it_forgets_and_charges_it_once() {
    let mut link = waited_on(2000);
    let all = link.shares().waits;
    assert_eq!(link.fold(1999), None);
    let folded = link.fold(1000).unwrap().waits;
    assert_eq!(folded.len(), 1000);
    assert_eq!([folded, link.shares().waits].concat(), all);
    assert!(link.slices.len() <= 1000 + AFTER_DROP as usize);
    // A record that comes late brings no slice back.
    link.sent(&sent(0, 3000, 2), BACKUP);
    assert_eq!(*link.slices.first_key_value().unwrap().0, 1000 - AFTER_DROP);
}

#[test]
fn of_a_wait_that_began_before_what_a_link_keeps_it_knows_the_rest() {
    let mut link = waited_on(2000);
    assert_eq!(link.forgot(0, 10, 10), (0, 0));
    let _ = link.fold(1000);
    let first = (1000 - AFTER_DROP) * LINK_SLICE_NS;
    assert_eq!(link.forgot(0, 2 * first, 100), (first, 50));
    assert_eq!(link.forgot(0, first / 2, 100), (first / 2, 100));
    assert_eq!(link.forgot(first, 2 * first, 100), (first, 0));
}

#[test]
fn slices_that_are_forgotten_still_say_how_fast_a_link_is_and_how_late_the_target_was() {
    let mut link = Link::new(0);
    link.sent(&timed(0, 1000, 4, LINK_SLICE_NS), Holder::Own);
    link.sent(&sent(0, 3000, 4), BACKUP);
    for slice in 1..2000 {
        link.sent(&sent(slice * LINK_SLICE_NS, 100, 0), BACKUP);
    }
    let _ = link.fold(1000);
    let ns = 2000 * LINK_SLICE_NS;
    link.sent(&sent(ns, 3000, 0), BACKUP);
    link.sent(&sent(ns, 1000, 0), Holder::Process(2));
    link.waited(ns, ns + LINK_SLICE_NS, 40, Limit::Path);
    // At the rate of a slice that was certainly full; nobody knows where the target stands since it was late.
    let found = link.shares().waits.into_iter();
    let found: Vec<(Holder, u64)> = found.map(|s| (s.holder, s.ns)).collect();
    assert_eq!(found, [(BACKUP, 30), (Holder::Process(2), 10)]);
}
