//! Stops: who stopped a process with a signal, who debugs a thread, and when the group of a process was frozen.
//!
//! A thread that is stopped is blocked, also if it would only have waited for work. A frozen thread may show no switch: its sleep is
//! cut by the times in which its group was frozen.

use std::collections::VecDeque;

use rustc_hash::FxHashMap as HashMap;
use tracer_common::{
    sched::{STATE_STOPPED, STATE_TRACED, WAIT_NO_WAKER, WAIT_OPEN},
    signal::TERMINAL_STOP,
};

use super::{Threads, sleep};
use crate::{
    class::{Cause, Class, Resource},
    event::{self, Wait},
    model::{
        account::{Account, Charge},
        books::{Holder, PlaceId},
        names::Names,
    },
};

/// So many frozen times of a process are kept: in a long trace the oldest are forgotten.
const MOST_FROZEN: usize = 1 << 12;

/// The tracer sees that a group is frozen or let go so much later at most, ns.
const SEEN_WITHIN_NS: u64 = 200_000_000;

/// A thread that a signal wakes runs less than this before it stops, ns.
const ON_ITS_WAY_NS: u64 = 5_000_000;

/// A time in which the group of a process was frozen.
#[derive(Clone, Copy, Debug)]
struct Frozen {
    begin_ns: u64,
    /// `u64::MAX` while it lasts.
    end_ns: u64,
    place: PlaceId,
    holder: Holder,
}

/// A stop: how it came about, and who did it.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Stop {
    pub(in crate::model) cause: Cause,
    pub(in crate::model) place: Option<PlaceId>,
    pub(in crate::model) holder: Holder,
}

impl Stop {
    fn new(cause: Cause, holder: Holder) -> Self {
        Self {
            cause,
            place: None,
            holder,
        }
    }
}

/// All that is known of stops.
#[derive(Clone, Debug, Default)]
pub(in crate::model) struct Stops {
    /// By process, in order of time.
    frozen: HashMap<u32, VecDeque<Frozen>>,
    /// The last signal that stopped each process.
    signals: HashMap<u32, Stop>,
    /// The debugger of each thread that one stops, as far as that was looked up.
    tracers: HashMap<u32, Holder>,
}

impl Stops {
    /// A signal that stops was sent to a target.
    pub(in crate::model) fn signal(&mut self, names: &mut Names, signal: &event::Signal) {
        let from_terminal = signal.by_kernel || signal.number > TERMINAL_STOP;
        let cause = match from_terminal {
            true => Cause::JobControl,
            false => Cause::StopSignal,
        };
        let holder = match signal.by_kernel {
            // `current` only used the terminal, or a kernel thread handed on what was typed.
            true => Holder::StopSignal,
            false => names.holder(signal.sender_pid),
        };
        self.signals.insert(signal.pid, Stop::new(cause, holder));
    }

    /// The group of a process was frozen or let go.
    pub(in crate::model) fn freeze(&mut self, names: &mut Names, freeze: &event::Freeze) {
        let times = self.frozen.entry(freeze.pid).or_default();
        let open = times.back_mut().filter(|last| last.end_ns == u64::MAX);
        match (open, freeze.file.is_empty()) {
            (Some(open), true) => open.end_ns = freeze.ns.max(open.begin_ns),
            (None, false) => {
                let holder = match freeze.by_pid {
                    0 => Holder::Freezer,
                    pid => names.holder(pid),
                };
                let before_ns = times.back().map_or(0, |last| last.end_ns);
                times.push_back(Frozen {
                    begin_ns: freeze.ns.max(before_ns),
                    end_ns: u64::MAX,
                    place: names.place(&freeze.file),
                    holder,
                });
            }
            // Nothing new.
            _ => {}
        }
        if times.len() > MOST_FROZEN {
            times.pop_front();
        }
    }

    /// A process ended: its id may be another's soon.
    pub(in crate::model) fn forget(&mut self, pid: u32) {
        self.frozen.remove(&pid);
        self.signals.remove(&pid);
    }

    /// A thread ended.
    pub(super) fn forget_thread(&mut self, tid: u32) {
        self.tracers.remove(&tid);
    }

    /// A debugger stops a thread.
    pub(in crate::model) fn traced(&mut self, names: &mut Names, traced: &event::Traced) {
        let holder = names.holder(traced.tracer_pid);
        self.tracers.insert(traced.tid, holder);
    }

    /// The first piece of `[from, until]` in which the process was frozen all the time, or never: its end, and whether it was.
    #[inline]
    pub(super) fn piece(&self, pid: u32, from: u64, until: u64) -> (u64, bool) {
        if self.frozen.is_empty() {
            return (until, false);
        }
        match self.at_or_after(pid, from) {
            Some(time) if time.begin_ns <= from => (time.end_ns.min(until), true),
            Some(time) => (time.begin_ns.min(until), false),
            None => (until, false),
        }
    }

    /// The frozen time around `ns`, or else the next.
    fn at_or_after(&self, pid: u32, ns: u64) -> Option<&Frozen> {
        let times = self.frozen.get(&pid)?;
        times.get(times.partition_point(|time| time.end_ns <= ns))
    }

