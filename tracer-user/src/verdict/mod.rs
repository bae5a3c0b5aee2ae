//! From books to a verdict: the resource, its holders, the confidence. Pure: no clock, no I/O.
//!
//! [`Charged`] charges clients of the target with what it does for them. [`judge`] then looks at the books through a `View`: the
//! ledger, its sums, the holders joined to groups. It makes a [`Hypothesis`] for each resource, and ranks them. `decision` accuses
//! somebody by the thresholds of `constants`. [`compare`] puts two windows side by side.

mod acquittal;
mod asking;
mod clients;
pub mod compare;
mod confidence;
pub mod constants;
mod decision;
mod earlier;
#[cfg(test)]
mod fixture;
pub mod floor;
mod group;
mod health;
mod hypothesis;
mod job;
mod naps;
mod observer;
mod operator;
mod own;
mod remedy;
mod resources;
mod sentence;
mod sessions;
mod shares;
mod slowness;
mod stops;
#[cfg(test)]
mod tests;
mod unknown;
mod view;

pub use clients::Charged;
pub use earlier::old_pages;
pub use group::GroupId;
pub use hypothesis::Hypothesis;
pub use operator::{Place, holder_in_words, place};
pub use own::{SelfPart, client_name};
pub use remedy::Remedy;
pub use sessions::waiting_sessions;
pub use view::Culprit;

use crate::class::Resource;
use health::Health;
use view::View;

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The finding.
    pub finding: Finding,
    /// 0..1.
    pub confidence: f64,
    /// Reasons that keep confidence low.
    pub doubts: Vec<String>,
    /// In one sentence. Text from outside is not escaped in it.
    pub sentence: String,
    /// The remedies.
    pub remedies: Vec<Remedy>,
    /// Sleeps of the target's own that it waited for. Text from outside is not escaped in them.
    pub naps: Vec<String>,
    /// Watched, and hardly waited for.
    pub healthy: Vec<Resource>,
    /// Resources that were not seen, with the reason.
    pub unknown: Vec<(Resource, String)>,
}

impl Verdict {
    /// The hypothesis that is the verdict.
    #[must_use]
    pub fn primary(&self) -> Option<&Hypothesis> {
        self.finding.primary()
    }
}

/// The waits of the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Is it about requests (or threads)?
    pub of_requests: bool,
    /// Everything that was waited for: the one that leads, then the others, the largest first. Without culprits where the target is not
    /// held up.
    pub hypotheses: Vec<Hypothesis>,
    /// Does the first of them hold the target up?
    pub held_up: bool,
    /// Blocked time of the ledger, ns.
    pub blocked_ns: f64,
    /// Blocked part of request (thread: non-idle) time, 0..1.
    pub blocked_part: f64,
    /// Time of that ledger in which the tracer itself was in the way, ns. It is taken out of all other figures.
    pub behind_tracer_ns: f64,
    /// Part of blocked time that is charged to nobody, or has no known class nor a timer that ended it, 0..1.
    pub unexplained: f64,
    /// Part of blocked time in which only a timer of the target's own was waited for, 0..1.
    pub napped: f64,
    /// Did any thread run or wait, or any request take time?
    pub active: bool,
    /// What was lost, in a few words, where the blocked part is large and still nobody feels it.
    pub unfelt: Option<String>,
}

impl Finding {
    fn new(view: &View<'_>) -> Self {
        let held_up = view.sums.is_held_up();
        let ranked = view.sums.ranked().into_iter();
        Self {
            of_requests: view.of_requests,
            hypotheses: ranked
                .map(|resource| Hypothesis::new(view, resource, held_up))
                .collect(),
            held_up,
            unexplained: confidence::unexplained(view),
            napped: naps::part(view),
            blocked_ns: view.sums.blocked,
            blocked_part: view.sums.blocked_part(),
            behind_tracer_ns: view.sums.behind_tracer,
            active: view.sums.active > 0.0,
            unfelt: (!view.sums.is_felt()).then(|| view.seen.in_words(view.sums.blocked)),
        }
    }

    /// The hypothesis that is the verdict; `None` where the target is not held up.
    #[must_use]
    pub fn primary(&self) -> Option<&Hypothesis> {
        self.hypotheses.first().filter(|_| self.held_up)
    }
}

/// Judges closed books.
#[must_use]
pub fn judge(charged: &Charged<'_>) -> Verdict {
    let books = &*stops::without_unfelt(charged.without_their_own());
    let view = View::new(books);
    let finding = Finding::new(&view);
    let health = Health::new(books, charged.books(), &finding);
    let (confidence, doubts) = confidence::confidence(&view, &finding, &health);
    Verdict {
        confidence,
        doubts,
        sentence: sentence::sentence(books, &finding, &health),
        remedies: remedy::remedies(books, &finding),
        naps: naps::lines(books, &finding),
        healthy: health.healthy.clone(),
        unknown: health.unknown(),
        finding,
    }
}
