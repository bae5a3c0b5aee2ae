//! What a thread did at attach, up to its first record.

use super::{Threads, signs, sleep::Sleep, stack::Stack};
use crate::{
    class::{Class, Resource},
    file_system::Kind,
    model::{
        account::{Account, Charge},
        books::Holder,
        disks::DiskWait,
        names::Names,
    },
};

impl Threads {
    /// From the begin of the window (or the birth of the thread) to its first time in a run queue.
    pub(super) fn before_first(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        tid: u32,
        queued_ns: u64,
        is_open: bool,
    ) {
        while let Some(thread) = self.living.get(tid)
            && thread.known_ns() < queued_ns
        {
            let begin = thread.known_ns();
            let (until, _) = self.stops.piece(thread.pid, begin, queued_ns);
            match self.stop_at_attach(tid) {
                Some(stop) => self.stand_still(names, account, tid, stop, until),
                None => self.as_at_attach(names, account, tid, until, is_open),
            }
            // A sleep for a lock of an own thread is judged when that one's time line is known.
            if self
                .living
                .get(tid)
                .is_none_or(|thread| thread.known_ns() == begin)
            {
                break;
            }
        }
    }

    /// A thread does what it did at attach, and is not stopped.
    fn as_at_attach(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        tid: u32,
        queued_ns: u64,
        is_open: bool,
    ) {
        let Some(thread) = self.living.get(tid) else {
            return;
        };
        let span = (thread.known_ns(), queued_ns);
        if let Some(locked) = self.lock_wait((tid, 0), span, None) {
            return self.slept_for_lock(account, locked, is_open);
        }
        let Some(thread) = self.living.get(tid) else {
            return;
        };
        // `/proc` shows a frozen thread in this state, whatever it sleeps for.
        let was_frozen = self.stops.began_frozen(thread.pid);
        let class = match thread.seed_state {
            None => Class::Cpu,
            Some('R') => Class::OnCpu,
            // State D alone is no I/O: a frozen thread is in it, too.
            Some(state) => {
                let interruptible = state == 'S' || was_frozen;
                let stack = Stack::new(thread.seed.clone());
                match stack.sleep(interruptible, false, false) {
                    Sleep::Work => {
                        let (waited, ends) = self.waits_for_answers(names, tid, span);
                        if let Some(thread) = self.living.get_mut(tid) {
                            ends.into_iter().for_each(|end| thread.ends.add(end));
                        }
                        return self.idle(account, tid, waited, queued_ns);
                    }
                    Sleep::Blocked(class, _) if stack.connects => {
                        self.connects_since(names, account, tid, span);
                        class
                    }
                    Sleep::Blocked(Class::Disk, cause) => {
                        let wait = DiskWait {
                            process: names.processes.id(thread.pid),
                            tid,
                            begin: span.0,
                            end: span.1,
                            stack: 0,
                            cause,
                            awaited: None,
                            home: thread.syncs,
                            serves: self.serves(tid),
                        };
                        self.wait_was_found(wait);
                        Class::Disk
                    }
                    Sleep::Blocked(
                        class @ (Class::Other | Class::Upstream | Class::Network),
                        None,
                    ) if (stack.is_for_reader() && interruptible)
                        || stack.permitted
                        || stack.remote == Some(Kind::Fuse) =>
                    {
                        self.writes_since(names, account, tid, span)
                            .unwrap_or(class)
                    }
                    Sleep::Blocked(class, _) => class,
                }
            }
        };
        self.spend(account, tid, class, queued_ns);
    }

    /// A thread that has slept since before attach for one thing goes on: it has that, or has given it up. Nothing else tells that a packet
    /// or a timer ended a connect from before the trace.
    pub(super) fn goes_on(&mut self, tid: u32, ns: u64) {
        let start_ns = self.start_ns;
        let thread = self.living.get_mut(tid);
        let slept = thread.filter(|thread| thread.seed_state == Some('S'));
        if let Some(thread) = slept.filter(|thread| !signs::loops(&thread.seed)) {
            thread.questions.went_on(start_ns, ns);
        }
    }

    /// A thread has slept since before attach until its connect is answered.
    fn connects_since(
        &self,
        names: &mut Names,
        account: &mut Account,
        tid: u32,
        (begin, end): (u64, u64),
    ) {
        let Some(thread) = self.living.get(tid) else {
            return;
        };
        for part in thread.questions.parts(begin, end) {
            account.charge_only(Charge {
                resource: Resource::Upstream,
                place: Some(names.place(&part.remote)),
                holder: Holder::Peer,
                stack: 0,
                span: (part.begin_ns, part.end_ns),
                ns: part.ns,
                estimated: false,
            });
        }
    }
}
