//! The one gate before the model. It refuses events that no kernel sends, and counts them by reason.
//!
//! A recording may come from anybody. Its chunks have checksums, but anybody can compute those. So the values in it are judged too:
//! times outside the trace, CPUs that no machine has, an end before its begin, amounts that no machine moves. The model may then rely
//! on these bounds: its loops over time end, its indices are small, and its sums stay far below the limits of their types.
//!
//! The rings of a trace go through the same gate. So a report from a recording refuses what the live report refused, and nothing else.

mod claims;
#[cfg(test)]
mod hostile;

use std::collections::BTreeMap;

use crate::{
    event::{Event, Start},
    model::{Model, books::Books},
};

/// The longest window, ns: 52 days. A thousand waits as long as the window still have a sum that an `i64` holds.
pub const MOST_WINDOW_NS: u64 = 1 << 52;

/// The longest time that a machine has been up, ns: 36 years.
const MOST_UPTIME_NS: u64 = 1 << 60;

/// A record of a probe may be this much older than one that came before it, ns. Rings are read one after the other, a CPU of a virtual
/// machine may stop between reading the clock and sending, and attaching to a machine in trouble takes minutes.
const LATE_NS: u64 = 600_000_000_000;

/// CPUs of the largest machine for which Linux can be built (`NR_CPUS` on x86).
const MOST_CPUS: u32 = 8192;

/// Disks, and devices stacked on disks, of one recording.
const MOST_DISKS: u64 = 1 << 14;

/// Processes that a trace follows beside its target, those of all levels.
const MOST_FOLLOWED: u64 = 1024;

/// Why an event was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Before the start, after the end, or long after younger ones.
    Order,
    /// A time before the machine or after the longest trace.
    Time,
    /// It ends before it begins.
    Span,
    /// A CPU that no machine has.
    Cpu,
    /// An amount that no machine moves or counts.
    Amount,
    /// A list that is longer than any that tracer writes.
    Length,
    /// One more of a kind of which no machine has so many.
    Many,
}

impl Reason {
    /// Its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Time => "time",
            Self::Span => "span",
            Self::Cpu => "cpu",
            Self::Amount => "amount",
            Self::Length => "length",
            Self::Many => "many",
        }
    }
}

/// What the gate knows of the events that it has let through.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// Begin of the window, ns; `None` before the first event.
    start_ns: Option<u64>,
    /// The youngest record of a probe so far, ns.
    now_ns: u64,
    ended: bool,
    disks: u64,
    followed: u64,
    refused: BTreeMap<Reason, u64>,
}

impl Gate {
    /// May the model see this event? One that it may not see is counted.
    pub fn admits(&mut self, event: &Event) -> bool {
        match self.judge(event) {
            Ok(()) => {
                self.saw(event);
                true
            }
            Err(reason) => {
                *self.refused.entry(reason).or_default() += 1;
                false
            }
        }
    }

    /// The events refused so far, by the name of the reason.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<String, u64> {
        let refused = self.refused.iter();
        refused
            .map(|(reason, count)| (reason.name().to_owned(), *count))
            .collect()
    }

    fn judge(&self, event: &Event) -> Result<(), Reason> {
        let start_ns = match (event, self.start_ns) {
            (Event::Start(start), None) => return claims::of_start(start),
            (_, Some(start_ns)) if !matches!(event, Event::Start(_)) => start_ns,
            _ => return Err(Reason::Order),
        };
        let is_late = is_record(event) && event.ns().saturating_add(LATE_NS) < self.now_ns;
        if self.ended || is_late {
            return Err(Reason::Order);
        }
        if self.disks >= MOST_DISKS && matches!(event, Event::Disk(_))
            || self.followed >= MOST_FOLLOWED && is_follow(event)
        {
            return Err(Reason::Many);
        }
        if let Event::End(end) = event
            && end.ns < start_ns
        {
            return Err(Reason::Span);
        }
        claims::of(event, start_ns.saturating_add(MOST_WINDOW_NS))
    }

    fn saw(&mut self, event: &Event) {
        match event {
            Event::Start(start) => self.begins(start),
            Event::End(_) => self.ended = true,
            Event::Disk(_) => self.disks += 1,
            event if is_follow(event) => self.followed += 1,
            event if is_record(event) => self.now_ns = self.now_ns.max(event.ns()),
            _ => {}
        }
    }

    fn begins(&mut self, start: &Start) {
        self.start_ns = Some(start.ns);
        self.now_ns = start.ns;
    }
}

