//! A fold of events into books: pure, without a clock, without I/O. The same fold serves the live trace and a recording.
//!
//! Each room owns what it knows. `cpus`, `disks` and `links` know the holders of places; `threads` and `requests` know the waits
//! for them. `followed` has the books of processes that the target asks. They share the `names` and write to one `account`. Two
//! rooms meet only here, in `wait.rs` (a wait of a thread) and in `close.rs` (the end of the window). The fold ends in
//! [`books::Books`].

mod account;
mod alike;
pub mod books;
mod close;
mod cpus;
mod disks;
mod facts;
mod followed;
mod ledger;
mod limits;
mod links;
mod lost;
mod memory;
mod names;
mod naps;
mod part;
mod parts;
mod process;
mod recent;
mod requests;
#[cfg(test)]
pub(crate) mod scenes;
mod session;
pub mod survey;
mod threads;
mod unknown;
mod wait;

use crate::{
    class::{Class, Resource},
    event::{self, Event, Origin},
};
use account::Account;
use books::Holder;
use cpus::Cpus;
use disks::{AskerAt, Disks};
use facts::Facts;
use followed::{Followed, Reach, Why};
use links::Links;
use names::Names;
use requests::{Beside, Requests};
use threads::Threads;

/// The state of the fold.
#[derive(Clone, Debug, Default)]
pub struct Model {
    names: Names,
    account: Account,
    facts: Facts,
    cpus: Cpus,
    disks: Disks,
    links: Links,
    threads: Threads,
    requests: Requests,
    followed: Followed,
}

impl Model {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one fact, in order of time.
    pub fn apply(&mut self, event: &Event) {
        self.facts.now_ns = self.facts.now_ns.max(event.ns());
        match self.followed.reach(&self.requests, event) {
            Reach::Here => self.take(event),
            Reach::All => {
                for asked in self.followed.all() {
                    asked.model.apply(event);
                }
                self.take(event);
            }
            Reach::One(asked) => asked.model.apply(event),
            Reach::Nobody => {}
        }
    }

