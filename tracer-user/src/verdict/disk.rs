//! Disk: who else's requests stood before the target's, or the device itself.

use super::{
    rule::{self, Hypothesis},
    shares::Party,
    view::View,
};
use crate::{
    class::{Cause, Resource},
    model::books::Holder,
};

/// Time in the class `disk`. A journal commit or writeback is the cause where it covers more of the time than the holders explain.
pub fn disk(view: &View<'_>) -> Option<Hypothesis> {
    rule::hypothesis(view, Resource::Disk, |party| match party {
        Party::Group(_) => Some(Cause::Contention),
        Party::Plain(Holder::Own | Holder::OwnLock | Holder::Asked(_)) => Some(Cause::Own),
        Party::Plain(Holder::OwnQuota) => Some(Cause::Quota),
        Party::Plain(Holder::SlowDevice) => Some(Cause::DeviceSlow),
        Party::Plain(Holder::FailedDevice) => Some(Cause::DeviceError),
        Party::Plain(_) => None,
    })
}
