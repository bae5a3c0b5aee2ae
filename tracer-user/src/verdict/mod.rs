//! From books to a verdict: which resource, who held it, how sure. Pure; the thresholds are here, each with its reason.

mod cause;
mod confidence;
mod group;
mod remedy;
mod sentence;
mod shares;

pub use group::{Group, GroupId, Groups};
pub use remedy::Remedy;
use shares::{Party, Shares};

use crate::{
    class::{Cause, Class, Resource},
    model::books::{Books, Budget, PlaceId, ProcessId},
};

/// Requests from which their ledger is used instead of the threads': below, a quantile means nothing (design §5).
pub const ENOUGH_REQUESTS: u64 = 20;
/// Blocked time below this part of request (thread: non-idle) time is not what makes anybody slow.
pub const NOT_HELD_UP: f64 = 0.10;
/// A culprit holds at least this part of the resource's wait: less is one among many.
pub const CULPRIT_PART: f64 = 0.20;
/// A culprit costs at least this part of request time: less would not be felt if it went away.
pub const CULPRIT_COST: f64 = 0.05;
/// Another hypothesis of at least this share is named in the sentence too.
pub const ALSO_NAMED: f64 = 0.25;
/// A resource that was watched and makes up less than this part of blocked time is healthy.
pub const HEALTHY_BELOW: f64 = 0.05;

/// Who held a resource: a group outside the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Culprit {
    /// Which group.
    pub group: GroupId,
    /// Its member that held most.
    pub process: ProcessId,
    /// Its members that held anything.
    pub members: Vec<ProcessId>,
    /// Name of the group's job.
    pub name: String,
    /// Part of the resource's waiting time.
    pub share: f64,
}

/// One resource that was waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// What.
    pub resource: Resource,
    /// Why.
    pub cause: Option<Cause>,
    /// Where most of it was waited.
    pub place: Option<PlaceId>,
    /// Who held it, the largest first.
    pub culprits: Vec<Culprit>,
    /// Part of the resource's waiting time that the target owes to itself.
    pub self_share: f64,
    /// Part of blocked time.
    pub share: f64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Is it about requests (or threads)?
    pub of_requests: bool,
    /// Everything that was waited for, the largest first.
    pub hypotheses: Vec<Hypothesis>,
    /// The first of them, unless the target is not held up.
    pub held_up: bool,
    /// 0..1.
    pub confidence: f64,
    /// Blocked part of request (thread: non-idle) time.
    pub blocked_part: f64,
    /// In one sentence.
    pub sentence: String,
    /// What to do.
    pub remedies: Vec<Remedy>,
    /// Watched, and hardly waited for.
    pub healthy: Vec<Resource>,
    /// Of which nothing can be said, with the reason.
    pub unknown: Vec<(Resource, String)>,
}

impl Verdict {
    /// The hypothesis that is the verdict.
    #[must_use]
    pub fn primary(&self) -> Option<&Hypothesis> {
        self.hypotheses.first().filter(|_| self.held_up)
    }
}

/// The ledger that the verdict is about, summed.
#[derive(Clone, Debug)]
struct View<'a> {
    books: &'a Books,
    groups: Groups,
    of_requests: bool,
    budget: Budget,
    shares: Shares,
}

impl<'a> View<'a> {
    fn new(books: &'a Books) -> Self {
        let of_requests = books
            .requests
            .as_ref()
            .is_some_and(|requests| requests.count >= ENOUGH_REQUESTS);
        let budget = books.budget(|bin| {
            if of_requests {
                &bin.requests
            } else {
                &bin.threads
            }
        });
        let groups = Groups::new(books);
        let shares = Shares::new(books, of_requests, &groups);
        Self {
            books,
            groups,
            of_requests,
            budget,
            shares,
        }
    }

    /// Time in all classes in which something is waited for.
    fn blocked_ns(&self) -> u64 {
        Class::BLOCKED
            .iter()
            .map(|class| self.budget[class.index()])
            .sum()
    }

    /// Request time, or the threads' time that is not idle.
    fn total_ns(&self) -> u64 {
        self.budget.iter().sum::<u64>() - self.budget[Class::Idle.index()]
    }
}