/// Does it make the model keep books of one more process?
#[must_use]
pub fn is_follow(event: &Event) -> bool {
    match event {
        Event::Follow(_) | Event::FollowHand(_) => true,
        // The others are children of one that is followed.
        Event::FollowOwner(follow) => follow.pid == follow.by_pid,
        _ => false,
    }
}

/// Is it a record of a probe that is sent when it happens? Sums of a slice come when the next slice begins, and what is found beside the
/// trace comes when it is found.
fn is_record(event: &Event) -> bool {
    matches!(
        event,
        Event::Wait(_)
            | Event::Slice(_)
            | Event::Migrate(_)
            | Event::ThreadEnd(_)
            | Event::Io(_)
            | Event::Call(_)
            | Event::Fork(_)
            | Event::Exec(_)
            | Event::Exit(_)
            | Event::Interrupts(_)
            | Event::Work(_)
            | Event::Stolen(_)
    )
}

/// A model behind its gate.
#[derive(Clone, Debug, Default)]
pub struct Gated {
    gate: Gate,
    model: Model,
}

impl Gated {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event, if a kernel could have sent it. Returns whether it did.
    pub fn apply(&mut self, event: &Event) -> bool {
        let is_admitted = self.gate.admits(event);
        if is_admitted {
            self.model.apply(event);
        }
        is_admitted
    }

