//! The target's own parts: which of its threads held a resource while it waited, and for which client.
//!
//! The ledger knows the target as one holder, [`Holder::Own`]. This split lies beside it, for the whole
//! window. It changes no charge, and may know less than the ledger: then the rest has no part.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap as HashMap;

use super::books::{Holder, ProcessId};
use crate::{class::Resource, event};

/// Parts kept apart. Further ones are not known: a server with a thread for each request has no end of them.
const MOST_PARTS: usize = 4096;
/// Addresses of clients that are told apart.
const MOST_ADDRESSES: usize = 1024;

/// Index into [`Books::addresses`](super::books::Books::addresses).
pub type AddressId = u32;

/// The client for which a part of the target works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// A process of this machine.
    Process(ProcessId),
    /// Whoever is at this address.
    Address(AddressId),
}

/// A part of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// Its process.
    pub process: ProcessId,
    /// Its thread; 0 if that is not known.
    pub tid: u32,
    /// Its client, if that is known.
    pub client: Option<Client>,
}

/// Time that the target waited for a resource while a part of it held that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnPart {
    /// The resource.
    pub resource: Resource,
    /// The part.
    pub part: Part,
    /// Waiting time of target threads, ns.
    pub ns: u64,
    /// Part of it that was waited by threads with a request.
    pub serving_ns: u64,
}

/// Names the client for which a thread of the target worked at a time (tid, ns), if that is known.
pub(super) type ClientAt<'a> = &'a dyn Fn(u32, u64) -> Option<Client>;

/// Bytes that a process of the target sent to each of its clients elsewhere.
pub(super) type SentTo = BTreeMap<ProcessId, Vec<(Client, u64)>>;

/// Resource, process, thread and client in two words: this key is hashed for every wait behind an own thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key(u64, u64);

impl Key {
    /// No process and no address has this index.
    const NOBODY: u32 = u32::MAX;

    fn new(resource: Resource, part: Part) -> Self {
        let (kind, client) = match part.client {
            None => (0, Self::NOBODY),
            Some(Client::Process(process)) => (1, process as u32),
            Some(Client::Address(address)) => (2, address),
        };
        let kind = ((resource as u64) << 40) | (kind << 32);
        let who = ((part.process as u64) << 32) | u64::from(part.tid);
        Self(who, kind | u64::from(client))
    }

    fn part(self) -> Part {
        let client = self.1 as u32;
        Part {
            process: (self.0 >> 32) as ProcessId,
            tid: self.0 as u32,
            client: match (self.1 >> 32) & 0xff {
                1 => Some(Client::Process(client as ProcessId)),
                2 => Some(Client::Address(client)),
                _ => None,
            },
        }
    }

    fn resource(self) -> Option<Resource> {
        let index = (self.1 >> 40) as usize;
        let mut all = Resource::ALL.into_iter();
        all.find(|resource| *resource as usize == index)
    }
}

/// Time held by each part, and the part of it that was waited by threads with a request, ns.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    held: HashMap<Key, (u64, u64)>,
}

impl Parts {
    /// A part held a resource while a thread of the target waited for it. Did that thread have a request?
    pub(super) fn add(&mut self, resource: Resource, part: Part, ns: u64, serves: bool) {
        if ns == 0 {
            return;
        }
        let key = Key::new(resource, part);
        if self.held.len() >= MOST_PARTS && !self.held.contains_key(&key) {
            return;
        }
        let sums = self.held.entry(key).or_default();
        sums.0 = sums.0.saturating_add(ns);
        sums.1 = sums.1.saturating_add(if serves { ns } else { 0 });
    }

    /// All, in order; none is left.
    pub(super) fn take(&mut self) -> Vec<OwnPart> {
        let held = std::mem::take(&mut self.held).into_iter();
        let own = |(key, (ns, serving_ns)): (Key, (u64, u64))| {
            Some(OwnPart {
                resource: key.resource()?,
                part: key.part(),
                ns,
                serving_ns,
            })
        };
        let mut parts: Vec<OwnPart> = held.filter_map(own).collect();
        parts.sort_unstable_by_key(|own| (own.resource, own.part));
        parts
    }
}

/// What is charged to the target itself, by resource, ns.
pub(super) fn charged_to_itself(
    charges: impl Iterator<Item = (Resource, Holder, u64)>,
) -> BTreeMap<Resource, u64> {
    let mut sums: BTreeMap<Resource, u64> = BTreeMap::new();
    for (resource, _, ns) in charges.filter(|(_, holder, _)| holder.has_parts()) {
        let sum = sums.entry(resource).or_default();
        *sum = sum.saturating_add(ns);
    }
    sums
}

