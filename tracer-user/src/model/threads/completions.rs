//! Asynchronous I/O: a thread that waits for completions waits for the disks on which they are.
//!
//! Such a thread sleeps where an event loop sleeps too. The stack alone does not tell one from the other. While a request of its
//! own is in flight, it waits for a disk; else it waits for work. A request that another thread waits for itself is not counted. One that
//! the thread of the kernel queued that polls its ring is its own.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use tracer_common::{
    block::{IO_JOURNAL, IO_KTHREAD, IO_READAHEAD, IO_THROTTLED, IO_WRITEBACK},
    sched::{WAIT_NO_WAKER, WAIT_OPEN, WAIT_TASK_WAKER},
};

use super::{Thread, Threads, signs::Completions};
use crate::{
    class::Class,
    event::{Io, Wait},
    model::{
        account::Account,
        disks::{DiskWait, Request},
        names::Names,
    },
};

/// Requests kept of a process. More are in flight only for a thread that reaps hundreds at once: then the last ones suffice.
const MOST_REQUESTS: usize = 512;
/// Waits without a known reason that are kept of a thread, for requests that complete later.
const MOST_UNEXPLAINED: usize = 256;
/// From a completion to the wakeup of a thread that waits for it: both are in one interrupt.
const PROMPT_NS: u64 = 100_000;
/// From a completion to the wakeup of a thread that waits for it, where a worker of the kernel is between them.
const SLACK_NS: u64 = 2_000_000;

/// A request of the target, on its disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::model) struct OnDisk {
    pub(in crate::model) dev: u32,
    pub(in crate::model) request: Request,
}

/// What the target asked disks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Requested {
    /// Requests of each process, in the order of their ends.
    requests: HashMap<u32, VecDeque<OnDisk>>,
    /// Threads that waited in a call that returns completions.
    reapers: HashSet<u32>,
    /// Waits for a disk that were found, not yet taken.
    found: Vec<DiskWait>,
}

impl Requested {
    /// A process ended, or a thread of it.
    pub(super) fn forget(&mut self, tid: u32) {
        self.requests.remove(&tid);
        self.reapers.remove(&tid);
    }
}

/// A wait for work that no request explained so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unexplained {
    begin_ns: u64,
    end_ns: u64,
    kind: Completions,
    stack: u64,
}

impl Thread {
    fn keep_unexplained(&mut self, wait: Unexplained) {
        if self.unexplained.len() == MOST_UNEXPLAINED {
            self.unexplained.pop_front();
        }
        self.unexplained.push_back(wait);
    }

    /// The parts of its waits of one kind in which this request was in flight, with their stacks. They are no longer kept.
    fn take_unexplained(&mut self, kind: Completions, request: &Request) -> Vec<(u64, u64, u64)> {
        let is_over = |last: &Unexplained| last.end_ns <= request.queue_ns;
        if self.unexplained.back().is_none_or(is_over) {
            return Vec::new();
        }
        let mut parts = Vec::new();
        for wait in std::mem::take(&mut self.unexplained) {
            let begin = wait.begin_ns.max(request.queue_ns);
            let end = wait.end_ns.min(request.end_ns);
            if end <= begin || wait.kind != kind {
                self.unexplained.push_back(wait);
                continue;
            }
            parts.push((begin, end, wait.stack));
            if wait.begin_ns < begin {
                let end_ns = begin;
                self.unexplained.push_back(Unexplained { end_ns, ..wait });
            }
        }
        parts
    }
}

/// A part of a sleep, and the request that was in flight then.
type Part = (u64, u64, OnDisk);

impl Threads {
    /// The waits for disks that were found since the last call.
    pub(in crate::model) fn take_found(&mut self) -> Vec<DiskWait> {
        let mut found = std::mem::take(&mut self.requested.found);
        for wait in &mut found {
            wait.serves = self.serves(wait.tid);
        }
        found
    }

    /// A wait for a disk was found that no record shows.
    pub(super) fn wait_was_found(&mut self, wait: DiskWait) {
        self.requested.found.push(wait);
    }

