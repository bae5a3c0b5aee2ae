//! A wait record extends a thread's time line. The reason of the sleep is found here; `cpus`, `disks`, `links` and `requests`
//! charge it.

use tracer_common::sched::{
    WAIT_FIRST, WAIT_IOWAIT, WAIT_LONG_ONLY, WAIT_MEMSTALL, WAIT_NO_WAKER, WAIT_OPEN, WAIT_RUNNABLE,
};

use super::{
    Threads,
    locks::{LockWait, Owner},
    sleep::{self, INTERRUPTIBLE, Sleep},
    stack::Stack,
    thread::Thread,
};
use crate::{
    class::{Cause, Class, Resource},
    event::Wait,
    model::{
        account::{Account, Charge},
        books::{Budget, Holder},
        names::Names,
    },
};

/// The kind of sleep whose lock may have been seen.
const LOCK: Sleep = Sleep::Blocked(Class::Lock, None);

/// A record of a thread must continue where the one before ended; a larger gap is a lost record.
const GAP_NS: u64 = 1_000;

/// A sleep in which a thread was blocked.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Blocked {
    pub(in crate::model) class: Class,
    pub(in crate::model) cause: Option<Cause>,
    /// Begin and end, ns.
    pub(in crate::model) begin: u64,
    pub(in crate::model) end: u64,
}