/// Who waits behind a thread that waits itself is charged to the same holders as that one, once the books are closed. The parts of the
/// target grow by as much: from what is charged to it `before` that to what is `after`.
pub(super) fn follow(
    parts: &mut [OwnPart],
    before: &BTreeMap<Resource, u64>,
    after: &BTreeMap<Resource, u64>,
) {
    for own in parts {
        let charged = [before, after].map(|sums| sums.get(&own.resource).copied().unwrap_or(0));
        let [before, after] = charged.map(u128::from);
        if before > 0 && after > before {
            let grown = |ns: u64| (u128::from(ns) * after / before) as u64;
            (own.ns, own.serving_ns) = (grown(own.ns), grown(own.serving_ns));
        }
    }
}

/// The addresses of clients elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    known: HashMap<String, AddressId>,
    texts: Vec<String>,
}

impl Addresses {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Index of the address of a connection's other end; `None` if it has none, or if there are too many.
    pub(super) fn of(&mut self, socket: &event::Socket) -> Option<AddressId> {
        let address = socket.peer()?;
        if let Some(known) = self.known.get(&address) {
            return Some(*known);
        }
        if self.texts.len() >= MOST_ADDRESSES {
            return None;
        }
        let index = self.texts.len() as AddressId;
        self.texts.push(address.clone());
        self.known.insert(address, index);
        Some(index)
    }

    /// All, by index.
    pub(super) fn into_texts(self) -> Vec<String> {
        self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Part = Part {
        process: 1,
        tid: 7,
        client: None,
    };

    #[test]
    fn parts_add_up_and_are_bounded() {
        let mut parts = Parts::default();
        parts.add(Resource::Disk, PART, 3, true);
        parts.add(Resource::Disk, PART, 4, false);
        parts.add(Resource::Cpu, PART, 0, true);
        for tid in 0..2 * MOST_PARTS as u32 {
            parts.add(Resource::Cpu, Part { tid, ..PART }, 1, true);
        }
        let taken = parts.take();
        let disk = taken.iter().find(|own| own.resource == Resource::Disk);
        let disk = disk.unwrap();
        assert_eq!((disk.ns, disk.serving_ns), (7, 3));
        assert_eq!(taken.len(), MOST_PARTS);
    }

    #[test]
    fn a_part_comes_back_as_it_was_put_in() {
        for client in [None, Some(Client::Process(9)), Some(Client::Address(0))] {
            for resource in Resource::ALL {
                let part = Part {
                    process: 70_000,
                    tid: 4_194_303,
                    client,
                };
                let mut parts = Parts::default();
                parts.add(resource, part, 5, false);
                let own = parts.take()[0];
                assert_eq!((own.resource, own.part, own.ns), (resource, part, 5));
            }
        }
    }

    #[test]
    fn parts_grow_with_what_is_charged_to_the_target_and_never_shrink() {
        const OTHERS: (Resource, Holder, u64) = (Resource::Lock, Holder::Process(1), 90);
        let charges = |ns| [(Resource::Lock, Holder::OwnLock, ns), OTHERS].into_iter();
        let grown = |before, after| {
            let mut parts = [OwnPart {
                resource: Resource::Lock,
                part: PART,
                ns: 30,
                serving_ns: 10,
            }];
            let sums = [before, after].map(|ns| charged_to_itself(charges(ns)));
            follow(&mut parts, &sums[0], &sums[1]);
            (parts[0].ns, parts[0].serving_ns)
        };
        assert_eq!(grown(40, 120), (90, 30));
        assert_eq!(grown(40, 39), (30, 10));
        assert_eq!(grown(0, 50), (30, 10));
    }

    #[test]
    fn an_address_is_the_same_client_whatever_its_port_and_form() {
        let mut addresses = Addresses::default();
        let mut of = |remote: &str| {
            addresses.of(&event::Socket {
                remote: remote.to_owned(),
                ..event::Socket::default()
            })
        };
        assert_eq!(of("10.9.0.2:4000"), Some(0));
        assert_eq!(of("[::ffff:10.9.0.2]:4001"), Some(0));
        assert_eq!(of("10.9.0.3:4000"), Some(1));
        assert_eq!(of(""), None);
        assert_eq!(addresses.into_texts(), ["10.9.0.2", "10.9.0.3"]);
    }
}
