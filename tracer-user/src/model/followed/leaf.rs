//! The books of a followed process in the words of the target that asks it.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap as HashMap;

use super::{has_port, upstream::Ways};
use crate::{
    class::{Cause, Class, Resource},
    model::{
        books::{Bin, Books, Budget, Holder, PlaceId, Process, ProcessId},
        names::Names,
        threads::address,
    },
};

/// A followed process, as the target's waits show it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    /// The process.
    pub(crate) process: ProcessId,
    /// It, and its children that ended waits of the target.
    pub(crate) family: BTreeSet<ProcessId>,
    /// The addresses at which the target asks it, as far as calls there were seen.
    pub(crate) addresses: BTreeSet<String>,
    /// The TCP ports at which the target is known to ask it.
    pub(crate) ports: Vec<u32>,
    /// The addresses at which the target asks it by datagrams.
    pub(crate) datagrams: BTreeSet<String>,
    /// The number of TCP connections on which the target asked it, whether or not it has answered there.
    pub(crate) connections: u64,
    /// Is it known by the waits that it ends, and by no socket?
    pub(crate) is_hand: bool,
}

impl Who {
    /// Is it the one that is asked, in the words of the report?
    pub(super) fn is_at(&self, asked: &str) -> bool {
        let address = address(asked);
        if address != asked {
            return self.datagrams.contains(address);
        }
        if !self.addresses.is_empty() {
            return self.addresses.contains(address);
        }
        has_port(address, &self.ports)
    }
}

/// The books of a followed process, in the target's words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaf {
    /// The process, and how it is known.
    pub(crate) who: Who,
    /// Its bins.
    pub(crate) bins: Vec<Bin>,
    /// Length of one, ns.
    pub(crate) bin_ns: u64,
    /// Were its answers on sockets seen? Else its threads stand for them (a Unix socket).
    pub(crate) of_requests: bool,
    /// The ways of its own waits, beyond it.
    pub(crate) ways: Ways,
    /// Mechanisms that were seen.
    pub(crate) causes: Vec<(Resource, Cause, u64)>,
}

impl Leaf {
    /// What it did while the target may have waited for it.
    pub(super) fn spent(&self, slice: usize) -> Budget {
        let Some(bin) = self.bins.get(slice) else {
            return Budget::default();
        };
        let mut spent = if self.of_requests {
            bin.requests
        } else {
            bin.threads
        };
        spent[Class::Idle.index()] = 0;
        spent
    }

    /// For how long of a slice it can have had requests at most, if each of them had a connection to itself, ns. A wait beyond that shares
    /// one with others.
    pub(super) fn most_ns(&self) -> u64 {
        match self.of_requests && self.who.connections > 0 {
            true => self.who.connections.saturating_mul(self.bin_ns),
            false => u64::MAX,
        }
    }

    /// What it did in the waits that it ended itself. Where no socket shows what it is asked, these are the requests of its books.
    pub(super) fn worked(&self, slice: usize) -> Budget {
        let bin = self.bins.get(slice);
        bin.map_or_else(Budget::default, |bin| bin.requests)
    }

    /// What it did while it had to take what the target had sent it.
    pub(super) fn taking(&self, slice: usize) -> Budget {
        let bin = self.bins.get(slice);
        bin.map_or_else(Budget::default, |bin| bin.taking)
    }

    /// Have its books requests? Then these divide its waits, else its threads do.
    pub(super) fn has_requests(&self) -> bool {
        let mut requests = self.bins.iter().flat_map(|bin| bin.requests);
        self.of_requests || requests.any(|ns| ns > 0)
    }

    /// All that its requests, or its threads, spent in a class.
    pub(super) fn all(&self, class: Class) -> u64 {
        let has_requests = self.has_requests();
        let of = |bin: &Bin| match has_requests {
            true => bin.requests[class.index()],
            false => bin.threads[class.index()],
        };
        self.bins.iter().map(of).sum()
    }
}

/// The books of a followed process in the words of this fold.
pub(in crate::model) fn leaf(names: &mut Names, who: Who, books: Books) -> Leaf {
    let mut known = names.processes.by_start();
    let others = books.processes.iter();
    let ids: Vec<ProcessId> = others.map(|other| same(names, &mut known, other)).collect();
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
            | Holder::RemoteClient => Holder::Asked(who.process),
            plain => plain,
        };
    }
    let ways = books.ways.into_iter();
    Leaf {
        who,
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
fn same(
    names: &mut Names,
    known: &mut HashMap<(u32, u64), ProcessId>,
    other: &Process,
) -> ProcessId {
    let new = || {
        names.processes.add(Process {
            parent: None,
            target: false,
            ..other.clone()
        })
    };
    *known.entry((other.pid, other.start_ns)).or_insert_with(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_was_seen_tells_more_than_a_port() {
        let mut who = Who {
            ports: vec![5432],
            ..Who::default()
        };
        let is_at = |who: &Who| ["127.0.0.1:5432", "10.0.0.5:5432"].map(|at| who.is_at(at));
        assert_eq!(is_at(&who), [true, true]);
        assert!(!who.is_at("127.0.0.1:54") && !who.is_at("nfs:files:/export"));
        who.addresses.insert("127.0.0.1:5432".to_owned());
        assert_eq!(is_at(&who), [true, false]);
        assert!(!who.is_at("127.0.0.1:5432 (UDP)"));
        who.datagrams.insert("127.0.0.53:53".to_owned());
        assert!(who.is_at("127.0.0.53:53 (UDP)") && !who.is_at("10.0.0.53:53 (UDP)"));
    }
}
