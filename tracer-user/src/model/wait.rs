//! A wait of a thread. Only here does a thread meet the CPUs, the disks, the links and the requests that it owns.

use tracer_common::sched::WAIT_OPEN;

use super::{
    Model,
    account::Charge,
    books::{Holder, Part, PlaceId},
    cpus::Queued,
    disks::DiskWait,
    links::SendWait,
    threads::{Blocked, Brought, ReadBy, Thread, Untaken},
};
use crate::{
    class::{Cause, Class, Resource},
    event::Wait,
};

impl Model {
    /// One interval off the CPU: what came before it, the sleep, the run queue.
    pub(super) fn wait(&mut self, wait: &Wait) {
        self.requests.listens(&mut self.threads, wait);
        let (names, account) = (&mut self.names, &mut self.account);
        let queued_ns = self.threads.met(wait);
        let mut lost_ns = 0;
        let mut part = self.threads.slept(names, account, wait, queued_ns);
        let mut asks = !self.followed.is_empty() && self.threads.waits_for_one(wait.tid);
        while let Some(blocked) = part {
            lost_ns += blocked.end - blocked.begin;
            asks |= blocked.class == Class::Upstream;
            self.blocked(wait, &blocked);
            if blocked.class == Class::Upstream {
                let span = (blocked.begin, blocked.end);
                self.threads.was_kept_by_reader(&mut self.names, wait, span);
            }
            if blocked.end >= queued_ns {
                break;
            }
            let (names, account) = (&mut self.names, &mut self.account);
            part = self.threads.sleep(names, account, wait, queued_ns);
        }
        if !self.followed.is_empty() {
            self.brought(wait, queued_ns, asks);
        }
        self.count_untaken(wait.flags & WAIT_OPEN != 0);
        self.found();
        self.had_locks();
        if self.disks.is_behind(wait.ns) {
            self.catch_up(wait.ns);
        }
        lost_ns += self.queued(wait, queued_ns);
        self.threads.lost(lost_ns);
        self.threads.waited(wait);
        self.forget(wait.tid);
    }

    /// A thread forgets what no request needs.
    fn forget(&mut self, tid: u32) {
        if !self.threads.get(tid).is_some_and(Thread::is_long) {
            return;
        }
        let requests = &self.requests;
        let mut needed_ns = u64::MAX;
        for owner in self.threads.with_poller(tid) {
            if let Some(owner) = self.threads.get_mut(owner) {
                let of_owner = owner.turns.needed_ns(|owned| requests.judged_ns(owned));
                needed_ns = needed_ns.min(of_owner);
            }
        }
        if let Some(thread) = self.threads.get_mut(tid) {
            thread.forget(needed_ns);
        }
    }

    /// If a process that is followed ended this wait, or that of the thread that ended this one, it worked for the target meanwhile. It is
    /// not known of all waits whether somebody waits so: who `asks` does. Of others it shows once somebody has waited for this thread.
    fn brought(&mut self, wait: &Wait, queued_ns: u64, asks: bool) {
        let span = (wait.off_ns, queued_ns);
        let passed_on = self.threads.passed_on(wait, span);
        if asks {
            self.worked_beyond(&passed_on);
            return self.was_answered(wait, queued_ns);
        }
        let ended_by = self.threads.stranger(&mut self.names, wait);
        let direct = match ended_by.filter(|_| wait.off_ns != 0) {
            Some(Holder::Process(process)) => Some(Brought {
                span,
                process,
                by: (wait.waker_pid, wait.waker_tid),
            }),
            _ => None,
        };
        if let Some(thread) = self.threads.get_mut(wait.tid) {
            for brought in passed_on.into_iter().chain(direct) {
                thread.was_brought(brought);
            }
        }
    }