    /// Takes a fact about this target.
    #[inline]
    fn take(&mut self, event: &Event) {
        let (names, account) = (&mut self.names, &mut self.account);
        match event {
            Event::Start(start) => self.begin(start),
            Event::Process(process) => names.processes.found(process),
            Event::Thread(thread) => self.threads.seed(thread),
            Event::Disk(disk) => self.disks.facts.push(disk.clone()),
            Event::OpenSocket(socket) => self.requests.open_socket(socket),
            Event::Unanswered(found) => self.requests.unanswered(&mut self.threads, found),
            Event::Unheard(found) => self.requests.unheard(&mut self.threads, found),
            Event::Question(found) => {
                self.followed.question(found);
                self.requests.question(&mut self.threads, found);
            }
            Event::Stack(stack) => self.threads.learn_stack(stack),
            Event::Wait(wait) => self.wait(wait),
            Event::Slice(slice) => self.cpus.slice(slice),
            Event::Interrupts(interrupts) => self.cpus.interrupted(interrupts),
            Event::Packets(packets) => self.cpus.packets(names, account, packets),
            Event::Work(work) => self.cpus.worked(names, work),
            Event::Stolen(stolen) => self.cpus.stolen(stolen),
            Event::CpuTime(cpu) => self.cpus.stolen_in_all(names, *cpu),
            Event::Migrate(migrate) => self.threads.migrated(migrate),
            Event::ThreadEnd(end) => self.thread_ended(end.tid, end.ns),
            Event::Io(io) => self.io(io),
            Event::Sync(sync) => self.threads.syncs(sync),
            Event::Call(call) => {
                let (requests, mut beside) = self.requests();
                requests.call(&mut beside, call);
                self.count_untaken(false);
            }
            Event::Socket(socket) => self.socket(socket, Origin::Unknown),
            Event::Opened(opened) => self.socket(&opened.socket, opened.origin),
            Event::Ack(ack) => self.acknowledged(ack.socket, ack.ns, ack.ns),
            Event::Delivered(ack) => self.acknowledged(ack.socket, ack.ns, ack.left_ns),
            Event::Link(link) => self.links.sent(names, account, &link.into()),
            Event::Queue(sent) => self.links.sent(names, account, sent),
            Event::Handed(found) => self.links.handed(names, found),
            Event::Borne(borne) => self.threads.borne(*borne),
            Event::Fork(fork) => self.forked(fork),
            Event::Exec(exec) => names.processes.executed(exec),
            Event::Moved(moved) => names.processes.moved(moved),
            Event::Called(called) => self.facts.called(called),
            Event::Exit(exit) => {
                for forgotten in names.processes.exited(exit.pid) {
                    self.facts.forget(forgotten);
                    self.requests.forget_asker(forgotten);
                }
                self.threads.stops.forget(exit.pid);
            }
            Event::Histogram(histogram) => {
                if let Some(process) = names.processes.id_if_there(histogram.pid) {
                    self.facts.histogram(process, histogram);
                }
            }
            Event::DiskTotal(total) => self.disks.total(names, account, total),
            Event::EarlierFile(file) => self.disks.earlier_file(names, file),
            Event::Flow(flow) => self.requests.flow(flow, 0),
            Event::QueuedFlow(flow) => self.requests.flow(&flow.flow, flow.queue),
            Event::RemoteMount(mount) => self.threads.remote_mounts.push(mount.clone()),
            Event::Unread(unread) => self.requests.unread(unread),
            Event::UnderWay(found) => self.requests.under_way(found),
            Event::Client(client) => {
                self.requests.stream_named(&mut self.threads, client);
                self.requests.client(names, client);
            }
            Event::SoleClient(found) => self.requests.sole_client(names, found),
            Event::Signal(signal) => self.threads.stops.signal(names, signal),
            Event::Freeze(freeze) => self.threads.stops.freeze(names, freeze),
            Event::Traced(traced) => self.threads.stops.traced(names, traced),
            Event::Named(named) => names.named(named),
            Event::LockSeen(seen) => self.threads.lock_seen(names, seen),
            Event::LockTried(tried) => self.threads.lock_tried(names, tried, None),
            Event::LockedOut(out) => {
                let frozen_ns = Some(out.frozen_ns);
                self.threads.lock_tried(names, &out.tried, frozen_ns);
            }
            Event::LockReleased(released) => self.threads.lock_released(released),
            Event::LockFile(file) => self.threads.lock_file(names, file),
            Event::WriteSeen(seen) => self.threads.write_seen(names, seen),
            Event::Joined(joined) => {
                names.processes.adopt(joined.pid);
                self.threads.joined(joined);
            }
            Event::Follow(follow) => self.follow(follow, Why::Asked),
            Event::FollowHand(follow) => self.follow(follow, Why::Hand),
            Event::FollowOwner(follow) => self.follow_owner(follow),
            Event::Interrupted(interrupted) => self.facts.interrupted = interrupted.clone(),
            Event::Tracer(tracer) => self.facts.tracer = Some(names.processes.id(tracer.pid)),
            Event::Siblings(siblings) => self.facts.siblings = *siblings,
            Event::Standing(standing) => {
                let id = names.processes.id(standing.pid);
                self.facts.standings.insert(id, (**standing).clone());
            }
            Event::OwnLimit(limit) => self.facts.own_limits.push(limit.clone()),
            Event::LimitUse(used) => {
                account.limit_used(names, used);
                self.threads.evicts = account.limits.evicts();
                self.threads.is_full = account.limits.is_full();
                self.threads.has_memory_limit = account.limits.limits(Resource::Memory);
            }
            Event::MemoryUse(used) => {
                account.memory_used(names, used);
                self.threads.machine_evicts = account.memory.evicts();
            }
            Event::Means(means) => self.facts.means = (**means).clone(),
            Event::Wrapping(found) => self.facts.wrapping.push(found.clone()),
            Event::Sources(found) => self.facts.sources.clone_from(&found.files),
            Event::Shed(shed) => _ = self.facts.shed.insert(shed.group, *shed),
            Event::Watch(watch) => self.cpus.watch(watch, self.facts.start.ns),
            // Whoever cuts a trace into intervals keeps books of each.
            Event::Counted(_) => {}
            Event::End(end) => {
                self.facts.end = (**end).clone();
                self.requests.end();
            }
        }
    }

    /// The requests, and the rooms that they need.
    fn requests(&mut self) -> (&mut Requests, Beside<'_>) {
        let beside = Beside {
            names: &mut self.names,
            account: &mut self.account,
            threads: &mut self.threads,
            links: &mut self.links,
        };
        (&mut self.requests, beside)
    }

