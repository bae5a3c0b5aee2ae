//! The target's wait for another process's answer becomes what that process waited for meanwhile, bin by bin, in proportion.
//!
//! In a bin the target (its requests, or threads) waited `u` for a process. The requests of that process from it took `w`, of which `w_c`
//! in class `c`. Then `u · w_c / max(w, u)` belongs to class `c`, with the holders in the followed process's books. The rest (`u > w`: the
//! way there and back, answers that were not seen) stays upstream. On one connection one answer is made at a time, whoever waits there: of
//! more waits than connections, all wait for what is made, so `u` counts there as no longer than the connections were there.
//!
//! A wait for a process to take what was sent is all that the process did meanwhile, however many wait so: there `w` is `u`, too.
//!
//! A wait that a process itself ended, by whatever way, is a request of its books: there `w` is `u`. Only this process divides it. Who is
//! asked at an address is known by that. A wait for a process that is named and not followed stays what it is.

use std::collections::BTreeMap;

use super::{
    leaf::Leaf,
    part::{UPSTREAM, parts},
};
use crate::{
    class::{Cause, Class, Resource},
    model::{
        books::{Bin, Budget, Charge, Holder, PlaceId, ProcessId},
        part::part_of,
    },
};

/// Processes on the way to a resource, and the time waited for it that way: (by requests, by threads), ns.
pub(crate) type Ways = BTreeMap<(Resource, Vec<ProcessId>), (u64, u64)>;

/// What a followed process gives its time to, by class: (of requests, of threads), ns.
pub(super) type Moved = [(u64, u64); Class::COUNT];

/// Causes seen, with their time in ns.
type Causes = Vec<((Resource, Cause), u64)>;

/// `whole · part / of`.
pub(super) fn share(whole: u64, part: u64, of: u64) -> u64 {
    part_of(whole, part, of)
}

/// Splits the class `upstream` of closed bins; `places` has the names of places. Returns the ways, and the causes that came with them.
pub(crate) fn split(
    bins: &mut [Bin],
    bin_ns: u64,
    leaves: &[Leaf],
    places: &[String],
) -> (Ways, Causes) {
    // A bin of another length says nothing of this one.
    let leaves: Vec<&Leaf> = leaves.iter().filter(|leaf| leaf.bin_ns == bin_ns).collect();
    let mut moved = vec![Moved::default(); leaves.len()];
    for (slice, bin) in bins.iter_mut().enumerate() {
        let parts = parts(bin, slice, &leaves, places);
        if parts.is_empty() {
            continue;
        }
        let before = bin.threads;
        for part in parts {
            part.split(bin, slice, &leaves, &mut moved);
        }
        split_taking(bin, &before);
        bin.charges
            .sort_by_key(|charge| (charge.resource, charge.place, charge.holder));
    }
    let (mut ways, mut causes) = (Ways::new(), Causes::new());
    for (leaf, moved) in leaves.iter().zip(&moved) {
        for resource in Resource::ALL {
            let class = resource.class();
            add_ways(&mut ways, leaf, resource, moved[class.index()]);
            let threads: u64 = leaf.bins.iter().map(|bin| bin.threads[class.index()]).sum();
            let of = leaf.causes.iter().filter(|(of, _, _)| *of == resource);
            causes.extend(of.map(|(_, cause, ns)| {
                let part = share(*ns, moved[class.index()].1, threads).min(moved[class.index()].1);
                ((resource, *cause), part)
            }));
        }
    }
    (ways, causes)
}

/// Whoever waits for this process to take something waits for the same as its threads, in that proportion. `before` is what these waited
/// for as their waits for answers were not split yet.
fn split_taking(bin: &mut Bin, before: &Budget) {
    let waited = bin.taking[UPSTREAM];
    for class in Class::ALL {
        let more = bin.threads[class.index()].saturating_sub(before[class.index()]);
        let ns = share(waited, more, before[UPSTREAM]).min(bin.taking[UPSTREAM]);
        bin.taking[UPSTREAM] -= ns;
        bin.taking[class.index()] += ns;
    }
}

