//! The view that all hypotheses share: the ledger that the verdict is about, its sums, and the holders.

use std::collections::BTreeMap;

use super::{
    constants::{ENOUGH_REQUESTS, NAMED_MEMBER},
    decision::{Sums, ratio},
    floor::Seen,
    group::{GroupId, Groups},
    shares::Shares,
};
use crate::{
    class::{Class, Resource},
    model::books::{Bin, Books, Budget, ProcessId},
};

/// A group outside the target that held a resource.
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

/// Books, with what all hypotheses need.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    pub(super) books: &'a Books,
    pub(super) groups: Groups,
    /// Are the requests' times judged, not the threads'?
    pub(super) of_requests: bool,
    /// Time per class, ns.
    pub(super) budget: Budget,
    pub(super) shares: Shares,
    /// What decides how much is felt.
    pub(super) seen: Seen,
    /// Of the whole window.
    pub(super) sums: Sums,
}

impl<'a> View<'a> {
    /// Chooses the ledger and splits its time.
    pub(super) fn new(books: &'a Books) -> Self {
        let of_requests = are_requests_judged(books);
        let ledger = if of_requests { requests_of } else { threads_of };
        let groups = Groups::new(books);
        let shares = Shares::new(books, ledger, &groups);
        let budget = books.budget(ledger);
        let seen = Seen::new(books, of_requests);
        Self {
            sums: sums(&budget, &shares, &seen),
            seen,
            books,
            budget,
            groups,
            of_requests,
            shares,
        }
    }

    /// The ledger of one slice.
    pub(super) fn ledger<'b>(&self, bin: &'b Bin) -> &'b Budget {
        if self.of_requests {
            &bin.requests
        } else {
            &bin.threads
        }
    }

    /// The group as a culprit that held a resource for `ns`; `None` if none of its members did.
    pub(super) fn culprit(&self, resource: Resource, group: GroupId, ns: f64) -> Option<Culprit> {
        let members = self.shares.members(resource, group);
        let name = self
            .groups
            .name(self.books, &self.named(&members, ns), resource);
        Some(Culprit {
            group,
            process: members.first()?.0,
            members: members.iter().map(|(process, _)| *process).collect(),
            name,
            share: ratio(ns, self.sums.waited(resource)),
            through: 2.0 * self.shares.through(resource, group) > ns,
        })
    }
}

impl View<'_> {
    /// Members with a program that gives the group its name. Processes of one name count together, because a script's compressors
    /// hold little each. The largest member, if all programs hold little.
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

/// The sums of the whole window.
fn sums(budget: &Budget, shares: &Shares, seen: &Seen) -> Sums {
    let mut sums = Sums {
        active: active_ns(budget) as f64,
        least_active: seen.least_active_ns(),
        blocked: blocked_ns(budget) as f64,
        ..Sums::default()
    };
    for resource in Resource::ALL {
        sums.waited[resource as usize] = resource
            .class()
            .map_or(0.0, |class| budget[class.index()] as f64);
        for (party, ns) in shares.of(resource) {
            sums.charge(resource, party, ns);
        }
    }
    sums
}

/// Time in the classes in which something is waited for, ns.
pub(super) fn blocked_ns(budget: &Budget) -> u64 {
    let blocked = Class::ALL.into_iter().filter(|class| class.is_blocked());
    blocked.map(|class| budget[class.index()]).sum()
}

/// Time of requests, or the threads' time that is not idle, ns. A long poll is idle too.
pub(super) fn active_ns(budget: &Budget) -> u64 {
    budget.iter().sum::<u64>() - budget[Class::Idle.index()]
}

/// Are the requests' times judged, not the threads'? They are where there are enough of them, and where few spent more time than
/// the threads. An event loop's threads idle while all its requests wait: by the threads, a starved server would look healthy.
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
