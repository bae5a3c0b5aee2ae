//! When interrupts and softirqs are shed: while the target's threads hardly queue for a CPU. What interrupts take of a CPU then holds up
//! nobody, whoever is charged for it.
//!
//! All is watched in the first second, and from time to time after it. A queue ends the shedding, and what is watched of interrupts shows
//! how much of the target's own time they take.
//!
//! The record of a wait comes a tenth of a second after its end. So the kernel half ends the shedding itself once waits add up
//! ([`tracer_common::shed`]), and is asked whether it has. What is decided here by records keeps all watched after that.

use tracer_common::shed::{Group, LONG_COUNTS, LONG_NS};

use crate::{
    event::{Event, ProbeGroup, Slice, Watch},
    probes::Probe,
};

/// All is watched for so long first, ns.
const FIRST_NS: u64 = 1_000_000_000;
/// After so long all is watched for a moment, ns.
const SHED_NS: u64 = 450_000_000;
/// The length of that moment, ns: an interrupt of a timer (100 Hz at least) comes five times.
const LOOK_NS: u64 = 50_000_000;
/// For so long after a queue all is watched, ns.
const CALM_NS: u64 = 1_000_000_000;

/// A target that queues for less than one part in so many of its time is not slow for that: half of what `NOT_HELD_UP` of the verdict
/// asks for. A queue that is slow for it fills the sum in the time in which it is counted, and no later.
const ALL_PART: u64 = 20;
/// The same for waits of at least [`LONG_NS`]: a quarter of `FELT_NS` in `ONE_FELT_IN_NS`. One wait of 0.6 ms fills the sum, and a request
/// that is late by a millisecond may be felt (`REQUESTS_FELT_TOGETHER`), however few there are.
const LONG_PART: u64 = ALL_PART * LONG_COUNTS;
/// Time between two decisions at least, ns: for each the state of every CPU is read.
const DECIDE_NS: u64 = 40_000_000;
/// Time in which the parts are counted, ns.
const COUNTED_NS: u64 = 250_000_000;
/// A queue that is not empty for so long is one that matters, ns, though no wait in it has ended.
const STANDS_NS: u64 = 5_000_000;

/// A sum that loses a part of the time that passes. It is full at that part of [`COUNTED_NS`].
#[derive(Debug)]
struct Sum {
    ns: u64,
    part: u64,
}

impl Sum {
    fn new(part: u64) -> Self {
        Self { ns: 0, part }
    }

    fn most_ns(&self) -> u64 {
        COUNTED_NS / self.part
    }

    fn add(&mut self, ns: u64) {
        self.ns = self.ns.saturating_add(ns).min(self.most_ns());
    }

    fn is_full(&self) -> bool {
        self.ns >= self.most_ns()
    }

    fn pass(&mut self, ns: u64) {
        self.ns = self.ns.saturating_sub(ns / self.part);
    }
}

/// What is shed, and why not.
#[derive(Debug)]
pub(super) struct Shedding {
    /// All run-queue waits of the target, and those of at least [`LONG_NS`].
    all: Sum,
    long: Sum,
    /// Time of the last decision, ns.
    decided_ns: u64,
    /// All is watched until then, ns.
    watched_until_ns: u64,
    /// Since when the group is shed, ns, if it is.
    since_ns: Option<u64>,
    /// The process that traces.
    tracer: u32,
}

impl Shedding {
    /// Nothing is shed yet.
    #[must_use]
    pub(super) fn new(begin_ns: u64) -> Self {
        Self {
            all: Sum::new(ALL_PART),
            long: Sum::new(LONG_PART),
            decided_ns: begin_ns,
            watched_until_ns: begin_ns + FIRST_NS,
            since_ns: None,
            tracer: std::process::id(),
        }
    }

    /// Takes note of the waits that have ended. What they stood behind the tracer itself is no queue: it reads a hundred times a second,
    /// and would watch because it watches. The slice with which a wait ends comes before it.
    pub(super) fn see(&mut self, batch: &[Event]) {
        let mut turn: Option<&Slice> = None;
        for event in batch {
            match event {
                Event::Slice(slice) => turn = Some(slice).filter(|slice| slice.pid == self.tracer),
                Event::Wait(wait) => {
                    let is_its = |turn: &&Slice| (turn.ns, turn.cpu) == (wait.ns, wait.cpu);
                    let turn_ns = turn
                        .filter(is_its)
                        .map_or(0, |turn| turn.ns.saturating_sub(turn.begin_ns));
                    self.waited(wait.run_queue_ns.saturating_sub(turn_ns));
                }
                _ => {}
            }
        }
    }

    fn waited(&mut self, ns: u64) {
        self.all.add(ns);
        if ns >= LONG_NS {
            self.long.add(ns);
        }
    }

