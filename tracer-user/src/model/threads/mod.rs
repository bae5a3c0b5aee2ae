//! Threads of the target: what each did, nanosecond by nanosecond, and what it slept for.

mod at_attach;
mod completions;
mod elsewhere;
mod ends;
mod hand;
mod living;
mod locks;
mod owned;
mod past;
mod pollers;
mod questions;
mod readers;
mod reaps;
mod signs;
mod sleep;
mod spent;
mod stack;
mod stops;
mod thread;
mod time_line;
mod tries;
mod wait;
mod work;

use std::collections::VecDeque;

use rustc_hash::FxHashMap as HashMap;

use super::{account::Account, books::PlaceId};
use crate::{class::Class, event, largest::Largest};
pub(super) use completions::OnDisk;
use completions::Requested;
pub(super) use ends::{Whom, charge_ends, note_naps};
use living::Living;
use locks::{Had, LockWait, MOST_OWNERS};
pub(super) use owned::Owned;
pub(super) use questions::{Asked, Question, Questions, address, asked};
pub(super) use readers::{ReadBy, Untaken};
use reaps::Reap;
pub(super) use spent::Spent;
use stack::Stacks;
use stops::Stops;
pub(super) use thread::{Brought, OwnWait, Thread};
pub(super) use wait::Blocked;
pub(super) use work::Work;

/// So many ended threads are kept. A parent runs soon after its child's end, but the CPUs of a large machine end many meanwhile.
const MOST_ENDED: usize = 256;

/// A wait of at least this length may be one of those that a person feels, ns. A hundred milliseconds are felt, and a job makes
/// several waits in a row.
const LONG_WAIT_NS: u64 = 10_000_000;

/// All threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads {
    /// Begin of the window, ns.
    start_ns: u64,
    /// Since when the threads are followed, ns: later than the window's begin for a process that the target asks.
    since_ns: u64,
    /// The last process that became a target in the window.
    joined: event::Joined,
    /// The last birth of which the thread is known.
    borne: event::Borne,
    living: Living,
    /// The last that ended, and their tids, which are looked through at every wakeup by somebody else.
    ended: VecDeque<Thread>,
    ended_tids: VecDeque<u32>,
    /// Lifetime of those that ended, and the part of it that classes explain, ns.
    ended_wall_ns: u64,
    ended_spent_ns: u64,
    /// The longest time that one of them was stopped, ns.
    ended_stopped_ns: u64,
    stacks: Stacks,
    pub(super) stops: Stops,
    /// Does the memory limit of the target's group evict what the target reads again?
    pub(super) evicts: bool,
    /// Has the memory of the target's group been full of late?
    pub(super) is_full: bool,
    /// Has the target's group a memory limit?
    pub(super) has_memory_limit: bool,
    /// Does the kernel evict what the target reads again, because memory of the machine is short?
    pub(super) machine_evicts: bool,
    /// Paths of files for which threads waited, by inode.
    lock_files: HashMap<u64, PlaceId>,
    /// How long others waited for locks of each of the target's threads, ns.
    owned_ns: Largest<MOST_OWNERS>,
    /// Sleeps for locks of the target's own threads that are open at the end.
    open_locks: Vec<LockWait>,
    /// Sleeps for locks that parts of the target had. It has not been asked yet for which clients those worked.
    had_locks: Vec<Had>,
    /// Waits for children that are open at the end.
    open_reaps: Vec<Reap>,
    requested: Requested,
    /// Waits for somebody to take what was sent of which nobody has asked yet what that one did.
    untaken: Vec<Untaken>,
    pub(super) remote_mounts: Vec<event::RemoteMount>,
    /// Threads that lived in the window.
    pub(super) seen: u64,
    /// Waits that began before the window, or had not ended at its end.
    pub(super) clipped_waits: u64,
    /// Waits with a lost stack.
    pub(super) unreadable_stacks: u64,
    /// Time lost in waits of at least [`LONG_WAIT_NS`] each, ns.
    pub(super) long_waits_ns: u64,
}