    /// Somebody waited while these processes made what they brought. Those that are followed worked for him.
    fn worked_beyond(&mut self, all: &[Brought]) {
        for brought in all {
            let (pid, tid) = brought.by;
            if let Some(asked) = self.followed.answering(pid) {
                asked.worked(brought.process, (tid, false), brought.span);
            }
        }
    }

    /// If a process that is followed ended this wait, it worked for the target meanwhile.
    fn was_answered(&mut self, wait: &Wait, queued_ns: u64) {
        let answering = self.threads.stranger(&mut self.names, wait);
        let Some(Holder::Process(process)) = answering.filter(|_| wait.off_ns != 0) else {
            return;
        };
        if let Some(asked) = self.followed.answering(wait.waker_pid) {
            let takes = self.threads.gives(wait);
            asked.worked(process, (wait.waker_tid, takes), (wait.off_ns, queued_ns));
        }
    }

    /// The target waited for others to take what it had sent. What those did who are followed is what it waited for.
    pub(super) fn count_untaken(&mut self, is_open: bool) {
        for untaken in self.threads.take_untaken() {
            self.followed.not_taken(untaken, is_open);
        }
    }

    /// A thread of this process, which is followed, ended a wait of whoever asks it: that is a request of its books. What others brought
    /// the thread meanwhile they made for that one: so a relay's wait on a pipe is told from one for work.
    pub(super) fn worked(&mut self, tid: u32, span: (u64, u64)) {
        if !self.followed.is_empty() {
            let brought = self.threads.get(tid);
            let brought = brought.map_or_else(Vec::new, |thread| thread.brought_in(span));
            self.worked_beyond(&brought);
        }
        let (requests, mut beside) = self.requests();
        requests.worked(&mut beside, tid, span);
    }

    /// This process, which is followed, took late what whoever asks had sent to it, or has not taken it. `before` is the thread of it that
    /// did so last.
    pub(super) fn had_to_take(&mut self, before: Option<u32>, untaken: &Untaken) {
        match &untaken.read_by {
            ReadBy::Process(_, pid) => {
                let threads = &self.threads;
                let lives = |tid: &u32| threads.get(*tid).is_some_and(|of| of.pid == *pid);
                let only = || threads.only(|of| of.pid == *pid);
                if let Some(tid) = before.filter(lives).or_else(only) {
                    self.worked(tid, untaken.span);
                }
            }
            ReadBy::Ends(ends) => {
                let (requests, mut beside) = self.requests();
                let (peer, own) = (ends.0.as_str(), ends.1.as_str());
                requests.had_to_take(&mut beside, (own, peer), untaken.span);
            }
        }
    }

    /// Waits for disks that a thread's own requests showed.
    pub(super) fn found(&mut self) {
        for wait in self.threads.take_found() {
            self.disks.waited(wait);
        }
    }

    /// Locks for which threads slept, and which parts of the target had.
    pub(super) fn had_locks(&mut self) {
        for had in self.threads.take_had_locks() {
            let (process, tid) = had.by;
            let part = Part {
                process,
                tid,
                client: self.requests.client_at(&self.threads, tid, had.end_ns),
            };
            let parts = &mut self.account.parts;
            parts.add(Resource::Lock, part, had.ns, had.serves);
        }
    }

    /// Returns the time in run queues, ns.
    fn queued(&mut self, wait: &Wait, queued_ns: u64) -> u64 {
        let account = &mut self.account;
        let Some((begin_ns, moves)) = self.threads.queued(account, wait, queued_ns) else {
            return 0;
        };
        let queued = Queued {
            begin_ns,
            end_ns: wait.ns,
            cpu: wait.cpu,
            moves: &moves,
            throttled_ns: wait.throttled_ns,
            serves: self.threads.serves(wait.tid),
        };
        let (requests, threads) = (&self.requests, &self.threads);
        let client_at = |tid, ns| requests.client_at(threads, tid, ns);
        self.cpus
            .queued(&mut self.names, account, &client_at, &queued);
        wait.ns - begin_ns
    }