    /// Is it time for a decision?
    #[must_use]
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.decided_ns) >= DECIDE_NS
    }

    /// Whether the group is to be shed, or to be watched, from now on. `None`: that stays as it is. Of all CPUs on which target threads
    /// queue now, the longest have done so since `queued_ns`.
    #[must_use]
    pub(super) fn decide(&mut self, now_ns: u64, queued_ns: Option<u64>) -> Option<bool> {
        let stands = queued_ns.is_some_and(|since| now_ns.saturating_sub(since) >= STANDS_NS);
        if stands || self.all.is_full() || self.long.is_full() {
            self.watched_until_ns = self.watched_until_ns.max(now_ns + CALM_NS);
        }
        let passed = now_ns.saturating_sub(self.decided_ns);
        self.decided_ns = now_ns;
        self.all.pass(passed);
        self.long.pass(passed);
        let is_calm = now_ns >= self.watched_until_ns;
        match self.since_ns {
            Some(since) if !is_calm || now_ns >= since + SHED_NS => Some(false),
            None if is_calm => Some(true),
            _ => None,
        }
    }

    /// The kernel half watches the group since `watched_ns`, or not. The event to say so, if it has begun to by itself. Records will not
    /// show for a tenth of a second what it saw.
    pub(super) fn found(&mut self, watched_ns: Option<u64>, now_ns: u64) -> Option<Event> {
        let watched_ns = watched_ns.filter(|_| self.since_ns.is_some())?;
        self.watched_until_ns = self.watched_until_ns.max(now_ns + CALM_NS);
        Some(self.set(false, watched_ns))
    }

    /// The group is shed, or watched, from `ns` on. The event to say so.
    pub(super) fn set(&mut self, is_shed: bool, ns: u64) -> Event {
        self.since_ns = is_shed.then_some(ns);
        if !is_shed {
            self.watched_until_ns = self.watched_until_ns.max(ns + LOOK_NS);
        }
        Event::Watch(Watch {
            ns,
            group: ProbeGroup::Interrupts,
            is_shed,
        })
    }
}

