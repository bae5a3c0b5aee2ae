//! `tracer top`: the whole machine, interval by interval, from a trace of all processes or from a recording.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Error, Result};

use super::{
    attach::{event_loop, signals},
    diagnostics, fold, output, privileges,
    recorder::Recorder,
    screen::{self, Live},
};
use crate::{
    cli::TopArgs,
    event::{Counted, Event},
    kernel::load::{self, Loader},
    machine::{priority, proc::Resident},
    session::{Everybody, Next, catch_ends},
    top::State,
};

/// Shows intervals until as many were shown as are wanted, or until the trace or the recording ends.
///
/// # Errors
/// If the kernel refuses, or a file or stdout cannot be written or read.
pub(super) fn run(args: &TopArgs) -> Result<ExitCode> {
    match &args.from {
        Some(file) => play(args, file),
        None => watch(args),
    }
}

/// Traces all processes.
fn watch(args: &TopArgs) -> Result<ExitCode> {
    let begun = Instant::now();
    // While there is one thread: a recording has its own.
    let loader = Loader::begin();
    priority::begin();
    load::need_host_pids()?;
    load::need_permission()?;
    let create = |path| Recorder::create(path, args.max_size);
    let mut recorder = args.record.as_deref().map(create).transpose()?;
    let runtime = event_loop()?;
    let attached = signals(&runtime)
        .and_then(|signals| Everybody::attach(loader, signals, begun))
        .and_then(|trace| Ok((trace, Shown::new(args)?)));
    let (trace, mut shown) = match attached {
        Ok(attached) => attached,
        Err(error) => {
            // An older recording stays as it is.
            recorder.into_iter().for_each(Recorder::give_up);
            return Err(error);
        }
    };
    privileges::to_watch(shown.live.is_some());
    if let Some(recorder) = &mut recorder {
        recorder.take_name();
    }
    let mut failed = None;
    let mut see = |batch: &mut Vec<Event>| {
        let next = shown.see(batch);
        if let Some(recorder) = &mut recorder {
            recorder.take(batch);
        }
        next.unwrap_or_else(|error| {
            failed = Some(error);
            Next::End
        })
    };
    let ended = runtime.block_on(trace.run(args.interval, &mut see));
    // What is said from here on is read.
    drop(shown);
    ended?;
    let is_recorded = match (recorder, &args.record) {
        (Some(recorder), Some(path)) => recorder.finish(path),
        _ => true,
    };
    match (failed, is_recorded) {
        (Some(error), _) => Err(error),
        (None, true) => Ok(ExitCode::SUCCESS),
        (None, false) => Ok(ExitCode::FAILURE),
    }
}

/// Plays a recording, up to where it can be read.
fn play(args: &TopArgs, file: &Path) -> Result<ExitCode> {
    // Nothing is lost while it waits: only a trace goes before others.
    priority::as_everybody();
    let resident = Resident::open();
    let reader = fold::open(file)?;
    if screen::is_wanted(args) {
        // Without a screen a signal ends this as it ends any program.
        catch_ends()?;
    }
    let mut shown = Shown::new(args)?;
    privileges::to_play(shown.live.is_some());
    let mut intervals = Intervals::new(args.interval);
    let mut cut: Option<Error> = None;
    for (number, event) in (1_u64..).zip(reader) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                cut = Some(error);
                break;
            }
        };
        for end in intervals.ended_before(&event) {
            shown.take(&end)?;
        }
        shown.take(&event)?;
        if shown.is_over() {
            break;
        }
        if number % fold::LOOK_EACH != 0 {
            continue;
        }
        if resident.bytes() > fold::MOST_MEMORY {
            cut = Some(fold::too_large(number));
            break;
        }
        shown.listens()?;
    }
    shown.stays()?;
    drop(shown);
    let Some(error) = cut else {
        return Ok(ExitCode::SUCCESS);
    };
    let file = file.display();
    diagnostics::say(&format!(
        "{file}: {error:#}; shown is what could be read before"
    ));
    Ok(ExitCode::FAILURE)
}

/// While a recording is read, keys and signals wait no longer than this. Drawing more often would make reading slow.
const PATIENCE: Duration = Duration::from_millis(100);

/// The intervals on stdout, or at a screen.
struct Shown<'a> {
    args: &'a TopArgs,
    state: State,
    /// How many are still wanted; `None` if there is no end.
    left: Option<u32>,
    /// The screen, if somebody is there.
    live: Option<Live>,
    /// When keys were asked for in a recording.
    listened: Instant,
}

impl<'a> Shown<'a> {
    fn new(args: &'a TopArgs) -> Result<Self> {
        Ok(Self {
            args,
            state: State::new(),
            left: args.batch.or(args.once.then_some(1)),
            live: screen::is_wanted(args).then(Live::begin).transpose()?,
            listened: Instant::now(),
        })
    }

    fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// Takes the events of a trace. Of what is open, only what says something is left.
    fn see(&mut self, batch: &mut [Event]) -> Result<Next> {
        for event in batch {
            if let Event::Counted(counted) = event {
                let state = &mut self.state;
                counted.waits.retain(|wait| state.is_told(wait));
            }
            self.take(event)?;
        }
        self.step(Duration::ZERO)
    }

    /// A step of the screen, which waits so long for a key. At its end the terminal is given back, and nothing more is shown.
    fn step(&mut self, patience: Duration) -> Result<Next> {
        let is_over = self.is_over();
        let next = match &mut self.live {
            Some(live) => live.step(patience),
            None if is_over => Ok(Next::End),
            None => Ok(Next::GoOn),
        };
        if matches!(next, Ok(Next::End) | Err(_)) {
            self.live = None;
            self.left = Some(0);
        }
        next
    }

    /// A recording is being read. Whoever is at the screen need not wait for its end.
    fn listens(&mut self) -> Result<()> {
        if self.live.is_some() && self.listened.elapsed() >= PATIENCE {
            self.step(Duration::ZERO)?;
            self.listened = Instant::now();
        }
        Ok(())
    }

    /// A recording is read to its end. Whoever is at the screen leaves when it suits.
    fn stays(&mut self) -> Result<()> {
        while self.live.is_some() {
            self.step(PATIENCE)?;
        }
        Ok(())
    }

    /// Takes an event, and shows the interval that it ends.
    fn take(&mut self, event: &Event) -> Result<()> {
        let Some(top) = self.state.apply(event).filter(|_| !self.is_over()) else {
            return Ok(());
        };
        if let Some(live) = &mut self.live {
            live.shows(top);
            return Ok(());
        }
        let options = output::text_options(self.args.top);
        let text = (self.args.output.write_top)(&top, &options)?;
        let is_read = output::to_reader(text.as_bytes())?;
        self.left = match self.left {
            _ if !is_read => Some(0),
            left => left.map(|left| left - 1),
        };
        Ok(())
    }
}

/// The ends of the intervals of a recording that has none: one of `attach`.
struct Intervals {
    interval_ns: u64,
    /// The end of the next one, ns. `None` before the start, and if the recording has ends of its own.
    next_ns: Option<u64>,
}

impl Intervals {
    fn new(interval: Duration) -> Self {
        Self {
            interval_ns: interval.as_nanos() as u64,
            next_ns: None,
        }
    }

    /// The ends that come before an event. Intervals in which nothing happens are one long one.
    fn ended_before(&mut self, event: &Event) -> Vec<Event> {
        match event {
            Event::Start(start) => self.next_ns = Some(start.ns.saturating_add(self.interval_ns)),
            Event::Counted(_) => self.next_ns = None,
            _ => {}
        }
        let Some(next_ns) = self.next_ns else {
            return Vec::new();
        };
        if let Event::End(end) = event {
            self.next_ns = None;
            return vec![end_at(end.ns)];
        }
        let Some(since_ns) = event.ns().checked_sub(next_ns) else {
            return Vec::new();
        };
        let quiet_ns = since_ns - since_ns % self.interval_ns;
        let last_ns = next_ns + quiet_ns;
        self.next_ns = Some(last_ns.saturating_add(self.interval_ns));
        let mut ends = vec![end_at(next_ns)];
        ends.extend((quiet_ns > 0).then(|| end_at(last_ns)));
        ends
    }
}

fn end_at(ns: u64) -> Event {
    Event::Counted(Box::new(Counted {
        ns,
        ..Counted::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{End, Exit, Start};

    fn start(ns: u64) -> Event {
        Event::Start(Box::new(Start {
            ns,
            ..Start::default()
        }))
    }

    fn exit(ns: u64) -> Event {
        Event::Exit(Exit { ns, pid: 7 })
    }

    fn end(ns: u64) -> Event {
        Event::End(Box::new(End {
            ns,
            ..End::default()
        }))
    }

    /// When intervals of 100 ns end, by the number of the event before which they do.
    fn ends(events: &[Event]) -> Vec<(usize, u64)> {
        let mut intervals = Intervals::new(Duration::from_nanos(100));
        let each = events.iter().enumerate();
        each.flat_map(|(number, event)| {
            let ends = intervals.ended_before(event).into_iter();
            ends.map(move |end| (number, end.ns())).collect::<Vec<_>>()
        })
        .collect()
    }

    #[test]
    fn a_recording_without_intervals_is_cut_into_some_and_a_quiet_time_is_one() {
        let events = [start(1000), exit(1050), exit(1120), exit(1990), end(2010)];
        let expected = [(2, 1100), (3, 1200), (3, 1900), (4, 2010)];
        assert_eq!(ends(&events), expected);
    }

    #[test]
    fn a_recording_with_intervals_keeps_its_own_and_no_time_is_too_late() {
        let own = [start(1000), end_at(1020), exit(1500), end(2000)];
        assert!(ends(&own).is_empty());
        assert!(ends(&[exit(5)]).is_empty());
        let wild = ends(&[start(1000), exit(u64::MAX), exit(u64::MAX)]);
        assert_eq!(wild.len(), 3);
    }
}