impl Threads {
    /// A wait record came, perhaps the first sign of its thread. Returns when the thread became runnable, ns.
    #[inline]
    pub(in crate::model) fn met(&mut self, wait: &Wait) -> u64 {
        let begin = if wait.off_ns == 0 {
            wait.ns
        } else {
            wait.off_ns
        };
        let (seen, since_ns) = (&mut self.seen, self.since_ns);
        let thread = self.living.get_or_add(wait.tid, || {
            *seen += 1;
            Thread::new(begin.max(since_ns))
        });
        thread.pid = wait.pid;
        self.stacks.comes(wait.stack);
        self.before_queue(wait)
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

    /// The time up to the run queue: what the thread did before the wait, and its sleep. Returns the sleep if the thread was blocked in
    /// it.
    #[inline]
    pub(in crate::model) fn slept(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        wait: &Wait,
        queued_ns: u64,
    ) -> Option<Blocked> {
        if wait.flags & WAIT_FIRST != 0 {
            self.before_first(names, account, wait.tid, queued_ns, false);
            self.woken_first(wait, queued_ns);
            self.goes_on(wait.tid, queued_ns);
            return None;
        }
        self.skip_lost(wait);
        self.run(account, wait);
        self.sleep(names, account, wait, queued_ns)
    }

    /// The time in run queues. Returns since when, and the moves between CPUs meanwhile; `None` if there was none.
    #[inline]
    pub(in crate::model) fn queued(
        &mut self,
        account: &mut Account,
        wait: &Wait,
        queued_ns: u64,
    ) -> Option<(u64, Vec<(u64, u32)>)> {
        let is_left_open = self.is_left_open(wait.tid);
        let thread = self.living.get_mut(wait.tid)?;
        let moves = std::mem::take(&mut thread.moves);
        if is_left_open {
            // Its sleep is charged when the time line of the lock's owner is known.
            return None;
        }
        let begin = thread.known_ns().max(queued_ns);
        self.spend(account, wait.tid, Class::Cpu, wait.ns);
        (wait.ns > begin).then_some((begin, moves))
    }

    /// The wait is over, or open at the end of the window.
    #[inline]
    pub(in crate::model) fn waited(&mut self, wait: &Wait) {
        let is_open = wait.flags & WAIT_OPEN != 0;
        if (wait.off_ns != 0 && wait.off_ns < self.start_ns) || is_open {
            self.clipped_waits += 1;
        }
        if let Some(thread) = self.living.get_mut(wait.tid) {
            thread.running = !is_open;
            // Of locks that somebody waited for in an earlier sleep.
            thread.locks.clear();
        }
    }

    /// Time between two records that do not meet is unaccounted, not on-CPU.
    fn skip_lost(&mut self, wait: &Wait) {
        if let Some(thread) = self.living.get_mut(wait.tid)
            && wait.ran_since_ns > thread.known_ns() + GAP_NS
        {
            thread.skip(wait.ran_since_ns.min(wait.off_ns));
            thread.running = true;
        }
    }

    /// The time on a CPU before the wait, without what the hypervisor stole of it. We do not know when in the
    /// interval it stole, and assume the end.
    fn run(&mut self, account: &mut Account, wait: &Wait) {
        let Some(thread) = self.living.get(wait.tid) else {
            return;
        };
        let begin = thread.known_ns();
        if wait.flags & WAIT_LONG_ONLY != 0 && wait.ran_since_ns != 0 {
            return self.run_between_short_waits(account, wait, begin);
        }
        let whole = thread.running && wait.ran_since_ns.abs_diff(begin) <= GAP_NS;
        if !whole || wait.ran_ns == 0 {
            return self.spend(account, wait.tid, Class::OnCpu, wait.off_ns);
        }
        let stolen_from = begin.saturating_add(wait.ran_ns);
        if stolen_from >= wait.off_ns {
            // The kernel's clock of a run queue may stand still for a switch. Then it also counts the time to leave the CPU.
            return self.spend(account, wait.tid, Class::OnCpu, stolen_from.min(wait.ns));
        }
        let stolen = wait.off_ns - stolen_from;
        self.spend(account, wait.tid, Class::OnCpu, stolen_from);
        self.spend(account, wait.tid, Class::Cpu, wait.off_ns);
        account.charge(Charge {
            resource: Resource::Cpu,
            place: None,
            holder: Holder::Hypervisor,
            stack: 0,
            span: (stolen_from, wait.off_ns),
            ns: stolen,
            estimated: false,
        });
    }

    /// The same of a thread of which only long waits are emitted. Since the last one it ran and had short ones, evenly as far as is known.
    /// Nobody knows what these were for.
    fn run_between_short_waits(&mut self, account: &mut Account, wait: &Wait, begin: u64) {
        let whole_ns = wait.off_ns.saturating_sub(wait.ran_since_ns).max(1);
        let left_ns = wait.off_ns.saturating_sub(begin).min(whole_ns);
        let ran_ns = wait.ran_ns.min(whole_ns);
        let ran_ns = u128::from(ran_ns) * u128::from(left_ns) / u128::from(whole_ns);
        self.spend(account, wait.tid, Class::OnCpu, begin + ran_ns as u64);
        if let Some(thread) = self.living.get_mut(wait.tid) {
            thread.skip(wait.off_ns);
        }
    }

    /// The next part of a sleep in which the thread was blocked. A sleep has several parts only if the thread was frozen in it.
    pub(in crate::model) fn sleep(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        wait: &Wait,
        until: u64,
    ) -> Option<Blocked> {
        loop {
            let begin = self.living.get(wait.tid)?.known_ns();
            if until <= begin {
                return None;
            }
            let (end, frozen) = self.stops.piece(wait.pid, begin, until);
            let sleep = self.classify(wait);
            if !frozen
                && matches!(sleep, Sleep::Work | LOCK)
                && let Some(locked) = self.slept_behind(names, wait, (begin, end))
            {
                self.slept_for_lock(account, locked, wait.flags & WAIT_OPEN != 0);
                match self.living.get(wait.tid)?.known_ns() > begin {
                    true => continue,
                    // It is judged when the owner's own time line is known.
                    false => return None,
                }
            }
            let (class, cause) = match sleep {
                _ if frozen => (Class::Stopped, None),
                Sleep::Work => {
                    self.turns_round(wait);
                    if !self.wait_for_completions(names, account, wait, (begin, end)) {
                        self.wait_for_work(names, account, wait, (begin, end));
                    }
                    continue;
                }
                Sleep::Blocked(Class::Stopped, _) => {
                    self.interrupted(names, wait, (begin, end));
                    (Class::Stopped, None)
                }
                // Somebody was seen to have no room for what the thread sends him.
                Sleep::Blocked(Class::Network, None) if self.reader(names, wait).is_some() => {
                    (Class::Upstream, None)
                }
                Sleep::Blocked(class @ (Class::Other | Class::Upstream), None)
                    if self.may_ask(wait) =>
                {
                    if self.slept_for_own(names, account, wait, (begin, end)) {
                        continue;
                    }
                    let is_known =
                        self.stranger(names, wait).is_some() || self.reader(names, wait).is_some();
                    match is_known {
                        true => (Class::Upstream, None),
                        false => (class, None),
                    }
                }
                Sleep::Blocked(class, cause) => (class, cause),
            };
            self.spend(account, wait.tid, class, end);
            return Some(Blocked {
                class,
                cause,
                begin,
                end,
            });
        }
    }

    /// The sleep, if owners of the lock for which the thread slept were seen.
    fn slept_behind(
        &mut self,
        names: &mut Names,
        wait: &Wait,
        span: (u64, u64),
    ) -> Option<LockWait> {
        let thread = self.living.get(wait.tid)?;
        if thread.locks.is_empty() && thread.refused.is_none() {
            return None;
        }
        let waker = match self.lock_holder(names, wait) {
            Holder::Nobody => None,
            _ => Some(Owner::new(names, (wait.waker_pid, wait.waker_tid))),
        };
        let locked = self.lock_wait((wait.tid, wait.stack), span, waker);
        locked.or_else(|| self.nap(wait.tid, wait.stack, span))
    }

    /// The class of a sleep as its stack alone shows it: idle, if the thread waits for work.
    pub(in crate::model) fn class_of(&mut self, wait: &Wait) -> Class {
        match self.classify(wait) {
            Sleep::Work => Class::Idle,
            Sleep::Blocked(class, _) => class,
        }
    }

    fn classify(&mut self, wait: &Wait) -> Sleep {
        if sleep::is_stopped(wait.state) {
            return Sleep::Blocked(Class::Stopped, None);
        }
        let iowait = wait.flags & WAIT_IOWAIT != 0;
        let Some(stack) = self.stacks.get(wait.stack) else {
            self.unreadable_stacks += 1;
            return sleep::classify(None, wait.state, iowait);
        };
        let interruptible = wait.state & INTERRUPTIBLE != 0;
        let again = wait.flags & WAIT_MEMSTALL != 0;
        let found = stack.sleep(interruptible, iowait, again);
        let found = match self.remote_kind(wait) {
            Some(_) => sleep::elsewhere(found),
            None => found,
        };
        let limit = Sleep::Blocked(Class::Memory, Some(Cause::Limit));
        match found {
            // A full group evicts what it needs: the limit is in the way, not the disk.
            Sleep::Blocked(Class::Disk, None | Some(Cause::CacheEviction))
                if stack.reads_page && (self.evicts || (self.is_full && again)) =>
            {
                limit
            }
            Sleep::Blocked(Class::Memory, _) if self.has_memory_limit && stack.reclaims_group => {
                limit
            }
            // What was swapped out is wanted: memory is in the way, whatever disk has it.
            Sleep::Blocked(Class::Disk, None | Some(Cause::CacheEviction)) if stack.swaps_in => {
                Sleep::Blocked(Class::Memory, Some(Cause::SwapIn))
            }
            Sleep::Blocked(Class::Disk, None) if stack.reads_page && self.machine_evicts => {
                Sleep::Blocked(Class::Disk, Some(Cause::CacheEviction))
            }
            _ => found,
        }
    }

    /// Disk of the file or file system for which a thread waits within a call that writes it out.
    pub(in crate::model) fn synced(&self, wait: &Wait) -> Option<u32> {
        self.stacks.get(wait.stack).filter(|stack| stack.syncs)?;
        self.living.get(wait.tid)?.syncs
    }

    /// Did a thread wait for the answer to its connect?
    pub(in crate::model) fn connects(&self, wait: &Wait) -> bool {
        let stack = self.stacks.get(wait.stack);
        stack.is_some_and(|stack| stack.connects)
    }

    /// Did a thread wait in a receive on a UDP socket?
    pub(in crate::model) fn receives_datagram(&self, wait: &Wait) -> bool {
        let stack = self.stacks.get(wait.stack);
        stack.is_some_and(|stack| stack.receives_datagram)
    }

    /// Did a thread wait for work where it would have noticed no datagram?
    pub(in crate::model) fn notices_no_datagram(&self, wait: &Wait) -> bool {
        let stack = self.stacks.get(wait.stack);
        let waits = |stack: &Stack| stack.interruptible == Sleep::Work && !stack.notices_datagram;
        wait.flags & WAIT_RUNNABLE == 0 && stack.is_some_and(waits)
    }

    /// Did a thread wait in a send on a TCP socket?
    pub(in crate::model) fn sends_stream(&self, wait: &Wait) -> bool {
        let stack = self.stacks.get(wait.stack);
        stack.is_some_and(|stack| stack.sends_stream)
    }

    /// A wait for work: idle, unless the thread turns out to own a request. Then it counts as its waker's time meanwhile, if the
    /// waker is a thread of the target too.
    fn wait_for_work(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        wait: &Wait,
        (begin, until): (u64, u64),
    ) {
        let hand = self.hand(names, wait, (begin, until));
        self.idle(account, wait.tid, hand.tentative, until);
        self.note_reap(wait, (begin, until));
        let has_waker = hand.is_own;
        let interrupt =
            wait.flags & WAIT_NO_WAKER != 0 || self.woken_by_interrupt(wait) == Some(true);
        let ended_by = self.serves(wait.tid).then(|| self.ender(names, wait));
        if let Some(thread) = self.living.get_mut(wait.tid) {
            thread.bystander = interrupt.then_some(wait.waker_pid);
            if let Some(ended_by) = ended_by {
                thread.slept_in(wait.stack, (begin, until), ended_by);
            }
            thread.was_ended(hand);
            if has_waker {
                // It is given something else to do, whatever became of the datagram that it sent.
                thread.questions.give_up(begin);
            }
        }
        if has_waker {
            let since = self.got(wait).unwrap_or(begin);
            self.woken_by_own(wait, since, (begin, until));
        } else if interrupt {
            self.tried(wait, (begin, until));
        }
    }

    /// A thread that waits for any of several things may go on with another connection. So may one of which the stack was lost.
    fn turns_round(&mut self, wait: &Wait) {
        let stack = self.stacks.get(wait.stack);
        let loops = stack.is_none_or(|stack| stack.loops);
        if let Some(thread) = self.living.get_mut(wait.tid).filter(|_| loops) {
            thread.work.turns_round();
        }
    }

    /// Extends a time line by a wait for work, of which `tentative` is explained already.
    pub(super) fn idle(
        &mut self,
        account: &mut Account,
        tid: u32,
        mut tentative: Budget,
        until: u64,
    ) {
        let Some(thread) = self.living.get_mut(tid) else {
            return;
        };
        let begin = thread.known_ns();
        if until <= begin {
            return;
        }
        let explained: u64 = tentative.iter().sum();
        tentative[Class::Idle.index()] += (until - begin).saturating_sub(explained);
        thread.extend_waiting(&tentative, until);
        thread.work.pause(begin, until);
        let ns = (until - begin) as i64;
        account.ledger.threads(Class::Idle, begin, until, ns);
    }

    /// Threads without a record in the window did the same all the time as at its begin. Running ones run to its end.
    pub(in crate::model) fn close(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        end_ns: u64,
    ) {
        let mut tids: Vec<u32> = self.living.iter().map(|(tid, _)| tid).collect();
        tids.sort_unstable();
        for tid in tids {
            let Some(thread) = self.living.get(tid) else {
                continue;
            };
            if self.is_left_open(tid) {
                continue;
            }
            if thread.running {
                self.spend(account, tid, Class::OnCpu, end_ns);
            } else if thread.known_ns() == thread.begin_ns {
                self.before_first(names, account, tid, end_ns, true);
                self.clipped_waits += 1;
            }
        }
        self.close_locks(account);
        self.close_reaps();
    }
}