    /// A request of the target completed, or is in flight at the end.
    pub(in crate::model) fn completed(&mut self, account: &mut Account, io: &Io, request: Request) {
        if io.flags & (IO_WRITEBACK | IO_JOURNAL | IO_KTHREAD) != 0 {
            return;
        }
        let on_disk = OnDisk {
            dev: io.dev,
            request,
        };
        let requests = self.requested.requests.entry(io.pid).or_default();
        if requests.len() == MOST_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(on_disk);
        if io.flags & IO_READAHEAD == 0 {
            self.explain(account, io.tid, on_disk, Completions::Reaped);
            if let Some(taker) = self.only_taker(io.tid) {
                self.explain(account, taker, on_disk, Completions::Reaped);
            }
        }
    }

    /// Waits of a thread, of one kind, in which this request was in flight were waits for it. They ended before it did, by a timeout or
    /// by another event.
    fn explain(&mut self, account: &mut Account, tid: u32, known: OnDisk, kind: Completions) {
        let Some(thread) = self.living.get_mut(tid) else {
            return;
        };
        for (begin, end, stack) in thread.take_unexplained(kind, &known.request) {
            for part in thread.blocked_after_all(Class::Disk, begin, end) {
                let ns = (part.1 - part.0) as i64;
                account.ledger.threads(Class::Idle, part.0, part.1, -ns);
                account.ledger.threads(Class::Disk, part.0, part.1, ns);
                let wait = found(tid, stack, (part.0, part.1, known));
                self.requested.found.push(wait);
            }
        }
    }

    /// A thread slept where completions are waited for. Charges the time in which requests of its own were in flight to their disks.
    /// False if there was none: then it waited for work.
    pub(super) fn wait_for_completions(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        wait: &Wait,
        (begin, until): (u64, u64),
    ) -> bool {
        let kind = self
            .stacks
            .get(wait.stack)
            .map_or(Completions::Never, |stack| stack.completions);
        if kind == Completions::Never {
            return false;
        }
        self.takes(wait);
        if kind == Completions::Reaped {
            self.requested.reapers.insert(wait.tid);
        }
        let parts = self.parts(names, wait, kind, (begin, until));
        let mut at = begin;
        for part in &parts {
            self.explain(account, wait.tid, part.2, kind);
        }
        for part in &parts {
            self.unexplained(account, wait, kind, (at, part.0));
            self.spend(account, wait.tid, Class::Disk, part.1);
            self.requested
                .found
                .push(found(wait.tid, wait.stack, *part));
            at = part.1;
        }
        if parts.is_empty() {
            self.keep_unexplained(wait, kind, (begin, until));
            return false;
        }
        self.unexplained(account, wait, kind, (at, until));
        if let Some(thread) = self.living.get_mut(wait.tid) {
            thread.work.pause(begin, until);
        }
        true
    }

    /// A part of a sleep in which nothing is known to have been in flight.
    fn unexplained(
        &mut self,
        account: &mut Account,
        wait: &Wait,
        kind: Completions,
        (begin, end): (u64, u64),
    ) {
        if end > begin {
            self.keep_unexplained(wait, kind, (begin, end));
            self.idle(account, wait.tid, Default::default(), end);
        }
    }

    fn keep_unexplained(&mut self, wait: &Wait, kind: Completions, (begin, end): (u64, u64)) {
        if let Some(thread) = self.living.get_mut(wait.tid) {
            thread.keep_unexplained(Unexplained {
                begin_ns: begin,
                end_ns: end,
                kind,
                stack: wait.stack,
            });
        }
    }

