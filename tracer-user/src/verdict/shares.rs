//! Who held what, as shares of the ledger that the verdict is about, slice by slice.

use std::collections::BTreeMap;

use super::group::{GroupId, Groups};
use crate::{
    class::Resource,
    model::books::{Bin, Books, Charge, Holder, PlaceId, ProcessId},
};

/// A holder, with processes joined to groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// Processes outside the target.
    Group(GroupId),
    /// What is no process.
    Plain(Holder),
}

impl Party {
    /// Does the target owe it to itself?
    #[must_use]
    pub fn is_own(self) -> bool {
        matches!(
            self,
            Self::Plain(Holder::Own | Holder::OwnQuota | Holder::OwnLock)
        )
    }

    /// Is it charged to nobody?
    #[must_use]
    pub fn is_nobody(self) -> bool {
        self == Self::Plain(Holder::Nobody)
    }
}

/// Time of one slice that is charged to a party.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// What.
    pub resource: Resource,
    /// Who.
    pub party: Party,
    /// Time in the ledger used, ns.
    pub ns: f64,
    /// Part of it that is estimated.
    pub estimated_ns: f64,
}

/// All parts.
#[derive(Clone, Debug)]
pub struct Shares {
    /// By slice.
    pub bins: Vec<Vec<Part>>,
    /// Time per resource and place.
    places: BTreeMap<(Resource, PlaceId), f64>,
    /// Time per resource, group and process.
    members: BTreeMap<(Resource, GroupId, ProcessId), f64>,
}

impl Shares {
    /// The charges, in thread time, become shares of the ledger's time: in each slice the requests' time in a resource is split as the
    /// threads' is. A slice without charges takes the whole window's split.
    #[must_use]
    pub fn new(books: &Books, of_requests: bool, groups: &Groups) -> Self {
        let mut shares = Self {
            bins: Vec::with_capacity(books.bins.len()),
            places: BTreeMap::new(),
            members: BTreeMap::new(),
        };
        let all: Vec<Charge> = books
            .bins
            .iter()
            .flat_map(|bin| bin.charges.iter().copied())
            .collect();
        for bin in &books.bins {
            let mut parts = Vec::new();
            for resource in Resource::ALL {
                let Some(class) = resource.class() else {
                    continue;
                };
                let ns = if of_requests {
                    bin.requests
                } else {
                    bin.threads
                }[class.index()] as f64;
                if ns > 0.0 {
                    shares.split(resource, ns, bin, &all, groups, &mut parts);
                }
            }
            shares.bins.push(parts);
        }
        shares
    }

    fn split(
        &mut self,
        resource: Resource,
        ns: f64,
        bin: &Bin,
        all: &[Charge],
        groups: &Groups,
        parts: &mut Vec<Part>,
    ) {
        let here = bin
            .charges
            .iter()
            .any(|charge| charge.resource == resource && charge.ns > 0);
        let charges = if here { bin.charges.as_slice() } else { all };
        let charges: Vec<&Charge> = charges
            .iter()
            .filter(|charge| charge.resource == resource)
            .collect();
        let total: f64 = charges.iter().map(|charge| charge.ns as f64).sum();
        if total <= 0.0 {
            parts.push(Part {
                resource,
                party: Party::Plain(Holder::Nobody),
                ns,
                estimated_ns: 0.0,
            });
            return;
        }
        for charge in charges {
            let scale = ns / total;
            let part = charge.ns as f64 * scale;
            let estimated_ns = if here {
                charge.estimated_ns as f64 * scale
            } else {
                part
            };
            parts.push(Part {
                resource,
                party: self.party(resource, charge, part, groups),
                ns: part,
                estimated_ns,
            });
            if let Some(place) = charge.place {
                *self.places.entry((resource, place)).or_default() += part;
            }
        }
    }

    fn party(&mut self, resource: Resource, charge: &Charge, ns: f64, groups: &Groups) -> Party {
        let Holder::Process(process) = charge.holder else {
            return Party::Plain(charge.holder);
        };
        let group = groups.of(process);
        *self.members.entry((resource, group, process)).or_default() += ns;
        Party::Group(group)
    }

    /// Time per party of one resource.
    #[must_use]
    pub fn of(&self, resource: Resource) -> Vec<(Party, f64)> {
        let mut sums: BTreeMap<Party, f64> = BTreeMap::new();
        for part in self
            .bins
            .iter()
            .flatten()
            .filter(|part| part.resource == resource)
        {
            *sums.entry(part.party).or_default() += part.ns;
        }
        sums.into_iter().collect()
    }

    /// Where most of a resource was waited for.
    #[must_use]
    pub fn place(&self, resource: Resource) -> Option<PlaceId> {
        let of = self
            .places
            .iter()
            .filter(|((known, _), _)| *known == resource);
        of.max_by(|a, b| a.1.total_cmp(b.1))
            .map(|((_, place), _)| *place)
    }

    /// Processes of a group that held a resource, the largest part first.
    #[must_use]
    pub fn members(&self, resource: Resource, group: GroupId) -> Vec<ProcessId> {
        let of = self
            .members
            .iter()
            .filter(|((known, of, _), _)| *known == resource && *of == group);
        let mut members: Vec<(f64, ProcessId)> =
            of.map(|((_, _, process), ns)| (*ns, *process)).collect();
        members.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        members.into_iter().map(|(_, process)| process).collect()
    }
}