impl Threads {
    /// The window begins at `start_ns`; the threads are followed since `since_ns`.
    pub(super) fn begin(&mut self, start_ns: u64, since_ns: u64) {
        self.start_ns = start_ns;
        self.since_ns = since_ns;
    }

    /// The stacks of another fold, and no thread.
    pub(super) fn with_stacks_of(other: &Self) -> Self {
        Self {
            stacks: other.stacks.clone(),
            ..Self::default()
        }
    }

    pub(super) fn learn_stack(&mut self, stack: &event::Stack) {
        self.stacks.learn(stack);
    }

    /// The process is a target from now on, and its threads are seeds.
    pub(super) fn joined(&mut self, joined: &event::Joined) {
        self.joined = *joined;
    }

    /// A thread was there at attach, or when its process became a target.
    pub(super) fn seed(&mut self, found: &event::Thread) {
        let since_ns = match self.joined.pid == found.pid {
            true => self.joined.ns.max(self.since_ns),
            false => self.since_ns,
        };
        let mut thread = Thread::new(since_ns);
        thread.pid = found.pid;
        thread.seed_state = Some(found.state);
        thread.seed.clone_from(&found.stack);
        self.seen += 1;
        self.living.insert(found.tid, thread);
    }

    /// A thread of the target is about to bear another one.
    pub(super) fn borne(&mut self, borne: event::Borne) {
        self.borne = borne;
    }

    /// A thread of the target was born.
    pub(super) fn forked(&mut self, fork: &event::Fork) {
        let mut thread = Thread::new(fork.ns.max(self.since_ns));
        let is_its = (self.borne.child_tid, self.borne.ns) == (fork.tid, fork.ns);
        thread.parent = Some(fork.parent_pid);
        thread.bearer = Some(match is_its {
            true => self.borne.tid,
            false => fork.parent_pid,
        });
        thread.pid = fork.pid;
        // A thread that was born while `/proc` was read is known from there already.
        if self.living.insert(fork.tid, thread).is_none() {
            self.seen += 1;
        }
    }

    /// A thread lost so much in one wait, asleep and in run queues.
    #[inline]
    pub(super) fn lost(&mut self, ns: u64) {
        if ns >= LONG_WAIT_NS {
            self.long_waits_ns = self.long_waits_ns.saturating_add(ns);
        }
    }

    /// A thread begins to write a file or a file system out.
    pub(super) fn syncs(&mut self, sync: &event::Sync) {
        if let Some(thread) = self.living.get_mut(sync.tid) {
            thread.syncs = Some(sync.dev);
        }
    }

    pub(super) fn migrated(&mut self, migrate: &event::Migrate) {
        if let Some(thread) = self.living.get_mut(migrate.tid) {
            thread.moves.push((migrate.ns, migrate.from_cpu));
        }
    }

    /// A living thread.
    #[inline]
    pub(super) fn get(&self, tid: u32) -> Option<&Thread> {
        self.living.get(tid)
    }

    /// One of the last threads that ended.
    pub(super) fn ended(&self, tid: u32) -> Option<&Thread> {
        let at = self.ended_tids.iter().rposition(|ended| *ended == tid)?;
        self.ended.get(at)
    }

    /// The same, to be written to.
    #[inline]
    pub(super) fn get_mut(&mut self, tid: u32) -> Option<&mut Thread> {
        self.living.get_mut(tid)
    }

    /// Has the thread a request, or the one that polls its ring?
    pub(super) fn serves(&self, tid: u32) -> bool {
        let has = |thread: &Thread| !thread.turns.is_empty();
        let Some(thread) = self.living.get(tid) else {
            return false;
        };
        let poller = thread.poller.and_then(|poller| self.living.get(poller));
        has(thread) || poller.is_some_and(has)
    }

    /// May a thread wait for a single answer? It has one request, or none and its process or another thread of the target gives it work.
    pub(super) fn waits_for_one(&self, tid: u32) -> bool {
        let thread = self.living.get(tid);
        thread.is_some_and(|thread| match thread.turns.is_empty() {
            true => thread.parent.is_some() || !thread.woken_by.is_empty(),
            false => thread.turns.only().is_some(),
        })
    }