    /// Ends the fold: the books, and the events that were refused, by the name of the reason.
    #[must_use]
    pub fn close(self) -> (Books, BTreeMap<String, u64>) {
        let refused = self.gate.refused();
        (self.model.close(), refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, Call, End, Exit, Interrupts, Io, LimitUse, Slice, Wait};

    const S: u64 = 1_000_000_000;
    const T0: u64 = 1000 * S;

    fn start() -> Event {
        Event::Start(Box::new(Start {
            ns: T0,
            cpus: 2,
            ..Start::default()
        }))
    }

    /// The reasons for which these are refused after the start, in the order of reasons.
    fn refused(events: impl IntoIterator<Item = Event>) -> Vec<(String, u64)> {
        let mut gate = Gate::default();
        assert!(gate.admits(&start()));
        for event in events {
            gate.admits(&event);
        }
        gate.refused().into_iter().collect()
    }

    fn once(reason: &str) -> Vec<(String, u64)> {
        vec![(reason.to_owned(), 1)]
    }

    fn slice(cpu: u32, begin_ns: u64, ns: u64) -> Event {
        Event::Slice(Slice {
            ns,
            cpu,
            begin_ns,
            ..Slice::default()
        })
    }

    fn end(ns: u64) -> Event {
        Event::End(Box::new(End {
            ns,
            ..End::default()
        }))
    }

    #[test]
    fn what_a_kernel_sends_comes_through() {
        let wait = Event::Wait(Wait {
            ns: T0 + 2 * S,
            off_ns: T0 + S,
            ..Wait::default()
        });
        // From before the window: it was on its way while the last probes were attached.
        let early = Event::Exit(Exit {
            ns: T0 - 60 * S,
            pid: 7,
        });
        let open = Event::Io(Io {
            ns: T0 + 2 * S,
            queue_ns: T0,
            issue_ns: T0 + 2 * S + 5,
            ..Io::default()
        });
        let all = [early, wait, slice(8191, 0, T0 + S), open, end(T0 + 3 * S)];
        assert!(refused(all).is_empty());
    }

    #[test]
    fn cpus_that_no_machine_has_are_refused() {
        for cpu in [8192, u32::MAX] {
            assert_eq!(refused([slice(cpu, T0, T0 + S)]), once("cpu"));
        }
    }

    #[test]
    fn an_end_before_its_begin_is_refused() {
        assert_eq!(refused([slice(0, T0 + S, T0)]), once("span"));
        let wait = Event::Wait(Wait {
            ns: T0,
            off_ns: T0 + 1,
            ..Wait::default()
        });
        assert_eq!(refused([wait]), once("span"));
        assert_eq!(refused([end(T0 - 1)]), once("span"));
    }

    #[test]
    fn times_after_the_longest_trace_are_refused() {
        let latest = T0 + MOST_WINDOW_NS;
        assert!(refused([end(latest)]).is_empty());
        for ns in [latest + 1, u64::MAX] {
            assert_eq!(refused([end(ns)]), once("time"));
            assert_eq!(refused([slice(0, 0, ns)]), once("time"));
        }
        let mut gate = Gate::default();
        let start = Start {
            ns: u64::MAX,
            ..Start::default()
        };
        assert!(!gate.admits(&Event::Start(Box::new(start))));
    }

    #[test]
    fn nothing_comes_before_the_start_or_after_the_end_and_each_comes_once() {
        let mut gate = Gate::default();
        assert!(!gate.admits(&slice(0, T0, T0)));
        assert!(gate.admits(&start()) && !gate.admits(&start()));
        assert!(gate.admits(&end(T0)) && !gate.admits(&end(T0)));
        assert_eq!(gate.refused().into_values().sum::<u64>(), 3);
    }

    #[test]
    fn a_record_that_comes_long_after_younger_ones_is_refused() {
        let exit = |ns| Event::Exit(Exit { ns, pid: 7 });
        let young = T0 + 2000 * S;
        assert!(refused([exit(young), exit(young - 600 * S)]).is_empty());
        assert_eq!(refused([exit(young), exit(young - 601 * S)]), once("order"));
        // The sum of a slice comes when the next one begins, however late that is.
        let link = Event::Link(event::Link {
            ns: T0,
            ..event::Link::default()
        });
        assert!(refused([exit(young), link]).is_empty());
    }

    #[test]
    fn amounts_beyond_sense_are_refused() {
        let call = Event::Call(Call {
            ns: T0,
            result: i64::MAX,
            ..Call::default()
        });
        assert_eq!(refused([call]), once("amount"));
        let used = |used: Vec<(u32, u64)>| {
            Event::LimitUse(Box::new(LimitUse {
                begin_ns: T0,
                ns: T0 + S,
                resource: crate::class::Resource::Memory,
                file: String::new(),
                disk: String::new(),
                held_back: 0,
                read_again: 0,
                used,
            }))
        };
        assert!(refused([used(vec![(1, 1 << 40); 9])]).is_empty());
        assert_eq!(refused([used(vec![(1, 1 << 62); 9])]), once("amount"));
    }

    #[test]
    fn lists_that_are_too_long_are_refused() {
        let stack = Event::Stack(event::Stack {
            frames: vec![String::new(); 5000],
            ..event::Stack::default()
        });
        assert_eq!(refused([stack]), once("length"));
        let took = Event::Interrupts(Interrupts {
            ns: T0,
            cpu: 0,
            begin_ns: T0,
            took: vec![(event::Source::Irq, 1); 65],
        });
        assert_eq!(refused([took]), once("length"));
    }

    #[test]
    fn a_trace_follows_only_so_many() {
        let follow = Event::Follow(event::Follow::default());
        let disk = Event::Disk(event::Disk::default());
        let follows = std::iter::repeat_n(follow, MOST_FOLLOWED as usize + 1);
        assert_eq!(refused(follows), once("many"));
        let disks = std::iter::repeat_n(disk, MOST_DISKS as usize + 1);
        assert_eq!(refused(disks), once("many"));
    }

    #[test]
    fn a_recording_of_32_bytes_costs_nothing() {
        // A slice of the last CPU that a number can name, in a recording without a start.
        let mut gated = Gated::new();
        assert!(!gated.apply(&slice(u32::MAX, 1, 1)));
        let (books, refused) = gated.close();
        assert!(books.bins.is_empty());
        assert_eq!(refused.into_iter().collect::<Vec<_>>(), once("order"));
    }
}
