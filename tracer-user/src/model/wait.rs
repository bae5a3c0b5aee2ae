//! Threads: a wait record extends a thread's time line and is charged to whoever held the CPU, or kept for the disk's judgement.

use tracer_common::sched::{
    WAIT_FIRST, WAIT_IOWAIT, WAIT_MEMSTALL, WAIT_NO_WAKER, WAIT_OPEN, WAIT_RUNNABLE,
    WAIT_TASK_WAKER,
};

use super::{
    DiskWait, Model,
    books::{Budget, Holder, PlaceId},
    sleep::{self, Sleep},
    thread::{Behind, Thread},
};
use crate::{
    class::{Cause, Class, Resource},
    event::{self, Wait},
};

/// `TASK_INTERRUPTIBLE`
const INTERRUPTIBLE: u32 = 1;

/// As many ended threads are kept: a parent runs soon after its child's end, but the CPUs of a large machine end many meanwhile.
const MOST_ENDED: usize = 256;

/// A record of a thread must continue where the one before ended; a larger gap is a lost record.
const GAP_NS: u64 = 1_000;

impl Model {
    pub(super) fn seed_thread(&mut self, found: &event::Thread) {
        let mut thread = Thread::new(self.since_ns);
        thread.pid = found.pid;
        thread.seed_state = Some(found.state);
        thread.seed.clone_from(&found.stack);
        self.threads_seen += 1;
        self.threads.insert(found.tid, thread);
    }

    pub(super) fn migrated(&mut self, migrate: &event::Migrate) {
        if let Some(thread) = self.threads.get_mut(&migrate.tid) {
            thread.moves.push((migrate.ns, migrate.from_cpu));
        }
    }

    pub(super) fn thread_ended(&mut self, tid: u32, ns: u64) {
        self.spend(tid, Class::OnCpu, ns);
        self.abandon(tid, ns);
        if let Some(thread) = self.threads.remove(&tid) {
            self.ended_wall_ns += ns.saturating_sub(thread.begin_ns);
            self.ended_spent_ns += thread.spent().total();
            self.keep_ended(tid, thread);
        }
    }

    /// Who waited for the end of a process hears of it when the process is no more: what it did is known for a while longer.
    fn keep_ended(&mut self, tid: u32, mut thread: Thread) {
        thread.running = false;
        thread.forget(u64::MAX);
        if self.ended.len() >= MOST_ENDED {
            self.ended.pop_front();
            self.ended_tids.pop_front();
        }
        self.ended.push_back(thread);
        self.ended_tids.push_back(tid);
    }

    /// One interval off the CPU: what came before it, the sleep, the run queue.
    pub(super) fn wait(&mut self, wait: &Wait) {
        if !self.threads.contains_key(&wait.tid) {
            let begin = if wait.off_ns == 0 {
                wait.ns
            } else {
                wait.off_ns
            };
            self.threads_seen += 1;
            self.threads
                .insert(wait.tid, Thread::new(begin.max(self.since_ns)));
        }
        if let Some(thread) = self.threads.get_mut(&wait.tid) {
            thread.pid = wait.pid;
        }
        let queued_ns = self.before_queue(wait);
        if wait.flags & WAIT_FIRST != 0 {
            self.before_first(wait.tid, queued_ns);
        } else {
            self.skip_lost(wait);
            self.run(wait);
            self.sleep(wait, queued_ns);
        }
        self.queue(wait, queued_ns);
        if (wait.off_ns != 0 && wait.off_ns < self.start.ns) || wait.flags & WAIT_OPEN != 0 {
            self.clipped_waits += 1;
        }
        self.tidy(wait.tid, wait.flags & WAIT_OPEN == 0);
    }

    /// When the thread became runnable. A thread that was runnable all the time never slept.
    fn before_queue(&self, wait: &Wait) -> u64 {
        let begin = if wait.off_ns == 0 {
            self.since_ns
        } else {
            wait.off_ns
        };
        if wait.flags & WAIT_RUNNABLE != 0 {
            begin
        } else {
            wait.ns.saturating_sub(wait.run_queue_ns).max(begin)
        }
    }

    /// From the begin of the window (or the birth of the thread) to its first time in a run queue.
    fn before_first(&mut self, tid: u32, queued_ns: u64) {
        let Some(thread) = self.threads.get(&tid) else {
            return;
        };
        let class = match thread.seed_state {
            None => Class::Cpu,
            Some('R') => Class::OnCpu,
            Some(state) => match sleep::classify(
                Some(&thread.seed),
                if state == 'S' { INTERRUPTIBLE } else { 2 },
                state == 'D',
            ) {
                Sleep::Work => return self.wait_for_work(tid, None, queued_ns),
                Sleep::Blocked(class, _) => class,
            },
        };
        self.spend(tid, class, queued_ns);
    }

    /// Time between two records that do not meet is unaccounted, not on-CPU.
    fn skip_lost(&mut self, wait: &Wait) {
        if let Some(thread) = self.threads.get_mut(&wait.tid)
            && wait.ran_since_ns > thread.known_ns() + GAP_NS
        {
            thread.skip(wait.ran_since_ns.min(wait.off_ns));
            thread.running = true;
        }
    }

