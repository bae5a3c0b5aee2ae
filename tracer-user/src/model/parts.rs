//! The target's own parts: which of its threads held a resource while it waited, and for which client.
//!
//! The ledger knows the target as one holder, [`Holder::Own`](super::books::Holder::Own). This split lies beside it, for the whole
//! window. It changes no charge, and may know less than the ledger: then the rest has no part.

use rustc_hash::FxHashMap as HashMap;

use super::{books::ProcessId, names::Names};
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
}

/// Names the client for which a thread of the target worked at a time (tid, ns), if that is known.
pub(super) type ClientAt<'a> = &'a dyn Fn(u32, u64) -> Option<Client>;

/// Time held by each part.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    held: HashMap<(Resource, Part), u64>,
}

impl Parts {
    /// A part held a resource while the target waited for it.
    pub(super) fn add(&mut self, resource: Resource, part: Part, ns: u64) {
        if ns == 0 {
            return;
        }
        let key = (resource, part);
        if self.held.len() >= MOST_PARTS && !self.held.contains_key(&key) {
            return;
        }
        *self.held.entry(key).or_default() += ns;
    }

    /// All, in order; none is left.
    pub(super) fn take(&mut self) -> Vec<OwnPart> {
        let held = std::mem::take(&mut self.held).into_iter();
        let mut parts: Vec<OwnPart> = held
            .map(|((resource, part), ns)| OwnPart { resource, part, ns })
            .collect();
        parts.sort_unstable_by_key(|own| (own.resource, own.part));
        parts
    }
}

/// The addresses of clients elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    known: HashMap<std::net::IpAddr, AddressId>,
    texts: Vec<String>,
}

impl Addresses {
    /// Is there none yet?
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Index of the address of a connection's other end; `None` if it has none, or if there are too many.
    pub(super) fn of(&mut self, socket: &event::Socket) -> Option<AddressId> {
        let end: std::net::SocketAddr = socket.remote.parse().ok()?;
        let address = end.ip().to_canonical();
        if let Some(known) = self.known.get(&address) {
            return Some(*known);
        }
        if self.texts.len() >= MOST_ADDRESSES {
            return None;
        }
        let index = self.texts.len() as AddressId;
        self.texts.push(address.to_string());
        self.known.insert(address, index);
        Some(index)
    }

    /// All, by index.
    pub(super) fn into_texts(self) -> Vec<String> {
        self.texts
    }
}

/// The part of the target that `pid` and `tid` are.
pub(super) fn part(names: &mut Names, pid: u32, tid: u32, client: Option<Client>) -> Part {
    Part {
        process: names.processes.id(pid),
        tid,
        client,
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
        parts.add(Resource::Disk, PART, 3);
        parts.add(Resource::Disk, PART, 4);
        parts.add(Resource::Cpu, PART, 0);
        for tid in 0..2 * MOST_PARTS as u32 {
            parts.add(Resource::Cpu, Part { tid, ..PART }, 1);
        }
        let taken = parts.take();
        let disk = taken.iter().find(|own| own.resource == Resource::Disk);
        assert_eq!(disk.unwrap().ns, 7);
        assert_eq!(taken.len(), MOST_PARTS);
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
