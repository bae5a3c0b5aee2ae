//! The waits for answers in a bin, by the followed processes that they may have been for.

use super::{
    leaf::Leaf,
    upstream::{Moved, becomes, charge, share},
};
use crate::{
    class::{Class, Resource},
    model::books::{Bin, Budget, Charge, Holder},
};

pub(super) const UPSTREAM: usize = Class::Upstream as usize;

/// How it is known for what of a process the target waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum By {
    /// It was asked, and answers others as well.
    #[default]
    Question,
    /// It ended the waits itself, each for one thread that waited for it alone.
    Hand,
    /// It had to take what the threads had sent that waited.
    Taking,
}

/// Waits that the same followed processes may have answered.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Their charges: position, time, and the part of it that is estimated, ns.
    charges: Vec<(usize, u64, u64)>,
    /// Sum of that time, ns.
    threads: u64,
    /// The time of requests in these waits, ns.
    requests: u64,
    /// Positions of the processes.
    leaves: Vec<usize>,
    by: By,
}

/// The waits for answers in a bin that followed processes may have given. A wait for a process that is named and not followed, or for
/// somebody at an address of another one, is none of them.
pub(super) fn parts(bin: &Bin, slice: usize, leaves: &[&Leaf], places: &[String]) -> Vec<Part> {
    let (requests, threads) = (bin.requests[UPSTREAM], bin.threads[UPSTREAM]);
    let mut parts: Vec<Part> = Vec::new();
    if threads == 0 && requests > 0 {
        parts.push(Part {
            requests,
            leaves: anybody(leaves),
            ..Part::default()
        });
    }
    let worked = |leaf: &&Leaf| leaf.worked(slice).iter().sum::<u64>();
    let mut ended_ns: Vec<u64> = leaves.iter().map(worked).collect();
    let taking = |leaf: &&Leaf| leaf.taking(slice).iter().sum::<u64>();
    let mut taking_ns: Vec<u64> = leaves.iter().map(taking).collect();
    let charges = bin.charges.iter().enumerate();
    for (at, charge) in charges.filter(|(_, charge)| charge.resource == Resource::Upstream) {
        let ns = charge.ns;
        match (charge.holder, charge.place) {
            (Holder::Process(process), _) => {
                let mut all = leaves.iter();
                let is_it = |leaf: &&Leaf| leaf.who.family.contains(&process);
                let Some(of) = all.position(is_it) else {
                    continue;
                };
                let by_hand = ns.min(ended_ns[of]);
                ended_ns[of] -= by_hand;
                add(&mut parts, (vec![of], By::Hand), (at, by_hand), charge);
                // It woke a thread that waited for several at once.
                if !leaves[of].who.is_hand {
                    add(
                        &mut parts,
                        (anybody(leaves), By::Question),
                        (at, ns - by_hand),
                        charge,
                    );
                }
            }
            (Holder::Peer, Some(place)) => {
                let those = there(leaves, &places[place]);
                let mut left = ns;
                for of in &those {
                    let taking = left.min(taking_ns[*of]);
                    (left, taking_ns[*of]) = (left - taking, taking_ns[*of] - taking);
                    add(&mut parts, (vec![*of], By::Taking), (at, taking), charge);
                }
                add(&mut parts, (those, By::Question), (at, left), charge);
            }
            _ => {
                let those = (anybody(leaves), By::Question);
                add(&mut parts, those, (at, ns), charge);
            }
        }
    }
    for part in &mut parts {
        if threads > 0 {
            part.requests = share(requests, part.threads.min(threads), threads);
        }
    }
    parts.retain(|part| !part.leaves.is_empty());
    parts
}

/// Adds `ns` of the charge at a position to what these processes may have answered.
fn add(
    parts: &mut Vec<Part>,
    (leaves, by): (Vec<usize>, By),
    (at, ns): (usize, u64),
    charge: &Charge,
) {
    if ns == 0 {
        return;
    }
    let entry = (at, ns, share(charge.estimated_ns, ns, charge.ns));
    let same = |part: &&mut Part| (&part.leaves, part.by) == (&leaves, by);
    match parts.iter_mut().find(same) {
        Some(part) => {
            part.charges.push(entry);
            part.threads += ns;
        }
        None => parts.push(Part {
            charges: vec![entry],
            threads: ns,
            leaves,
            by,
            ..Part::default()
        }),
    }
}