/// Is a probe of this group attached? `is_missing` says which are not.
#[must_use]
pub(super) fn is_there(
    mut probes: impl Iterator<Item = &'static Probe>,
    group: Group,
    is_missing: impl Fn(&str) -> bool,
) -> bool {
    probes.any(|probe| probe.shed_with == Some(group) && !is_missing(probe.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Wait;

    const MS: u64 = 1_000_000;
    const T0: u64 = 1_000_000 * MS;

    /// Decides every 50 ms in `[from, until)` ms, where `waits(ms)` are the run-queue waits since the last time, ns. Returns when the
    /// group was shed (`true`) or watched again, ms.
    fn decided(
        shedding: &mut Shedding,
        (from, until): (u64, u64),
        waits: impl Fn(u64) -> Vec<u64>,
    ) -> Vec<(u64, bool)> {
        let mut changes = Vec::new();
        for ms in (from..until).step_by(50) {
            let waits: Vec<Event> = waits(ms)
                .into_iter()
                .map(|run_queue_ns| {
                    Event::Wait(Wait {
                        run_queue_ns,
                        ..Wait::default()
                    })
                })
                .collect();
            shedding.see(&waits);
            let now_ns = T0 + ms * MS;
            if let Some(is_shed) = shedding.decide(now_ns, None) {
                shedding.set(is_shed, now_ns);
                changes.push((ms, is_shed));
            }
        }
        changes
    }

    #[test]
    fn without_a_queue_a_tenth_of_the_time_is_watched_after_the_first_second() {
        let mut shedding = Shedding::new(T0);
        let changes = decided(&mut shedding, (0, 2_500), |_| Vec::new());
        let expected = [1_000, 1_500, 2_000].into_iter();
        let expected: Vec<_> = expected
            .flat_map(|ms| [(ms, true), (ms + 450, false)])
            .collect();
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_burst_that_the_kernel_half_saw_first_is_watched_for_a_second_longer() {
        let mut shedding = Shedding::new(T0);
        decided(&mut shedding, (0, 1_050), |_| Vec::new());
        let at = |ms: u64| T0 + ms * MS;
        assert_eq!(shedding.found(None, at(1_060)), None);
        let watch = Watch {
            ns: at(1_061),
            group: ProbeGroup::Interrupts,
            is_shed: false,
        };
        let found = shedding.found(Some(watch.ns), at(1_100));
        assert_eq!(found, Some(Event::Watch(watch)));
        // It is known now.
        assert_eq!(shedding.found(Some(watch.ns), at(1_140)), None);
        assert_eq!(shedding.decide(at(1_140), None), None);
        assert_eq!(shedding.decide(at(2_099), None), None);
        assert_eq!(shedding.decide(at(2_100), None), Some(true));
        let shed = shedding.set(true, at(2_101));
        assert!(matches!(shed, Event::Watch(Watch { ns, is_shed: true, .. }) if ns == at(2_101)));
    }

    #[test]
    fn wakeups_of_idle_cpus_are_no_queue() {
        // 8,000 wakeups a second of 3 µs each: 2.4 % of the time.
        let mut shedding = Shedding::new(T0);
        let changes = decided(&mut shedding, (0, 1_400), |_| vec![3_000; 400]);
        assert_eq!(changes, [(1_000, true)]);
    }

    #[test]
    fn a_queue_that_begins_later_is_watched_within_half_a_second_and_a_second_after_its_end() {
        let mut shedding = Shedding::new(T0);
        // Waits of 2 ms, one in 50 ms: 4 % of the time.
        let waits = |ms: u64| match ms {
            1_100..3_000 => vec![2 * MS],
            _ => Vec::new(),
        };
        let changes = decided(&mut shedding, (0, 4_300), waits);
        let [(1_000, true), (seen, false), (shed, true)] = changes[..] else {
            panic!("{changes:?}");
        };
        assert!(seen <= 1_600, "{seen}");
        assert!((3_900..4_300).contains(&shed), "{shed}");
    }

    #[test]
    fn waits_behind_the_tracer_itself_are_no_queue() {
        let stood = |pid: u32| {
            let mut shedding = Shedding::new(T0);
            for ms in (0..1_100).step_by(10) {
                let ns = T0 + ms * MS;
                let turn = Slice {
                    ns,
                    begin_ns: ns - 240_000,
                    pid,
                    ..Slice::default()
                };
                let wait = Wait {
                    ns,
                    run_queue_ns: 250_000,
                    ..Wait::default()
                };
                shedding.see(&[Event::Slice(turn), Event::Wait(wait)]);
                if shedding.is_due(ns) && shedding.decide(ns, None) == Some(true) {
                    return false;
                }
            }
            true
        };
        assert!(!stood(std::process::id()));
        assert!(stood(std::process::id() + 1));
    }

    /// The event of a wait that has ended is in order for certain, and comes, so much later, ns.
    const COMES_NS: u64 = 110 * MS;

    /// A queue begins at `begin` ms, and one of its waits of `wait_ns` ends each `every_ns`. Is it watched from half a second later on?
    fn is_seen_in_time(begin: u64, (wait_ns, every_ns): (u64, u64)) -> bool {
        let mut shedding = Shedding::new(T0);
        let mut ends_ns = T0 + begin * MS + every_ns;
        (0..begin + 1_500).step_by(50).all(|ms| {
            let now_ns = T0 + ms * MS;
            while ends_ns + COMES_NS <= now_ns {
                shedding.see(&[Event::Wait(Wait {
                    run_queue_ns: wait_ns,
                    ..Wait::default()
                })]);
                ends_ns += every_ns;
            }
            if let Some(is_shed) = shedding.decide(now_ns, None) {
                shedding.set(is_shed, now_ns);
            }
            ms < begin + 500 || shedding.since_ns.is_none()
        })
    }

    #[test]
    fn what_a_verdict_may_accuse_of_is_watched_half_a_second_after_it_began_whenever_that_was() {
        // A tenth of the time in waits that are short, and a hundredth in longer ones.
        let queues = [
            (49_000, 490_000),
            (60_000, 6 * MS),
            (MS, 100 * MS),
            (MS, 250 * MS),
            (30 * MS, 100 * MS),
        ];
        for queue in queues {
            for begin in (3_000..3_500).step_by(10) {
                assert!(is_seen_in_time(begin, queue), "{queue:?} from {begin} ms");
            }
        }
    }

    #[test]
    fn a_thread_that_waits_since_a_moment_ends_the_shedding() {
        let mut shedding = Shedding::new(T0);
        decided(&mut shedding, (0, 1_050), |_| Vec::new());
        let at = |ms: u64| T0 + ms * MS;
        assert_eq!(shedding.decide(at(1_100), Some(at(1_099))), None);
        assert_eq!(shedding.decide(at(1_110), Some(at(1_099))), Some(false));
    }

    #[test]
    fn what_is_not_attached_is_not_shed() {
        let is_there = |missing: &[&str]| {
            let is_missing = |name: &str| missing.contains(&name);
            is_there(crate::probes::all(), Group::Interrupts, is_missing)
        };
        assert!(is_there(&[]));
        assert!(is_there(&["softirq_entry", "softirq_exit"]));
        let all = [
            "irq_handler_entry",
            "irq_handler_exit",
            "softirq_entry",
            "softirq_exit",
            "napi_poll",
        ];
        assert!(!is_there(&all));
    }
}