    /// A blocked sleep is charged now, or when the place's other users are known.
    fn blocked(&mut self, wait: &Wait, blocked: &Blocked) {
        let Blocked {
            class,
            cause,
            begin,
            end,
        } = *blocked;
        let (names, account) = (&mut self.names, &mut self.account);
        let (ns, stack) = (end - begin, wait.stack);
        let charge = |resource: Resource, place: Option<PlaceId>, holder: Holder| Charge {
            resource,
            place,
            holder,
            stack,
            span: (begin, end),
            ns,
            estimated: false,
        };
        if let (Some(resource), Some(cause)) = (class.resource(), cause) {
            account.caused(resource, cause, ns);
            if matches!(cause, Cause::Quota | Cause::Limit) {
                return account.charge(charge(resource, None, Holder::OwnQuota));
            }
        }
        match class {
            Class::Disk => {
                let journal = || {
                    let ended_by = self.threads.ended_by(names, wait);
                    ended_by.and_then(|thread| self.disks.of_journal(thread))
                };
                let home = match cause {
                    Some(Cause::Journal) => self.threads.synced(wait).or_else(journal),
                    Some(Cause::Writeback) => self.threads.synced(wait),
                    _ => None,
                };
                self.disks.waited(DiskWait {
                    process: names.processes.id(wait.pid),
                    tid: wait.tid,
                    begin,
                    end,
                    stack,
                    cause,
                    awaited: None,
                    home,
                    serves: self.threads.serves(wait.tid),
                });
            }
            Class::Network => {
                let send = SendWait {
                    begin,
                    end,
                    ns,
                    stack,
                };
                if self.threads.sends_stream(wait) {
                    let (requests, mut beside) = self.requests();
                    return requests.send_waited(&mut beside, wait.tid, send);
                }
                let process = names.processes.id(wait.pid);
                self.links.datagram_waited(account, process, send);
            }
            Class::Lock => {
                let holder = self.threads.lock_holder(names, wait);
                account.charge(charge(Resource::Lock, None, holder));
                if holder == Holder::OwnLock {
                    let (requests, threads) = (&self.requests, &self.threads);
                    let by = (wait.waker_pid, wait.waker_tid);
                    let part = requests.part_at(threads, names, by, end);
                    let serves = threads.serves(wait.tid);
                    account.parts.add(Resource::Lock, part, ns, serves);
                }
            }
            Class::Upstream => {
                let place = self.threads.remote_place(names, wait);
                let (requests, threads) = (&self.requests, &self.threads);
                let connected = || requests.connected_to(threads, wait.tid, (begin, end));
                let remote = threads.connects(wait).then(connected).flatten();
                let place = place.or_else(|| remote.map(|remote| names.place(&remote)));
                let holder = self.threads.server(names, wait);
                if place.is_none() && matches!(holder, Holder::Process(_)) {
                    return account.charge(charge(Resource::Upstream, place, holder));
                }
                // The flame graph names the place, which says it all; the ledger leaves to nobody what has none.
                if place.is_some() {
                    account.charge_only(charge(Resource::Upstream, place, holder));
                }
                account.burn_only((class, place, Holder::Nobody, stack), ns);
            }
            Class::Stopped => {
                let stop = self.threads.stop(names, wait, (begin, end));
                account.caused(Resource::Stopped, stop.cause, ns);
                account.charge(charge(Resource::Stopped, stop.place, stop.holder));
            }
            Class::Memory if cause.is_some() && account.memory.is_known() => {
                account.charge_memory(charge(Resource::Memory, None, Holder::Nobody));
            }
            Class::Other => {
                let ended_by = self.threads.ender(names, wait);
                account.unknown.slept(stack, ended_by, ns);
                account.burn_only((class, None, Holder::Nobody, stack), ns);
            }
            // The ledger leaves to nobody what is not charged.
            _ => account.burn_only((class, None, Holder::Nobody, stack), ns),
        }
    }
}