/// Divides the time that came through a followed process in the proportion of its own ways.
fn add_ways(ways: &mut Ways, leaf: &Leaf, resource: Resource, (requests, threads): (u64, u64)) {
    if requests + threads == 0 {
        return;
    }
    let whole = leaf.all(resource.class());
    let beyond = leaf.ways.iter().filter(|((of, _), _)| *of == resource);
    let (mut left_requests, mut left_threads) = (requests, threads);
    for ((_, way), ns) in beyond {
        let part = if leaf.has_requests() { ns.0 } else { ns.1 };
        let gone = (
            share(requests, part, whole).min(left_requests),
            share(threads, part, whole).min(left_threads),
        );
        let mut longer = vec![leaf.who.process];
        longer.extend(way);
        let sum = ways.entry((resource, longer)).or_default();
        *sum = (sum.0 + gone.0, sum.1 + gone.1);
        (left_requests, left_threads) = (left_requests - gone.0, left_threads - gone.1);
    }
    let sum = ways.entry((resource, vec![leaf.who.process])).or_default();
    *sum = (sum.0 + left_requests, sum.1 + left_threads);
}

/// While a followed process runs, or does what nobody knows, the target waits for that process itself.
pub(super) fn becomes(class: Class) -> Class {
    match class {
        Class::OnCpu | Class::Other | Class::Idle => Class::Upstream,
        waited => waited,
    }
}

/// Charges `ns` that a followed process spent in a class as its books do. While it ran, or did what nobody knows, it is waited for
/// itself.
pub(super) fn charge(charges: &mut Vec<Charge>, leaf: &Leaf, slice: usize, class: Class, ns: u64) {
    let Some(resource) = class.resource() else {
        let itself = (Resource::Upstream, None, Holder::Process(leaf.who.process));
        return add(charges, itself, ns, 0);
    };
    let of = leaf.bins[slice]
        .charges
        .iter()
        .filter(|charge| charge.resource == resource);
    let of: Vec<&Charge> = of.collect();
    let whole: u64 = of.iter().map(|charge| charge.ns).sum();
    let mut left = ns;
    for charge in of {
        let part = share(ns, charge.ns, whole).min(left);
        let estimated = share(charge.estimated_ns, part, charge.ns);
        add(
            charges,
            (resource, charge.place, charge.holder),
            part,
            estimated,
        );
        left -= part;
    }
    add(charges, (resource, None, Holder::Nobody), left, 0);
}

fn add(
    charges: &mut Vec<Charge>,
    (resource, place, holder): (Resource, Option<PlaceId>, Holder),
    ns: u64,
    estimated_ns: u64,
) {
    let same = |charge: &&mut Charge| {
        (charge.resource, charge.place, charge.holder) == (resource, place, holder)
    };
    match charges.iter_mut().find(same) {
        Some(charge) => {
            charge.ns += ns;
            charge.estimated_ns += estimated_ns;
        }
        None if ns > 0 => charges.push(Charge {
            resource,
            place,
            holder,
            ns,
            estimated_ns,
        }),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{super::leaf::Who, *};

    #[test]
    fn what_came_from_beyond_a_process_is_no_more_its_own() {
        let mut bin = Bin::default();
        bin.threads[Class::Disk.index()] = 200;
        let leaf = Leaf {
            who: Who {
                process: 3,
                ..Who::default()
            },
            bins: vec![bin],
            bin_ns: 1,
            ways: Ways::from([((Resource::Disk, vec![9]), (0, 50))]),
            ..Leaf::default()
        };
        let mut ways = Ways::new();
        add_ways(&mut ways, &leaf, Resource::Disk, (100, 40));
        let expected = [(vec![3], (75, 30)), (vec![3, 9], (25, 10))];
        let expected = expected.map(|(way, ns)| ((Resource::Disk, way), ns));
        assert_eq!(ways, Ways::from(expected));
    }
}
