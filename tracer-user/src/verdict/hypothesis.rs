//! A hypothesis is a resource's waiting time with its place, holders and cause.

use super::{
    constants::{CAUSE_PART, VIA_PART},
    decision::ratio,
    own::{self, SelfPart},
    resources,
    shares::Party,
    view::{Culprit, View},
};
use crate::{
    class::{Cause, Resource},
    model::books::{Holder, PlaceId, ProcessId, Source},
};

/// One resource that was waited for.
///
/// The culprits' shares, `self_share` and the rest sum to 1. The rest is charged to a slow device or peer, an idle CPU, nobody, and
/// processes too small for culprits.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The resource.
    pub resource: Resource,
    /// The cause.
    pub cause: Option<Cause>,
    /// Part of the resource's waiting time that the cause explains.
    pub cause_part: f64,
    /// Where most of it was waited.
    pub place: Option<PlaceId>,
    /// Part of the resource's waiting time that was waited there.
    pub place_part: f64,
    /// The groups that held it, the largest first.
    pub culprits: Vec<Culprit>,
    /// Part of the resource's waiting time that the target owes to itself.
    pub self_share: f64,
    /// The parts of the target that have it, as far as they are known, the largest first.
    pub self_parts: Vec<SelfPart>,
    /// Part of the resource's waiting time that processes outside the target held, too small ones for culprits included.
    pub others_share: f64,
    /// Part of the resource's waiting time of which the holder is not known.
    pub unknown_share: f64,
    /// Part of the resource's waiting time in which its own quota stopped it; contained in `self_share`.
    pub quota_share: f64,
    /// Part of the resource's waiting time in which pages were written back that had been dirtied before the trace.
    pub earlier_share: f64,
    /// The client of this machine that had it most because it asks the target, with all such clients' part of the resource's waiting
    /// time.
    pub asker: Option<(ProcessId, f64)>,
    /// The interrupt that held most of all interrupts, with its part of the resource's waiting time.
    pub interrupt: Option<(Source, f64)>,
    /// Part of blocked time.
    pub share: f64,
    /// Processes on the way to it, in the order in which each asks the next. Empty where the target itself waits for it.
    pub via: Vec<ProcessId>,
}

impl Hypothesis {
    /// About a resource that was waited for. It accuses somebody only where the target is `held_up`.
    pub(super) fn new(view: &View<'_>, resource: Resource, held_up: bool) -> Self {
        let waited = view.sums.waited(resource);
        let parties = view.shares.of(resource);
        let part_of = |counts: fn(Party) -> bool| {
            let of = parties.iter().filter(|(party, _)| counts(*party));
            // An empty sum is -0.0.
            (ratio(of.map(|(_, ns)| ns).sum(), waited) + 0.0).clamp(0.0, 1.0)
        };
        let (place, place_ns) = view.shares.place(resource).unzip();
        let (cause, cause_part) = cause(view, resource, &parties).unzip();
        let accused = match held_up {
            true => view.sums.culprits(resource),
            false => Vec::new(),
        };
        let culprits = accused.into_iter();
        Self {
            resource,
            cause,
            cause_part: cause_part.unwrap_or(0.0),
            place,
            place_part: ratio(place_ns.unwrap_or(0.0), waited).clamp(0.0, 1.0),
            culprits: culprits
                .filter_map(|(group, ns)| view.culprit(resource, group, ns))
                .collect(),
            self_share: part_of(Party::is_own),
            self_parts: own::parts(view, resource, &parties),
            others_share: part_of(|party| matches!(party, Party::Group(_))),
            unknown_share: part_of(Party::is_nobody),
            quota_share: part_of(|party| party == Party::Plain(Holder::OwnQuota)),
            earlier_share: part_of(|party| party == Party::Plain(Holder::Earlier)),
            asker: asker(view, resource),
            interrupt: interrupt(&parties, waited),
            share: view.sums.share(resource),
            via: via(view, resource),
        }
    }
}

/// The way on which most of a resource's time was waited for, if that is at least [`VIA_PART`] of it. Where no way was seen to a resource
/// without culprits, the way is the process that held most.
fn via(view: &View<'_>, resource: Resource) -> Vec<ProcessId> {
    let seen = seen_way(view, resource);
    if !seen.is_empty() || resources::has_culprits(resource) {
        return seen;
    }
    let holders = view.sums.holders(resource);
    let first = holders.first();
    let most = first.filter(|(_, ns)| ratio(*ns, view.sums.waited(resource)) >= VIA_PART);
    let process =
        most.and_then(|(group, _)| view.shares.members(resource, *group).first().copied());
    process.map(|(process, _)| process).into_iter().collect()
}

