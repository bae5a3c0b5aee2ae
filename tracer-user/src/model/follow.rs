//! Followed processes: those of this machine whose answers the target waits for (design §3, `upstream`).
//!
//! Each has books of its own, as if it were the target, kept by the same fold from the same events. At the end the target's waiting
//! for its answers is split as those books are (see `upstream.rs`). A followed process that asks another one follows it in turn.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Model,
    books::{Bin, Books, Holder, PlaceId, Process, ProcessId},
    upstream::{self, Leaf},
};
use crate::event::{self, Event};

/// Processes on the way at most (design §2).
const MOST_FOLLOWED: usize = 4;

/// Looks at the ends of a followed process's connection so often before it counts as somebody else's: what the target does with its
/// own end may be told a little later.
const MOST_LOOKS: u32 = 8;

/// A followed process.
#[derive(Clone, Debug)]
pub struct Followed {
    /// It and its children.
    pids: BTreeSet<u32>,
    process: ProcessId,
    /// How often each of its connections was looked at.
    looks: BTreeMap<u64, u32>,
    pub(super) model: Box<Model>,
}

impl Followed {
    fn has(&self, pid: u32) -> bool {
        self.pids.contains(&pid) || self.model.followed.iter().any(|followed| followed.has(pid))
    }
}

/// The process that an event is about, and about no other.
fn subject(event: &Event) -> Option<u32> {
    match event {
        Event::Thread(e) => Some(e.pid),
        Event::Wait(e) => Some(e.pid),
        Event::Migrate(e) => Some(e.pid),
        Event::ThreadEnd(e) => Some(e.pid),
        Event::Call(e) => Some(e.pid),
        Event::Socket(e) => Some(e.pid),
        Event::Unread(e) => Some(e.pid),
        Event::Unanswered(e) => Some(e.pid),
        Event::Client(e) => Some(e.pid),
        Event::Fork(e) if e.target && e.pid != e.tid => Some(e.pid),
        _ => None,
    }
}

impl Model {
    /// Tells followed processes' books of an event. True if it is about them alone.
    pub(super) fn pass_on(&mut self, event: &Event) -> bool {
        if let Event::Follow(follow) = event {
            self.follow(follow);
            return true;
        }
        if self.followed.is_empty() {
            return false;
        }
        if let Event::Fork(fork) = event
            && fork.pid == fork.tid
        {
            return self.pass_on_fork(fork);
        }
        if let Some(pid) = subject(event) {
            return self.tell_owner(pid, event);
        }
        match event {
            Event::Histogram(_)
            | Event::DiskTotal(_)
            | Event::Standing(_)
            | Event::Means(_)
            | Event::OwnLimit(_)
            | Event::RemoteMount(_)
            | Event::OpenSocket(_) => {}
            _ => self
                .followed
                .iter_mut()
                .for_each(|followed| followed.model.apply(event)),
        }
        false
    }

    /// Tells the one that a process belongs to.
    fn tell_owner(&mut self, pid: u32, event: &Event) -> bool {
        let Some(index) = self.followed.iter().position(|followed| followed.has(pid)) else {
            return false;
        };
        if self.followed[index].pids.contains(&pid) {
            self.is_asked_on(index, event);
            // What others than the target ask it.
            if let Event::Unanswered(found) = event
                && !found.asks
                && !self.has_other_end(&found.local, &found.remote)
            {
                return true;
            }
        }
        self.followed[index].model.apply(event);
        true
    }

    /// A child of a followed process is followed, and no target.
    fn pass_on_fork(&mut self, fork: &event::Fork) -> bool {
        let mut ours = fork.target;
        for followed in &mut self.followed {
            let theirs = fork.target && followed.has(fork.parent_pid);
            if theirs && followed.pids.contains(&fork.parent_pid) {
                followed.pids.insert(fork.pid);
            }
            let target = theirs;
            followed.model.apply(&Event::Fork(event::Fork {
                target,
                ..fork.clone()
            }));
            ours &= !theirs;
        }
        self.forked(&event::Fork {
            target: ours,
            ..fork.clone()
        });
        true
    }

