//! Clients of this machine that hold a resource through the target: a backup that has the database read.
//!
//! For each wait the model records the client that asked for it. It also records the part of the target's own work before it that
//! was for another client. Only here is it known which clients are one job. Work that the target does for members of the same job
//! counts as the target's own.
//!
//! A job is charged under three conditions. It holds enough of the others' waits. It costs them more than they cost it, clients of
//! other machines included. And they are not a few beside it. Then the ledgers leave out what its own requests took, because it asks
//! for much and waits long.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    constants::{CULPRIT_PART, LOPSIDED},
    decision::ratio,
    group::{GroupId, Groups},
};
use crate::{
    class::Resource,
    model::books::{Asker, Bin, Books, Charge, Client, Holder, Served},
};

/// Waits around a job of clients for one resource, ns.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Time that others waited behind it.
    harm: u64,
    /// Time that its own requests waited behind others'.
    harmed: u64,
    /// All time that its own requests waited.
    waited: u64,
}

/// Closed books in which clients are charged with the target's work for them while others waited. No caller can forget to charge
/// them: [`judge`](super::judge) takes nothing else.
#[derive(Clone, Debug)]
pub struct Charged<'a> {
    books: Cow<'a, Books>,
    /// The jobs of clients that are charged.
    accused: BTreeSet<GroupId>,
}

impl<'a> Charged<'a> {
    /// Charges the clients that hold a resource through the target.
    #[must_use]
    pub fn new(books: &'a Books) -> Self {
        let mut charged = Self {
            books: Cow::Borrowed(books),
            accused: BTreeSet::new(),
        };
        if books.bins.iter().all(|bin| bin.served.is_empty()) {
            return charged;
        }
        let groups = Groups::new(books);
        let of = Resource::ALL.into_iter();
        charged.accused = of
            .flat_map(|resource| accused(books, &groups, resource))
            .collect();
        if !charged.accused.is_empty() {
            charged.transfer(&groups);
        }
        charged
    }

    /// The books, with what the charged clients held.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The books without the time of the charged clients' requests. Its other clients are the ones that complain of the target.
    pub(super) fn without_their_own(&self) -> Cow<'_, Books> {
        if self.accused.is_empty() {
            return Cow::Borrowed(&self.books);
        }
        let groups = Groups::new(&self.books);
        let mut books = Books::clone(&self.books);
        for bin in &mut books.bins {
            let served = std::mem::take(&mut bin.served);
            for part in &served {
                let of = group(&groups, part.asker);
                if of.is_some_and(|of| self.accused.contains(&of)) {
                    leave_out(bin, part, &groups, &self.accused);
                }
            }
        }
        Cow::Owned(books)
    }

    fn transfer(&mut self, groups: &Groups) {
        let accused = &self.accused;
        let books = self.books.to_mut();
        books.own.retain(|own| match own.part.client {
            Some(Client::Process(client)) => !accused.contains(&groups.of(client)),
            _ => true,
        });
        for bin in &mut books.bins {
            for (asker, charge) in of_clients(&bin.served) {
                if let Holder::Client(client) = charge.holder
                    && self.accused.contains(&groups.of(client))
                    && group(groups, asker) != Some(groups.of(client))
                {
                    transfer(&mut bin.charges, charge);
                }
            }
        }
    }
}

/// The jobs that hold a resource through the target.
fn accused(books: &Books, groups: &Groups, resource: Resource) -> Vec<GroupId> {
    let mut sums: BTreeMap<GroupId, Sums> = BTreeMap::new();
    let served = books.bins.iter().flat_map(|bin| of_clients(&bin.served));
    for (asker, charge) in served.filter(|(_, charge)| charge.resource == resource) {
        let waits = group(groups, asker);
        if let Some(waits) = waits {
            sums.entry(waits).or_default().waited += charge.ns;
        }
        let behind = match charge.holder {
            Holder::Client(client) => Some(groups.of(client)),
            // Its job is not known, but it is another than any of this machine.
            Holder::RemoteClient => None,
            _ => continue,
        };
        if behind == waits {
            continue;
        }
        if let Some(behind) = behind {
            sums.entry(behind).or_default().harm += charge.ns;
        }
        if let Some(waits) = waits {
            sums.entry(waits).or_default().harmed += charge.ns;
        }
    }
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let whole: u64 = charges
        .filter(|charge| charge.resource == resource)
        .map(|charge| charge.ns)
        .sum();
    let guilty = |sums: &Sums| {
        let others = whole.saturating_sub(sums.waited) as f64;
        let harm = sums.harm as f64;
        ratio(others, whole as f64) >= CULPRIT_PART
            && ratio(harm, others) >= CULPRIT_PART
            && harm >= LOPSIDED * sums.harmed as f64
    };
    let found = sums.into_iter().filter(|(_, sums)| guilty(sums));
    found.map(|(group, _)| group).collect()
}

