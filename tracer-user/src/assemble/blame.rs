//! Blame: the holders of each resource while the target waited.

use std::collections::BTreeMap;

use super::place;
use crate::{
    class::Resource,
    loss::Cost,
    model::books::{Books, Charge, Holder, PlaceId, worker_name},
    report::Blame,
    verdict::holder_in_words,
};

/// The charges of the window, summed by place and holder, the largest first. Charges to nobody are not among them.
pub(super) fn blame(books: &Books) -> Vec<Blame> {
    let mut sums: BTreeMap<(Resource, Option<PlaceId>, Holder), (u64, u64)> = BTreeMap::new();
    for charge in charges(books).filter(|charge| charge.holder != Holder::Nobody) {
        let sum = sums
            .entry((charge.resource, charge.place, charge.holder))
            .or_default();
        sum.0 = sum.0.saturating_add(charge.ns);
        sum.1 = sum.1.saturating_add(charge.estimated_ns);
    }
    let charged = sums.into_iter().filter(|(_, (ns, _))| *ns > 0);
    let mut rows: Vec<Blame> = charged.map(|(key, sums)| row(books, key, sums)).collect();
    rows.sort_by(|a, b| {
        let by_time = b.ns.cmp(&a.ns);
        by_time.then(a.pid.cmp(&b.pid)).then(a.place.cmp(&b.place))
    });
    rows
}

/// Waiting time per resource that is charged to nobody, ns.
pub(super) fn unattributed(books: &Books) -> BTreeMap<Resource, u64> {
    let mut sums: BTreeMap<Resource, u64> = BTreeMap::new();
    for charge in charges(books).filter(|charge| charge.holder == Holder::Nobody) {
        let sum = sums.entry(charge.resource).or_default();
        *sum = sum.saturating_add(charge.ns);
    }
    sums
}

/// Time that target threads waited behind the tracer itself, ns.
pub(super) fn behind_tracer(books: &Books) -> u64 {
    let tracer = |charge: &&Charge| is_tracer(books, charge.holder);
    charges(books).filter(tracer).map(|charge| charge.ns).sum()
}

fn is_tracer(books: &Books, holder: Holder) -> bool {
    matches!(holder, Holder::Process(id) if books.tracer == Some(id))
}

fn charges(books: &Books) -> impl Iterator<Item = &Charge> {
    books.bins.iter().flat_map(|bin| &bin.charges)
}

fn row(
    books: &Books,
    key: (Resource, Option<PlaceId>, Holder),
    (ns, estimated_ns): (u64, u64),
) -> Blame {
    let (resource, at, holder) = key;
    // A CPU has no I/Os.
    let held = books.held.get(&key).filter(|_| resource != Resource::Cpu);
    let pid = match holder {
        Holder::Process(id) | Holder::Asked(id) | Holder::Client(id) => {
            Some(books.processes[id].pid)
        }
        Holder::Own | Holder::OwnLock | Holder::RemoteClient => {
            books.targets.first().map(|id| books.processes[*id].pid)
        }
        // A quota, a device, a peer and an idle CPU are no processes.
        _ => None,
    };
    Blame {
        resource,
        place: place(books, at),
        pid,
        comm: match holder {
            // The function of a kworker on the CPU does not explain its work at a disk.
            Holder::Process(id) if resource == Resource::Cpu => {
                worker_name(&books.works, id).unwrap_or_else(|| holder_name(books, holder))
            }
            _ => holder_name(books, holder),
        },
        ns,
        ios: held.map(|held| held.ios),
        bytes: held.map(|held| held.bytes),
        estimated: lost(books) || estimated_ns.saturating_mul(2) > ns,
    }
}

/// Are records missing that cost something? Then the holders are known in part only.
fn lost(books: &Books) -> bool {
    let mut dropped = books.end.dropped();
    dropped.any(|(loss, _)| loss.cost() != Cost::Nothing)
}

/// A holder by name.
pub(super) fn holder_name(books: &Books, holder: Holder) -> String {
    match holder {
        holder if is_tracer(books, holder) => "the tracer itself".to_owned(),
        Holder::Process(id) => books.processes[id].comm.to_string(),
        Holder::Asked(id) => format!("{} itself", books.processes[id].comm),
        Holder::Client(id) => {
            let target = books.targets.first();
            let target = target.map_or("the target", |id| books.processes[*id].comm.as_str());
            format!("{} through {target}", books.processes[id].comm)
        }
        Holder::Own | Holder::RemoteClient => Blame::ITSELF.to_owned(),
        other => holder_in_words(other),
    }
}
