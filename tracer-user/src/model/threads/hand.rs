//! The hand that ended a sleep: an interrupt, a thread of the target, or a process outside it.
//!
//! A thread that sleeps until another task wakes it waits for that task, by whatever way it asked: a pipe, a queue, a permission, a
//! child. So the waker is asked, and the table of sleeps need not know each way.

use tracer_common::sched::{WAIT_NO_WAKER, WAIT_OPEN, WAIT_TASK_WAKER};

use super::{
    Threads,
    ends::{End, Whom, charge_ends, note_naps},
    locks::waits_of,
    signs,
    sleep::INTERRUPTIBLE,
    thread::{Brought, ForProcess, OwnWait, Thread},
    tries::meanwhile,
};
use crate::{
    class::Class,
    event::Wait,
    model::{
        account::Account,
        books::{Budget, EndedBy, Holder},
        names::Names,
    },
};

/// `TASK_WAKEKILL`: a signal that kills ends the sleep.
pub(super) const KILLABLE: u32 = 0x100;

/// A wait of at least this length may be most of a request that looks like a long poll, ns.
const LONG_NS: u64 = 1_000_000_000;

/// Who ended a wait for work.
#[derive(Debug, Default)]
pub(super) struct Hand {
    /// What was waited for, by class, as far as others did something meanwhile, ns.
    pub(super) tentative: Budget,
    /// Who is at the end of it.
    pub(super) ends: Vec<End>,
    /// Was it a thread of the target?
    pub(super) is_own: bool,
    /// The wait, if it is a long one that another process of the target ended.
    pub(super) for_process: Option<ForProcess>,
}

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
        let living = self.living.get(wait.waker_tid);
        living.or_else(|| self.ended(wait.waker_tid))
    }

    /// A thread of the target ended a wait for work from `begin` to `until`. With tries before it, the wait had begun at `since`.
    pub(super) fn woken_by_own(&mut self, wait: &Wait, since: u64, (begin, until): (u64, u64)) {
        let stack = self.stacks.get(wait.stack);
        let brought = stack.is_some_and(|stack| stack.brought);
        if let Some(thread) = self.living.get_mut(wait.tid) {
            // Of the sleep that it was in at attach, the look there tells the functions.
            let brought = brought || (wait.off_ns == 0 && signs::is_brought(&thread.seed));
            thread.was_woken(OwnWait {
                begin_ns: since,
                end_ns: until,
                by: wait.waker_tid,
                brought,
            });
        }
        if let Some(waker) = self.living.get_mut(wait.waker_tid) {
            waker.wakes(wait.waking_ns.max(begin), wait.tid);
        }
    }

    /// The first record of a thread may tell who woke it, though not since when it slept: for all of the window so far, at least. If it
    /// waited for work, and a thread of the target woke it, that is one more wait that this one ended.
    pub(super) fn woken_first(&mut self, wait: &Wait, until: u64) {
        let thread = self.living.get(wait.tid);
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
        let ends = waker.ends.passed_on((begin, until));
        if let Some(thread) = self.living.get_mut(wait.tid) {
            thread.explain((begin, until), &tentative);
            ends.into_iter().for_each(|end| thread.ends.add(end));
        }
        self.woken_by_own(wait, begin, (begin, until));
    }

    /// The process outside the target that ended a sleep in its own context. A thread of the kernel works for others, and is none.
    pub(in crate::model) fn stranger(&self, names: &mut Names, wait: &Wait) -> Option<Holder> {
        let interrupt = self.woken_by_interrupt(wait).unwrap_or(true);
        if interrupt || wait.flags & (WAIT_NO_WAKER | WAIT_OPEN) != 0 {
            return None;
        }
        let holder = names.holder(wait.waker_pid);
        let is_process = matches!(holder, Holder::Process(_)) && !names.is_kernel_thread(holder);
        is_process.then_some(holder)
    }

    /// What other processes had brought the thread of the target that ended this wait, while it lasted: it passed that on.
    pub(in crate::model) fn passed_on(&self, wait: &Wait, span: (u64, u64)) -> Vec<Brought> {
        let waker = self.waker(wait).filter(|_| wait.off_ns != 0);
        waker.map_or_else(Vec::new, |waker| waker.brought_in(span))
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

    /// The hand that ended a wait for work, and what is known of it.
    pub(super) fn hand(&self, names: &mut Names, wait: &Wait, (begin, until): (u64, u64)) -> Hand {
        if let Some(waker) = self.waker(wait) {
            return self.own_hand(waker, wait, (begin, until));
        }
        let mut hand = Hand::default();
        if let Some((class, holder)) = self.answered(names, wait) {
            hand.tentative[class.index()] = until - begin;
            let stranger = Whom::Stranger(class, holder);
            hand.ends.push(End::new((begin, until), stranger));
            return hand;
        }
        (hand.tentative, hand.ends) = self.waits_for_answers(names, wait.tid, (begin, until));
        let asked_ns = hand.tentative[Class::Upstream.index()];
        if self.stacks.get(wait.stack).is_some_and(|stack| stack.nap) {
            let nap = Whom::Nap(names.processes.id(wait.pid), wait.tid);
            let rest = (until - begin).saturating_sub(asked_ns);
            hand.ends.push(End::part_of((begin, until), rest, nap));
        }
        hand
    }

    fn own_hand(&self, waker: &Thread, wait: &Wait, (begin, until): (u64, u64)) -> Hand {
        let is_long = until - begin >= LONG_NS && waker.pid != wait.pid;
        Hand {
            tentative: meanwhile(waker, (begin, until)),
            ends: waker.ends.passed_on((begin, until)),
            is_own: true,
            for_process: is_long.then_some(ForProcess {
                begin_ns: begin,
                end_ns: until,
                born_ns: waker.begin_ns,
            }),
        }
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
        let Some(waker) = waker.filter(|_| self.remote_kind(wait).is_none()) else {
            return false;
        };
        let pieces = waits_of(waker, begin, end).into_iter();
        let with_ends = |(from, to, class)| ((from, to), class, waker.ends.within(from, to));
        let pieces: Vec<_> = pieces.map(with_ends).collect();
        let ended_by = self.ender(names, wait);
        for (span, class, ends) in pieces {
            let (known, ns) = (class.unwrap_or(Class::Other), span.1 - span.0);
            self.spend(account, wait.tid, known, span.1);
            let mut napped = 0;
            if class.is_some() {
                let mut waited = Budget::default();
                waited[known.index()] = ns;
                let charged = charge_ends(account, &ends, span, &waited);
                let rest = ns - charged[known.index()];
                account.ledger.indirect(known, span.0, span.1, rest);
            } else {
                napped = note_naps(account, names, wait.pid, &ends, ns);
            }
            if known == Class::Other {
                account.unknown.slept(wait.stack, ended_by, ns - napped);
            }
            account.burn_only((known, None, Holder::Nobody, wait.stack), ns);
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