    /// Only what is asked on a connection from here is a request that is waited for.
    fn is_asked_on(&mut self, index: usize, event: &Event) {
        let Event::Call(call) = event else { return };
        let followed = &mut self.followed[index];
        let looks = followed.looks.entry(call.socket).or_default();
        if *looks >= MOST_LOOKS || followed.model.asked_on.contains(&call.socket) {
            return;
        }
        *looks += 1;
        let Some(connection) = followed.model.connections.get(&call.socket) else {
            return;
        };
        let (local, remote) = connection.ends.clone();
        if !local.is_empty() && self.has_other_end(&local, &remote) {
            self.followed[index].model.asked_on.insert(call.socket);
        }
    }

    /// Is the other end of this connection here?
    fn has_other_end(&self, local: &String, remote: &String) -> bool {
        let mut ends = self.connections.values().map(|connection| &connection.ends);
        ends.any(|(here, there)| (here, there) == (remote, local))
    }

    fn follow(&mut self, follow: &event::Follow) {
        let by = self.processes.id(follow.by_pid);
        if !self.processes.is_target(by) {
            let asking = self
                .followed
                .iter_mut()
                .find(|followed| followed.has(follow.by_pid));
            if let Some(asking) = asking {
                asking.model.follow(follow);
            }
            return;
        }
        let process = self.processes.id(follow.pid);
        let known = self
            .followed
            .iter()
            .any(|followed| followed.has(follow.pid));
        if self.depth >= MOST_FOLLOWED || known || self.processes.is_target(process) {
            return;
        }
        let start = event::Start {
            targets: vec![follow.pid],
            listening: follow.listening.clone(),
            ..self.start.clone()
        };
        let mut model = Box::new(Self::new());
        model.begin(&start);
        model.since_ns = follow.ns.max(start.ns);
        model.depth = self.depth + 1;
        model.stacks = self.stacks.clone();
        model.disk_facts = self.disk_facts.clone();
        model.processes = self.processes.seen_by(process);
        self.followed.push(Followed {
            pids: BTreeSet::from([follow.pid]),
            process,
            looks: BTreeMap::new(),
            model,
        });
    }

    /// Splits what was waited for upstream in closed slices as the followed processes' own time is.
    pub(super) fn answer(&mut self, bins: &mut [Bin], bin_ns: u64, end_ns: u64) -> upstream::Ways {
        let followed = std::mem::take(&mut self.followed);
        let leaves: Vec<Leaf> = followed
            .into_iter()
            .map(|followed| {
                let mut model = followed.model;
                model.settle(end_ns);
                let books = model.into_books(end_ns);
                self.leaf(followed.process, books)
            })
            .collect();
        let (ways, causes) = upstream::split(bins, bin_ns, &leaves);
        for (key, ns) in causes {
            *self.causes.entry(key).or_default() += ns;
        }
        ways
    }

    /// The books of a followed process in the words of this one.
    fn leaf(&mut self, process: ProcessId, books: Books) -> Leaf {
        let ids: Vec<ProcessId> = books
            .processes
            .iter()
            .map(|other| self.same(other))
            .collect();
        let places: Vec<PlaceId> = books.places.iter().map(|name| self.place(name)).collect();
        let mut bins = books.bins;
        for charge in bins.iter_mut().flat_map(|bin| &mut bin.charges) {
            charge.place = charge.place.map(|place| places[place]);
            charge.holder = match charge.holder {
                Holder::Process(id) if self.processes.is_target(ids[id]) => Holder::Own,
                Holder::Process(id) => Holder::Process(ids[id]),
                Holder::Asked(id) => Holder::Asked(ids[id]),
                Holder::Own | Holder::OwnQuota | Holder::OwnLock | Holder::Client(_) => {
                    Holder::Asked(process)
                }
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
                .map(|((resource, way), ns)| {
                    ((resource, way.iter().map(|id| ids[*id]).collect()), ns)
                })
                .collect(),
            causes: books.causes,
        }
    }

    /// The process that another fold knows, too.
    fn same(&mut self, other: &Process) -> ProcessId {
        match self.processes.find(other) {
            Some(id) => id,
            None => self.processes.add(Process {
                parent: None,
                target: false,
                ..other.clone()
            }),
        }
    }
}
