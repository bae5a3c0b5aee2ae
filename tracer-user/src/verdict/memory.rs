//! Memory: stalls of allocations. Who filled the memory is not known; the cause is the mechanism that the stack names.

use super::{
    rule::{self, Hypothesis},
    shares::Party,
    view::View,
};
use crate::{
    class::{Cause, Resource},
    model::books::Holder,
};

/// Time in the class `memory`.
pub fn memory(view: &View<'_>) -> Option<Hypothesis> {
    rule::hypothesis(view, Resource::Memory, |party| match party {
        Party::Group(_) => Some(Cause::Contention),
        Party::Plain(Holder::Own | Holder::Asked(_)) => Some(Cause::Own),
        Party::Plain(Holder::OwnQuota) => Some(Cause::Quota),
        Party::Plain(_) => None,
    })
}
