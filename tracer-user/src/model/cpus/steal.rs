//! Stolen time where the kernel counts it for a whole CPU only: the processes there ran that much less.
//!
//! A stolen CPU looks like one on which the same thread goes on. Of a CPU's work a part was stolen in the window: each charge there
//! loses that part. It is marked estimated, because the time at which it was stolen is not known.

use rustc_hash::FxHashMap as HashMap;

use crate::{
    class::Resource,
    model::books::{Bin, Charge, Holder, PlaceId},
};

/// A smaller stolen part of a CPU's work stays where it is. It would move no answer, and the kernel counts in ticks of 10 ms.
pub(super) const LEAST: f64 = 0.05;

/// Takes the stolen part of each CPU's work out of the charges of closed bins.
pub(super) fn take(stolen: &HashMap<PlaceId, f64>, bins: &mut [Bin]) {
    if stolen.is_empty() {
        return;
    }
    for bin in bins {
        let mut taken: HashMap<_, u64> = HashMap::default();
        for charge in &mut bin.charges {
            let here = charge.place.and_then(|place| stolen.get(&place));
            let Some(part) = here.filter(|_| ran(charge)) else {
                continue;
            };
            let ns = ((charge.ns as f64 * part) as u64).min(charge.ns);
            charge.ns -= ns;
            charge.estimated_ns = charge.estimated_ns.min(charge.ns);
            *taken.entry(charge.place).or_default() += ns;
        }
        let taken = taken.into_iter().filter(|(_, ns)| *ns > 0);
        bin.charges.extend(taken.map(|(place, ns)| Charge {
            resource: Resource::Cpu,
            place,
            holder: Holder::Hypervisor,
            ns,
            estimated_ns: ns,
        }));
        bin.charges
            .sort_by_key(|charge| (charge.resource, charge.place, charge.holder));
    }
}

/// Is it for running? Nobody runs on an idle CPU, and while a quota stops the target.
fn ran(charge: &Charge) -> bool {
    let ran = matches!(
        charge.holder,
        Holder::Process(_) | Holder::Own | Holder::Interrupt(_)
    );
    charge.resource == Resource::Cpu && ran
}
