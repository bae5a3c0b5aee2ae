//! Resources that are fine, and resources that were not seen.

use super::{
    Finding,
    constants::{HEALTHY_BELOW, SHARED_CORE},
    decision::ratio,
    resources::is_watched,
    view::blocked_ns,
};
use crate::{class::Resource, model::books::Books, units::share};

/// Resources that are fine, and resources that were not seen.
pub(super) struct Health {
    /// Resources that were watched and hardly waited for. A target that did nothing shows nothing about any.
    pub(super) healthy: Vec<Resource>,
    /// Resources without the probe that sees their waits, each with the first reason.
    pub(super) blind: Vec<(Resource, String)>,
    /// Part of the target's time on a CPU in which another process used the same core. `None` if that is little. Also `None` if the
    /// target waits for a CPU first of all: then the answer is known.
    pub(super) shared_core: Option<f64>,
}

impl Health {
    /// Of the books that were judged, and of `all` books, in which no client's requests are left out.
    pub(super) fn new(books: &Books, all: &Books, finding: &Finding) -> Self {
        let blind = blind(books);
        let waits_for_cpu = finding
            .primary()
            .is_some_and(|first| first.resource == Resource::Cpu);
        let shared_core = shared_core(books).filter(|_| !waits_for_cpu);
        let known = |resource: &Resource| {
            let shared = *resource == Resource::Cpu && shared_core.is_some();
            !shared && blind.iter().all(|(other, _)| other != resource)
        };
        let mut healthy = hardly_waited_for(finding);
        healthy.retain(|resource| known(resource) && !has_most(all, finding, *resource));
        Self {
            healthy,
            blind,
            shared_core,
        }
    }

    /// Resources that were not seen, with the reason.
    pub(super) fn unknown(&self) -> Vec<(Resource, String)> {
        let shared = self.shared_core.map(|part| {
            let said = says_shared(part);
            let reason = format!("{said}: how much that slows it shows in no queue");
            (Resource::Cpu, reason)
        });
        self.blind.iter().cloned().chain(shared).collect()
    }
}

fn blind(books: &Books) -> Vec<(Resource, String)> {
    let reason = |resource: Resource| {
        let missing = books
            .start
            .missing
            .iter()
            .find(|missing| missing.blinds.as_deref() == Some(resource.name()))?;
        Some((resource, format!("{}: {}", missing.probe, missing.cost)))
    };
    Resource::ALL.into_iter().filter_map(reason).collect()
}

fn hardly_waited_for(finding: &Finding) -> Vec<Resource> {
    if !finding.active {
        return Vec::new();
    }
    let whole = if finding.held_up {
        1.0
    } else {
        finding.blocked_part
    };
    let share = |resource| {
        let found = finding.hypotheses.iter().find(|h| h.resource == resource);
        found.map_or(0.0, |h| h.share * whole)
    };
    let hardly = |resource: &Resource| is_watched(*resource) && share(*resource) < HEALTHY_BELOW;
    Resource::ALL.into_iter().filter(hardly).collect()
}

/// Does a resource have half of all blocked time? However little that is, it says where the target waits.
fn has_most(all: &Books, finding: &Finding, resource: Resource) -> bool {
    let budget = match finding.of_requests {
        true => all.budget(|bin| &bin.requests),
        false => all.budget(|bin| &bin.threads),
    };
    let waited = resource.class().map_or(0, |class| budget[class.index()]);
    waited > 0 && 2 * waited >= blocked_ns(&budget)
}

/// Part of the target's time on a CPU in which another process used the same core. `None` if that is little enough to call the CPU
/// healthy.
fn shared_core(books: &Books) -> Option<f64> {
    let shared = books.siblings;
    let part = ratio(shared.beside_ns as f64, shared.target_ns as f64);
    (part >= SHARED_CORE).then_some(part)
}

/// The same in words.
pub(super) fn says_shared(part: f64) -> String {
    format!(
        "another process used the other hyperthread of its core for {} of its time on a CPU",
        share(part)
    )
}
