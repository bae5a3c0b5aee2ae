//! Blame where records were lost: no total is ever lost, so the totals stand for the slices.

use std::collections::{BTreeMap, BTreeSet};

use super::books::{Bin, Charge, Held, Holder, PlaceId};
use crate::{class::Resource, event, loss::Cost};

/// The resources for which the kernel half keeps totals per holder. For links only the slices that came can be summed.
const WITH_TOTALS: [Resource; 2] = [Resource::Cpu, Resource::Disk];

/// Records about the holders of resources that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    pub(super) cpu: u64,
    pub(super) disk: u64,
    pub(super) network: u64,
}

/// Where slices were dropped, deals out what nobody was seen to hold, by what each held in the whole window.
pub(super) fn estimate(
    bins: &mut [Bin],
    held: &BTreeMap<(Resource, Option<PlaceId>, Holder), Held>,
    end: &event::End,
    records: Records,
) {
    for (resource, came) in WITH_TOTALS.into_iter().zip([records.cpu, records.disk]) {
        let dropped = dropped(end, resource);
        if dropped == 0 {
            continue;
        }
        let part = lost_part(bins, resource, dropped as f64 / (dropped + came) as f64);
        let seen = places(bins, resource);
        let of = held.iter().filter(|((of, place, _), held)| {
            *of == resource && held.ns > 0 && (seen.is_empty() || seen.contains(place))
        });
        let totals: Vec<_> = of
            .map(|((_, place, holder), held)| (*place, *holder, held.ns))
            .collect();
        for bin in &mut *bins {
            give_out(bin, resource, &totals, part);
        }
    }
    let dropped = dropped(end, Resource::Network);
    if dropped > 0 {
        let part = dropped as f64 / (dropped + records.network) as f64;
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

/// Part of what is charged to nobody that lost records would have told, if they were so large a `part` of all: that part of all time
/// at most. The rest has no holder for another reason.
fn lost_part(bins: &[Bin], resource: Resource, part: f64) -> f64 {
    let charges = bins.iter().flat_map(|bin| &bin.charges);
    let of = charges.filter(|charge| charge.resource == resource);
    let (mut all, mut nobody) = (0_u64, 0_u64);
    for charge in of {
        all = charge.ns.saturating_add(all);
        if charge.holder == Holder::Nobody {
            nobody = charge.ns.saturating_add(nobody);
        }
    }
    (part * all as f64 / nobody.max(1) as f64).min(1.0)
}

/// The places where somebody was charged.
fn places(bins: &[Bin], resource: Resource) -> BTreeSet<Option<PlaceId>> {
    let charges = bins.iter().flat_map(|bin| &bin.charges);
    let of = charges.filter(|charge| charge.resource == resource && charge.place.is_some());
    // Totals of CPUs are of all CPUs.
    of.flat_map(|charge| [charge.place, None]).collect()
}

/// Splits a part of what is charged to nobody in one bin of the window; the parts sum to it.
fn give_out(
    bin: &mut Bin,
    resource: Resource,
    totals: &[(Option<PlaceId>, Holder, u64)],
    part: f64,
) {
    let held = totals.iter().map(|(_, _, ns)| *ns);
    let all = held.fold(0, u64::saturating_add);
    let is_nobody =
        |charge: &Charge| charge.resource == resource && charge.holder == Holder::Nobody;
    if all == 0 {
        return;
    }
    let mut lost = 0_u64;
    for charge in bin.charges.iter_mut().filter(|charge| is_nobody(charge)) {
        let of = ((charge.ns as f64 * part).round() as u64).min(charge.ns);
        charge.ns -= of;
        lost = of.saturating_add(lost);
    }
    bin.charges
        .retain(|charge| charge.ns > 0 || !is_nobody(charge));
    let (mut upto, mut given) = (0, 0);
    for (place, holder, held_ns) in totals {
        upto = held_ns.saturating_add(upto);
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
        give_out(&mut bin, Resource::Cpu, &totals, 1.0);
        let given: Vec<_> = bin.charges.iter().map(|c| (c.holder, c.ns)).collect();
        assert_eq!(given, [(Holder::Hypervisor, 10)]);
    }

    #[test]
    fn few_lost_records_explain_little_of_what_has_no_holder() {
        let charge = |holder, ns| Charge {
            resource: Resource::Disk,
            place: None,
            holder,
            ns,
            estimated_ns: 0,
        };
        let bins = [Bin {
            charges: vec![charge(Holder::Nobody, 400), charge(Holder::Own, 600)],
            ..Bin::default()
        }];
        // A tenth of all records is gone: a tenth of all time, so a quarter of what has no holder.
        assert_eq!(lost_part(&bins, Resource::Disk, 0.1), 0.25);
        assert_eq!(lost_part(&bins, Resource::Disk, 0.9), 1.0);
        let [mut bin] = bins;
        give_out(&mut bin, Resource::Disk, &[(None, Holder::Own, 5)], 0.25);
        let given: Vec<_> = bin.charges.iter().map(|c| (c.holder, c.ns)).collect();
        let expected = [
            (Holder::Nobody, 300),
            (Holder::Own, 600),
            (Holder::Own, 100),
        ];
        assert_eq!(given, expected);
    }
}
