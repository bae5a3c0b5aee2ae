//! Stolen time where the kernel counts it for a whole CPU only: who ran there ran that much less.
//!
//! A CPU that the hypervisor has taken away looks like one on which the same thread goes on. Of the time in which a CPU had work, the
//! part that was stolen in the window is taken out of each charge there, and marked estimated: when it was is not known.

use rustc_hash::FxHashMap as HashMap;

use super::{
    Model,
    books::{Bin, Charge, Holder},
};
use crate::{class::Resource, event::CpuTime};

/// Less than this part of a CPU's work stays where it is: it would move no answer, and the kernel counts in ticks of 10 ms.
const LEAST: f64 = 0.05;

impl Model {
    pub(super) fn stolen_of(&mut self, cpu: CpuTime) {
        let part = cpu.part().min(1.0);
        if part >= LEAST {
            let place = self.place(&format!("cpu{}", cpu.cpu));
            self.stolen.insert(place, part);
        }
    }

    /// Takes what was stolen out of the charges of closed slices.
    pub(super) fn take_stolen(&self, bins: &mut [Bin]) {
        if self.stolen.is_empty() {
            return;
        }
        for bin in bins {
            let mut taken: HashMap<_, u64> = HashMap::default();
            for charge in &mut bin.charges {
                let here = charge.place.and_then(|place| self.stolen.get(&place));
                let Some(part) = here.filter(|_| ran(charge)) else {
                    continue;
                };
                let ns = (charge.ns as f64 * part) as u64;
                charge.ns -= ns;
                charge.estimated_ns = charge.estimated_ns.min(charge.ns);
                *taken.entry(charge.place).or_default() += ns;
            }
            let stolen = taken.into_iter().filter(|(_, ns)| *ns > 0);
            bin.charges.extend(stolen.map(|(place, ns)| Charge {
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
}

/// Is it for running? Nobody runs on an idle CPU, and while a quota stops the target.
fn ran(charge: &Charge) -> bool {
    let ran = matches!(
        charge.holder,
        Holder::Process(_) | Holder::Own | Holder::Interrupt(_)
    );
    charge.resource == Resource::Cpu && ran
}
