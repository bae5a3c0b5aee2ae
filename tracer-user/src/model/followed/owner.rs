//! Owners of locks for which the target waits: what each waits for itself.

use super::leaf::Leaf;
use crate::{
    class::{Class, Resource},
    model::books::{Holder, OwnerWait, ProcessId},
};

/// An owner waits for a resource if it, or one of its children, does at least this part of the time. One that mostly works, or sleeps,
/// waits for nothing.
const WAITS_PART: f64 = 0.5;

/// A process that has at least this part of what the owner waits for is named.
const NAMED_PART: f64 = 0.5;

/// What the owner of a lock waited for most of the `ns` nanoseconds since it was followed.
pub(in crate::model) fn owner_wait(leaf: &Leaf, ns: u64) -> Option<OwnerWait> {
    let all =
        |class: Class| -> u64 { leaf.bins.iter().map(|bin| bin.threads[class.index()]).sum() };
    let waited = Resource::ALL.map(|resource| (resource, all(resource.class())));
    let (resource, waited_ns) = waited.into_iter().max_by_key(|(_, ns)| *ns)?;
    (waited_ns > 0 && waited_ns as f64 >= WAITS_PART * ns as f64).then(|| OwnerWait {
        owner: leaf.who.process,
        resource,
        behind: behind(leaf, resource, waited_ns),
    })
}

/// The process behind which it waited most.
fn behind(leaf: &Leaf, resource: Resource, waited_ns: u64) -> Option<ProcessId> {
    let charges = leaf.bins.iter().flat_map(|bin| &bin.charges);
    let mut held: Vec<(ProcessId, u64)> = Vec::new();
    for charge in charges.filter(|charge| charge.resource == resource) {
        let Holder::Process(process) = charge.holder else {
            continue;
        };
        match held.iter_mut().find(|(known, _)| *known == process) {
            Some((_, ns)) => *ns += charge.ns,
            None => held.push((process, charge.ns)),
        }
    }
    let (process, ns) = held.into_iter().max_by_key(|(_, ns)| *ns)?;
    (ns as f64 >= NAMED_PART * waited_ns as f64).then_some(process)
}
