//! What is fine, and what cannot be said.

use super::{
    Verdict,
    constants::{HEALTHY_BELOW, SHARED_CORE},
    view::ratio,
};
use crate::{class::Resource, model::books::Books, units::share};

/// What is always watched. Of the others a wait is worth a word, and its absence none.
const WATCHED: [Resource; 3] = [Resource::Disk, Resource::Network, Resource::Cpu];

/// Resources of which nothing can be said because a probe is missing, each with the first reason.
pub fn unknown(books: &Books) -> Vec<(Resource, String)> {
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

/// Resources that were watched and hardly waited for. A target that did nothing tells nothing about any.
pub fn healthy(verdict: &Verdict) -> Vec<Resource> {
    if !verdict.active {
        return Vec::new();
    }
    let whole = if verdict.held_up {
        1.0
    } else {
        verdict.blocked_part
    };
    let share = |resource| {
        let found = verdict.hypotheses.iter().find(|h| h.resource == resource);
        found.map_or(0.0, |h| h.share * whole)
    };
    let known = |resource: &Resource| verdict.unknown.iter().all(|(other, _)| other != resource);
    WATCHED
        .into_iter()
        .filter(|resource| share(*resource) < HEALTHY_BELOW)
        .filter(known)
        .collect()
}

/// Part of the target's time on a CPU in which another process used the same core, if that is too much to call the CPU healthy.
pub fn shared_core(books: &Books) -> Option<f64> {
    let shared = books.siblings;
    let part = ratio(shared.beside_ns as f64, shared.target_ns as f64);
    (part >= SHARED_CORE).then_some(part)
}

/// The same in words.
pub fn says_shared(part: f64) -> String {
    format!(
        "another process used the other hyperthread of its core for {} of its time on a CPU",
        share(part)
    )
}
