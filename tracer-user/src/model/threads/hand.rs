//! The hand that ended a sleep: an interrupt, a thread of the target, or a process outside it.
//!
//! A thread that sleeps until another task wakes it waits for that task, by whatever way it asked: a pipe, a queue, a permission, a
//! child. So the waker is asked, and the table of sleeps need not know each way.

use tracer_common::sched::{WAIT_NO_WAKER, WAIT_OPEN, WAIT_TASK_WAKER};

use super::{
    Threads,
    locks::waits_of,
    sleep::INTERRUPTIBLE,
    thread::{OwnWait, Thread},
    tries::meanwhile,
};
use crate::{
    class::Class,
    event::Wait,
    model::{
        account::Account,
        books::{EndedBy, Holder},
        names::Names,
    },
};

/// `TASK_WAKEKILL`: a signal that kills ends the sleep.
const KILLABLE: u32 = 0x100;

impl Threads {
    /// Was the waker an interrupt, so that `waker_tid` is a bystander? By the kernel's own count, else by the waker's stack, else not
    /// known.
    pub(super) fn woken_by_interrupt(&self, wait: &Wait) -> Option<bool> {
        if wait.flags & WAIT_TASK_WAKER != 0 {
            return Some(false);
        }
        let stack = self.stacks.get(wait.waker_stack)?;
        Some(stack.interrupt)
    }

    /// The target thread that ended a sleep.
    pub(super) fn waker(&self, wait: &Wait) -> Option<&Thread> {
        let interrupt = self.woken_by_interrupt(wait).unwrap_or(true);
        if wait.flags & WAIT_NO_WAKER != 0 || interrupt || wait.waker_tid == wait.tid {
            return None;
        }
        let ended = || {
            let mut tids = self.ended_tids.iter();
            tids.rposition(|tid| *tid == wait.waker_tid)
        };
        let living = self.living.get(&wait.waker_tid);
        living.or_else(|| ended().map(|index| &self.ended[index]))
    }

    /// A thread of the target ended a wait for work from `begin` to `until`. With tries before it, the wait had begun at `since`.
    pub(super) fn woken_by_own(&mut self, wait: &Wait, since: u64, (begin, until): (u64, u64)) {
        if let Some(thread) = self.living.get_mut(&wait.tid) {
            thread.was_woken(OwnWait {
                begin_ns: since,
                end_ns: until,
                by: wait.waker_tid,
            });
        }
        if let Some(waker) = self.living.get_mut(&wait.waker_tid) {
            waker.wakes(wait.waking_ns.max(begin), wait.tid);
        }
    }

    /// The first record of a thread may tell who woke it, though not since when it slept: for all of the window so far, at least. If it
    /// waited for work, and a thread of the target woke it, that is one more wait that this one ended.
    pub(super) fn woken_first(&mut self, wait: &Wait, until: u64) {
        let thread = self.living.get(&wait.tid);
        let Some(begin) = thread
            .filter(|thread| thread.waits_for_work())
            .map(|thread| thread.begin_ns)
        else {
            return;
        };
        let Some(waker) = self.waker(wait).filter(|_| begin < until) else {
            return;
        };
        let tentative = meanwhile(waker, (begin, until));
        if let Some(thread) = self.living.get_mut(&wait.tid) {
            thread.explain((begin, until), &tentative);
        }
        self.woken_by_own(wait, begin, (begin, until));
    }

    /// The process outside the target that ended a sleep in its own context. A thread of the kernel works for others, and is none.
    pub(super) fn stranger(&self, names: &mut Names, wait: &Wait) -> Option<Holder> {
        let interrupt = self.woken_by_interrupt(wait).unwrap_or(true);
        if interrupt || wait.flags & (WAIT_NO_WAKER | WAIT_OPEN) != 0 {
            return None;
        }
        let holder = names.holder(wait.waker_pid);
        let is_process = matches!(holder, Holder::Process(_)) && !names.is_kernel_thread(holder);
        is_process.then_some(holder)
    }

    /// The process outside the target that ended a wait for work. It released a futex in shared memory (class `lock`), or answered, by
    /// whatever way (class `upstream`). Who connects to a listener has answered nothing.
    ///
    /// If a thread of the target wakes it, no lock is assumed. The kernel cannot tell a lock from a condition that hands work over.
    /// So the wait counts as that thread's time meanwhile.
    pub(super) fn answered(&self, names: &mut Names, wait: &Wait) -> Option<(Class, Holder)> {
        let stack = self.stacks.get(wait.stack)?;
        let holder = self.stranger(names, wait).filter(|_| !stack.accepts)?;
        let class = match stack.is_futex {
            true => Class::Lock,
            false => Class::Upstream,
        };
        Some((class, holder))
    }

    /// May a sleep be one for another task, although its functions say nothing? A thread waits for another one only where a signal can
    /// end that: else it would hang with it. One that takes what others bring may have nothing to do, and waits for nobody.
    pub(super) fn may_ask(&self, wait: &Wait) -> bool {
        let stack = self.stacks.get(wait.stack);
        wait.state & (INTERRUPTIBLE | KILLABLE) != 0 && stack.is_some_and(|stack| !stack.takes)
    }

    /// A thread of the target ended such a sleep. While that one waited for something itself, this one waited for that, too; of the rest
    /// nothing is known. False if it was no thread of the target.
    pub(super) fn slept_for_own(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        wait: &Wait,
        (begin, end): (u64, u64),
    ) -> bool {
        let waker = self.waker(wait);
        // A file system elsewhere is waited for, whichever thread brings in the page.
        let waker = waker.filter(|_| self.remote_kind(wait).is_none());
        let Some(pieces) = waker.map(|waker| waits_of(waker, begin, end)) else {
            return false;
        };
        let ended_by = self.ender(names, wait);
        for (from, to, class) in pieces {
            let known = class.unwrap_or(Class::Other);
            self.spend(account, wait.tid, known, to);
            if class.is_some() {
                account.ledger.indirect(known, from, to, to - from);
            }
            if known == Class::Other {
                account.unknown.slept(wait.stack, ended_by, to - from);
            }
            account.burn_only((known, None, Holder::Nobody, wait.stack), to - from);
        }
        true
    }

    /// Who ended a sleep.
    pub(in crate::model) fn ender(&self, names: &mut Names, wait: &Wait) -> EndedBy {
        let task = wait.flags & WAIT_NO_WAKER == 0 && self.woken_by_interrupt(wait) == Some(false);
        match task {
            _ if wait.flags & WAIT_OPEN != 0 => EndedBy::Nothing,
            true => EndedBy::Process(names.processes.id(wait.waker_pid)),
            false => EndedBy::NoTask,
        }
    }

    /// Name of the process that ended a wait; `None` if an interrupt did.
    pub(in crate::model) fn ended_by<'a>(&self, names: &'a Names, wait: &Wait) -> Option<&'a str> {
        if wait.flags & WAIT_NO_WAKER != 0 || self.woken_by_interrupt(wait).unwrap_or(true) {
            return None;
        }
        names.processes.comm(wait.waker_pid)
    }

    /// The process that released the lock. Where an interrupt ended the wait, its waker is a bystander.
    pub(in crate::model) fn lock_holder(&self, names: &mut Names, wait: &Wait) -> Holder {
        if wait.flags & WAIT_NO_WAKER != 0 || self.woken_by_interrupt(wait).unwrap_or(false) {
            return Holder::Nobody;
        }
        match names.holder(wait.waker_pid) {
            Holder::Own => Holder::OwnLock,
            other => other,
        }
    }
}
