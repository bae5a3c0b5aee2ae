//! A trace of all processes: their long waits, and at the end of each interval what the kernel counts by itself.
//!
//! The look at these counts runs beside the loop that reads. With ten thousand processes it takes longer than an interval may cost: then
//! intervals are longer.

use std::{
    collections::BTreeSet,
    mem,
    time::{Duration, Instant},
};

use anyhow::Result;
use tracer_common::sched::{LEAST_LONG_NS, WAIT_IOWAIT};

use super::{
    aside::Aside,
    clip::clip,
    homes::Homes,
    prepare, scene,
    shed::Shedding,
    shed_or_watch, shedding,
    stop::{Ends, Signals, Stop},
    window,
};
use crate::{
    counters::Counters,
    event::{self, Counted, Event, Process},
    kernel::{
        Kernel,
        load::{self, Loader, Scope, Traced},
    },
    machine::{
        clocks::{clock_ns, now_ns},
        give_back_memory, priority,
        proc::{self, Counting},
        rounds::Rounds,
    },
};

/// The parent of all threads of the kernel.
const KTHREADD: u32 = 2;

/// After a look, rest so many times the CPU time that it took: looking costs at most 1 % of a CPU.
const REST: u32 = 100;

/// All records that are older than this have been read, ns: the reader keeps younger ones back until they are in order.
const SETTLED_NS: u64 = 130_000_000;

/// A look under way for so many intervals hangs, each taken as no shorter than this.
const MOST_MISSED: u32 = 3;
const LEAST_MISSED: Duration = Duration::from_secs(1);

/// Most processes that are looked at because they do something.
const MOST_BUSY: usize = 1024;

/// What becomes of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on.
    GoOn,
    /// It goes on, and all is wanted of these processes.
    Look(Vec<u32>),
    /// It is over.
    End,
}

/// Takes events in order, and may change them.
pub(crate) type Sink<'a> = dyn FnMut(&mut Vec<Event>) -> Next + 'a;

/// A trace of all processes under way.
pub(crate) struct Everybody {
    kernel: Kernel,
    homes: Homes,
    shedding: Option<Shedding>,
    ends: Ends,
    /// The events before the first record, and the records that came meanwhile.
    facts: Vec<Event>,
}

impl Everybody {
    /// Attaches, and collects the facts at attach.
    ///
    /// # Errors
    /// [`load::Unsupported`] if the kernel lacks or refuses a required probe.
    pub(crate) fn attach(loader: Loader, signals: Signals, begun: Instant) -> Result<Self> {
        let ends = Ends::new(signals, &[], false);
        let done = |what: &str| log::debug!("{what} after {} ms", begun.elapsed().as_millis());
        let (features, prepared) = prepare(loader, Scope::Everybody, done)?;
        let (verified, light) =
            load::load_programs(prepared, &features, |parents| programs(parents.read()));
        let traced = Traced {
            light,
            ..Traced::default()
        };
        let attached = load::attach(verified, &features, &traced)?;
        let mut kernel = Kernel::open(attached, &features)?;
        let begin_ns = now_ns();
        let attach_ns = begun.elapsed().as_nanos() as u64;
        log::info!("attached after {} ms", attach_ns / 1_000_000);
        let mut aside = Aside::new(&mut kernel);
        let mut processes = scene::processes(&mut aside);
        let own = std::process::id();
        for process in &mut processes {
            process.target = !process.kernel && process.pid != own;
        }
        // Some were forked before the probe of forks was attached.
        let targets = processes.iter().filter(|process| process.target);
        let late: Vec<u32> = targets.map(|process| process.pid).collect();
        aside.kernel.mark_light(&late)?;
        let disks = scene::disks(&mut aside);
        let (early, unread) = aside.end();
        done("looked around");
        let mut start = scene::start(begin_ns, attach_ns);
        start.missing = kernel.missing().to_vec();
        start.missing.extend(unread);
        let facts = facts(start, processes, disks, early);
        let mut homes = Homes::new();
        homes.see(&facts);
        let shedding = shedding(&kernel, begin_ns);
        Ok(Self {
            kernel,
            homes,
            shedding,
            ends,
            facts,
        })
    }

