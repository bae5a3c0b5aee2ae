//! All decisions in one place. The verdict asks for the whole window, confidence for each resample of the bins.
//!
//! [`Sums::held`] has groups outside the target only. The target's own part (`resources.rs`) is a cause, never a culprit.

use std::{cmp::Ordering, collections::BTreeMap};

use super::{
    constants::{CULPRIT_COST, CULPRIT_PART, NOT_HELD_UP},
    group::GroupId,
    resources::has_culprits,
    shares::Party,
};
use crate::class::Resource;

/// The sums that decide, all in ns of the ledger that is judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// Time of requests, or the threads' time that is not idle.
    pub(super) active: f64,
    /// It counts as no less than this ([`floor`](super::floor)).
    pub(super) least_active: f64,
    /// Part of it in which something was waited for.
    pub(super) blocked: f64,
    /// Time behind the tracer itself, which is no part of any other sum here.
    pub(super) behind_tracer: f64,
    /// Part of what was blocked, by [`Resource`].
    pub(super) waited: [f64; Resource::ALL.len()],
    /// Part of that, which the target owes to itself ([`Party::is_own`]), by [`Resource`].
    pub(super) own: [f64; Resource::ALL.len()],
    /// Part of what was waited, charged to a group outside the target.
    pub(super) held: BTreeMap<(Resource, GroupId), f64>,
}

/// Resource and first culprit. `None`: the target is not held up. `Some` without a culprit: it is, and nobody is accused.
pub(super) type Answer = Option<(Resource, Option<GroupId>)>;

/// `part / whole`, 0 of nothing.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl Sums {
    /// Charges a part of the time waited for a resource to a party.
    pub(super) fn charge(&mut self, resource: Resource, party: Party, ns: f64) {
        match party {
            Party::Group(group) => *self.held.entry((resource, group)).or_default() += ns,
            Party::Tracer => {
                self.behind_tracer += ns;
                let waited = &mut self.waited[resource as usize];
                for sum in [&mut self.active, &mut self.blocked, waited] {
                    *sum = (*sum - ns).max(0.0);
                }
            }
            Party::Plain(_) if party.is_own() => self.own[resource as usize] += ns,
            Party::Plain(_) | Party::Asking(_) => {}
        }
    }

    /// Adds another slice so many times.
    pub(super) fn add(&mut self, other: &Self, times: f64) {
        self.active += times * other.active;
        self.blocked += times * other.blocked;
        self.behind_tracer += times * other.behind_tracer;
        for (sum, ns) in self.waited.iter_mut().zip(other.waited) {
            *sum += times * ns;
        }
        for (sum, ns) in self.own.iter_mut().zip(other.own) {
            *sum += times * ns;
        }
        for (key, ns) in &other.held {
            *self.held.entry(*key).or_default() += times * ns;
        }
    }

    /// Blocked part of active time, 0..1.
    pub(super) fn blocked_part(&self) -> f64 {
        ratio(self.blocked, self.active)
    }

    /// The time of which all thresholds are parts, ns.
    fn counted(&self) -> f64 {
        self.active.max(self.least_active)
    }

    /// Is the target blocked for so long that a person feels it?
    pub(super) fn is_felt(&self) -> bool {
        self.blocked >= NOT_HELD_UP * self.least_active
    }

    /// Time waited for a resource, ns.
    pub(super) fn waited(&self, resource: Resource) -> f64 {
        self.waited[resource as usize]
    }

    /// Part of blocked time that was spent on a resource, 0..1.
    pub(super) fn share(&self, resource: Resource) -> f64 {
        ratio(self.waited(resource), self.blocked)
    }

    /// The resources that were waited for: the one that [leads](Self::lead), then the others, the largest first.
    pub(super) fn ranked(&self) -> Vec<Resource> {
        let lead = self.lead();
        let mut ranked: Vec<_> = self.waited_for().collect();
        ranked.sort_by(|a, b| self.by_share(*a, *b));
        ranked.sort_by_key(|resource| Some(*resource) != lead);
        ranked
    }

    /// The resource that was waited for most.
    fn largest(&self) -> Option<Resource> {
        self.waited_for().min_by(|a, b| self.by_share(*a, *b))
    }

    /// The resource that leads: the largest. If somebody is accused of that, it is the one whose culprits cost most. They hold the target
    /// up, and what it owes to itself in the same resource does not make them worse.
    fn lead(&self) -> Option<Resource> {
        let largest = self.largest()?;
        let cost = |resource| {
            self.culprits(resource)
                .iter()
                .map(|(_, ns)| ns)
                .sum::<f64>()
        };
        let (mut lead, mut most) = (largest, cost(largest));
        if most <= 0.0 {
            return Some(largest);
        }
        for other in self.waited_for() {
            let ns = cost(other);
            if ns > most {
                (lead, most) = (other, ns);
            }
        }
        Some(lead)
    }

    fn waited_for(&self) -> impl Iterator<Item = Resource> {
        let all = Resource::ALL.into_iter();
        all.filter(|resource| self.waited(*resource) > 0.0)
    }

    fn by_share(&self, a: Resource, b: Resource) -> Ordering {
        let by_share = self.share(b).total_cmp(&self.share(a));
        by_share.then(a.cmp(&b))
    }

    /// Is the target held up? Where nearly all blocked time has no explanation, the little that has one holds nobody up.
    pub(super) fn is_held_up(&self) -> bool {
        let blocked_part = ratio(self.blocked, self.counted());
        let felt = |first: Resource| self.share(first) * blocked_part >= CULPRIT_COST;
        blocked_part >= NOT_HELD_UP && self.largest().is_some_and(felt)
    }

    /// The groups that are accused of a resource if the target is held up, the largest first. Each has its time in ns.
    pub(super) fn culprits(&self, resource: Resource) -> Vec<(GroupId, f64)> {
        match has_culprits(resource) {
            true => self.holders(resource),
            false => Vec::new(),
        }
    }

    /// The groups that hold and cost enough of a resource to count, the largest first. Each has its time in ns.
    ///
    /// None counts unless one of them holds enough of all that was waited, the target's own part included: with less, others are not
    /// what holds it up. Beside that one, each counts by its part of what the target does not owe to itself. The target's own part makes
    /// nobody else smaller; what a device held, or nobody is known to have held, makes nobody else larger.
    pub(super) fn holders(&self, resource: Resource) -> Vec<(GroupId, f64)> {
        let of = self.held.iter().filter(|((of, _), _)| *of == resource);
        let mut holders: Vec<_> = of.map(|((_, group), ns)| (*group, *ns)).collect();
        holders.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let waited = self.waited(resource);
        let stands_out = |(_, ns): &(GroupId, f64)| ratio(*ns, waited) >= CULPRIT_PART;
        if !holders.first().is_some_and(stands_out) {
            return Vec::new();
        }
        let others = waited - self.own[resource as usize];
        holders.retain(|(_, ns)| {
            ratio(*ns, others) >= CULPRIT_PART && ratio(*ns, self.counted()) >= CULPRIT_COST
        });
        holders
    }

    /// The resource that holds the target up, and the group that is first accused of it.
    pub(super) fn answer(&self) -> Answer {
        if !self.is_held_up() {
            return None;
        }
        let first = self.lead()?;
        let culprit = self.culprits(first).first().map(|(group, _)| *group);
        Some((first, culprit))
    }
}
