//! Why a resource was waited for.

use super::shares::Party;
use crate::{
    class::{Cause, Resource},
    model::books::{Books, Holder},
};

/// A cause that the kernel's functions name (journal, writeback, …) is the cause from this part of the resource's waiting time on.
const NAMED_PART: f64 = 0.5;

/// The cause with the largest part; with culprits it is contention.
pub fn cause(
    books: &Books,
    resource: Resource,
    parties: &[(Party, f64)],
    has_culprits: bool,
    ns: f64,
) -> Option<Cause> {
    if has_culprits {
        return Some(Cause::Contention);
    }
    let threads: u64 = resource
        .class()
        .map_or(0, |class| books.budget(|bin| &bin.threads)[class.index()]);
    let named = books
        .causes
        .iter()
        .filter(|(known, cause, _)| *known == resource && *cause != Cause::Quota);
    let largest = named.max_by_key(|(_, _, ns)| *ns);
    if let Some((_, cause, named_ns)) = largest
        && *named_ns as f64 >= NAMED_PART * threads as f64
    {
        return Some(*cause);
    }
    let mut sums: Vec<(Cause, f64)> = Vec::new();
    for (party, part) in parties {
        let Some(cause) = of_party(*party) else {
            continue;
        };
        match sums.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, sum)) => *sum += part,
            None => sums.push((cause, *part)),
        }
    }
    let largest = sums.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    // Less than a quarter of the time explains nothing.
    (largest.1 >= 0.25 * ns).then_some(largest.0)
}

fn of_party(party: Party) -> Option<Cause> {
    match party {
        Party::Group(_) => Some(Cause::Contention),
        Party::Plain(Holder::Own | Holder::OwnLock) => Some(Cause::Own),
        Party::Plain(Holder::OwnQuota) => Some(Cause::Quota),
        Party::Plain(Holder::SlowDevice) => Some(Cause::DeviceSlow),
        Party::Plain(Holder::Peer) => Some(Cause::PeerSlow),
        Party::Plain(Holder::IdleCpu) => Some(Cause::WakeupLatency),
        Party::Plain(Holder::Hypervisor) => Some(Cause::Steal),
        Party::Plain(Holder::Process(_) | Holder::Nobody) => None,
    }
}
