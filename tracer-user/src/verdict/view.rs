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
        let requests = books.requests.as_ref();
        let enough = requests.is_some_and(|found| found.count + found.open >= ENOUGH_REQUESTS);
        // Requests that left no time in the books cannot be judged.
        let of_requests = enough && active_ns(&books.budget(requests_of)) > 0;
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
        let name = self.groups.name(self.books, &self.named(&members, ns));
        Some(Culprit {
            group,
            process: members.first()?.0,
            members: members.iter().map(|(process, _)| *process).collect(),
            name,
            share: ratio(ns, waited),
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

fn requests_of(bin: &Bin) -> &Budget {
    &bin.requests
}

fn threads_of(bin: &Bin) -> &Budget {
    &bin.threads
}
