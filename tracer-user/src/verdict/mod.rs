//! From books to a verdict: which resource, who held it, how sure. Pure: no clock, no I/O.
//!
//! [`judge`] looks at the books through a `View` (which ledger, its sums, holders joined to groups), asks one rule per resource for a
//! [`Hypothesis`], and ranks them. Nobody is accused below the thresholds of [`constants`].

mod clients;
mod confidence;
pub mod constants;
mod cpu;
mod disk;
#[cfg(test)]
mod fixture;
mod group;
mod health;
mod job;
mod lock;
mod memory;
mod network;
mod remedy;
mod rule;
mod sentence;
mod shares;
#[cfg(test)]
mod tests;
mod upstream;
mod view;

pub use clients::charged;
pub use group::GroupId;
pub use remedy::Remedy;
pub use rule::Hypothesis;
pub use view::Culprit;

use constants::{CULPRIT_COST, NOT_HELD_UP};
use rule::Rule;
use view::{View, ratio};

use crate::{class::Resource, model::books::Books};

/// One rule per resource.
const RULES: [Rule; 6] = [
    disk::disk,
    network::network,
    cpu::cpu,
    memory::memory,
    lock::lock,
    upstream::upstream,
];

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Is it about requests (or threads)?
    pub of_requests: bool,
    /// Everything that was waited for, the largest first. Without culprits where the target is not held up.
    pub hypotheses: Vec<Hypothesis>,
    /// Is the first of them what holds the target up?
    pub held_up: bool,
    /// 0..1.
    pub confidence: f64,
    /// What keeps confidence low.
    pub doubts: Vec<String>,
    /// Blocked part of request (thread: non-idle) time.
    pub blocked_part: f64,
    /// Did any thread run or wait, or any request take time?
    pub active: bool,
    /// In one sentence. Text from outside is not escaped in it.
    pub sentence: String,
    /// What to do.
    pub remedies: Vec<Remedy>,
    /// Watched, and hardly waited for.
    pub healthy: Vec<Resource>,
    /// Of which nothing can be said, with the reason.
    pub unknown: Vec<(Resource, String)>,
    /// Part of its time on a CPU in which it shared the core, if that is much and the CPU not the answer anyway.
    pub shared_core: Option<f64>,
}

impl Verdict {
    /// The hypothesis that is the verdict.
    #[must_use]
    pub fn primary(&self) -> Option<&Hypothesis> {
        self.hypotheses.first().filter(|_| self.held_up)
    }
}

/// Judges closed books in which clients are charged ([`charged`]).
#[must_use]
pub fn judge(books: &Books) -> Verdict {
    let books = &*clients::without(books);
    let view = View::new(books);
    let blocked_part = ratio(view.blocked_ns(), view.active_ns());
    let mut hypotheses: Vec<Hypothesis> = RULES.iter().filter_map(|rule| rule(&view)).collect();
    hypotheses.sort_by(|a, b| {
        let by_share = b.share.total_cmp(&a.share);
        by_share.then(a.resource.cmp(&b.resource))
    });
    // Where nearly all of it has no explanation, the little that has one holds nobody up.
    let felt = |first: &Hypothesis| first.share * blocked_part >= CULPRIT_COST;
    let held_up = blocked_part >= NOT_HELD_UP && hypotheses.first().is_some_and(felt);
    if !held_up {
        for hypothesis in &mut hypotheses {
            hypothesis.culprits.clear();
        }
    }
    let mut verdict = Verdict {
        of_requests: view.of_requests,
        hypotheses,
        held_up,
        confidence: 0.0,
        doubts: Vec::new(),
        blocked_part,
        active: view.active_ns() > 0.0,
        sentence: String::new(),
        remedies: Vec::new(),
        healthy: Vec::new(),
        unknown: health::unknown(books),
        shared_core: None,
    };
    (verdict.confidence, verdict.doubts) = confidence::confidence(&view, &verdict);
    verdict.healthy = health::healthy(&verdict);
    // Where it waits for a CPU first of all, that is known.
    let waits_for_cpu = verdict
        .primary()
        .is_some_and(|first| first.resource == Resource::Cpu);
    verdict.shared_core = health::shared_core(books).filter(|_| !waits_for_cpu);
    if let Some(part) = verdict.shared_core {
        verdict
            .healthy
            .retain(|resource| *resource != Resource::Cpu);
        let reason = format!(
            "{}: how much that slows it shows in no queue",
            health::says_shared(part)
        );
        verdict.unknown.push((Resource::Cpu, reason));
    }
    verdict.remedies = remedy::remedies(books, &verdict);
    verdict.sentence = sentence::sentence(books, &verdict);
    verdict
}