    /// The living threads, in no order.
    pub(super) fn living(&self) -> impl Iterator<Item = (u32, &Thread)> {
        self.living.iter()
    }

    /// The numbers of those of a process.
    pub(super) fn of_process(&self, pid: u32) -> impl Iterator<Item = u32> {
        let of = self.living().filter(move |(_, thread)| thread.pid == pid);
        of.map(|(tid, _)| tid)
    }

    /// Extends a time line by a class that needs no further judgement, in both places that keep it.
    #[inline]
    pub(super) fn spend(&mut self, account: &mut Account, tid: u32, class: Class, until: u64) {
        let Some(thread) = self.living.get_mut(tid) else {
            return;
        };
        let begin = thread.known_ns();
        if until > begin {
            thread.extend(class, until);
            let ns = (until - begin) as i64;
            account.ledger.threads(class, begin, until, ns);
        }
    }

    /// A thread ended. A parent that waited for the end of the process wakes later. So the time line is kept for a while.
    pub(super) fn end(&mut self, tid: u32, ns: u64) {
        let Some(mut thread) = self.living.remove(tid) else {
            return;
        };
        self.requested.forget(tid);
        self.takes_no_more(tid, thread.poller);
        self.stops.forget_thread(tid);
        let wall_ns = ns.saturating_sub(thread.begin_ns);
        self.ended_wall_ns = self.ended_wall_ns.saturating_add(wall_ns);
        let spent_ns = thread.spent().total();
        self.ended_spent_ns = self.ended_spent_ns.saturating_add(spent_ns);
        self.ended_stopped_ns = self.ended_stopped_ns.max(thread.stopped_ns());
        thread.running = false;
        thread.forget(u64::MAX);
        if self.ended.len() >= MOST_ENDED {
            self.ended.pop_front();
            self.ended_tids.pop_front();
        }
        self.ended.push_back(thread);
        self.ended_tids.push_back(tid);
    }

    /// Sum of the lifetimes in the window, and the part of it that no class explains, ns.
    pub(super) fn lifetimes(&self, end_ns: u64) -> (u64, u64) {
        let living = self.living.iter().map(|(_, thread)| thread);
        let begins = living.clone().map(|thread| thread.begin_ns);
        let walls = begins.map(|begin| end_ns.saturating_sub(begin));
        let wall_ns = walls.fold(self.ended_wall_ns, u64::saturating_add);
        let spent = living.map(|thread| thread.spent().total());
        let spent_ns = spent.fold(self.ended_spent_ns, u64::saturating_add);
        let unaccounted_ns = wall_ns.saturating_sub(spent_ns);
        (wall_ns, unaccounted_ns)
    }

    /// The longest time that a single thread was stopped, in all, ns.
    pub(super) fn most_stopped_ns(&self) -> u64 {
        let living = self.living.iter().map(|(_, thread)| thread.stopped_ns());
        living.max().unwrap_or(0).max(self.ended_stopped_ns)
    }

    /// Functions of a stack, outermost first.
    pub(super) fn functions(&self, stack: u64) -> Vec<String> {
        let known = self.stacks.get(stack);
        known.map_or_else(Vec::new, |stack| {
            stack.frames.iter().rev().cloned().collect()
        })
    }

    /// The function that sleeps in a stack; empty if the stack was lost.
    pub(super) fn function(&self, stack: u64) -> &str {
        let known = self.stacks.get(stack);
        known.map_or("", |stack| stack.sleeps_in())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_threads_that_ended_are_remembered() {
        let mut threads = Threads::default();
        let all = MOST_ENDED as u32 + 3;
        for tid in 0..all {
            threads.forked(&event::Fork {
                pid: tid,
                tid,
                ..event::Fork::default()
            });
            threads.end(tid, 1);
        }
        assert!(threads.ended_tids.iter().copied().eq(3..all));
        assert_eq!(threads.ended.len(), MOST_ENDED);
    }
}
