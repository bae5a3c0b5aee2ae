//! The differences between resources: one row each. A new resource does not compile until it has its row.

use super::shares::Party;
use crate::{
    class::{Cause, Resource},
    model::books::Holder,
};

/// How the sentence speaks of a resource.
pub(super) struct Words {
    /// Name of the resource.
    pub(super) noun: &'static str,
    /// The target's own requests, threads or locks that it stands behind.
    pub(super) own: &'static str,
    /// The target's own limit.
    pub(super) quota: &'static str,
    /// Leads from the resource to the processes on the way to it.
    pub(super) link: &'static str,
}

/// The words of a resource.
pub(super) fn words(resource: Resource) -> Words {
    let words = |noun, own, quota| Words {
        noun,
        own,
        quota,
        link: " through ",
    };
    match resource {
        Resource::Disk => words("the disk", "requests", "I/O limit (io.max)"),
        Resource::Network => words("the network", "traffic", "limit"),
        Resource::Cpu => words("the CPU", "threads", "CPU quota (cpu.max)"),
        Resource::Memory => words("memory", "threads", "memory limit (memory.high)"),
        Resource::Lock => words("a lock", "locks", "limit"),
        Resource::Upstream => Words {
            link: " from ",
            ..words("another process's answer", "threads", "limit")
        },
    }
}

/// Is it always watched? Of the others a wait is worth a word, and its absence none.
pub(super) fn is_watched(resource: Resource) -> bool {
    match resource {
        Resource::Disk | Resource::Network | Resource::Cpu => true,
        Resource::Memory | Resource::Lock | Resource::Upstream => false,
    }
}

/// Is the holder of it to blame? The process that answers is not: it is on the way. Where its own wait was followed, the time is booked
/// as what it waited for.
pub(super) fn has_culprits(resource: Resource) -> bool {
    match resource {
        Resource::Disk | Resource::Network | Resource::Cpu | Resource::Memory | Resource::Lock => {
            true
        }
        Resource::Upstream => false,
    }
}

/// The cause of a wait for a resource that a party held; `None` where it explains nothing.
///
/// A mechanism that the model saw (journal, writeback, …) is the cause instead where it covers more of the time.
pub(super) fn cause(resource: Resource, party: Party) -> Option<Cause> {
    let holder = match party {
        Party::Group(_) => return of_others(resource),
        Party::Asking(_) => return Some(Cause::Clients),
        Party::Tracer => return None,
        Party::Plain(holder) => holder,
    };
    match resource {
        // The model takes the target's own quota out before it charges holders.
        Resource::Cpu => match holder {
            Holder::Own | Holder::OwnLock | Holder::Asked(_) => Some(Cause::Own),
            Holder::OwnQuota => Some(Cause::Quota),
            Holder::IdleCpu => Some(Cause::WakeupLatency),
            Holder::Hypervisor => Some(Cause::Steal),
            Holder::Interrupt(_) => Some(Cause::Irq),
            _ => None,
        },
        Resource::Disk => match holder {
            Holder::Own | Holder::OwnLock | Holder::Asked(_) => Some(Cause::Own),
            Holder::OwnQuota => Some(Cause::Quota),
            Holder::SlowDevice => Some(Cause::DeviceSlow),
            Holder::FailedDevice => Some(Cause::DeviceError),
            _ => None,
        },
        // The receiver and the path beyond this machine are one slow peer.
        Resource::Network => match holder {
            Holder::Own | Holder::Asked(_) => Some(Cause::Own),
            Holder::OwnQuota => Some(Cause::Quota),
            Holder::Peer => Some(Cause::PeerSlow),
            Holder::LossyPath => Some(Cause::Loss),
            _ => None,
        },
        // The process that filled the memory is not known: the stack names the mechanism.
        Resource::Memory => match holder {
            Holder::Own | Holder::Asked(_) => Some(Cause::Own),
            Holder::OwnQuota => Some(Cause::Quota),
            _ => None,
        },
        // The target's own threads accuse nobody.
        Resource::Lock => match holder {
            Holder::Own | Holder::OwnLock | Holder::Asked(_) => Some(Cause::Own),
            _ => None,
        },
        Resource::Upstream => None,
    }
}

/// The cause of a wait for a resource that a group outside the target held.
fn of_others(resource: Resource) -> Option<Cause> {
    match resource {
        Resource::Disk | Resource::Network | Resource::Cpu | Resource::Memory => {
            Some(Cause::Contention)
        }
        Resource::Lock => Some(Cause::LockHolder),
        Resource::Upstream => None,
    }
}