fn of_clients(served: &[Served]) -> impl Iterator<Item = (Asker, &Charge)> {
    served.iter().flat_map(move |part| {
        let asker = part.asker;
        part.charges.iter().map(move |charge| (asker, charge))
    })
}

fn group(groups: &Groups, asker: Asker) -> Option<GroupId> {
    match asker {
        Asker::Elsewhere => None,
        Asker::Process(id) => Some(groups.of(id)),
    }
}

/// Charges to a client what is charged to the target itself.
fn transfer(charges: &mut Vec<Charge>, to: &Charge) {
    let taken = take(
        charges,
        &Charge {
            holder: Holder::Own,
            ..*to
        },
    );
    match charges.iter_mut().find(|charge| is_same(charge, to)) {
        Some(charge) => {
            charge.ns += taken.ns;
            charge.estimated_ns += taken.estimated_ns;
        }
        None if taken.ns > 0 => charges.push(Charge {
            holder: to.holder,
            ..taken
        }),
        None => {}
    }
}

/// Takes the wanted time from a charge, or as much of it as there is.
fn take(charges: &mut [Charge], wanted: &Charge) -> Charge {
    let Some(charge) = charges.iter_mut().find(|charge| is_same(charge, wanted)) else {
        return Charge {
            ns: 0,
            estimated_ns: 0,
            ..*wanted
        };
    };
    let ns = wanted.ns.min(charge.ns);
    let estimated_ns = wanted.estimated_ns.min(charge.estimated_ns).min(ns);
    charge.ns -= ns;
    charge.estimated_ns = (charge.estimated_ns - estimated_ns).min(charge.ns);
    Charge {
        ns,
        estimated_ns,
        ..*wanted
    }
}

fn is_same(a: &Charge, b: &Charge) -> bool {
    (a.resource, a.place, a.holder) == (b.resource, b.place, b.holder)
}

fn leave_out(bin: &mut Bin, part: &Served, groups: &Groups, accused: &BTreeSet<GroupId>) {
    for (all, theirs) in bin.requests.iter_mut().zip(part.requests) {
        *all = all.saturating_sub(theirs);
    }
    let own = group(groups, part.asker);
    for charge in &part.charges {
        let charged = match charge.holder {
            Holder::Client(client)
                if own != Some(groups.of(client)) && accused.contains(&groups.of(client)) =>
            {
                charge.holder
            }
            other => other.plain(),
        };
        let taken = take(
            &mut bin.charges,
            &Charge {
                holder: charged,
                ..*charge
            },
        );
        let waited = &mut bin.threads[charge.resource.class().index()];
        *waited = waited.saturating_sub(taken.ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Resource;

    fn charge(holder: Holder, ns: u64, estimated_ns: u64) -> Charge {
        Charge {
            resource: Resource::Disk,
            place: Some(0),
            holder,
            ns,
            estimated_ns,
        }
    }

    #[test]
    fn time_that_goes_to_a_client_is_added_to_what_it_has_and_taken_from_the_target() {
        let client = Holder::Client(3);
        let mut charges = vec![charge(Holder::Own, 100, 30), charge(client, 7, 2)];
        transfer(&mut charges, &charge(client, 40, 20));
        assert_eq!(
            charges,
            [charge(Holder::Own, 60, 10), charge(client, 47, 22)]
        );
        // No more than the target has.
        transfer(&mut charges, &charge(client, 90, 0));
        assert_eq!(
            charges,
            [charge(Holder::Own, 0, 0), charge(client, 107, 22)]
        );
        // Nor anything where it has nothing.
        let mut nothing = Vec::new();
        transfer(&mut nothing, &charge(client, 90, 9));
        assert_eq!(nothing, []);
    }
}
