//! What every rule looks at: the ledger that the verdict is about, its sums, and who held what.

use std::collections::BTreeMap;

use super::{
    constants::{CULPRIT_COST, CULPRIT_PART, ENOUGH_REQUESTS, NAMED_MEMBER},
    group::{GroupId, Groups},
    shares::Shares,
};
use crate::{
    class::{Class, Resource},
    model::books::{Bin, Books, Budget, ProcessId},
};

/// Who held a resource: a group outside the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Culprit {
    /// Which group.
    pub group: GroupId,
    /// Its member that held most.
    pub process: ProcessId,
    /// Its members that held anything, the largest first.
    pub members: Vec<ProcessId>,
    /// Name of the group's job.
    pub name: String,
    /// Part of the resource's waiting time.
    pub share: f64,
    /// Held it most of the time by what the target did for it.
    pub through: bool,
}

/// Books, with what all rules need.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub books: &'a Books,
    pub groups: Groups,
    pub of_requests: bool,
    pub budget: Budget,
    pub shares: Shares,
}

impl<'a> View<'a> {
    /// Chooses the ledger and splits its time.
    #[must_use]
    pub fn new(books: &'a Books) -> Self {
        let of_requests = are_requests_judged(books);
        let ledger = if of_requests { requests_of } else { threads_of };
        let groups = Groups::new(books);
        let shares = Shares::new(books, ledger, &groups);
        Self {
            books,
            budget: books.budget(ledger),
            groups,
            of_requests,
            shares,
        }
    }

    /// The ledger of one slice.
    #[must_use]
    pub fn ledger<'b>(&self, bin: &'b Bin) -> &'b Budget {
        if self.of_requests {
            &bin.requests
        } else {
            &bin.threads
        }
    }

    /// Time in all classes in which something is waited for, ns.
    #[must_use]
    pub fn blocked_ns(&self) -> f64 {
        blocked_ns(&self.budget) as f64
    }

    /// Time of requests, or the threads' time that is not idle, ns. A long poll is idle too.
    #[must_use]
    pub fn active_ns(&self) -> f64 {
        active_ns(&self.budget) as f64
    }

    /// Time waited for a resource, ns.
    #[must_use]
    pub fn waited_ns(&self, resource: Resource) -> f64 {
        resource
            .class()
            .map_or(0.0, |class| self.budget[class.index()] as f64)
    }

    /// The group as a culprit, if it holds and costs enough.
    #[must_use]
    pub fn culprit(&self, resource: Resource, group: GroupId, ns: f64) -> Option<Culprit> {
        let waited = self.waited_ns(resource);
        if !is_culprit(ns, waited, self.active_ns()) {
            return None;
        }
        let members = self.shares.members(resource, group);
        let name = self
            .groups
            .name(self.books, &self.named(&members, ns), resource);
        Some(Culprit {
            group,
            process: members.first()?.0,
            members: members.iter().map(|(process, _)| *process).collect(),
            name,
            share: ratio(ns, waited),
            through: 2.0 * self.shares.through(resource, group) > ns,
        })
    }
}

impl View<'_> {
    /// Members whose program gives the group its name: what processes of one name hold counts together, because a script's compressors
    /// hold little each. The largest, if all programs hold little.
    fn named(&self, members: &[(ProcessId, f64)], ns: f64) -> Vec<ProcessId> {
        let program = |process: ProcessId| self.books.processes[process].comm.as_str();
        let mut held: BTreeMap<&str, f64> = BTreeMap::new();
        for (process, part) in members {
            *held.entry(program(*process)).or_default() += part;
        }
        let mut named: Vec<ProcessId> = members.iter().map(|(process, _)| *process).collect();
        let largest = named.first().copied();
        named.retain(|process| held[program(*process)] >= NAMED_MEMBER * ns);
        if named.is_empty() {
            named.extend(largest);
        }
        named
    }
}

/// Does one who is charged `ns` of the `waited` time of a resource count?
#[must_use]
pub fn is_culprit(ns: f64, waited: f64, active: f64) -> bool {
    ratio(ns, waited) >= CULPRIT_PART && ratio(ns, active) >= CULPRIT_COST
}

/// `part / whole`, 0 of nothing.
#[must_use]
pub fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Time in the classes in which something is waited for.
#[must_use]
pub fn blocked_ns(budget: &Budget) -> u64 {
    Class::BLOCKED
        .iter()
        .map(|class| budget[class.index()])
        .sum()
}

/// Time that is not idle.
#[must_use]
pub fn active_ns(budget: &Budget) -> u64 {
    budget.iter().sum::<u64>() - budget[Class::Idle.index()]
}

/// Are the requests' times judged, not the threads'? Where there are enough of them; and where they are few but spent more time than
/// the threads: those of an event loop idle while all its requests wait, so that a starved server would be called healthy.
fn are_requests_judged(books: &Books) -> bool {
    let Some(requests) = &books.requests else {
        return false;
    };
    let active = active_ns(&books.budget(requests_of));
    if requests.count + requests.open >= ENOUGH_REQUESTS {
        // Requests that left no time in the books cannot be judged.
        return active > 0;
    }
    active > active_ns(&books.budget(threads_of))
}

fn requests_of(bin: &Bin) -> &Budget {
    &bin.requests
}

fn threads_of(bin: &Bin) -> &Budget {
    &bin.threads
}
