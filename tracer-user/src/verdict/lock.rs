//! Lock: who released what the target's threads waited for.

use super::{
    rule::{self, Hypothesis},
    shares::Party,
    view::View,
};
use crate::{
    class::{Cause, Resource},
    model::books::Holder,
};

/// Time in the class `lock`. A lock held by the target's own threads accuses nobody.
pub fn lock(view: &View<'_>) -> Option<Hypothesis> {
    rule::hypothesis(view, Resource::Lock, |party| match party {
        Party::Group(_) => Some(Cause::LockHolder),
        Party::Plain(Holder::Own | Holder::OwnLock | Holder::Asked(_)) => Some(Cause::Own),
        Party::Plain(_) => None,
    })
}
