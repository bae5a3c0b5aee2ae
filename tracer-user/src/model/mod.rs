//! A fold of events into books: pure, without a clock, without I/O. The same fold serves the live trace and a recording.
//!
//! `wait.rs` keeps the threads' time lines, `turn.rs` the requests'; `cpu.rs`, `disk.rs` and `link.rs` know who held a place;
//! `ledger.rs` adds up. What it ends in is [`books::Books`].

mod blame;
pub mod books;
mod client;
mod cpu;
mod disk;
mod disk_wait;
mod flow;
mod follow;
mod ledger;
mod link;
mod lost;
mod open;
mod process;
mod queue;
mod recent;
mod request;
#[cfg(test)]
pub(crate) mod scenes;
mod sleep;
mod softirq;
mod stack;
mod steal;
#[cfg(test)]
mod tests;
mod thread;
mod time_line;
mod turn;
mod unanswered;
mod upstream;
mod wait;
mod work;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use books::{Books, FlameLine, Held, Holder, PlaceId, ProcessId};
use ledger::Ledger;
use process::Processes;
use request::{Connection, Tally};
// The keys are the kernel's, not of somebody who would want them to collide; the hasher of std takes ten times as long.
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use stack::Stack;
use thread::Thread;
use tracer_common::histogram::{FAMILIES, Family};

use crate::{
    class::{Cause, Class, Resource},
    event::{self, Event},
    standing::{Means, OwnLimit, Standing},
};

/// A disk wait whose competitors may not all have completed yet.
#[derive(Clone, Copy, Debug)]
struct DiskWait {
    tid: u32,
    begin: u64,
    end: u64,
    stack: u64,
    /// What the stack says of why.
    cause: Option<Cause>,
}

/// Index of the flame graph.
type FlameKey = (Class, Option<PlaceId>, Holder, u64);

