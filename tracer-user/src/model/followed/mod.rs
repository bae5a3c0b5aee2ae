//! Followed processes: the target waits for the answers of these processes of this machine.
//!
//! Each has books of its own, as if it were the target. The same fold keeps them from the same events. At the end the target's
//! waiting for its answers is split as those books are (see `upstream.rs`). A followed process that asks another one follows it in
//! turn.

mod leaf;
mod owner;
mod part;
mod taking;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::tcp::CALL_CLOSE;

use super::{Model, books::ProcessId, requests::Requests};
use crate::event::{self, Call, Event};
pub(super) use leaf::{Leaf, Who, leaf};
pub(super) use owner::owner_wait;
use taking::NotTaken;
pub(super) use upstream::{Ways, split};

/// Processes on the way at most: as many as a trace follows in all.
///
/// A process that only passes on is no end, so no shorter way is long enough: `sshfs` asks `ssh`, that one `sshd`, and that one
/// `sftp-server`. Each process is followed once, so that a way is never a circle, and the last one on it costs no more than the first.
const MOST_FOLLOWED: usize = 8;

/// A followed process's connection counts as somebody else's after this many looks at its ends. Reports about the target's own end
/// may come a little later.
const MOST_LOOKS: u32 = 8;

/// Most addresses known at which the target asks by datagrams.
const MOST_ADDRESSES: usize = 64;

/// Why a process is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The target asks it on a socket.
    Asked,
    /// It ends waits of the target, by whatever way.
    Hand,
    /// It owns a lock. The target does not wait for its answers.
    Owner,
}

/// A process that the target asks, or that owns a lock for which it waits.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// It and its children.
    pids: BTreeSet<u32>,
    who: Who,
    /// Its UDP ports at which it is asked.
    udp_ports: Vec<u32>,
    /// When it was first followed, ns.
    since_ns: u64,
    why: Why,
    /// How often each of its connections was looked at.
    looks: BTreeMap<u64, u32>,
    /// What it has not taken of what the target sends.
    untaken: NotTaken,
    pub(super) model: Box<Model>,
}

impl Asked {
    fn has(&self, pid: u32) -> bool {
        self.pids.contains(&pid) || self.model.followed.asked.iter().any(|asked| asked.has(pid))
    }

    /// A child of the owner of a lock, which was there before the owner was followed.
    pub(super) fn adopt(&mut self, pid: u32) {
        if self.why == Why::Owner && self.pids.insert(pid) {
            self.model.names.processes.adopt(pid);
        }
    }

    /// A process was born. Is it a child of this one, or of one that this one asks?
    pub(super) fn forked(&mut self, fork: &event::Fork) -> bool {
        let theirs = fork.target && self.has(fork.parent_pid);
        if theirs && self.pids.contains(&fork.parent_pid) {
            self.pids.insert(fork.pid);
        }
        theirs
    }

    /// A thread of it, or of this child of it, ended a wait of the target: it worked for that one meanwhile. Before it was followed it did
    /// what nobody knows.
    ///
    /// With the thread comes whether it took what the target sent.
    pub(super) fn worked(
        &mut self,
        process: ProcessId,
        (tid, takes): (u32, bool),
        span: (u64, u64),
    ) {
        self.who.family.insert(process);
        if takes {
            self.untaken.before = Some(tid);
        }
        self.model.worked(tid, span);
    }

    /// Only what is asked on a connection from here is a request that is waited for.
    fn look(&mut self, socket: u64, here: &Requests) {
        let looks = self.looks.entry(socket).or_default();
        let requests = &mut self.model.requests;
        if *looks >= MOST_LOOKS || requests.is_asked_on(socket) {
            return;
        }
        *looks += 1;
        let ends = requests.ends(socket).cloned();
        let is_here =
            |(local, remote): &(String, String)| !local.is_empty() && here.has_ends(remote, local);
        if let Some((local, _)) = ends.filter(is_here) {
            requests.asked_on(socket);
            self.who.addresses.insert(local);
        }
    }
}

/// The folds that an event is for.
pub(super) enum Reach<'a> {
    /// The target alone.
    Here,
    /// The target and all that it asks.
    All,
    /// One that it asks.
    One(&'a mut Asked),
    /// Others than the target ask a followed process: of no matter here.
    Nobody,
}

/// All processes that a target asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    asked: Vec<Asked>,
    /// The addresses of this machine that the target asks by datagrams: no call of those that are there shows them.
    datagrams: BTreeSet<String>,
    /// How many processes are on the way from the traced target to this one.
    depth: usize,
}

impl Followed {
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Each of them.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Asked> {
        self.asked.iter_mut()
    }

    /// The target asks somebody.
    pub(super) fn question(&mut self, found: &event::Question) {
        let is_here = found.is_datagram() && event::is_local(&found.local, &found.remote);
        if is_here && self.datagrams.len() < MOST_ADDRESSES {
            self.datagrams.insert(found.remote.clone());
        }
    }

