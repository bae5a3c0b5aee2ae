//! A link: who fills it, slice by slice.

use super::*;
use crate::model::links::tests::sent;

#[test]
fn a_full_slice_is_charged_by_bytes_and_sums_to_the_wait() {
    let mut link = Link::new(0);
    link.sent(&sent(0, 3000, 5), Holder::Process(1));
    link.sent(&sent(0, 1000, 5), Holder::Own);
    link.waited(1_000_000, 9_000_000, 8_000_000, Limit::Path);
    let charges = link.shares().waits;
    assert_eq!(
        charges[0],
        Share {
            holder: Holder::Process(1),
            begin: 0,
            ns: 6_000_000
        }
    );
    assert_eq!(
        charges[1],
        Share {
            holder: Holder::Own,
            begin: 0,
            ns: 2_000_000
        }
    );
}

#[test]
fn a_response_under_way_counts_only_while_the_link_is_full() {
    let mut link = Link::new(0);
    link.sent(&sent(0, 3000, 2), Holder::Process(1));
    link.sent(&sent(LINK_SLICE_NS, 1500, 0), Holder::Own);
    link.drained(5_000_000, LINK_SLICE_NS + 5_000_000, Limit::Path);
    assert_eq!(
        link.shares().drains,
        [Share {
            holder: Holder::Process(1),
            begin: 0,
            ns: 5_000_000
        }]
    );
}

#[test]
fn an_empty_queue_means_that_the_peer_is_slow() {
    let mut link = Link::new(0);
    link.sent(&sent(0, 3000, 0), Holder::Process(1));
    link.waited(0, 5_000_000, 5_000_000, Limit::Path);
    assert_eq!(link.shares().waits[0].holder, Holder::Peer);
}

#[test]
fn a_queue_that_only_paces_is_not_full_however_much_it_holds() {
    let mut link = Link::new(0);
    link.sent(&sent(0, 3000, u32::MAX), Holder::Process(1));
    link.sent(&sent(0, 1000, u32::MAX), Holder::Own);
    link.waited(0, 5_000_000, 5_000_000, Limit::Path);
    assert_eq!(link.shares().waits[0].holder, Holder::Peer);
    // One that was late shows that the link had no room.
    link.sent(&sent(0, 1000, 2), Holder::Process(1));
    assert_eq!(link.shares().waits[0].holder, Holder::Process(1));
}

#[test]
fn a_slice_between_packets_of_a_slow_link_follows_the_one_before() {
    let mut link = Link::new(0);
    link.sent(&sent(0, 1500, 3), Holder::Process(1));
    link.waited(LINK_SLICE_NS, 2 * LINK_SLICE_NS, 77, Limit::Path);
    assert_eq!(
        link.shares().waits,
        [Share {
            holder: Holder::Process(1),
            begin: LINK_SLICE_NS,
            ns: 77
        }]
    );
}

#[test]
fn two_steady_senders_on_a_link_that_was_never_full_accuse_nobody() {
    let mut link = Link::new(0);
    for slice in 0..10 {
        link.sent(&sent(slice * LINK_SLICE_NS, 3000, 0), Holder::Process(1));
        link.sent(&sent(slice * LINK_SLICE_NS, 3000, 0), Holder::Own);
    }
    link.waited(0, 10 * LINK_SLICE_NS, 10 * LINK_SLICE_NS, Limit::Path);
    assert!(
        link.shares()
            .waits
            .iter()
            .all(|share| share.holder == Holder::Peer)
    );
}

#[test]
fn a_queue_that_ran_empty_at_the_rate_of_a_full_slice_is_full() {
    let mut link = Link::new(0);
    for (slice, backlog) in [(0, 4), (1, 0)] {
        link.sent(
            &sent(slice * LINK_SLICE_NS, 3000, backlog),
            Holder::Process(1),
        );
        link.sent(&sent(slice * LINK_SLICE_NS, 1000, backlog), Holder::Own);
    }
    link.waited(LINK_SLICE_NS, 2 * LINK_SLICE_NS, 40, Limit::Path);
    assert_eq!(link.shares().waits[0].holder, Holder::Process(1));
    assert_eq!(link.shares().waits[0].ns, 30);
}

#[test]
fn a_closed_window_is_the_peers_however_full_the_link() {
    let mut link = Link::new(0);
    link.sent(&sent(0, 3000, 5), Holder::Process(1));
    link.waited(0, 5_000_000, 5_000_000, Limit::Closed);
    link.drained(0, 5_000_000, Limit::Closed);
    assert_eq!(link.shares().waits[0].holder, Holder::Peer);
    assert_eq!(link.shares().drains, []);
}

#[test]
fn what_was_dropped_here_waits_for_those_who_filled_the_queue_then() {
    let mut link = Link::new(0);
    // The second owner's record comes late: the counter is the link's, not its owner's.
    for (slice, owner, drops) in [(0, 1, 3), (2, 1, 9), (1, 2, 9), (1, 1, 3)] {
        let mut link_slice = sent(slice * LINK_SLICE_NS, 500, 0);
        link_slice.link.drops = drops;
        link.sent(&link_slice, Holder::Process(owner));
    }
    link.waited(20 * LINK_SLICE_NS, 21 * LINK_SLICE_NS, 10, Limit::Loss);
    link.waited(300 * LINK_SLICE_NS, 301 * LINK_SLICE_NS, 10, Limit::Loss);
    let found: Vec<(Holder, u64)> = link
        .shares()
        .waits
        .iter()
        .map(|s| (s.holder, s.ns))
        .collect();
    assert_eq!(
        found,
        [
            (Holder::Process(2), 5),
            (Holder::Process(1), 5),
            (Holder::LossyPath, 10)
        ]
    );
}
