//! Upstream: the answer of another process. It says where the time went; whom to accuse is known only where that process's own wait
//! was followed, and then the wait is booked as what it waited for.

use super::{
    constants::VIA_PART,
    rule::{self, Hypothesis},
    view::View,
};
use crate::class::Resource;

/// Time in the class `upstream`, without culprits: who answers is on the way, not to blame.
pub fn upstream(view: &View<'_>) -> Option<Hypothesis> {
    let mut found = rule::hypothesis(view, Resource::Upstream, |_| None)?;
    let first = found
        .culprits
        .first()
        .filter(|first| first.share >= VIA_PART);
    if let (true, Some(first)) = (found.via.is_empty(), first) {
        found.via.push(first.process);
    }
    found.culprits.clear();
    Some(found)
}
