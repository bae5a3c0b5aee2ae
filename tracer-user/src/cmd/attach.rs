//! `tracer attach`: traces until Ctrl-C, a time, or the target's end, and reports.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use super::{
    diagnostics,
    output::{self, Files},
    privileges,
    recorder::Recorder,
    target,
};
use crate::{
    assemble,
    cli::AttachArgs,
    event::Event,
    gate::Gated,
    kernel::load::{self, Loader},
    machine::{clocks::thread_cpu_time, priority},
    report::{Flame, Report},
    session::{Session, Settings, Signals, Stop},
    units,
};

/// The duration if none was given and stderr is no terminal: nobody is there to press Ctrl-C.
const UNATTENDED: Duration = Duration::from_secs(10);
/// The first provisional sentence appears this long after the start of the process. Beside a busy disk it takes seconds until the
/// program is in memory.
const FIRST_SENTENCE: Duration = Duration::from_secs(3);
/// The least time in the window before the first sentence, if attaching took long: fifteen slices of 100 ms.
const FIRST_LOOK: Duration = Duration::from_millis(1500);

/// After a provisional sentence, rest 200 times the CPU time that it took. So the sentences cost at most 0.5 % of a CPU. The larger
/// the books, the longer it takes to copy and close them.
const SENTENCE_REST: u32 = 200;
/// Columns of the provisional sentence on a terminal.
const LINE: usize = 79;

/// Traces and reports.
///
/// # Errors
/// If the target is not there, the kernel refuses, or a file cannot be written.
pub(super) fn run(args: &AttachArgs) -> Result<ExitCode> {
    let begun = Instant::now();
    // While there is one thread: a recording has its own.
    let loader = Loader::begin();
    priority::begin();
    let settings = settings(args, begun)?;
    let files = Files::create(&args.output)?;
    let create = |path| Recorder::create(path, args.max_size);
    let recorder = args.record.as_deref().map(create).transpose()?;
    let runtime = event_loop()?;
    let session = match attach(&runtime, loader, settings) {
        Ok(session) => session,
        Err(error) => {
            // An older recording stays as it is.
            recorder.into_iter().for_each(Recorder::give_up);
            return Err(error);
        }
    };
    privileges::to_trace(&files);
    let (stop, seen) = watch(&runtime, session, args, recorder)?;
    let (books, refused) = seen.model.close();
    let (mut report, flame) = assemble::assemble(&books);
    report.losses.refused = refused;
    deliver((args, files), stop, (&report, &flame), seen.recorder)
}

/// The settings of the trace, once the target is there and this process may trace it.
fn settings(args: &AttachArgs, begun: Instant) -> Result<Settings> {
    load::need_host_pids()?;
    let pids = target::resolve(&args.target)?;
    load::need_permission()?;
    Ok(Settings {
        pids,
        named: target::named(&args.target),
        follow_children: !args.no_children,
        begun,
    })
}

/// What waits for time, signals and the ends of processes.
///
/// # Errors
/// If the kernel refuses it.
pub(super) fn event_loop() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")
}

/// Attaches; the signals are caught before.
fn attach(runtime: &Runtime, loader: Loader, settings: Settings) -> Result<Session> {
    Session::attach(loader, signals(runtime)?, settings)
}

/// The signals, caught from now on.
///
/// # Errors
/// If they cannot be caught.
pub(super) fn signals(runtime: &Runtime) -> Result<Signals> {
    let _inside = runtime.enter();
    Signals::catch()
}

/// Feeds the model and the recording until the trace ends.
fn watch(
    runtime: &Runtime,
    session: Session,
    args: &AttachArgs,
    mut recorder: Option<Recorder>,
) -> Result<(Stop, Watcher)> {
    if let Some(recorder) = &mut recorder {
        recorder.take_name();
    }
    let attended = std::io::stderr().is_terminal();
    let duration = args.duration.or((!attended).then_some(UNATTENDED));
    diagnostics::show(&greeting(&session, duration));
    let mut watcher = Watcher {
        model: Gated::new(),
        recorder,
        progress: Progress::new(args, attended),
    };
    let stop = runtime.block_on(session.run(duration, &mut |events, open| {
        watcher.take(events, open);
    }))?;
    watcher.progress.end();
    Ok((stop, watcher))
}