fn seen_way(view: &View<'_>, resource: Resource) -> Vec<ProcessId> {
    let of = view
        .books
        .ways
        .iter()
        .filter(|((of, _), _)| *of == resource);
    let times = of.map(|((_, way), ns)| (if view.of_requests { ns.0 } else { ns.1 }, way));
    let most = times.max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(a.1)));
    let enough = most.filter(|(ns, _)| ratio(*ns as f64, view.sums.waited(resource)) >= VIA_PART);
    enough.map(|(_, way)| way.clone()).unwrap_or_default()
}

fn asker(view: &View<'_>, resource: Resource) -> Option<(ProcessId, f64)> {
    let askers = view.shares.askers(resource);
    let ns = askers.iter().map(|(_, ns)| ns).sum();
    let (most, _) = askers.first()?;
    Some((*most, ratio(ns, view.sums.waited(resource)).min(1.0)))
}

fn interrupt(parties: &[(Party, f64)], waited: f64) -> Option<(Source, f64)> {
    let interrupts = parties.iter().filter_map(|(party, ns)| match party {
        Party::Plain(Holder::Interrupt(source)) => Some((*source, ratio(*ns, waited))),
        _ => None,
    });
    interrupts.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
}

/// The largest cause: of the holders, or of the mechanisms that the model saw. With its part of the resource's waiting time, 0..1.
///
/// A mechanism (journal, writeback, …) shows how the wait came about, not the process behind it. It overlaps with the holders, and
/// wins only where it covers more of the time than they do. Journal 60 % and tar 40 % give the cause journal. The target's own
/// reads of evicted pages count for the eviction, not for the target.
fn cause(view: &View<'_>, resource: Resource, parties: &[(Party, f64)]) -> Option<(Cause, f64)> {
    let waited = view.sums.waited(resource);
    let mut sums: Vec<(Cause, f64)> = Vec::new();
    for (party, ns) in parties {
        let Some(cause) = resources::cause(resource, *party) else {
            continue;
        };
        // Who used up a limit is behind the limit, which the model saw.
        let by_limit = match party {
            Party::Group(group) => view.shares.by_limit(resource, *group),
            Party::Plain(_) | Party::Asking(_) | Party::Tracer => 0.0,
        };
        let ns = &(ns - by_limit).max(0.0);
        match sums.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, sum)) => *sum += ns,
            None => sums.push((cause, *ns)),
        }
    }
    let seen = mechanisms(view, resource);
    let explained: f64 = seen
        .iter()
        .filter(|(cause, _)| *cause == Cause::CacheEviction)
        .map(|(_, ns)| ns)
        .sum();
    if let Some((_, own)) = sums.iter_mut().find(|(cause, _)| *cause == Cause::Own) {
        *own = (*own - explained).max(0.0);
    }
    // Who filled memory is behind the eviction or the reclaim, which the model saw.
    let by_memory = view.books.by_memory.get(&resource).copied().unwrap_or(0);
    let by_memory = by_memory as f64 * of_threads(view, resource);
    let others = sums
        .iter_mut()
        .find(|(cause, _)| *cause == Cause::Contention);
    if let Some((_, others)) = others {
        *others = (*others - by_memory).max(0.0);
    }
    for (cause, ns) in seen {
        match sums.iter_mut().find(|(known, _)| *known == cause) {
            // Own quota is seen both as holder and as mechanism: the same time.
            Some((_, sum)) => *sum = sum.max(ns),
            None => sums.push((cause, ns)),
        }
    }
    let order = |cause| sums.iter().position(|(known, _)| *known == cause);
    let largest = sums
        .iter()
        .max_by(|a, b| a.1.total_cmp(&b.1).then(order(b.0).cmp(&order(a.0))))?;
    let part = ratio(largest.1, waited).min(1.0);
    (part >= CAUSE_PART).then_some((largest.0, part))
}

/// What a ns of the threads' time in a resource is in the ledger that is judged.
fn of_threads(view: &View<'_>, resource: Resource) -> f64 {
    let threads = view.books.budget(|bin| &bin.threads)[resource.class().index()] as f64;
    ratio(view.sums.waited(resource), threads)
}

/// Mechanisms seen by the model, in ns of the ledger that is judged. The model counts them in thread time.
fn mechanisms(view: &View<'_>, resource: Resource) -> Vec<(Cause, f64)> {
    let scale = of_threads(view, resource);
    let seen = view
        .books
        .causes
        .iter()
        .filter(|(known, _, _)| *known == resource);
    seen.map(|(_, cause, ns)| (*cause, *ns as f64 * scale))
        .collect()
}
