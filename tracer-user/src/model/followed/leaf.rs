//! The books of a followed process in the words of the target that asks it.

use super::upstream::Leaf;
use crate::model::{
    books::{Books, Holder, PlaceId, Process, ProcessId},
    names::Names,
};

/// The books of a followed process in the words of this fold.
pub(in crate::model) fn leaf(names: &mut Names, process: ProcessId, books: Books) -> Leaf {
    let ids: Vec<ProcessId> = books
        .processes
        .iter()
        .map(|other| same(names, other))
        .collect();
    let places: Vec<PlaceId> = books.places.iter().map(|name| names.place(name)).collect();
    let mut bins = books.bins;
    for charge in bins.iter_mut().flat_map(|bin| &mut bin.charges) {
        charge.place = charge.place.map(|place| places[place]);
        charge.holder = match charge.holder {
            Holder::Process(id) if names.is_target(ids[id]) => Holder::Own,
            Holder::Process(id) => Holder::Process(ids[id]),
            Holder::Asked(id) => Holder::Asked(ids[id]),
            Holder::Own
            | Holder::OwnQuota
            | Holder::OwnLock
            | Holder::Client(_)
            | Holder::RemoteClient => Holder::Asked(process),
            plain => plain,
        };
    }
    let ways = books.ways.into_iter();
    Leaf {
        process,
        bins,
        bin_ns: books.bin_ns,
        of_requests: books.requests.is_some(),
        ways: ways
            .map(|((resource, way), ns)| ((resource, way.iter().map(|id| ids[*id]).collect()), ns))
            .collect(),
        causes: books.causes,
    }
}

/// The process that another fold knows, too.
fn same(names: &mut Names, other: &Process) -> ProcessId {
    match names.processes.find(other) {
        Some(id) => id,
        None => names.processes.add(Process {
            parent: None,
            target: false,
            ..other.clone()
        }),
    }
}
