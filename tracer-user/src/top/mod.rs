//! The whole machine, interval by interval: a pure fold of events, which come from a trace of all processes or from a recording.
//!
//! An interval ends with [`Event::Counted`]. Then the first look of the interval says which processes lost most. The same fold as that of
//! a report keeps books of each of these, as if it were the target, and judges them (`victims`). The figures of the kernel stand beside
//! that (`tables`, `disks_of`, `flows`).

mod disks_of;
mod flows;
mod tables;
#[cfg(test)]
mod tests;
mod victims;
mod waits;

use std::collections::BTreeMap;

use crate::{
    assemble::missing,
    class::Class,
    event::{self, Counted, Event, Process},
    gate::Gate,
    model::survey::Survey,
    recording::Standing,
    report::{
        MissingProbe,
        top::{Cost, SCHEMA, Top},
    },
    units,
};
use disks_of::DisksOf;
use flows::Flows;
use victims::Interval;

/// Most events that are kept of an interval: some 40 MB. A machine that sends more in a second is so busy that the rest says the same.
const MOST_EVENTS: usize = 1 << 18;

/// What an interval lacks that ends without counts: a look at them hangs, or nobody looks, as in a recording of one target.
const UNCOUNTED: (&str, &str) = (
    "the kernel's counts",
    "disks, memory, interfaces and connections have no figures",
);

/// Said if nothing is.
pub const CALM: &str = "nothing is contended";

/// The machine so far.
#[derive(Debug, Default)]
pub struct State {
    gate: Gate,
    /// The facts that stand: processes, stacks, disks.
    standing: Standing,
    /// Processes that ended in the interval.
    ended: BTreeMap<u32, Process>,
    /// The last signal that may have stopped a process, by that process.
    signals: BTreeMap<u32, Event>,
    survey: Survey,
    /// What books are kept of, since the interval began.
    events: Vec<Event>,
    left_out: u64,
    /// The begin of the interval, ns.
    begin_ns: u64,
    /// The end of the interval before.
    before: Option<Counted>,
    disks_of: DisksOf,
    flows: Flows,
}

impl State {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does a wait that is open as the interval ends say something of it? One for work does only if the thread had another one before: then
    /// it says what the thread did since that.
    pub fn is_told(&mut self, wait: &event::Wait) -> bool {
        wait.ran_since_ns >= self.begin_ns || self.survey.class(wait) != Class::Idle
    }

    /// Takes one event, in order of time. Returns the interval that it ends.
    pub fn apply(&mut self, event: &Event) -> Option<Top> {
        if !self.gate.admits(event) {
            return None;
        }
        match event {
            Event::Start(start) => self.begin_ns = start.ns,
            Event::Stack(stack) => self.survey.learn(stack),
            Event::Wait(wait) => self.survey.waited(wait, self.begin_ns),
            Event::Signal(signal) => _ = self.signals.insert(signal.pid, event.clone()),
            Event::Exit(exit) => self.ends(exit.pid),
            Event::Counted(counted) if self.before.is_none() && counted.counters.ns != 0 => {
                self.begin(counted);
                return None;
            }
            Event::Counted(counted) => return Some(self.cut(counted)),
            _ => {}
        }
        self.standing.see(event);
        if is_of_books(event) {
            match self.events.len() < MOST_EVENTS {
                true => self.events.push(event.clone()),
                false => self.left_out += 1,
            }
        }
        None
    }

    /// The first look at what the kernel counts: from here on there are differences.
    fn begin(&mut self, counted: &Counted) {
        self.disks_of.see(&counted.counters.processes);
        let _ = self.flows.rows(&counted.counters, |_| None);
        self.before = Some(counted.clone());
    }

    /// A process ended. It may have held something in this interval.
    fn ends(&mut self, pid: u32) {
        self.signals.remove(&pid);
        if let Some(process) = self.standing.process(pid) {
            self.ended.insert(pid, process.clone());
        }
    }

    /// The interval ends.
    fn cut(&mut self, counted: &Counted) -> Top {
        for wait in &counted.waits {
            self.survey.waited(wait, self.begin_ns);
        }
        let lost = self.survey.take();
        let interval = Interval {
            begin_ns: self.begin_ns,
            end: counted,
            standing: &self.standing,
            ended: &self.ended,
            signals: &self.signals,
            events: &self.events,
        };
        let found = waits::found(&interval, &lost);
        let before = self.before.as_ref();
        let tables =
            tables::Tables::between(before.map(|before| &before.counters), &counted.counters);
        self.disks_of.see(&counted.counters.processes);
        let names = |pid: u32| interval.process(pid);
        let top = Top {
            schema: SCHEMA.to_owned(),
            time: units::utc(interval.wall_ns(counted.ns)),
            interval_ns: counted.ns.saturating_sub(self.begin_ns),
            counted_ns: tables.ns,
            sentence: found.sentence,
            contended: found.confidence.is_some(),
            confidence: found.confidence,
            waits: found.waits,
            processes: self.disks_of.rows(&lost, names),
            disks: tables.disks,
            machine: tables.machine,
            links: tables.links,
            flows: self.flows.rows(&counted.counters, names),
            tracer: self.cost(counted),
        };
        for pid in std::mem::take(&mut self.ended).into_keys() {
            self.disks_of.forget(pid);
        }
        self.events.clear();
        self.left_out = 0;
        self.begin_ns = counted.ns;
        // Where nothing was counted, the next rates are from the last counts that there are.
        let counters = match (counted.counters.ns, self.before.take()) {
            (0, Some(before)) => before.counters,
            _ => counted.counters.clone(),
        };
        self.before = Some(Counted {
            ns: counted.ns,
            counters,
            lost: counted.lost,
            cost_ns: counted.cost_ns,
            ..Counted::default()
        });
        top
    }

    fn cost(&self, counted: &Counted) -> Cost {
        let (lost, cost_ns) = self
            .before
            .as_ref()
            .map_or((0, 0), |before| (before.lost, before.cost_ns));
        let took_ns = counted.cost_ns.saturating_sub(cost_ns);
        let interval_ns = counted.ns.saturating_sub(self.begin_ns);
        let missing = self.standing.start().missing.iter().map(missing);
        let uncounted = (counted.counters.ns == 0).then(|| MissingProbe {
            probe: UNCOUNTED.0.to_owned(),
            cost: UNCOUNTED.1.to_owned(),
        });
        Cost {
            lost: counted.lost.saturating_sub(lost),
            left_out: self.left_out,
            cpu: took_ns as f64 / interval_ns.max(1) as f64,
            missing: missing.chain(uncounted).collect(),
        }
    }
}

/// Does it say something of the interval itself? Other facts stand, or are sums of the whole trace.
fn is_of_books(event: &Event) -> bool {
    matches!(
        event,
        Event::Wait(_)
            | Event::Slice(_)
            | Event::Migrate(_)
            | Event::ThreadEnd(_)
            | Event::Io(_)
            | Event::Sync(_)
            | Event::Call(_)
            | Event::Ack(_)
            | Event::Delivered(_)
            | Event::Flow(_)
            | Event::QueuedFlow(_)
            | Event::Link(_)
            | Event::Queue(_)
            | Event::Interrupts(_)
            | Event::Packets(_)
            | Event::Work(_)
            | Event::Stolen(_)
            | Event::Watch(_)
            | Event::LockSeen(_)
            | Event::LockTried(_)
            | Event::LockedOut(_)
            | Event::LockReleased(_)
            | Event::LockFile(_)
            | Event::WriteSeen(_)
    )
}
