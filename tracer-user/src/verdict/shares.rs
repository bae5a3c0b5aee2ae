//! The holders of each resource, as shares of the ledger that the verdict is about, slice by slice.
//!
//! Charges are in thread time. In each slice the requests' time in a resource is split as the threads' time in it was. A slice in
//! which requests waited and no thread was charged takes the whole window's split. That part is marked estimated. Threads' time
//! that the charges leave open belongs to nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    asking::{Asking, asking},
    group::{GroupId, Groups},
    observer::observers,
};
use crate::{
    class::Resource,
    model::books::{Bin, Books, Budget, Charge, Holder, PlaceId, ProcessId},
};

/// A holder, with processes joined to groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    /// Processes outside the target.
    Group(GroupId),
    /// A holder that is no process, or the target.
    Plain(Holder),
    /// Clients of the target, while they ask it.
    Asking(GroupId),
    /// The tracer itself.
    Tracer,
}

impl Party {
    /// Does the target owe it to itself? That is: its own requests, threads, quota, lock, or those of a process at work for it. A
    /// slow device, a slow peer, an idle CPU, the hypervisor and nobody are neither the target nor anybody else.
    #[must_use]
    pub(super) fn is_own(self) -> bool {
        matches!(
            self,
            Self::Plain(Holder::Own | Holder::OwnQuota | Holder::OwnLock | Holder::Asked(_))
        )
    }

    /// Is it charged to nobody?
    #[must_use]
    pub(super) fn is_nobody(self) -> bool {
        self == Self::Plain(Holder::Nobody)
    }
}

/// Time of one slice that is charged to a party.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The resource.
    pub resource: Resource,
    /// The holder.
    pub party: Party,
    /// Time in the ledger used, ns.
    pub ns: f64,
    /// Part of it that is estimated.
    pub estimated_ns: f64,
}

/// All parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    /// By slice.
    pub bins: Vec<Vec<Part>>,
    /// Time per resource and place.
    places: BTreeMap<(Resource, PlaceId), f64>,
    /// Time per resource, group and process.
    members: BTreeMap<(Resource, GroupId, ProcessId), f64>,
    /// Part of it that the target did for them, by resource and group.
    through: BTreeMap<(Resource, GroupId), f64>,
    /// Part of it in which they used up a limit of the target's group, by resource and group.
    by_limit: BTreeMap<(Resource, GroupId), f64>,
    /// The tracer's processes.
    observers: BTreeSet<ProcessId>,
    /// Clients that ask.
    asking: Asking,
    /// Time in which clients had a resource because they ask, by resource and process.
    askers: BTreeMap<(Resource, ProcessId), f64>,
}

impl Shares {
    /// Turns charges into shares of the ledger that `ledger` chooses.
    #[must_use]
    pub(super) fn new(books: &Books, ledger: impl Fn(&Bin) -> &Budget, groups: &Groups) -> Self {
        let mut shares = Self {
            bins: vec![Vec::new(); books.bins.len()],
            observers: observers(books),
            asking: asking(books, groups),
            ..Self::default()
        };
        each_part(books, ledger, |slice, charge, ns, estimated_ns| {
            for (party, of) in shares.parties(books, groups, charge) {
                shares.note(books, charge, party, ns * of);
                shares.bins[slice].push(Part {
                    resource: charge.resource,
                    party,
                    ns: ns * of,
                    estimated_ns: estimated_ns * of,
                });
            }
        });
        shares
    }

    /// The parties that a charge belongs to, each with its part, 0..1.
    fn parties(&self, books: &Books, groups: &Groups, charge: &Charge) -> Vec<(Party, f64)> {
        let whole = |party| vec![(party, 1.0)];
        match charge.holder {
            Holder::Process(process) if books.processes[process].target => {
                whole(Party::Plain(Holder::Own))
            }
            Holder::Process(process) if self.observers.contains(&process) => whole(Party::Tracer),
            Holder::Process(process) => {
                let group = groups.of(process);
                let asking = self.asking.get(&process);
                match asking.filter(|_| charge.resource == Resource::Cpu) {
                    None => whole(Party::Group(group)),
                    Some(&part) if part >= 1.0 => whole(Party::Asking(group)),
                    Some(&part) => {
                        vec![
                            (Party::Asking(group), part),
                            (Party::Group(group), 1.0 - part),
                        ]
                    }
                }
            }
            Holder::Client(process) => whole(Party::Group(groups.of(process))),
            plain => whole(Party::Plain(plain)),
        }
    }

    /// Adds a part of a charge to the sums by place and by process.
    fn note(&mut self, books: &Books, charge: &Charge, party: Party, ns: f64) {
        let resource = charge.resource;
        if let Some(place) = charge.place.filter(|_| party != Party::Tracer) {
            *self.places.entry((resource, place)).or_default() += ns;
        }
        let (Holder::Process(process) | Holder::Client(process)) = charge.holder else {
            return;
        };
        match party {
            Party::Group(group) => {
                *self.members.entry((resource, group, process)).or_default() += ns;
                if charge
                    .place
                    .is_some_and(|place| books.limits.contains(&place))
                {
                    *self.by_limit.entry((resource, group)).or_default() += ns;
                }
                if matches!(charge.holder, Holder::Client(_)) {
                    *self.through.entry((resource, group)).or_default() += ns;
                }
            }
            Party::Asking(_) => *self.askers.entry((resource, process)).or_default() += ns,
            Party::Plain(_) | Party::Tracer => {}
        }
    }