/// The state of the fold.
#[derive(Clone, Debug)]
pub struct Model {
    start: event::Start,
    end: event::End,
    now: u64,
    /// Shared with the copies of these books, which are made for a look and for those who are asked.
    stacks: HashMap<u64, Arc<Stack>>,
    processes: Processes,
    threads: HashMap<u32, Thread>,
    /// The last that ended, and their tids, which are looked through at every wakeup by somebody else.
    ended: VecDeque<Thread>,
    ended_tids: VecDeque<u32>,
    /// Lifetime and check sums of threads that ended.
    ended_wall_ns: u64,
    ended_spent_ns: u64,
    threads_seen: u64,
    cpus: Vec<cpu::Cpu>,
    disks: BTreeMap<u32, disk::Disk>,
    disk_facts: Vec<event::Disk>,
    links: BTreeMap<(u32, u32), link::Link>,
    link_records: u64,
    /// Time waited for a link, by the stack that waited.
    link_stacks: BTreeMap<(PlaceId, u64), u64>,
    connections: HashMap<u64, Connection>,
    clients: client::Clients,
    open_sockets: Vec<event::OpenSocket>,
    unread: Vec<event::Unread>,
    tally: Tally,
    ledger: Ledger,
    disk_waits: VecDeque<DiskWait>,
    flame: HashMap<FlameKey, u64>,
    places: Vec<String>,
    causes: BTreeMap<(Resource, Cause), u64>,
    held: BTreeMap<(Resource, Option<PlaceId>, Holder), Held>,
    histograms: HashMap<(ProcessId, u32), event::Histogram>,
    standings: BTreeMap<ProcessId, Standing>,
    means: Means,
    own_limits: Vec<OwnLimit>,
    remote_mounts: Vec<event::RemoteMount>,
    written: BTreeMap<(PlaceId, Holder), u64>,
    failed: BTreeMap<PlaceId, u64>,
    works: books::Works,
    softirqs: softirq::Softirqs,
    siblings: event::Siblings,
    interrupted: event::Interrupted,
    /// Part of a CPU's work, by place.
    stolen: HashMap<PlaceId, f64>,
    clipped_waits: u64,
    unreadable_stacks: u64,
    /// Processes that the target asks, each with books of its own.
    followed: Vec<follow::Followed>,
    /// In such books: since when, how many processes are on the way, and the connections on which the target asks.
    since_ns: u64,
    depth: usize,
    asked_on: HashSet<u64>,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: event::Start::default(),
            end: event::End::default(),
            now: 0,
            stacks: HashMap::default(),
            processes: Processes::default(),
            threads: HashMap::default(),
            ended: VecDeque::new(),
            ended_tids: VecDeque::new(),
            ended_wall_ns: 0,
            ended_spent_ns: 0,
            threads_seen: 0,
            cpus: Vec::new(),
            disks: BTreeMap::new(),
            disk_facts: Vec::new(),
            links: BTreeMap::new(),
            link_records: 0,
            link_stacks: BTreeMap::new(),
            connections: HashMap::default(),
            clients: client::Clients::default(),
            open_sockets: Vec::new(),
            unread: Vec::new(),
            tally: Tally::default(),
            ledger: Ledger::new(0),
            disk_waits: VecDeque::new(),
            flame: HashMap::default(),
            places: Vec::new(),
            causes: BTreeMap::new(),
            held: BTreeMap::new(),
            histograms: HashMap::default(),
            standings: BTreeMap::new(),
            means: Means::default(),
            remote_mounts: Vec::new(),
            own_limits: Vec::new(),
            written: BTreeMap::new(),
            failed: BTreeMap::new(),
            works: books::Works::new(),
            softirqs: softirq::Softirqs::default(),
            siblings: event::Siblings::default(),
            interrupted: event::Interrupted::default(),
            stolen: HashMap::default(),
            clipped_waits: 0,
            unreadable_stacks: 0,
            followed: Vec::new(),
            since_ns: 0,
            depth: 0,
            asked_on: HashSet::default(),
        }
    }

    /// Takes one fact, in order of time.
    pub fn apply(&mut self, event: &Event) {
        self.now = self.now.max(event.ns());
        if self.pass_on(event) {
            return;
        }
        match event {
            Event::Start(start) => self.begin(start),
            Event::Process(process) => self.processes.found(process),
            Event::Thread(thread) => self.seed_thread(thread),
            Event::Disk(disk) => self.disk_facts.push(disk.clone()),
            // Of the others nothing is asked.
            Event::OpenSocket(socket) if socket.unread_bytes == 0 => {}
            Event::OpenSocket(socket) => self.open_sockets.push(socket.clone()),
            Event::Unanswered(found) => self.unanswered(found),
            Event::Stack(stack) => self.learn_stack(stack),
            Event::Wait(wait) => self.wait(wait),
            Event::Slice(slice) => self.slice(slice),
            Event::Interrupts(interrupts) => self.interrupted(interrupts),
            Event::Packets(packets) => self.packets(packets),
            Event::Work(work) => self.worked(work),
            Event::Stolen(stolen) => self.stolen(stolen),
            Event::CpuTime(cpu) => self.stolen_of(*cpu),
            Event::Interrupted(interrupted) => self.interrupted = interrupted.clone(),
            Event::Siblings(siblings) => self.siblings = *siblings,
            Event::Migrate(migrate) => self.migrated(migrate),
            Event::ThreadEnd(end) => self.thread_ended(end.tid, end.ns),
            Event::Io(io) => self.io(io),
            Event::Call(call) => self.call(call),
            Event::Socket(socket) => self.socket(socket),
            Event::Ack(ack) => self.acknowledged(ack.socket, ack.ns, ack.ns),
            Event::Delivered(ack) => self.acknowledged(ack.socket, ack.ns, ack.left_ns),
            Event::Link(link) => self.link(link),
            Event::Fork(fork) => self.forked(fork),
            Event::Exec(exec) => self.processes.executed(exec),
            Event::Exit(exit) => self.exited(exit.pid),
            Event::Histogram(histogram) => self.histogram(histogram),
            Event::DiskTotal(total) => self.disk_total(total),
            Event::Standing(standing) => {
                let id = self.processes.id(standing.pid);
                self.standings.insert(id, (**standing).clone());
            }
            Event::Flow(flow) => self.flow(flow),
            Event::OwnLimit(limit) => self.own_limits.push(limit.clone()),
            Event::RemoteMount(mount) => self.remote_mounts.push(mount.clone()),
            Event::Means(means) => self.means = (**means).clone(),
            Event::End(end) => self.end = (**end).clone(),
            Event::Unread(unread) => self.unread.push(unread.clone()),
            Event::Client(client) => self.client(client),
            // Passed on.
            Event::Follow(_) => {}
        }
    }

    fn begin(&mut self, start: &event::Start) {
        self.ledger = Ledger::new(start.ns);
        self.since_ns = start.ns;
        self.start = start.clone();
    }

    fn forked(&mut self, fork: &event::Fork) {
        self.processes.forked(fork);
        if !fork.target {
            return;
        }
        let mut thread = Thread::new(fork.ns.max(self.since_ns));
        // Which of its threads forked is not told: in most servers that accept and fork, the first.
        thread.parent = Some(fork.parent_pid);
        thread.pid = fork.pid;
        // A thread that was born while `/proc` was read is known from there already.
        if self.threads.insert(fork.tid, thread).is_none() {
            self.threads_seen += 1;
        }
    }

    fn histogram(&mut self, histogram: &event::Histogram) {
        if let Some(process) = self.processes.id_if_there(histogram.pid) {
            let key = (process, histogram.family);
            self.histograms.insert(key, histogram.clone());
        }
    }

    fn exited(&mut self, pid: u32) {
        for forgotten in self.processes.exited(pid) {
            for family in 0..FAMILIES as u32 {
                self.histograms.remove(&(forgotten, family));
            }
        }
    }

    fn disk_total(&mut self, total: &event::DiskTotal) {
        let place = self.disk(total.dev).place;
        let holder = self.holder(total.pid);
        let held = self
            .held
            .entry((Resource::Disk, Some(place), holder))
            .or_default();
        held.ns += total.device_ns;
        held.ios += total.reads + total.writes;
        held.bytes += total.read_bytes + total.write_bytes;
        *self.written.entry((place, holder)).or_default() += total.write_bytes;
    }

    fn link(&mut self, sent: &event::Link) {
        self.link_records += 1;
        let holder = self.holder(sent.pid);
        let place = match self.links.get(&(sent.netns, sent.ifindex)) {
            Some(link) => link.place,
            None => self.place(&sent.name),
        };
        self.links
            .entry((sent.netns, sent.ifindex))
            .or_insert_with(|| link::Link::new(place))
            .sent(sent, holder);
        let held = self
            .held
            .entry((Resource::Network, Some(place), holder))
            .or_default();
        held.ios += u64::from(sent.packets);
        held.bytes += sent.bytes;
    }

    /// Who a process is to the target.
    fn holder(&mut self, pid: u32) -> Holder {
        if pid == 0 {
            return Holder::Nobody;
        }
        let id = self.processes.id(pid);
        if self.processes.is_target(id) {
            Holder::Own
        } else {
            Holder::Process(id)
        }
    }

    fn place(&mut self, name: &str) -> PlaceId {
        if let Some(place) = self.places.iter().position(|known| known == name) {
            return place;
        }
        self.places.push(name.to_owned());
        self.places.len() - 1
    }

    /// The disk with a device number.
    fn disk(&mut self, dev: u32) -> &mut disk::Disk {
        if !self.disks.contains_key(&dev) {
            let known = self.disk_facts.iter().find(|disk| disk.dev == dev);
            let rotational = known.is_some_and(|disk| disk.rotational);
            let name = known.map(|disk| disk.name.clone());
            let name = name.unwrap_or_else(|| format!("{}:{}", dev >> 20, dev & 0xf_ffff));
            let place = self.place(&name);
            self.disks.insert(dev, disk::Disk::new(place, rotational));
        }
        self.disks
            .entry(dev)
            .or_insert_with(|| disk::Disk::new(0, false))
    }

    fn burn(&mut self, key: FlameKey, ns: u64) {
        if ns > 0 {
            *self.flame.entry(key).or_default() += ns;
        }
    }

    /// Closes the books at the end of the window, or at any time before for a provisional answer (on a clone).
    #[must_use]
    pub fn close(mut self) -> Books {
        if self.end.ns == 0 {
            self.end.ns = self.now;
        }
        let end_ns = self.end.ns;
        self.settle(end_ns);
        self.hold_cpus();
        self.into_books(end_ns)
    }

    /// Judges what is open.
    fn settle(&mut self, end_ns: u64) {
        self.close_threads(end_ns);
        self.close_turns(end_ns);
        self.close_drains(end_ns);
        self.resolve_disk_waits(u64::MAX);
        self.charge_links();
        self.charge_softirqs();
    }

    fn hold_cpus(&mut self) {
        let held: Vec<(ProcessId, u64)> = self
            .histograms
            .iter()
            .filter(|((_, family), _)| *family == Family::RunQueue as u32)
            .map(|((process, _), histogram)| (*process, histogram.held_ns))
            .collect();
        for (process, ns) in held {
            let holder = if self.processes.is_target(process) {
                Holder::Own
            } else {
                Holder::Process(process)
            };
            self.held
                .entry((Resource::Cpu, None, holder))
                .or_default()
                .ns += ns;
        }
    }

    fn into_books(mut self, end_ns: u64) -> Books {
        let wall_ns = self.ended_wall_ns
            + self
                .threads
                .values()
                .map(|thread| end_ns.saturating_sub(thread.begin_ns))
                .sum::<u64>();
        let spent_ns = self.ended_spent_ns
            + self
                .threads
                .values()
                .map(|thread| thread.spent().total())
                .sum::<u64>();
        let targets = self
            .start
            .targets
            .iter()
            .map(|pid| self.processes.id(*pid))
            .collect();
        let workers = self.workers();
        let flame = self.flame_lines();
        let histograms = std::mem::take(&mut self.histograms);
        let mut histograms: Vec<_> = histograms
            .into_iter()
            .map(|((process, _), histogram)| (process, histogram))
            .collect();
        histograms.sort_by_key(|(process, histogram)| (*process, histogram.family));
        let (mut bins, bin_ns) = std::mem::replace(&mut self.ledger, Ledger::new(0)).close(end_ns);
        if !self.followed.is_empty() {
            self.interrupted = event::Interrupted::default();
        }
        self.take_stolen(&mut bins);
        self.estimate_lost(&mut bins);
        let ways = self.answer(&mut bins, bin_ns, end_ns);
        Books {
            bins,
            bin_ns,
            requests: self.tally.close(end_ns),
            threads: self.threads_seen,
            wall_ns,
            unaccounted_ns: wall_ns.saturating_sub(spent_ns),
            clipped_waits: self.clipped_waits,
            unreadable_stacks: self.unreadable_stacks,
            processes: self.processes.into_all(),
            targets,
            places: self.places,
            ways,
            held: self.held,
            histograms,
            flame,
            causes: self
                .causes
                .into_iter()
                .map(|((resource, cause), ns)| (resource, cause, ns))
                .collect(),
            workers,
            disks: self.disk_facts,
            standings: self.standings,
            means: self.means,
            own_limits: self.own_limits,
            written: self.written,
            failed: self.failed,
            works: self.works,
            siblings: self.siblings,
            interrupted: self.interrupted,
            start: self.start,
            end: self.end,
        }
    }

    fn flame_lines(&mut self) -> Vec<FlameLine> {
        let mut lines: Vec<(FlameKey, u64)> = std::mem::take(&mut self.flame).into_iter().collect();
        lines.sort_unstable();
        let line = |((class, place, holder, stack), ns): (FlameKey, u64)| FlameLine {
            class,
            place,
            holder,
            stack: self
                .stacks
                .get(&stack)
                .map(|stack| stack.frames.iter().rev().cloned().collect())
                .unwrap_or_default(),
            ns,
        };
        lines.into_iter().map(line).collect()
    }
}
