//! Network: who else's packets fill the link, or the receiver.

use super::{
    rule::{self, Hypothesis},
    shares::Party,
    view::View,
};
use crate::{
    class::{Cause, Resource},
    model::books::Holder,
};

/// Time in the class `network`. Time limited by the receiver or by the path beyond this machine is a slow peer's.
pub fn network(view: &View<'_>) -> Option<Hypothesis> {
    rule::hypothesis(view, Resource::Network, |party| match party {
        Party::Group(_) => Some(Cause::Contention),
        Party::Plain(Holder::Own | Holder::Asked(_)) => Some(Cause::Own),
        Party::Plain(Holder::OwnQuota) => Some(Cause::Quota),
        Party::Plain(Holder::Peer) => Some(Cause::PeerSlow),
        Party::Plain(Holder::LossyPath) => Some(Cause::Loss),
        Party::Plain(_) => None,
    })
}
