//! `cargo xtask fuzz`: hostile recordings, as many as are wanted, with the checks that a release leaves out.
//!
//! Two unit tests of tracer make an input from its number: one tries it, the other keeps it. They run here in processes of their own,
//! one for each CPU. So an input that never ends, or fills memory or the stack, costs one process, and its number is known. What fails is
//! kept in the corpus, which the unit tests try on each run.

mod player;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::RecvTimeoutError,
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use xtask::{
    build,
    command::{build as run_build, cargo, output, say},
    paths, setup,
};

use self::player::{Player, one_test};

/// An input that has not ended by then never will: the test itself fails one that takes longer than 10 s.
const ENDS: Duration = Duration::from_secs(20);
/// Inputs that one process tries.
const AT_ONCE: u64 = 1_000;
/// After so many that fail, more of them would say no more.
const MOST_FAILURES: usize = 16;
/// Time between two lines on a run that goes on.
const PROGRESS: Duration = Duration::from_secs(10);
/// Time between two looks at the clock.
const LOOK: Duration = Duration::from_millis(100);
/// Where inputs are kept, in the tree.
const CORPUS: &str = "tracer-user/corpus";
/// The numbers of inputs are smaller, so that sums of them are numbers.
const END: u64 = 1 << 62;

/// Which inputs to try.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask fuzz                           a million inputs, about an hour\n  \
    cargo xtask fuzz --seconds 60              as many as a minute has room for\n  \
    cargo xtask fuzz --first 4711 --inputs 1   one input again\n\n\
    Each input may take 10 s and 512 MiB. One that fails is kept in tracer-user/corpus."
)]
pub(crate) struct Args {
    /// How many inputs to try
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..END))]
    inputs: u64,
    /// Stop after so many seconds, whatever is left
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Number of the first input; by the time of day when none is named, so that each run tries others
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..END))]
    first: Option<u64>,
}

/// Builds, tries, and fails if an input does.
pub(crate) fn run(args: &Args) -> Result<()> {
    let toolchain = setup::build_tools()?;
    // The tests do not compile without it.
    build::kernel_half(&toolchain)?;
    let run = Run::new(program()?, args);
    let begun = Instant::now();
    run.all(begun)?;
    let found = run
        .found
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    println!("{}", found.summary(&run.inputs, begun.elapsed()));
    let failed = found.failures.len();
    ensure!(
        failed == 0,
        "{failed} inputs fail: mend that, and commit them with the corpus"
    );
    ensure!(found.tried > 0, "the time was over before the first input");
    Ok(())
}

/// Builds the unit tests, and returns where they are.
fn program() -> Result<PathBuf> {
    let tests = || {
        let mut command = cargo();
        command.args(["test", "--profile", "fuzz", "--package", "tracer", "--lib"]);
        command.args(["--no-run", "--quiet"]);
        command
    };
    run_build(&mut tests(), "the tests")?;
    let built = output(tests().args(["--message-format", "json"]), "find the tests")?;
    let file = executable(&built).context("cargo does not say where the tests are")?;
    Ok(file.into())
}