    /// The parts of a sleep in which requests were in flight for which the thread waited, in order of time.
    fn parts(
        &self,
        names: &mut Names,
        wait: &Wait,
        kind: Completions,
        (begin, until): (u64, u64),
    ) -> Vec<Part> {
        let Some(requests) = self.requested.requests.get(&wait.pid) else {
            return Vec::new();
        };
        let during = requests
            .iter()
            .rev()
            .take_while(|known| known.request.end_ns > begin);
        let during: Vec<&OnDisk> = during
            .filter(|known| known.request.queue_ns < until)
            .collect();
        if during.is_empty() {
            return Vec::new();
        }
        let poller = self.living.get(wait.tid).and_then(|thread| thread.poller);
        // Of several that take from one poller, each waits only for what ends its sleep: nobody knows whose the others are.
        let takes_all = poller.is_some_and(|poller| self.only_taker(poller).is_some());
        let woken = Woken {
            at_ns: match wait.waking_ns {
                0 => until,
                ns => ns,
            },
            by_completion: self.by_completion(names, wait),
            poller: ((kind == Completions::Reaped || poller == Some(wait.waker_tid))
                && wait.flags & WAIT_TASK_WAKER != 0
                && wait.waker_pid == wait.pid)
                .then_some(wait.waker_tid),
        };
        let helped = kind == Completions::Reaped
            && during
                .iter()
                .any(|known| self.helps(wait, known) && woken.by(&known.request));
        let counts = |known: &&&OnDisk| {
            let is_own = known.request.tid == wait.tid;
            let is_polled = poller == Some(known.request.tid);
            if !is_own && !is_polled {
                return helped && self.helps(wait, known);
            }
            let prompt = woken.by(&known.request);
            match kind {
                Completions::Reaped if is_polled && !takes_all => prompt,
                Completions::Reaped => prompt || known.request.flags & IO_READAHEAD == 0,
                _ => prompt && known.request.flags & IO_READAHEAD == 0,
            }
        };
        cover(during.iter().filter(counts).copied().copied(), begin, until)
    }

    /// Did the completion of a request end the sleep, as its waker's stack shows? `None` if that is not known.
    fn by_completion(&self, names: &mut Names, wait: &Wait) -> Option<bool> {
        if wait.flags & WAIT_OPEN != 0 {
            return Some(false);
        }
        if let Some(stack) = self.stacks.get(wait.waker_stack) {
            return Some(stack.completes);
        }
        if wait.flags & WAIT_NO_WAKER != 0 {
            return None;
        }
        // The worker of a loop device completes its requests.
        let waker = names.holder(wait.waker_pid);
        let may_complete = wait.flags & WAIT_TASK_WAKER != 0 && names.is_kernel_thread(waker);
        (!may_complete).then_some(false)
    }

    /// May a thread wait for this request, which another one of its process queued? Not if that one waits for completions itself, or
    /// slept until the request was done.
    fn helps(&self, wait: &Wait, known: &OnDisk) -> bool {
        let request = &known.request;
        if request.tid == wait.tid || self.requested.reapers.contains(&request.tid) {
            return false;
        }
        let Some(helper) = self.living.get(request.tid) else {
            return true;
        };
        let last = request.end_ns.saturating_sub(1);
        helper.between(last, request.end_ns).certain[Class::Disk.index()] == 0
    }
}

/// The end of a sleep.
struct Woken {
    at_ns: u64,
    /// Was the waker a completion, as its stack shows?
    by_completion: Option<bool>,
    /// The thread of the process that ended a wait for completions. If it polls a ring (SQPOLL) or works for it, it tells of what it had
    /// queued itself.
    poller: Option<u32>,
}

impl Woken {
    /// May the completion of this request have been the waker?
    fn by(&self, request: &Request) -> bool {
        let late = match self.by_completion {
            // What is read ahead ends a sleep only when a page of it is wanted at that moment.
            _ if self.poller == Some(request.tid) => match request.flags & IO_READAHEAD {
                0 => SLACK_NS,
                _ => PROMPT_NS,
            },
            Some(true) => SLACK_NS,
            Some(false) => return false,
            None => PROMPT_NS,
        };
        request.end_ns <= self.at_ns + PROMPT_NS && request.end_ns + late >= self.at_ns
    }
}

/// Cuts `[begin, until]` by requests, the last to end first: each part has the last one that was in flight then.
fn cover(requests: impl Iterator<Item = OnDisk>, begin: u64, until: u64) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut low = until;
    for known in requests {
        let request = &known.request;
        // Until its own limit let it go, no bio was queued.
        let from = match request.flags & IO_THROTTLED {
            0 => request.queue_ns.max(begin),
            _ => begin,
        };
        let mut to = request.end_ns.min(low);
        if parts.is_empty() && until.saturating_sub(to) <= SLACK_NS {
            // The way from the completion to the run queue.
            to = until;
        }
        if from < to {
            parts.push((from, to, known));
            low = from;
        }
    }
    parts.reverse();
    parts
}

fn found(tid: u32, stack: u64, (begin, end, known): Part) -> DiskWait {
    DiskWait {
        process: known.request.process,
        tid,
        begin,
        end,
        stack,
        cause: None,
        awaited: Some(known),
        home: None,
        // Known when it is taken.
        serves: false,
    }
}