    /// Reads until the end, feeding `sink`: after each reading, and after each `interval` with an [`Event::Counted`].
    ///
    /// # Errors
    /// If a map cannot be read.
    pub(crate) async fn run(self, interval: Duration, sink: &mut Sink<'_>) -> Result<Stop> {
        let Self {
            mut kernel,
            mut homes,
            mut shedding,
            mut ends,
            facts: mut batch,
        } = self;
        give_back_memory();
        if let Some(note) = priority::hold() {
            log::warn!("{note}");
        }
        let mut cuts = Cuts::new(interval);
        let mut is_all_locked = true;
        let mut next = sink(&mut batch);
        let stop = loop {
            match next {
                Next::GoOn => {}
                Next::Look(pids) => kernel.mark(&of_programs(pids, proc::is_kernel_thread))?,
                Next::End => break Stop::Signal,
            }
            batch.clear();
            tokio::select! {
                () = tokio::time::sleep(kernel.rest()) => {}
                stop = ends.next() => break stop,
            }
            kernel.poll(&mut batch);
            if kernel.is_round() && is_all_locked {
                is_all_locked = !priority::lock_no_more();
            }
            homes.see(&batch);
            cuts.see(&batch);
            batch.extend(homes.take());
            if let Some(shedding) = &mut shedding {
                shed_or_watch(&mut kernel, shedding, &mut batch);
            }
            cuts.take(&kernel, &mut batch);
            next = sink(&mut batch);
        };
        let end_ns = now_ns();
        let mut left = kernel.detach(end_ns);
        let last = left.records.drain(..);
        let mut last: Vec<Event> = last.filter_map(|event| clip(event, end_ns)).collect();
        last.extend(homes.end());
        last.push(window::end(&left, end_ns, stop, Vec::new())?);
        sink(&mut last);
        Ok(stop)
    }
}

/// The processes that run programs, of the pids of child and parent: threads of the kernel wait for work, or work for others. The tracer
/// is not among them.
fn programs(parents: Vec<(u32, u32)>) -> Vec<u32> {
    let own = std::process::id();
    let is_one =
        |(pid, parent): &(u32, u32)| *pid != KTHREADD && *parent != KTHREADD && *pid != own;
    let programs = parents.into_iter().filter(is_one);
    programs.map(|(pid, _)| pid).collect()
}

/// The same of some pids, where one can say of each whether it is a thread of the kernel.
fn of_programs(mut pids: Vec<u32>, is_kernels: impl Fn(u32) -> bool) -> Vec<u32> {
    let own = std::process::id();
    pids.retain(|pid| *pid != own && !is_kernels(*pid));
    pids
}

/// Everything that was true at attach, then the records that came meanwhile.
fn facts(
    start: event::Start,
    processes: Vec<Process>,
    disks: Vec<event::Disk>,
    early: Vec<Event>,
) -> Vec<Event> {
    let pid = std::process::id();
    let mut facts = vec![Event::Start(Box::new(start))];
    facts.extend(processes.into_iter().map(Event::Process));
    facts.push(Event::Tracer(event::Tracer { pid }));
    facts.extend(disks.into_iter().map(Event::Disk));
    facts.extend(early);
    facts
}

/// Ends intervals.
struct Cuts {
    interval: Duration,
    /// When the next look is due.
    due: Instant,
    /// When the last look began.
    begun: Instant,
    /// Processes that did something since the last look.
    busy: BTreeSet<u32>,
    looks: Rounds<Counters, Counting>,
    /// The end of an interval of which not all records have been read.
    pending: Option<Counted>,
    /// The end of the last interval, ns.
    last_ns: u64,
}