/// Those that are asked at an address.
fn there(leaves: &[&Leaf], address: &str) -> Vec<usize> {
    let all = leaves.iter().enumerate();
    let there = all.filter(|(_, leaf)| leaf.who.is_at(address));
    there.map(|(at, _)| at).collect()
}

/// Those that may have answered where nothing shows who did. A process that is known by the waits that it ends has ended others.
fn anybody(leaves: &[&Leaf]) -> Vec<usize> {
    let all = leaves.iter().enumerate();
    let asked = all.filter(|(_, leaf)| !leaf.who.is_hand);
    asked.map(|(at, _)| at).collect()
}

impl Part {
    /// These waits become what the processes waited for meanwhile. Adds it to what was `moved` of each.
    pub(super) fn split(&self, bin: &mut Bin, slice: usize, leaves: &[&Leaf], moved: &mut [Moved]) {
        let spent = |at: &usize| match self.by {
            By::Question => leaves[*at].spent(slice),
            By::Hand => leaves[*at].worked(slice),
            By::Taking => leaves[*at].taking(slice),
        };
        let spent: Vec<Budget> = self.leaves.iter().map(spent).collect();
        let all: u64 = spent.iter().flatten().sum();
        let whole = match self.by {
            By::Question => all.max(self.requests.max(self.threads).min(self.most_ns(leaves))),
            By::Hand | By::Taking => all,
        };
        let mut became: Vec<(usize, Class, u64)> = Vec::new();
        for (at, spent) in self.leaves.iter().zip(&spent) {
            for class in Class::ALL {
                let spent = spent[class.index()];
                let (r, t) = (
                    share(self.requests, spent, whole).min(bin.requests[UPSTREAM]),
                    share(self.threads, spent, whole).min(bin.threads[UPSTREAM]),
                );
                if r + t == 0 || self.stays(class) {
                    continue;
                }
                let becomes = becomes(class).index();
                bin.requests[UPSTREAM] -= r;
                bin.threads[UPSTREAM] -= t;
                bin.requests[becomes] += r;
                bin.threads[becomes] += t;
                let sum = &mut moved[*at][becomes];
                *sum = (sum.0 + r, sum.1 + t);
                became.push((*at, class, t));
            }
        }
        self.shrink(&mut bin.charges, became.iter().map(|(_, _, t)| t).sum());
        for (at, class, t) in became {
            charge(&mut bin.charges, leaves[at], slice, class, t);
        }
    }

    /// How long these waits can have been at most, if no two of them were for answers on one connection, ns.
    fn most_ns(&self, leaves: &[&Leaf]) -> u64 {
        let most = self.leaves.iter().map(|at| leaves[*at].most_ns());
        most.fold(0, u64::saturating_add)
    }

    /// Is what a process did charged right already? One that ended the wait, and ran or did what nobody knows, is charged itself. One that
    /// had nothing left to take, or of which nothing is known, is at its address.
    fn stays(&self, class: Class) -> bool {
        match self.by {
            By::Question => false,
            By::Hand => class.resource().is_none(),
            By::Taking => class == Class::Idle,
        }
    }