    fn begin(&mut self, start: &event::Start) {
        self.account.ledger = ledger::Ledger::new(start.ns);
        self.threads.begin(start.ns, start.ns);
        self.requests.begin(start);
        self.disks.begin(&start.target_disks);
        self.facts.start = start.clone();
    }

    fn thread_ended(&mut self, tid: u32, ns: u64) {
        self.threads.spend(&mut self.account, tid, Class::OnCpu, ns);
        let (requests, mut beside) = self.requests();
        requests.abandon(&mut beside, tid, ns);
        self.count_untaken(false);
        self.threads.end(tid, ns);
    }

    fn io(&mut self, io: &event::Io) {
        let (requests, threads) = (&self.requests, &self.threads);
        let asker_at = AskerAt {
            asker: &|tid, ns| requests.asker_at(threads, tid, ns),
            client: &|tid, ns| requests.client_at(threads, tid, ns),
        };
        let (names, account) = (&mut self.names, &mut self.account);
        let request = self.disks.io(names, account, asker_at, io);
        if request.owner == Holder::Own {
            self.threads.completed(account, io, request);
            self.found();
        }
    }

    /// Judges waits for disks, although no request completes.
    fn catch_up(&mut self, ns: u64) {
        let (requests, threads) = (&self.requests, &self.threads);
        let asker_at = AskerAt {
            asker: &|tid, ns| requests.asker_at(threads, tid, ns),
            client: &|tid, ns| requests.client_at(threads, tid, ns),
        };
        let (names, account) = (&self.names, &mut self.account);
        self.disks.catch_up(names, account, asker_at, ns);
    }

    fn socket(&mut self, socket: &event::Socket, origin: Origin) {
        let (requests, mut beside) = self.requests();
        requests.socket(&mut beside, socket, origin);
    }

    fn acknowledged(&mut self, socket: u64, ns: u64, left_ns: u64) {
        let (requests, mut beside) = self.requests();
        requests.acknowledged(&mut beside, socket, ns, left_ns);
    }

    /// A process was born: a child of one that the target asks belongs to that one, and is no target.
    fn forked(&mut self, fork: &event::Fork) {
        let mut ours = fork.target;
        // A new thread is reported to the fold of its process alone.
        if fork.pid == fork.tid {
            for asked in self.followed.all() {
                let theirs = asked.forked(fork);
                asked.model.apply(&Event::Fork(event::Fork {
                    target: theirs,
                    ..fork.clone()
                }));
                ours &= !theirs;
            }
        }
        self.names.processes.forked(fork, ours);
        if ours {
            self.threads.forked(fork);
            self.requests.bears(&self.threads, fork);
        }
    }

    /// The target waits for the answers of another process of this machine. Whom a followed process asks, its own fold follows.
    fn follow(&mut self, follow: &event::Follow, why: Why) {
        let by = self.names.processes.id(follow.by_pid);
        if !self.names.is_target(by) {
            return;
        }
        self.follow_one(follow, why);
    }

    /// The target waits for a lock of another process of this machine, or of one of whose children `follow` tells.
    fn follow_owner(&mut self, follow: &event::Follow) {
        match self.followed.of(follow.by_pid) {
            Some(owner) => owner.adopt(follow.pid),
            None if follow.pid == follow.by_pid => self.follow_one(follow, Why::Owner),
            None => {}
        }
    }

    /// Keeps books of another process.
    fn follow_one(&mut self, follow: &event::Follow, why: Why) {
        let process = self.names.processes.own_id(follow.pid);
        if self.names.is_target(process) || !self.followed.may_add(follow.pid) {
            return;
        }
        let start = event::Start {
            targets: vec![follow.pid],
            listening: follow.known_tcp_ports(),
            ..self.facts.start.clone()
        };
        let mut model = Self {
            names: self.names.seen_by(process),
            cpus: self.cpus.as_watched(),
            disks: self.disks.as_found(),
            threads: Threads::with_stacks_of(&self.threads),
            requests: Requests::of_followed(),
            followed: self.followed.below(),
            ..Self::default()
        };
        model.begin(&start);
        model.threads.begin(start.ns, follow.ns.max(start.ns));
        self.followed.add(process, model, follow, why);
    }
}