    /// The time on a CPU before the wait, without what the hypervisor stole of it. Where in the interval it stole is not known: it is
    /// taken to be at the end.
    fn run(&mut self, wait: &Wait) {
        let Some(thread) = self.threads.get(&wait.tid) else {
            return;
        };
        let begin = thread.known_ns();
        let whole = thread.running && wait.ran_since_ns.abs_diff(begin) <= GAP_NS;
        if !whole || wait.ran_ns == 0 {
            return self.spend(wait.tid, Class::OnCpu, wait.off_ns);
        }
        let stolen_from = begin + wait.ran_ns;
        if stolen_from >= wait.off_ns {
            // The kernel's clock of a run queue may stand still for a switch: then it counts the way out of the CPU, too.
            return self.spend(wait.tid, Class::OnCpu, stolen_from.min(wait.ns));
        }
        let stolen = wait.off_ns - stolen_from;
        self.spend(wait.tid, Class::OnCpu, stolen_from);
        self.spend(wait.tid, Class::Cpu, wait.off_ns);
        let key = (Resource::Cpu, None, Holder::Hypervisor);
        self.ledger
            .charge(key, stolen_from, wait.off_ns, stolen, false);
        self.burn((Class::Cpu, None, Holder::Hypervisor, 0), stolen);
    }

