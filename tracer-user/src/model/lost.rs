//! Blame where records were lost: no total is ever lost, so the totals stand for the slices.

use std::collections::BTreeMap;

use super::books::{Bin, Charge, Held, Holder, PlaceId};
use crate::{class::Resource, event, loss::Cost};

/// The resources for which the kernel half keeps totals per holder. For links only the slices that came can be summed.
const WITH_TOTALS: [Resource; 2] = [Resource::Cpu, Resource::Disk];

/// Where slices were dropped, deals out what nobody was seen to hold, by what each held in the whole window.
pub(super) fn estimate(
    bins: &mut [Bin],
    held: &BTreeMap<(Resource, Option<PlaceId>, Holder), Held>,
    end: &event::End,
    link_records: u64,
) {
    for resource in WITH_TOTALS {
        if dropped(end, resource) == 0 {
            continue;
        }
        let of = held
            .iter()
            .filter(|((of, ..), held)| *of == resource && held.ns > 0);
        let totals: Vec<_> = of
            .map(|((_, place, holder), held)| (*place, *holder, held.ns))
            .collect();
        for bin in &mut *bins {
            give_out(bin, resource, &totals);
        }
    }
    let dropped = dropped(end, Resource::Network);
    if dropped > 0 {
        let part = dropped as f64 / (dropped + link_records) as f64;
        let charges = bins.iter_mut().flat_map(|bin| &mut bin.charges);
        for charge in charges.filter(|charge| charge.resource == Resource::Network) {
            let lost = (charge.ns as f64 * part) as u64;
            charge.estimated_ns = charge.estimated_ns.max(lost);
        }
    }
}

/// The number of dropped records about the holders of a resource.
fn dropped(end: &event::End, resource: Resource) -> u64 {
    let of = end
        .dropped()
        .filter(|(loss, _)| loss.cost() == Cost::Holders(resource));
    of.map(|(_, dropped)| dropped).sum()
}

/// Splits what is charged to nobody in one bin of the window; the parts sum to it.
fn give_out(bin: &mut Bin, resource: Resource, totals: &[(Option<PlaceId>, Holder, u64)]) {
    let all: u64 = totals.iter().map(|(_, _, ns)| ns).sum();
    let is_nobody =
        |charge: &Charge| charge.resource == resource && charge.holder == Holder::Nobody;
    let lost: u64 = bin
        .charges
        .iter()
        .filter(|c| is_nobody(c))
        .map(|c| c.ns)
        .sum();
    if all == 0 || lost == 0 {
        return;
    }
    bin.charges.retain(|charge| !is_nobody(charge));
    let (mut upto, mut given) = (0, 0);
    for (place, holder, held_ns) in totals {
        upto += held_ns;
        let end = (u128::from(lost) * u128::from(upto) / u128::from(all)) as u64;
        let ns = end - std::mem::replace(&mut given, end);
        if ns > 0 {
            bin.charges.push(Charge {
                resource,
                place: *place,
                holder: *holder,
                ns,
                estimated_ns: ns,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_held_nothing_gets_no_charge() {
        let lost = Charge {
            resource: Resource::Cpu,
            place: None,
            holder: Holder::Nobody,
            ns: 10,
            estimated_ns: 0,
        };
        let mut bin = Bin::default();
        bin.charges.push(lost);
        let totals = [(None, Holder::Own, 0), (None, Holder::Hypervisor, 5)];
        give_out(&mut bin, Resource::Cpu, &totals);
        let given: Vec<_> = bin.charges.iter().map(|c| (c.holder, c.ns)).collect();
        assert_eq!(given, [(Holder::Hypervisor, 10)]);
    }
}
