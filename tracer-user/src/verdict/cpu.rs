//! CPU: who ran while the target's threads were runnable, or its own quota.

use super::{
    rule::{self, Hypothesis},
    shares::Party,
    view::View,
};
use crate::{
    class::{Cause, Resource},
    model::books::Holder,
};

/// Time in the class `cpu`. Own quota has been taken out before holders were charged; an idle CPU is wakeup latency.
pub fn cpu(view: &View<'_>) -> Option<Hypothesis> {
    rule::hypothesis(view, Resource::Cpu, |party| match party {
        Party::Group(_) => Some(Cause::Contention),
        Party::Plain(Holder::Own | Holder::OwnLock | Holder::Asked(_)) => Some(Cause::Own),
        Party::Plain(Holder::OwnQuota) => Some(Cause::Quota),
        Party::Plain(Holder::IdleCpu) => Some(Cause::WakeupLatency),
        Party::Plain(Holder::Hypervisor) => Some(Cause::Steal),
        Party::Plain(Holder::Interrupt(_)) => Some(Cause::Irq),
        Party::Plain(_) => None,
    })
}