    /// Extends a time line by a class that needs no further judgement, in both places that keep it.
    pub(super) fn spend(&mut self, tid: u32, class: Class, until: u64) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let begin = thread.known_ns();
        if until > begin {
            thread.extend(class, until);
            self.ledger
                .threads(class, begin, until, (until - begin) as i64);
        }
    }

    fn sleep(&mut self, wait: &Wait, until: u64) {
        let Some(thread) = self.threads.get(&wait.tid) else {
            return;
        };
        let begin = thread.known_ns();
        if until <= begin {
            return;
        }
        match self.classify(wait) {
            Sleep::Work => self.wait_for_work(wait.tid, Some(wait), until),
            Sleep::Blocked(class, cause) => {
                self.spend(wait.tid, class, until);
                self.blocked(wait, class, cause, begin, until);
            }
        }
    }

    fn classify(&mut self, wait: &Wait) -> Sleep {
        let iowait = wait.flags & WAIT_IOWAIT != 0;
        let Some(stack) = self.stacks.get(&wait.stack) else {
            self.unreadable_stacks += 1;
            return sleep::classify(None, wait.state, iowait);
        };
        let found = if wait.state & INTERRUPTIBLE != 0 {
            stack.interruptible
        } else {
            stack.uninterruptible
        };
        match found {
            Sleep::Blocked(Class::Other, None) if iowait => Sleep::Blocked(Class::Disk, None),
            // Only what had been in use counts as a stall: reading it again is what the eviction cost.
            Sleep::Blocked(Class::Disk, None) if wait.flags & WAIT_MEMSTALL != 0 => {
                Sleep::Blocked(Class::Disk, Some(Cause::CacheEviction))
            }
            _ => found,
        }
    }

    /// A blocked sleep in `[begin, until]`: charged now, or when the place's other users are known.
    fn blocked(&mut self, wait: &Wait, class: Class, cause: Option<Cause>, begin: u64, until: u64) {
        let ns = until - begin;
        if let (Some(resource), Some(cause)) = (class.resource(), cause) {
            *self.causes.entry((resource, cause)).or_default() += ns;
        }
        if let (Some(resource), Some(Cause::Quota)) = (class.resource(), cause) {
            self.ledger
                .charge((resource, None, Holder::OwnQuota), begin, until, ns, false);
            return self.burn((class, None, Holder::OwnQuota, wait.stack), ns);
        }
        match class {
            Class::Disk => self.disk_waits.push_back(DiskWait {
                tid: wait.tid,
                begin,
                end: until,
                stack: wait.stack,
                cause,
            }),
            Class::Network => self.cannot_send(wait.tid, begin, until, ns, wait.stack),
            Class::Lock => {
                let holder = self.lock_holder(wait);
                self.ledger
                    .charge((Resource::Lock, None, holder), begin, until, ns, false);
                self.burn((class, None, holder, wait.stack), ns);
            }
            Class::Upstream => {
                let place = self.remote_place(wait.stack);
                if place.is_some() {
                    let key = (Resource::Upstream, place, Holder::Peer);
                    self.ledger.charge(key, begin, until, ns, false);
                }
                self.burn((class, place, Holder::Nobody, wait.stack), ns);
            }
            _ => self.burn((class, None, Holder::Nobody, wait.stack), ns),
        }
    }

    /// `nfs:server:/export`: the file system in which a thread sleeps, if it can be only one.
    fn remote_place(&mut self, stack: u64) -> Option<PlaceId> {
        let kind = self.stacks.get(&stack)?.remote?;
        let mut mounts = self.remote_mounts.iter().filter(|mount| mount.kind == kind);
        let name = match (mounts.next(), mounts.count()) {
            (Some(mount), 0) => format!("{}:{}", kind.name(), mount.source),
            (Some(_), others) => format!("{}: one of {} mounts", kind.name(), others + 1),
            (None, _) => kind.name().to_owned(),
        };
        Some(self.place(&name))
    }

    /// Who released the lock; an interrupt names a bystander.
    fn lock_holder(&mut self, wait: &Wait) -> Holder {
        if wait.flags & WAIT_NO_WAKER != 0 || self.woken_by_interrupt(wait).unwrap_or(false) {
            return Holder::Nobody;
        }
        match self.holder(wait.waker_pid) {
            Holder::Own => Holder::OwnLock,
            other => other,
        }
    }

    /// A wait for work, idle unless the thread turns out to own a request: then it counts as what its waker did meanwhile, if that is
    /// a thread of the target too.
    fn wait_for_work(&mut self, tid: u32, wait: Option<&Wait>, until: u64) {
        let Some(thread) = self.threads.get(&tid) else {
            return;
        };
        let begin = thread.known_ns();
        if until <= begin {
            return;
        }
        let mut tentative = Budget::default();
        let waker = wait.and_then(|wait| self.waker(wait));
        let has_waker = waker.is_some();
        if let Some(waker) = waker {
            let spent = waker.between(begin, until);
            for (sum, (certain, waiting)) in tentative
                .iter_mut()
                .zip(spent.certain.iter().zip(spent.tentative))
            {
                *sum = certain + waiting;
            }
        } else if let Some((class, holder)) = wait.and_then(|wait| self.stranger(wait)) {
            tentative[class.index()] = until - begin;
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.behind.push_back(Behind {
                    begin_ns: begin,
                    end_ns: until,
                    class,
                    holder,
                });
            }
        }
        let told: u64 = tentative.iter().sum();
        tentative[Class::Idle.index()] += (until - begin).saturating_sub(told);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.extend_waiting(&tentative, until);
            thread.work.pause(begin, until);
        }
        if let Some(wait) = wait.filter(|_| has_waker)
            && let Some(waker) = self.threads.get_mut(&wait.waker_tid)
        {
            waker.wakes(wait.waking_ns.max(begin), tid);
        }
        self.ledger
            .threads(Class::Idle, begin, until, (until - begin) as i64);
    }

    /// The process outside the target that ended a wait for work, in its own context: it released what both use (a futex in shared
    /// memory), or it answered (a Unix socket, a pipe). A thread of the target that does so is no lock's holder but who has the work:
    /// a condition on which work is handed over and a lock look the same to the kernel, so the wait is what that thread did.
    fn stranger(&mut self, wait: &Wait) -> Option<(Class, Holder)> {
        let interrupt = self.woken_by_interrupt(wait).unwrap_or(true);
        if interrupt || wait.flags & (WAIT_NO_WAKER | WAIT_OPEN) != 0 {
            return None;
        }
        let holder = self.holder(wait.waker_pid);
        let Holder::Process(id) = holder else {
            return None;
        };
        if self.processes.all()[id].kernel {
            return None;
        }
        let stack = self.stacks.get(&wait.stack)?;
        let class = if sleep::is_futex(&stack.frames) {
            Class::Lock
        } else {
            Class::Upstream
        };
        Some((class, holder))
    }

    /// Was the waker an interrupt, so that `waker_tid` is a bystander? By the kernel's own count, else by the waker's stack, else not
    /// known.
    fn woken_by_interrupt(&self, wait: &Wait) -> Option<bool> {
        if wait.flags & WAIT_TASK_WAKER != 0 {
            return Some(false);
        }
        let stack = self.stacks.get(&wait.waker_stack)?;
        Some(stack.interrupt)
    }

    /// The target thread that ended a sleep.
    fn waker(&self, wait: &Wait) -> Option<&Thread> {
        let interrupt = self.woken_by_interrupt(wait).unwrap_or(true);
        if wait.flags & WAIT_NO_WAKER != 0 || interrupt || wait.waker_tid == wait.tid {
            return None;
        }
        let ended = || {
            let mut tids = self.ended_tids.iter();
            tids.rposition(|tid| *tid == wait.waker_tid)
        };
        let living = self.threads.get(&wait.waker_tid);
        living.or_else(|| ended().map(|index| &self.ended[index]))
    }

    fn tidy(&mut self, tid: u32, running: bool) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        thread.running = running;
        if thread.is_long() {
            let needed = thread
                .turns
                .iter()
                .filter_map(|socket| self.connections.get(socket)?.turn.as_ref());
            let needed = needed.map(|turn| turn.judged_ns).min().unwrap_or(u64::MAX);
            thread.forget(needed);
        }
    }

    /// Threads without any record in the window did all the time what they did at its begin; running ones run to its end.
    pub(super) fn close_threads(&mut self, end_ns: u64) {
        let mut tids: Vec<u32> = self.threads.keys().copied().collect();
        tids.sort_unstable();
        for tid in tids {
            let Some(thread) = self.threads.get(&tid) else {
                continue;
            };
            if thread.running {
                self.spend(tid, Class::OnCpu, end_ns);
            } else if thread.known_ns() == thread.begin_ns {
                self.before_first(tid, end_ns);
                self.clipped_waits += 1;
            }
        }
    }
}
