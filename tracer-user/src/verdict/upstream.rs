//! Upstream: the answer of another process. It says where the time went; whom to accuse is known only where that process's own wait
//! was followed, and then the wait is booked as what it waited for.

use super::{
    rule::{self, Hypothesis},
    view::View,
};
use crate::class::Resource;

/// Time in the class `upstream`, without culprits.
pub fn upstream(view: &View<'_>) -> Option<Hypothesis> {
    let mut found = rule::hypothesis(view, Resource::Upstream, |_| None)?;
    found.culprits.clear();
    Some(found)
}
