//! The target's wait for another process's answer becomes what that process waited for meanwhile, bin by bin, in proportion.
//!
//! In a bin the target (its requests, or threads) waited `u` for answers. The followed processes' requests from it took `w`, of
//! which `w_c` in class `c`. Then `u · w_c / max(w, u)` belongs to class `c`, with the holders in the followed process's books. The
//! rest (`u > w`: the way there and back, answers that were not seen) stays upstream.

use std::collections::BTreeMap;

use crate::{
    class::{Cause, Class, Resource},
    model::books::{Bin, Budget, Charge, Holder, PlaceId, ProcessId},
};

/// Processes on the way to a resource, and the time waited for it that way: (by requests, by threads), ns.
pub(crate) type Ways = BTreeMap<(Resource, Vec<ProcessId>), (u64, u64)>;

/// Causes seen, with their time in ns.
type Causes = Vec<((Resource, Cause), u64)>;

/// The books of a followed process, in the target's words.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// The process.
    pub(crate) process: ProcessId,
    /// Its bins.
    pub(crate) bins: Vec<Bin>,
    /// Length of one, ns.
    pub(crate) bin_ns: u64,
    /// Were its answers seen? Else its threads stand for them (a Unix socket).
    pub(crate) of_requests: bool,
    /// The ways of its own waits, beyond it.
    pub(crate) ways: Ways,
    /// Mechanisms that were seen.
    pub(crate) causes: Vec<(Resource, Cause, u64)>,
}

impl Leaf {
    fn spent(&self, slice: usize) -> Budget {
        let Some(bin) = self.bins.get(slice) else {
            return Budget::default();
        };
        let mut spent = if self.of_requests {
            bin.requests
        } else {
            bin.threads
        };
        spent[Class::Idle.index()] = 0;
        spent
    }

    /// All it spent in a class.
    fn all(&self, class: Class) -> u64 {
        (0..self.bins.len())
            .map(|slice| self.spent(slice)[class.index()])
            .sum()
    }
}

/// `whole · part / of`.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    (u128::from(whole) * u128::from(part) / u128::from(of.max(1))) as u64
}

/// Splits the class `upstream` of closed bins; returns the ways, and the causes that came with them.
pub(crate) fn split(bins: &mut [Bin], bin_ns: u64, leaves: &[Leaf]) -> (Ways, Causes) {
    // A bin of another length says nothing of this one.
    let leaves: Vec<&Leaf> = leaves.iter().filter(|leaf| leaf.bin_ns == bin_ns).collect();
    let mut moved: Vec<[(u64, u64); Class::COUNT]> = vec![Default::default(); leaves.len()];
    for (slice, bin) in bins.iter_mut().enumerate() {
        split_slice(bin, slice, &leaves, &mut moved);
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

/// Divides the time that came through a followed process in the proportion of its own ways.
fn add_ways(ways: &mut Ways, leaf: &Leaf, resource: Resource, (requests, threads): (u64, u64)) {
    if requests + threads == 0 {
        return;
    }
    let whole = leaf.all(resource.class());
    let beyond = leaf.ways.iter().filter(|((of, _), _)| *of == resource);
    let (mut left_requests, mut left_threads) = (requests, threads);
    for ((_, way), ns) in beyond {
        let part = if leaf.of_requests { ns.0 } else { ns.1 };
        let gone = (
            share(requests, part, whole).min(left_requests),
            share(threads, part, whole).min(left_threads),
        );
        let mut longer = vec![leaf.process];
        longer.extend(way);
        let sum = ways.entry((resource, longer)).or_default();
        *sum = (sum.0 + gone.0, sum.1 + gone.1);
        (left_requests, left_threads) = (left_requests - gone.0, left_threads - gone.1);
    }
    let sum = ways.entry((resource, vec![leaf.process])).or_default();
    *sum = (sum.0 + left_requests, sum.1 + left_threads);
}

fn split_slice(
    bin: &mut Bin,
    slice: usize,
    leaves: &[&Leaf],
    moved: &mut [[(u64, u64); Class::COUNT]],
) {
    let upstream = Class::Upstream.index();
    let (requests, threads) = (bin.requests[upstream], bin.threads[upstream]);
    let spent: Vec<Budget> = leaves.iter().map(|leaf| leaf.spent(slice)).collect();
    let all: u64 = spent.iter().flatten().sum();
    if requests + threads == 0 || all == 0 {
        return;
    }
    let whole = all.max(requests).max(threads);
    let of_threads = |class: usize, spent: &Budget| share(threads, spent[class], whole);
    let gone: u64 = spent
        .iter()
        .map(|spent| {
            (0..Class::COUNT)
                .map(|class| of_threads(class, spent))
                .sum::<u64>()
        })
        .sum();
    shrink(&mut bin.charges, threads, threads - gone);
    for ((leaf, spent), moved) in leaves.iter().zip(&spent).zip(moved) {
        for class in Class::ALL {
            let (r, t) = (
                share(requests, spent[class.index()], whole),
                of_threads(class.index(), spent),
            );
            if r + t == 0 {
                continue;
            }
            let becomes = becomes(class).index();
            bin.requests[upstream] -= r;
            bin.threads[upstream] -= t;
            bin.requests[becomes] += r;
            bin.threads[becomes] += t;
            moved[becomes].0 += r;
            moved[becomes].1 += t;
            charge(&mut bin.charges, leaf, slice, class, t);
        }
    }
    bin.charges
        .sort_by_key(|charge| (charge.resource, charge.place, charge.holder));
}

/// While a followed process runs, or does what nobody knows, the target waits for that process itself.
fn becomes(class: Class) -> Class {
    match class {
        Class::OnCpu | Class::Other | Class::Idle => Class::Upstream,
        waited => waited,
    }
}

/// Brings the charges of the class `upstream`, `whole` in all, down to `left`.
fn shrink(charges: &mut [Charge], whole: u64, left: u64) {
    let of = charges
        .iter_mut()
        .filter(|charge| charge.resource == Resource::Upstream);
    let mut missing = left;
    let mut of: Vec<&mut Charge> = of.collect();
    for charge in &mut of {
        charge.ns = share(charge.ns, left, whole);
        charge.estimated_ns = share(charge.estimated_ns, left, whole);
        missing = missing.saturating_sub(charge.ns);
    }
    // The rest of the rounding.
    if let Some(largest) = of.into_iter().max_by_key(|charge| charge.ns) {
        largest.ns += missing;
    }
}

/// Charges `ns` that a followed process spent in a class as its books do. While it ran, or did what nobody knows, it is waited for
/// itself.
fn charge(charges: &mut Vec<Charge>, leaf: &Leaf, slice: usize, class: Class, ns: u64) {
    let Some(resource) = class.resource() else {
        let itself = (Resource::Upstream, None, Holder::Process(leaf.process));
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
    use super::*;

    #[test]
    fn what_came_from_beyond_a_process_is_no_more_its_own() {
        let mut bin = Bin::default();
        bin.threads[Class::Disk.index()] = 200;
        let leaf = Leaf {
            process: 3,
            bins: vec![bin],
            bin_ns: 1,
            of_requests: false,
            ways: Ways::from([((Resource::Disk, vec![9]), (0, 50))]),
            causes: Vec::new(),
        };
        let mut ways = Ways::new();
        add_ways(&mut ways, &leaf, Resource::Disk, (100, 40));
        let expected = [(vec![3], (75, 30)), (vec![3, 9], (25, 10))];
        let expected = expected.map(|(way, ns)| ((Resource::Disk, way), ns));
        assert_eq!(ways, Ways::from(expected));
    }
}