    /// Clients that had a resource because they ask, with the time charged to them, the largest first.
    #[must_use]
    pub(super) fn askers(&self, resource: Resource) -> Vec<(ProcessId, f64)> {
        let of = self.askers.iter().filter(|((of, _), _)| *of == resource);
        let mut askers: Vec<_> = of.map(|((_, process), ns)| (*process, *ns)).collect();
        askers.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        askers
    }

    /// Time per party of one resource.
    #[must_use]
    pub(super) fn of(&self, resource: Resource) -> Vec<(Party, f64)> {
        let mut sums: BTreeMap<Party, f64> = BTreeMap::new();
        let parts = self.bins.iter().flatten();
        for part in parts.filter(|part| part.resource == resource) {
            *sums.entry(part.party).or_default() += part.ns;
        }
        sums.into_iter().collect()
    }

    /// Where most of a resource was waited for, and how long.
    #[must_use]
    pub(super) fn place(&self, resource: Resource) -> Option<(PlaceId, f64)> {
        let places = self
            .places
            .iter()
            .filter(|((known, _), _)| *known == resource);
        places
            .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)))
            .map(|((_, place), ns)| (*place, *ns))
    }

    /// Time of a resource in which the target worked for a group.
    #[must_use]
    pub(super) fn through(&self, resource: Resource, group: GroupId) -> f64 {
        self.through.get(&(resource, group)).copied().unwrap_or(0.0)
    }

    /// Time of a resource in which a group used up a limit of the target's group.
    #[must_use]
    pub(super) fn by_limit(&self, resource: Resource, group: GroupId) -> f64 {
        let key = (resource, group);
        self.by_limit.get(&key).copied().unwrap_or(0.0)
    }

    /// Processes of a group that held a resource with the time charged to them, the largest first.
    #[must_use]
    pub(super) fn members(&self, resource: Resource, group: GroupId) -> Vec<(ProcessId, f64)> {
        let held = self
            .members
            .iter()
            .filter(|((known, of, _), _)| *known == resource && *of == group);
        let mut members: Vec<(ProcessId, f64)> =
            held.map(|((_, _, process), ns)| (*process, *ns)).collect();
        members.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        members
    }
}

/// Splits the ledger's time in each resource as the charges do, and hands over each part: its slice, whose it is, its length in ns, and
/// how much of that is estimated.
pub(super) fn each_part(
    books: &Books,
    ledger: impl Fn(&Bin) -> &Budget,
    mut take: impl FnMut(usize, &Charge, f64, f64),
) {
    let window = whole_window(books);
    for (slice, bin) in books.bins.iter().enumerate() {
        for resource in Resource::ALL {
            let ns = ledger(bin)[resource.class().index()] as f64;
            if ns <= 0.0 {
                continue;
            }
            let here = charges_of(bin, resource);
            let known = here.iter().any(|charge| charge.ns > 0);
            let charges = if known { &here } else { &window[&resource] };
            let total: f64 = charges.iter().map(|charge| charge.ns as f64).sum();
            if total <= 0.0 {
                take(slice, &to_nobody(resource, 0), ns, 0.0);
                continue;
            }
            for charge in charges {
                let part = charge.ns as f64 * ns / total;
                let estimated_ns = match known {
                    true => charge.estimated_ns as f64 * ns / total,
                    false => part,
                };
                take(slice, charge, part, estimated_ns);
            }
        }
    }
}

fn to_nobody(resource: Resource, ns: u64) -> Charge {
    Charge {
        resource,
        place: None,
        holder: Holder::Nobody,
        ns,
        estimated_ns: 0,
    }
}

/// The charges of one resource in one slice, with what they leave open.
fn charges_of(bin: &Bin, resource: Resource) -> Vec<Charge> {
    let of = bin
        .charges
        .iter()
        .filter(|charge| charge.resource == resource);
    let mut charges: Vec<Charge> = of.copied().collect();
    let charged: u64 = charges.iter().map(|charge| charge.ns).sum();
    let waited = bin.threads[resource.class().index()];
    if waited > charged {
        charges.push(to_nobody(resource, waited - charged));
    }
    charges
}

/// The charges of each resource, summed over the window.
fn whole_window(books: &Books) -> BTreeMap<Resource, Vec<Charge>> {
    let sum = |resource: Resource| {
        let mut sums: BTreeMap<(Option<PlaceId>, Holder), Charge> = BTreeMap::new();
        for charge in books.bins.iter().flat_map(|bin| charges_of(bin, resource)) {
            let sum = sums
                .entry((charge.place, charge.holder))
                .or_insert(Charge { ns: 0, ..charge });
            sum.ns += charge.ns;
        }
        (resource, sums.into_values().collect())
    };
    Resource::ALL.into_iter().map(sum).collect()
}