/// `part / whole`, 0 of nothing.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Judges closed books.
#[must_use]
pub fn judge(books: &Books) -> Verdict {
    let view = View::new(books);
    let blocked = view.blocked_ns() as f64;
    let blocked_part = ratio(blocked, view.total_ns() as f64);
    let mut hypotheses: Vec<Hypothesis> = Resource::ALL
        .into_iter()
        .filter_map(|resource| hypothesis(&view, resource))
        .collect();
    hypotheses.sort_by(|a, b| {
        b.share
            .total_cmp(&a.share)
            .then(a.resource.cmp(&b.resource))
    });
    let held_up = blocked_part >= NOT_HELD_UP && !hypotheses.is_empty();
    let unknown = unknown(books);
    let mut verdict = Verdict {
        of_requests: view.of_requests,
        confidence: confidence::confidence(&view, &hypotheses, held_up),
        hypotheses,
        held_up,
        blocked_part,
        sentence: String::new(),
        remedies: Vec::new(),
        healthy: Vec::new(),
        unknown,
    };
    if !held_up {
        for hypothesis in &mut verdict.hypotheses {
            hypothesis.culprits.clear();
        }
    }
    verdict.healthy = healthy(&verdict);
    verdict.remedies = remedy::remedies(books, &verdict);
    verdict.sentence = sentence::sentence(books, &verdict);
    verdict
}

/// Resources of which nothing can be said because a probe is missing.
fn unknown(books: &Books) -> Vec<(Resource, String)> {
    let mut unknown: Vec<(Resource, String)> = Vec::new();
    for resource in Resource::ALL {
        let missing = books
            .start
            .missing
            .iter()
            .find(|missing| missing.blinds.as_deref() == Some(resource.name()));
        if let Some(missing) = missing {
            unknown.push((resource, format!("{}: {}", missing.probe, missing.cost)));
        }
    }
    unknown
}

/// Disk, network and CPU are always watched; of the others only what was waited for is worth a word.
fn healthy(verdict: &Verdict) -> Vec<Resource> {
    let watched = [Resource::Disk, Resource::Network, Resource::Cpu];
    let share = |resource| {
        verdict
            .hypotheses
            .iter()
            .find(|h| h.resource == resource)
            .map_or(0.0, |h| h.share)
    };
    let small = |resource: &Resource| !verdict.held_up || share(*resource) < HEALTHY_BELOW;
    let known = |resource: &Resource| {
        !verdict
            .unknown
            .iter()
            .any(|(unknown, _)| unknown == resource)
    };
    watched.into_iter().filter(small).filter(known).collect()
}

/// What was waited for one resource, and who held it.
fn hypothesis(view: &View<'_>, resource: Resource) -> Option<Hypothesis> {
    let class = resource.class()?;
    let ns = view.budget[class.index()] as f64;
    if ns <= 0.0 {
        return None;
    }
    let parties = view.shares.of(resource);
    let own: f64 = parties
        .iter()
        .filter(|(party, _)| party.is_own())
        .map(|(_, ns)| ns)
        .sum();
    let mut culprits: Vec<Culprit> = parties
        .iter()
        .filter_map(|(party, part)| culprit(view, resource, *party, *part / ns, *part))
        .collect();
    culprits.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.group.cmp(&b.group)));
    Some(Hypothesis {
        resource,
        cause: cause::cause(view.books, resource, &parties, !culprits.is_empty(), ns),
        place: view.shares.place(resource),
        culprits,
        self_share: (own / ns).clamp(0.0, 1.0),
        share: ratio(ns, view.blocked_ns() as f64),
    })
}

fn culprit(
    view: &View<'_>,
    resource: Resource,
    party: Party,
    share: f64,
    ns: f64,
) -> Option<Culprit> {
    let Party::Group(group) = party else {
        return None;
    };
    if share < CULPRIT_PART || ratio(ns, view.total_ns() as f64) < CULPRIT_COST {
        return None;
    }
    let members = view.shares.members(resource, group);
    let process = *members.first()?;
    let name = view.groups.name(view.books, &members);
    Some(Culprit {
        group,
        process,
        members,
        name,
        share,
    })
}