    /// Takes time that became something else out of the charges.
    fn shrink(&self, charges: &mut [Charge], gone: u64) {
        let mut left = gone;
        for (at, ns, estimated_ns) in &self.charges {
            let part = share(gone, *ns, self.threads).min(left);
            let charge = &mut charges[*at];
            // Another part may have given up what rounding left of the same charge.
            charge.ns = charge.ns.saturating_sub(part);
            let estimated_ns = share(*estimated_ns, part, *ns);
            charge.estimated_ns = charge.estimated_ns.saturating_sub(estimated_ns);
            left -= part;
        }
        // The rest of the rounding.
        let largest = self.charges.iter().max_by_key(|(_, ns, _)| *ns);
        if let Some((at, _, _)) = largest {
            let charge = &mut charges[*at];
            charge.ns = charge.ns.saturating_sub(left);
            charge.estimated_ns = charge.estimated_ns.min(charge.ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::leaf::Who, *};

    /// A process that ended waits, and read a disk in 60 of their 80 ns, and whose other threads sent for 100 ns.
    fn reader() -> Leaf {
        let mut bin = Bin::default();
        bin.requests[Class::Disk.index()] = 60;
        bin.requests[Class::Other.index()] = 20;
        bin.threads[Class::Network.index()] = 100;
        Leaf {
            who: Who {
                process: 5,
                family: BTreeSet::from([5, 6]),
                is_hand: true,
                ..Who::default()
            },
            bins: vec![bin],
            bin_ns: 1,
            ..Leaf::default()
        }
    }

    fn upstream(holder: Holder, place: Option<usize>, ns: u64) -> Charge {
        Charge {
            resource: Resource::Upstream,
            place,
            holder,
            ns,
            estimated_ns: 0,
        }
    }

    /// A bin with these charges, and twice as much time of requests, after it was split.
    fn split(charges: Vec<Charge>, leaf: &Leaf) -> Bin {
        let threads = charges.iter().map(|charge| charge.ns).sum();
        let mut bin = Bin {
            charges,
            ..Bin::default()
        };
        bin.threads[UPSTREAM] = threads;
        bin.requests[UPSTREAM] = 2 * threads;
        let (leaves, places) = ([leaf], ["10.0.0.5:5432".to_owned()]);
        let mut moved = [Moved::default()];
        for part in parts(&bin, 0, &leaves, &places) {
            part.split(&mut bin, 0, &leaves, &mut moved);
        }
        let charged: u64 = bin.charges.iter().map(|charge| charge.ns).sum();
        assert_eq!(charged, threads);
        bin
    }

    /// Threads' and requests' time in a class, ns.
    fn of(bin: &Bin, class: Class) -> (u64, u64) {
        (bin.threads[class.index()], bin.requests[class.index()])
    }

    #[test]
    fn a_wait_that_a_process_ended_is_what_that_one_did_in_it_however_many_waited() {
        for process in [5, 6] {
            let bin = split(
                vec![upstream(Holder::Process(process), None, 80)],
                &reader(),
            );
            assert_eq!(of(&bin, Class::Disk), (60, 120));
            assert_eq!(of(&bin, Class::Upstream), (20, 40));
        }
    }

    #[test]
    fn a_wait_for_a_process_that_is_named_and_not_followed_stays_that() {
        for other in [
            upstream(Holder::Process(9), None, 80),
            upstream(Holder::Peer, Some(0), 80),
            upstream(Holder::Nobody, None, 80),
        ] {
            let bin = split(vec![other], &reader());
            assert_eq!(of(&bin, Class::Upstream), (80, 160));
        }
    }

    #[test]
    fn who_wakes_a_thread_that_waits_for_several_says_little_of_what_each_waits_for() {
        let mut asked = reader();
        asked.who.is_hand = false;
        let bin = split(vec![upstream(Holder::Process(5), None, 100)], &asked);
        assert_eq!(of(&bin, Class::Disk), (60, 120));
        // It ended waits of 80 ns. The rest is whatever those do that are asked.
        assert_eq!(of(&bin, Class::Network), (20, 40));
        assert_eq!(of(&bin, Class::Upstream), (20, 40));
        let bin = split(vec![upstream(Holder::Process(5), None, 100)], &reader());
        assert_eq!(of(&bin, Class::Network), (0, 0));
    }

    #[test]
    fn a_wait_of_which_nothing_is_known_may_be_for_whoever_is_asked_on_a_socket() {
        let mut asked = reader();
        asked.who.is_hand = false;
        let bin = split(
            vec![
                upstream(Holder::Process(9), None, 50),
                upstream(Holder::Nobody, None, 50),
            ],
            &asked,
        );
        // Its threads sent for 100 ns: as much as the requests waited.
        assert_eq!(of(&bin, Class::Network), (50, 100));
        assert_eq!(of(&bin, Class::Upstream), (50, 100));
    }

    /// A process with so many connections, which sent for 6 ns in a bin of 10.
    fn asked_on(connections: u64) -> Leaf {
        let mut leaf = reader();
        leaf.who.is_hand = false;
        leaf.who.connections = connections;
        (leaf.bin_ns, leaf.of_requests) = (10, true);
        leaf.bins[0].requests = Budget::default();
        leaf.bins[0].requests[Class::Network.index()] = 6;
        leaf
    }

    #[test]
    fn all_that_wait_on_one_connection_at_once_wait_for_the_one_answer_that_is_made_there() {
        let sent = |connections| {
            let waits = vec![upstream(Holder::Nobody, None, 40)];
            of(&split(waits, &asked_on(connections)), Class::Network).0
        };
        // No more than 10 ns are known of what is made there, and those of the answers are 6.
        assert_eq!(sent(1), 40 * 6 / 10);
        // Of as many connections as waits, six ns are all that there was.
        assert_eq!((sent(8), sent(100)), (40 * 6 / 80, 40 * 6 / 80));
    }
}