/// The program that cargo has built, in its messages in JSON: of a library's tests there is one.
fn executable(messages: &str) -> Option<&str> {
    let (_, file) = messages.split_once(r#""executable":""#)?;
    let (file, _) = file.split_once('"')?;
    Some(file)
}

/// A run under way.
struct Run {
    program: PathBuf,
    inputs: Range<u64>,
    /// The first input that no process has.
    next: AtomicU64,
    deadline: Option<Instant>,
    found: Mutex<Found>,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    tried: u64,
    /// The input that took longest.
    longest: (Duration, u64),
    failures: Vec<Failure>,
}

/// An input that fails.
struct Failure {
    number: u64,
    how: String,
    /// Where it is kept, or why it is not.
    kept: String,
}

impl Run {
    fn new(program: PathBuf, args: &Args) -> Self {
        let first = args.first.unwrap_or_else(by_time);
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        Self {
            program,
            inputs: first..first + args.inputs,
            next: AtomicU64::new(first),
            deadline: args.seconds.map(after),
            found: Mutex::default(),
        }
    }

    /// Tries the inputs, with a line now and then.
    fn all(&self, begun: Instant) -> Result<()> {
        let processes = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..processes)
                .map(|_| scope.spawn(|| self.work()))
                .collect();
            let mut next = PROGRESS;
            while !workers.iter().all(|worker| worker.is_finished()) {
                thread::sleep(LOOK);
                if begun.elapsed() >= next {
                    say(&self.progress(begun.elapsed()));
                    next += PROGRESS;
                }
            }
            workers.into_iter().try_for_each(|worker| {
                let ended = worker.join();
                ended.map_err(|_| anyhow!("a thread of the run panicked"))?
            })
        })
    }

    fn progress(&self, elapsed: Duration) -> String {
        let found = self.found();
        format!(
            "{} of {} inputs tried after {} s, {} failed …",
            found.tried,
            self.inputs.end - self.inputs.start,
            elapsed.as_secs(),
            found.failures.len()
        )
    }

    /// Tries what is left, a range at a time.
    fn work(&self) -> Result<()> {
        while let Some(mut range) = self.take() {
            while !range.is_empty() && !self.is_over() {
                range = self.play(range)?;
            }
        }
        Ok(())
    }

    fn take(&self) -> Option<Range<u64>> {
        let begin = self.next.fetch_add(AT_ONCE, Ordering::Relaxed);
        let range = begin..self.inputs.end.min(begin + AT_ONCE);
        (!range.is_empty() && !self.is_over()).then_some(range)
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|end| Instant::now() >= end)
            || self.found().failures.len() >= MOST_FAILURES
    }

    /// Tries a range in a process of its own. Returns the rest of it, behind an input that fails.
    fn play(&self, range: Range<u64>) -> Result<Range<u64>> {
        let mut player = Player::start(&self.program, &range)?;
        let how = loop {
            match player.next(LOOK) {
                Ok(number) => self.note(player.begins(number)),
                Err(RecvTimeoutError::Timeout) if player.elapsed() < ENDS => {}
                Err(RecvTimeoutError::Timeout) => break "it does not end".to_owned(),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = player.status()?;
                    if status.success() {
                        self.note(player.ends(&range)?);
                        return Ok(range.end..range.end);
                    }
                    break status.to_string();
                }
            }
            if self.is_over() {
                return Ok(range.end..range.end);
            }
        };
        let number = player.number().with_context(|| {
            format!("the tests ended before the first input, with {how}: see above")
        })?;
        drop(player);
        self.fail(number, how);
        Ok(number + 1..range.end)
    }

    /// An input took so long.
    fn note(&self, tried: Option<(Duration, u64)>) {
        let mut found = self.found();
        if let Some(tried) = tried {
            found.tried += 1;
            found.longest = found.longest.max(tried);
        }
    }

    fn fail(&self, number: u64, how: String) {
        let kept = match self.keep(number) {
            Ok(file) => format!("kept as {file}"),
            Err(error) => format!("not kept: {error:#}"),
        };
        say(&format!("input {number} fails ({how}), {kept}"));
        let mut found = self.found();
        found.tried += 1;
        found.failures.push(Failure { number, how, kept });
    }

    /// Keeps an input in the corpus, and returns its path in the tree.
    fn keep(&self, number: u64) -> Result<String> {
        let file = format!("{CORPUS}/input-{number}.jsonl");
        let path = paths::workspace().join(&file);
        let mut command = keeping(&self.program, number, &path);
        output(&mut command, "keep the input")?;
        ensure!(path.exists(), "the tests have written no {file}");
        Ok(file)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The command that keeps an input.
fn keeping(program: &Path, number: u64, file: &Path) -> Command {
    let mut command = one_test(program, "a_hostile_recording_is_kept_in_the_corpus", number);
    command.env("TRACER_HOSTILE_KEEP", file);
    command
}

/// A number by the time of day. Runs that begin in different seconds try different inputs, if they try a million or less.
fn by_time() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    (now.unwrap_or_default().as_secs() << 20) % END
}

impl Found {
    fn summary(&self, inputs: &Range<u64>, elapsed: Duration) -> String {
        let Self {
            tried,
            longest: (longest, number),
            failures,
        } = self;
        let failed = match failures.len() {
            0 => "none failed".to_owned(),
            some => format!("{some} FAILED"),
        };
        let mut text = format!(
            "fuzz: {tried} inputs of {} from {} on, {failed}; {} s, at most {:.3} s for one ({number})",
            inputs.end - inputs.start,
            inputs.start,
            elapsed.as_secs(),
            longest.as_secs_f64(),
        );
        for Failure { number, how, kept } in failures {
            text += &format!(
                "\n  input {number}: {how}; {kept}\n    again: cargo xtask fuzz --first {number} --inputs 1"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_in_the_messages_of_cargo() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/t/fuzz/deps/tracer-1\",\"fresh\":true}\n";
        assert_eq!(executable(messages), Some("/t/fuzz/deps/tracer-1"));
        assert_eq!(executable("{\"executable\":null}"), None);
    }
}