    /// The frozen time around `ns`, or one that ended just before or began just after it.
    fn around(&self, pid: u32, ns: u64) -> Option<&Frozen> {
        let times = self.frozen.get(&pid)?;
        let near = |time: &&Frozen| {
            time.begin_ns <= ns.saturating_add(SEEN_WITHIN_NS)
                && ns <= time.end_ns.saturating_add(SEEN_WITHIN_NS)
        };
        self.at_or_after(pid, ns)
            .filter(near)
            .or_else(|| times.iter().rev().find(near))
    }

    /// Was the process frozen as the window began?
    pub(super) fn began_frozen(&self, pid: u32) -> bool {
        let first = self.frozen.get(&pid).and_then(VecDeque::front);
        first.is_some_and(|time| time.begin_ns == 0)
    }

    fn frozen(&self, pid: u32, ns: u64) -> Stop {
        let time = self.around(pid, ns);
        Stop {
            place: time.map(|time| time.place),
            ..Stop::new(
                Cause::Frozen,
                time.map_or(Holder::Freezer, |time| time.holder),
            )
        }
    }

    fn debugger(&self, tid: u32) -> Holder {
        let known = self.tracers.get(&tid);
        known.copied().unwrap_or(Holder::Nobody)
    }
}

impl Threads {
    /// Who or what stopped a thread in this part of a wait.
    pub(in crate::model) fn stop(
        &self,
        names: &mut Names,
        wait: &Wait,
        (begin_ns, end_ns): (u64, u64),
    ) -> Stop {
        let stops = &self.stops;
        let (_, frozen) = stops.piece(wait.pid, begin_ns, end_ns);
        let stop = if frozen {
            stops.frozen(wait.pid, begin_ns)
        } else if wait.state & STATE_TRACED != 0 {
            Stop::new(Cause::Traced, self.debugger(names, wait))
        } else if wait.state & STATE_STOPPED != 0 {
            let sent = stops.signals.get(&wait.pid);
            sent.copied()
                .unwrap_or(Stop::new(Cause::StopSignal, Holder::StopSignal))
        } else {
            stops.frozen(wait.pid, begin_ns)
        };
        Stop {
            holder: names.who_had_it_done(stop.holder),
            ..stop
        }
    }

    /// The debugger that let a thread go on, or that still stops it.
    fn debugger(&self, names: &mut Names, wait: &Wait) -> Holder {
        let seen = wait.flags & (WAIT_OPEN | WAIT_NO_WAKER) == 0
            && !self.woken_by_interrupt(wait).unwrap_or(true);
        match seen {
            true => names.holder(wait.waker_pid),
            false => self.stops.debugger(wait.tid),
        }
    }

    /// The stop of a thread that is not yet seen running, if it is stopped at its known time: it was so at attach.
    pub(super) fn stop_at_attach(&self, tid: u32) -> Option<Stop> {
        let thread = self.living.get(tid)?;
        let (pid, ns) = (thread.pid, thread.known_ns());
        if self.stops.piece(pid, ns, u64::MAX).1 {
            return Some(self.stops.frozen(pid, ns));
        }
        match thread.seed_state? {
            sleep::LETTER_STOPPED => Some(Stop::new(Cause::StopSignal, Holder::StopSignal)),
            sleep::LETTER_TRACED => Some(Stop::new(Cause::Traced, self.stops.debugger(tid))),
            _ => None,
        }
    }

    /// Extends a time line by a stop that no wait record shows.
    pub(super) fn stand_still(
        &mut self,
        names: &Names,
        account: &mut Account,
        tid: u32,
        stop: Stop,
        until: u64,
    ) {
        let Some(begin) = self.living.get(tid).map(|thread| thread.known_ns()) else {
            return;
        };
        let ns = until.saturating_sub(begin);
        self.spend(account, tid, Class::Stopped, until);
        account.caused(Resource::Stopped, stop.cause, ns);
        account.charge(Charge {
            resource: Resource::Stopped,
            place: stop.place,
            holder: names.who_had_it_done(stop.holder),
            stack: 0,
            span: (begin, until),
            ns,
            estimated: false,
        });
    }

    /// A thread stops. Whoever stopped it may have woken it from a wait for work: that was no answer.
    pub(super) fn interrupted(
        &mut self,
        names: &mut Names,
        wait: &Wait,
        (begin_ns, end_ns): (u64, u64),
    ) {
        let Some(thread) = self.living.get(wait.tid) else {
            return;
        };
        let just_before = |(_, ended_ns): &(Holder, u64)| ended_ns + ON_ITS_WAY_NS >= begin_ns;
        let Some((by, ended_ns)) = thread.ends.last_stranger().filter(just_before) else {
            return;
        };
        let stop = self.stop(names, wait, (begin_ns, end_ns));
        if stop.holder != names.who_had_it_done(by) {
            return;
        }
        if let Some(thread) = self.living.get_mut(wait.tid) {
            thread.ends.pop();
            thread.was_not_answered(ended_ns);
        }
    }
}