    /// The one that a process belongs to.
    pub(super) fn of(&mut self, pid: u32) -> Option<&mut Asked> {
        self.asked.iter_mut().find(|asked| asked.has(pid))
    }

    /// The one that a process belongs to, if the target itself asks it.
    pub(super) fn answering(&mut self, pid: u32) -> Option<&mut Asked> {
        let mut asked = self.asked.iter_mut();
        asked.find(|asked| asked.why != Why::Owner && asked.pids.contains(&pid))
    }

    /// Nobody yet, one process further from the traced target.
    pub(super) fn below(&self) -> Self {
        Self {
            depth: self.depth + 1,
            ..Self::default()
        }
    }

    /// May a process be followed that is not followed yet?
    pub(super) fn may_add(&self, pid: u32) -> bool {
        self.depth < MOST_FOLLOWED && !self.asked.iter().any(|asked| asked.has(pid))
    }

    /// A process is followed from now on, by this fold.
    pub(super) fn add(
        &mut self,
        process: ProcessId,
        model: Model,
        follow: &event::Follow,
        why: Why,
    ) {
        self.asked.push(Asked {
            pids: BTreeSet::from([follow.pid]),
            who: Who {
                process,
                family: BTreeSet::from([process]),
                ports: follow.followed_ports(),
                is_hand: why == Why::Hand,
                ..Who::default()
            },
            udp_ports: follow.udp_ports(),
            since_ns: follow.ns,
            why,
            looks: BTreeMap::new(),
            untaken: NotTaken::default(),
            model: Box::new(model),
        });
    }

    /// The folds of those that the target asks, given away, each with what it has not taken. `here` are the target's requests.
    pub(super) fn take_asked(&mut self, here: &Requests) -> Vec<(Who, Model, NotTaken)> {
        let asked = self.asked.extract_if(.., |asked| asked.why != Why::Owner);
        let with_datagrams = |asked: Asked| {
            let known = self.datagrams.iter();
            let its = known.filter(|address| has_port(address, &asked.udp_ports));
            let datagrams = its.cloned().collect();
            // Of one on which it has done nothing since it was followed, the target's end alone is known.
            let asked_on = asked.model.requests.connections_asked_on();
            let connections = asked_on.max(here.connections_to(|remote| asked.who.is_at(remote)));
            let who = Who {
                datagrams,
                connections,
                ..asked.who
            };
            (who, *asked.model, asked.untaken)
        };
        asked.map(with_datagrams).collect()
    }

    /// The folds of owners of locks, given away, each with the time since when it was followed, ns.
    pub(super) fn take_owners(&mut self) -> Vec<(Who, Model, u64)> {
        let owners = self.asked.extract_if(.., |asked| asked.why == Why::Owner);
        let owners = owners.map(|owner| (owner.who, *owner.model, owner.since_ns));
        owners.collect()
    }

    /// The folds that an event is for; `here` are the target's requests.
    #[inline]
    pub(super) fn reach(&mut self, here: &Requests, event: &Event) -> Reach<'_> {
        if self.asked.is_empty() {
            return Reach::Here;
        }
        match event {
            // The target's own fold knows what its children are.
            Event::FollowOwner(_) | Event::Joined(_) => return Reach::Here,
            Event::Fork(fork) if fork.pid == fork.tid => return Reach::Here,
            Event::Histogram(_)
            | Event::DiskTotal(_)
            | Event::EarlierFile(_)
            | Event::Standing(_)
            | Event::Means(_)
            | Event::Wrapping(_)
            | Event::Sources(_)
            | Event::Shed(_)
            | Event::Moved(_)
            | Event::Called(_)
            | Event::OwnLimit(_)
            | Event::RemoteMount(_)
            | Event::OpenSocket(_)
            | Event::Named(_) => return Reach::Here,
            _ => {}
        }
        let Some(pid) = event.subject() else {
            return Reach::All;
        };
        let Some(asked) = self.of(pid) else {
            return Reach::Here;
        };
        if asked.pids.contains(&pid) {
            match event {
                // Another connection may get the address of this one.
                Event::Call(Call { socket, flags, .. }) if flags & CALL_CLOSE != 0 => {
                    asked.looks.remove(socket);
                }
                Event::Call(call) => asked.look(call.socket, here),
                // Others than the target ask it.
                Event::Unanswered(found)
                    if !found.asks && !here.has_ends(&found.remote, &found.local) =>
                {
                    return Reach::Nobody;
                }
                _ => {
                    if let Some((socket, _)) = event.socket() {
                        asked.looks.remove(&socket.socket);
                    }
                }
            }
        }
        Reach::One(asked)
    }
}

/// Has an address one of these ports?
fn has_port(address: &str, ports: &[u32]) -> bool {
    let port = address.rsplit(':').next();
    let port = port.and_then(|port| port.parse().ok());
    port.is_some_and(|port| ports.contains(&port))
}