impl Cuts {
    /// The first look is due at once: what the kernel counts needs two.
    fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            interval,
            due: now,
            begun: now,
            busy: BTreeSet::new(),
            looks: Rounds::with(Counting::default(), REST),
            pending: None,
            last_ns: 0,
        }
    }

    /// Takes note of who uses disks.
    fn see(&mut self, batch: &[Event]) {
        for event in batch {
            let pid = match event {
                Event::Io(io) => io.pid,
                Event::Wait(wait) if wait.flags & WAIT_IOWAIT != 0 => wait.pid,
                _ => continue,
            };
            if self.busy.len() < MOST_BUSY {
                self.busy.insert(pid);
            }
        }
    }

    /// Looks when it is time. Once all records of an interval are in the batch, or came before, its end follows them.
    fn take(&mut self, kernel: &Kernel, batch: &mut Vec<Event>) {
        let now = Instant::now();
        if self.pending.is_none() && now >= self.due && self.looks.is_due(Duration::ZERO) {
            let busy = Vec::from_iter(mem::take(&mut self.busy));
            self.looks.begin_with(move |counting| counting.look(&busy));
            self.due = now + self.interval;
            self.begun = now;
        }
        if self.pending.is_none()
            && let Some(counters) = self.looks.take().or_else(|| self.missed(now))
        {
            let end = counted(kernel, counters, self.last_ns);
            self.last_ns = end.ns;
            self.pending = Some(end);
        }
        let is_read = |end: &mut Counted| end.ns.saturating_add(SETTLED_NS) <= now_ns();
        if let Some(end) = self.pending.take_if(is_read) {
            let later = batch.iter().position(|event| event.ns() > end.ns);
            let at = later.unwrap_or(batch.len());
            batch.insert(at, Event::Counted(Box::new(end)));
        }
    }

    /// Nothing is counted while a look hangs, such as one at a file that does not answer. Intervals end all the same: waits need no counts.
    fn missed(&mut self, now: Instant) -> Option<Counters> {
        let patience = self.interval.max(LEAST_MISSED) * MOST_MISSED;
        let hangs = self.looks.is_looking() && now.duration_since(self.begun) >= patience;
        if !hangs || now < self.due {
            return None;
        }
        self.due = now + self.interval;
        Some(Counters::default())
    }
}

/// The end of an interval, with all that is open. A thread that had a long wait since `since_ns` comes although it has not been off the CPU
/// for long: it shows what it did after that.
fn counted(kernel: &Kernel, counters: Counters, since_ns: u64) -> Counted {
    let mut end = Counted {
        counters,
        lost: kernel.lost(),
        cost_ns: clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID),
        ..Counted::default()
    };
    let open = kernel.open_now();
    end.ns = open.iter().map(Event::ns).max().unwrap_or_else(now_ns);
    for event in open {
        match event {
            // The state of a thread is read a little later: one that went off the CPU since then was on it.
            Event::Wait(wait) if wait.off_ns > wait.ns => {}
            Event::Wait(wait)
                if wait.ns - wait.off_ns >= LEAST_LONG_NS || wait.ran_since_ns >= since_ns =>
            {
                end.waits.push(wait);
            }
            Event::Io(io) => end.requests.push(io),
            Event::Slice(slice) => end.slices.push(slice),
            _ => {}
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn all_processes_but_the_kernels_and_the_tracer_run_programs() {
        let own = std::process::id();
        let parents = vec![(1, 0), (2, 0), (3, 2), (own, 1), (7, 1), (8, 7)];
        assert_eq!(programs(parents), [1, 7, 8]);
        let pids = vec![1, 2, 3, own, 7, 8];
        assert_eq!(of_programs(pids, |pid| [2, 3].contains(&pid)), [1, 7, 8]);
    }

    #[test]
    fn intervals_end_although_a_look_hangs() {
        let mut cuts = Cuts::new(Duration::from_secs(2));
        let (begun, hangs) = (cuts.begun, 6);
        let at = |s: u64| begun + Duration::from_secs(s);
        assert_eq!(cuts.missed(at(hangs)), None);
        let (go, wait) = channel::<()>();
        cuts.looks.begin_with(move |_| {
            let _ = wait.recv();
            Counters::default()
        });
        assert_eq!(cuts.missed(at(hangs - 1)), None);
        assert_eq!(cuts.missed(at(hangs)), Some(Counters::default()));
        assert_eq!(cuts.missed(at(hangs + 1)), None);
        assert_eq!(cuts.missed(at(hangs + 2)), Some(Counters::default()));
        drop(go);
    }

    #[test]
    fn who_uses_disks_is_looked_at_and_who_waits_for_work_is_not() {
        let wait = |pid, flags| {
            Event::Wait(event::Wait {
                pid,
                flags,
                ..event::Wait::default()
            })
        };
        let io = event::Io {
            pid: 9,
            ..event::Io::default()
        };
        let mut cuts = Cuts::new(Duration::from_secs(1));
        cuts.see(&[wait(7, WAIT_IOWAIT), wait(8, 0), Event::Io(io)]);
        assert_eq!(Vec::from_iter(cuts.busy), [7, 9]);
    }
}
