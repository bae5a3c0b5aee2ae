//! The watchers of a load: tracer or its peers, started, attached for certain, and ended by process id.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use xtask::paths;

use crate::world::process::{Program, Running};

/// The longest time a watcher may need before it has attached.
const ATTACHES: Duration = Duration::from_secs(20);
/// A watcher has attached all its links when they have not changed for so long.
const SETTLED: Duration = Duration::from_millis(250);
/// The longest time a watcher may need to print what it knows and to detach.
const ENDS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// The process that a watcher looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// All processes.
    All,
    /// A process that sleeps all the time.
    Unrelated,
    /// The load.
    Load,
}

/// One row of a table: programs that watch together.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    /// As it is shown.
    pub(crate) name: Cow<'static, str>,
    /// Each program with its arguments; the target's process id follows, where there is one. A program without arguments looks at
    /// all processes, whatever those beside it look at.
    pub(crate) programs: &'static [&'static [&'static str]],
    pub(crate) target: Target,
    /// Whether it is measured by `--short` too.
    pub(crate) short: bool,
}

/// How the name of a row of another build of tracer begins.
const BEFORE: &str = "before: ";

/// The other build of tracer that is measured too, for the gain of a change.
static BESIDE: OnceLock<PathBuf> = OnceLock::new();

/// Measures another build of tracer beside this one.
pub(crate) fn beside(file: &Path) {
    let _only_once = BESIDE.set(file.to_owned());
}

/// The rows that are to be measured.
pub(crate) fn rows(all: &[Watcher], short: bool) -> Vec<Watcher> {
    let mut rows = Vec::new();
    for row in all.iter().filter(|row| row.short || !short) {
        rows.push(row.clone());
        if row.is_tracer() && BESIDE.get().is_some() {
            let name = format!("{BEFORE}{}", row.name).into();
            rows.push(Watcher {
                name,
                ..row.clone()
            });
        }
    }
    rows
}

/// Stands for tracer's path in a row's words.
const TRACER: &str = "tracer";

/// Watchers at work; dropped, they are killed.
pub(crate) struct Watching(Vec<Running>);

impl Watcher {
    /// Others' programs.
    pub(crate) const fn peer(
        name: &'static str,
        programs: &'static [&'static [&'static str]],
        target: Target,
        short: bool,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            programs,
            target,
            short,
        }
    }

    /// Tracer, for longer than any run of a load.
    pub(crate) const fn tracer(name: &'static str, target: Target, short: bool) -> Self {
        let programs: &[&[&str]] = &[&[TRACER, "attach", "--duration", "60s", "--pid"]];
        Self::peer(name, programs, target, short)
    }

    /// Whom one of its programs looks at.
    fn target_of(&self, words: &[&str]) -> Target {
        if words.len() > 1 {
            self.target
        } else {
            Target::All
        }
    }

    /// Whether it is ours.
    pub(crate) fn is_tracer(&self) -> bool {
        self.programs.iter().any(|words| words[0] == TRACER)
    }

    /// The build of tracer that it is.
    fn path(&self) -> PathBuf {
        let other = BESIDE.get().filter(|_| self.name.starts_with(BEFORE));
        other.cloned().unwrap_or_else(paths::tracer)
    }

    /// Starts the programs and waits until all have attached.
    pub(crate) fn start(&self, unrelated: u32, load: u32) -> Result<Watching> {
        let mut watching = Watching(Vec::new());
        for words in self.programs {
            let mut program = silent(words, self.path());
            match self.target_of(words) {
                Target::All => {}
                Target::Unrelated => program = program.with([unrelated.to_string()]),
                Target::Load => program = program.with([load.to_string()]),
            }
            watching.0.push(program.start(Stdio::null())?);
        }
        for running in &mut watching.0 {
            attached(running)?;
        }
        Ok(watching)
    }
}

/// A program in no group and on any CPU.
pub(crate) fn command(words: &[&str]) -> Program {
    Program::outside(words)
}

/// This build of tracer, with arguments.
pub(crate) fn tracer(words: &[&str]) -> Program {
    silent(&[&[TRACER], words].concat(), paths::tracer())
}

/// A watcher's program: its output is part of its cost, and is not read.
fn silent(words: &[&str], tracer: PathBuf) -> Program {
    let mut program = command(&["sh", "-c", "exec \"$@\" 2>/dev/null", "watcher"]).with(words);
    if words[0] == TRACER {
        program.words[4] = tracer.into();
    }
    program
}

impl Watching {
    /// Ends them as a user would, by Ctrl-C, so that each does what it does at its end.
    pub(crate) fn end(mut self) -> Result<()> {
        for running in &mut self.0 {
            running.expect_alive()?;
            signal(running.pid(), libc::SIGINT);
        }
        let deadline = Instant::now() + ENDS;
        while self
            .0
            .iter_mut()
            .any(|running| running.expect_alive().is_ok())
        {
            if Instant::now() > deadline {
                break;
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// Sends a signal to a process that we started and have not waited for.
pub(crate) fn signal(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill touches no memory.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Waits until a program holds links to probes, and no new ones come.
pub(crate) fn attached(running: &mut Running) -> Result<()> {
    let (began, mut since, mut seen) = (Instant::now(), Instant::now(), 0);
    while began.elapsed() < ATTACHES {
        running.expect_alive()?;
        let links = links(running.pid());
        if links != seen {
            (since, seen) = (Instant::now(), links);
        }
        if seen > 0 && since.elapsed() > SETTLED {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    bail!("a watcher has not attached within {} s", ATTACHES.as_secs())
}

/// How many descriptors of a process attach a program to something.
pub(crate) fn links(pid: u32) -> usize {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return 0;
    };
    let names = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    names
        .filter(|name| {
            let name = name.to_string_lossy();
            ["bpf_link", "bpf-link", "bpf-raw-tracepoint", "perf_event"]
                .iter()
                .any(|kind| name.contains(kind))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_arguments_looks_at_all_beside_one_that_looks_at_the_load() {
        let both: &[&[&str]] = &[&["runqlat", "-p"], &["biolatency"]];
        let watcher = Watcher::peer("both", both, Target::Load, false);
        let targets = watcher
            .programs
            .iter()
            .map(|words| watcher.target_of(words));
        assert_eq!(Vec::from_iter(targets), [Target::Load, Target::All]);
    }
}
