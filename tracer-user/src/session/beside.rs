//! The searches beside the loop that reads. They look for the largest holders, the processes that the target asks, and its clients.

use anyhow::Result;

use super::{
    Settings,
    asked::Asked,
    calls::threads_of,
    clients::Clients,
    groups::Groups,
    hearers::Hearers,
    holders::Holders,
    homes::Homes,
    locks::Locks,
    newcomers::{Newcomer, Newcomers},
    scene::Scene,
    takers::Takers,
    titles::Titles,
};
use crate::{
    event::{self, Event},
    machine::{
        clocks::now_ns,
        proc::{self, Freezers, UnderWay},
    },
};

/// The searches, each with its results so far.
pub(super) struct Beside {
    /// The largest holders.
    pub(super) holders: Holders,
    /// The processes for which kernel threads queue I/O of a group.
    pub(super) groups: Groups,
    /// The groups in which the target may be frozen.
    pub(super) freezers: Freezers,
    /// The connections that nobody hears.
    pub(super) hearers: Hearers,
    /// The titles of the target's processes.
    pub(super) titles: Titles,
    /// The groups of all processes, and the names of containers.
    pub(super) homes: Homes,
    /// The processes that become targets.
    pub(super) newcomers: Newcomers,
    /// The processes that the target asks.
    asked: Asked,
    /// The target's clients.
    clients: Clients,
    /// The owners of locks.
    pub(super) locks: Locks,
    /// The processes that send on what the target sends through an interface.
    takers: Takers,
}

impl Beside {
    /// Begins with what was found at attach.
    #[must_use]
    pub(super) fn begin(settings: &Settings, scene: &Scene) -> Self {
        let (targets, listening) = (&scene.targets, &scene.listening);
        let mut asked = Asked::new(targets, listening);
        asked.see_open(&scene.sockets);
        Self {
            holders: Holders::default(),
            groups: Groups::default(),
            freezers: Freezers::begin(),
            hearers: Hearers::of(targets, listening),
            titles: Titles::of(targets),
            homes: Homes::new(),
            newcomers: Newcomers::new(settings, targets),
            asked,
            clients: Clients::begin(targets, listening),
            locks: Locks::new(),
            takers: Takers::new(),
        }
    }

    /// Takes note of the facts at attach: threads may sleep for a lock since then, and requests wait.
    #[must_use]
    pub(super) fn with_facts(mut self, facts: &[Event]) -> Self {
        self.locks.see(facts);
        self.hearers.see(facts);
        self.homes.see(facts);
        self.asked.see_writes(facts);
        self
    }

    /// Takes note of the events read.
    pub(super) fn see(&mut self, batch: &[Event]) {
        // Most of the searches need only what comes and goes: they do not walk over all the rest.
        let rare: Vec<&Event> = batch.iter().filter(|event| !is_frequent(event)).collect();
        self.holders.see(rare.iter().copied());
        self.freezers.see(rare.iter().copied());
        self.clients.see(rare.iter().copied());
        self.titles.see(rare.iter().copied());
        self.homes.see(rare.iter().copied());
        self.takers.see(rare.iter().copied());
        self.newcomers.see(rare);
        self.hearers.see(batch);
        self.asked.see(batch, self.hearers.take_is_open());
        self.locks.see(batch);
    }

    /// The processes found since the last call, as events. `mark` makes a process a target, so that its waits are recorded from now
    /// on. If `mark` fails, the process is not followed and stays upstream.
    pub(super) fn take(&mut self, mut mark: impl FnMut(u32) -> Result<()>) -> Vec<Event> {
        let mut events = Vec::new();
        for found in self.asked.take() {
            if let Err(error) = mark(found.pid) {
                log::info!("cannot follow process {}: {error:#}", found.pid);
                continue;
            }
            log::info!(
                "follows process {}, which process {} asks ({:?})",
                found.pid,
                found.by_pid,
                found.way
            );
            events.push(found.follow());
            events.extend(threads_of(&[found.pid]));
            events.extend(self.freezers.watch(&[found.pid]));
            // What is under way is not watched there: only the target's own answers are judged.
            let under_way = &mut UnderWay::default();
            let ports = Vec::from_iter(found.tcp_ports());
            let unanswered = proc::unanswered(&[found.pid], &[], &ports, under_way);
            events.extend(unanswered.into_iter().map(Event::Unanswered));
        }
        self.hearers.see_asked(&events);
        self.newcomers.see(&events);
        for newcomer in self.newcomers.take() {
            events.extend(self.join(newcomer, &mut mark));
        }
        let seen = self.hearers.take();
        self.asked.see_writes(&seen);
        events.extend(seen);
        events.extend(self.clients.take());
        events.extend(self.titles.take());
        events.extend(self.homes.take());
        events.extend(self.takers.take());
        events
    }

    /// A process is a target from now on; `mark` is that of [`Self::take`].
    fn join(&mut self, newcomer: Newcomer, mark: &mut impl FnMut(u32) -> Result<()>) -> Vec<Event> {
        let Newcomer { pid, is_found } = newcomer;
        if let Err(error) = mark(pid) {
            log::info!("cannot trace process {pid}: {error:#}");
            return Vec::new();
        }
        let mut events = vec![Event::Joined(event::Joined { ns: now_ns(), pid })];
        if !is_found {
            log::info!("traces process {pid}, too");
            events.extend(threads_of(&[pid]));
            events.extend(self.freezers.watch(&[pid]));
        }
        self.see(&events);
        events
    }

    /// What was seen of locks since the last call, and their owners, which are followed from now on. `open` lists the threads off the CPU
    /// right now if a look is due; `mark` is that of [`Self::take`].
    pub(super) fn take_locks(
        &mut self,
        open: Option<Vec<Event>>,
        mut mark: impl FnMut(u32) -> Result<()>,
    ) -> Vec<Event> {
        let mut events = self.locks.take(open);
        for follow in self.locks.owners_in(&events) {
            if let Err(error) = mark(follow.pid) {
                log::info!("cannot follow process {}: {error:#}", follow.pid);
                continue;
            }
            log::info!(
                "follows process {}, which has a lock, or its parent",
                follow.pid
            );
            let threads = proc::threads(follow.pid).into_iter();
            events.push(Event::FollowOwner(follow));
            events.extend(threads.map(Event::Thread));
        }
        self.newcomers.see(&events);
        events
    }
}

/// Is it one of the records that come thousands of times a second? None of them tells of a process, a connection or a link.
fn is_frequent(event: &Event) -> bool {
    matches!(
        event,
        Event::Wait(_)
            | Event::Slice(_)
            | Event::Migrate(_)
            | Event::Interrupts(_)
            | Event::Stolen(_)
            | Event::Packets(_)
            | Event::Work(_)
            | Event::Io(_)
            | Event::Call(_)
            | Event::Ack(_)
            | Event::Delivered(_)
            | Event::Flow(_)
            | Event::QueuedFlow(_)
            | Event::Histogram(_)
    )
}