/// Writes the report, and ends the recording.
fn deliver(
    (args, files): (&AttachArgs, Files),
    stop: Stop,
    (report, flame): (&Report, &Flame),
    recorder: Option<Recorder>,
) -> Result<ExitCode> {
    // Before the recording: its disk may be the one that is stalled.
    let reported = output::write(&args.output, files, report, flame);
    let is_recorded = match (recorder, &args.record) {
        (Some(recorder), Some(path)) => recorder.finish(path),
        _ => true,
    };
    reported?;
    if stop == Stop::TargetExited {
        log::warn!("the target exited; reported is what was seen until then");
    }
    Ok(match is_recorded {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn greeting(session: &Session, duration: Option<Duration>) -> String {
    let until = duration.map_or_else(
        || "Ctrl-C to stop and report".to_owned(),
        |time| format!("{} s", time.as_secs_f64()),
    );
    format!("tracing {} · {until}", session.description())
}

/// Takes the events: they go to the model and to the recording, and make the provisional sentence.
struct Watcher {
    model: Gated,
    recorder: Option<Recorder>,
    progress: Progress,
}

impl Watcher {
    fn take(&mut self, events: &[Event], open: &mut dyn FnMut() -> Vec<Event>) {
        for event in events {
            self.model.apply(event);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.take(events);
        }
        self.progress.look();
        if self.progress.is_due() {
            let begun = Instant::now();
            let mut model = self.model.clone();
            for event in open() {
                model.apply(&event);
            }
            self.progress.begin(model, begun);
        }
    }
}

/// The provisional sentence on stderr.
struct Progress {
    due: Instant,
    interval: Duration,
    attended: bool,
    last: String,
    /// The next sentence under way, with the CPU time that it took. It has a thread of its own, because the rings must be read.
    next: Option<JoinHandle<(String, Duration)>>,
}

impl Progress {
    fn new(args: &AttachArgs, attended: bool) -> Self {
        let left = FIRST_SENTENCE.saturating_sub(priority::age());
        Self {
            due: Instant::now() + left.max(FIRST_LOOK),
            interval: args.interval,
            attended,
            last: String::new(),
            next: None,
        }
    }

    fn is_due(&self) -> bool {
        self.next.is_none() && Instant::now() >= self.due
    }

    /// Begins to judge a copy of the books; copying was `begun` at that time. The first sentence is urgent, the others have time.
    fn begin(&mut self, model: Gated, begun: Instant) {
        self.due = begun + self.interval;
        let (copied, is_first) = (begun.elapsed(), self.last.is_empty());
        let judge = move || {
            if !is_first {
                priority::when_idle();
            }
            let (books, _) = model.close();
            let sentence = assemble::sentence(&books);
            (sentence, copied + thread_cpu_time())
        };
        // Without a thread there is no sentence for now.
        self.next = thread::Builder::new().spawn(judge).ok();
    }

    /// Shows the sentence that was under way, if it is there.
    fn look(&mut self) {
        let Some(next) = self.next.take_if(|next| next.is_finished()) else {
            return;
        };
        if let Ok((sentence, took)) = next.join() {
            self.due = Instant::now() + self.interval.max(took * SENTENCE_REST);
            self.show(&sentence);
        }
    }

    /// Writes over the line on a terminal; elsewhere writes a line only when it changes.
    fn show(&mut self, sentence: &str) {
        let sentence = units::escape_terminal(sentence);
        if sentence == self.last {
            return;
        }
        let mut stderr = std::io::stderr();
        let _ = if self.attended {
            // A line that wraps cannot be written over.
            write!(
                stderr,
                "\r\x1b[K{}",
                units::shorten(&format!("so far: {sentence}"), LINE)
            )
        } else {
            writeln!(stderr, "so far: {sentence}")
        };
        let _ = stderr.flush();
        self.last = sentence;
    }

    fn end(&self) {
        if self.attended && !self.last.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
