//! A process that tries a range of inputs. It says which one is under way, and has little memory.

use std::{
    io::{self, BufRead as _, BufReader, Read},
    ops::Range,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use xtask::command::could_not_start;

/// The most memory that an input may take, bytes, with all that the tests themselves have.
const MOST_MEMORY: u64 = 512 << 20;
/// Where the tests are in their package.
const MODULE: &str = "gate::hostile";

/// The process; dropped, it is killed.
pub(super) struct Player {
    child: Child,
    numbers: Receiver<u64>,
    /// The input under way.
    number: Option<u64>,
    /// Since when.
    since: Instant,
}

impl Player {
    /// Starts to try these inputs.
    pub(super) fn start(program: &Path, inputs: &Range<u64>) -> Result<Self> {
        let test = "a_report_comes_from_each_hostile_recording_of_a_range";
        let mut command = one_test(program, test, inputs.start);
        let count = inputs.end - inputs.start;
        command
            .env("TRACER_HOSTILE", count.to_string())
            .stdout(Stdio::piped());
        with_little_memory(&mut command);
        let child = command.spawn();
        let mut child = child.with_context(|| could_not_start(&command, "try inputs"))?;
        let said = child.stdout.take().context("the tests have no stdout")?;
        let (tell, numbers) = channel();
        thread::spawn(move || listen(said, &tell));
        Ok(Self {
            child,
            numbers,
            number: None,
            since: Instant::now(),
        })
    }

    /// The number of the next input, once it begins.
    pub(super) fn next(&self, patience: Duration) -> Result<u64, RecvTimeoutError> {
        self.numbers.recv_timeout(patience)
    }

    /// An input begins. Returns the one before it, and how long that took.
    pub(super) fn begins(&mut self, number: u64) -> Option<(Duration, u64)> {
        let took = self.elapsed();
        self.since = Instant::now();
        self.number.replace(number).map(|before| (took, before))
    }

    /// The process has ended well. Returns the last input, and how long that took.
    pub(super) fn ends(&self, inputs: &Range<u64>) -> Result<Option<(Duration, u64)>> {
        ensure!(
            self.number == inputs.end.checked_sub(1),
            "the tests were to try {inputs:?}, and the last that they tried is {:?}",
            self.number
        );
        Ok(self.number.map(|number| (self.elapsed(), number)))
    }

    /// The input under way.
    pub(super) fn number(&self) -> Option<u64> {
        self.number
    }

    /// How long the input under way has taken so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// How the process ended.
    pub(super) fn status(&mut self) -> Result<ExitStatus> {
        self.child.wait().context("could not wait for the tests")
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The command that runs one of the ignored tests, from this input on.
pub(super) fn one_test(program: &Path, test: &str, first: u64) -> Command {
    let mut command = Command::new(program);
    command
        .arg(format!("{MODULE}::{test}"))
        .args(["--exact", "--ignored", "--nocapture"])
        .env("TRACER_HOSTILE_FIRST", first.to_string())
        .stdin(Stdio::null());
    command
}

/// Lets a command have no more memory. An allocation beyond that ends it.
fn with_little_memory(command: &mut Command) {
    let limit = || {
        let limit = libc::rlimit {
            rlim_cur: MOST_MEMORY,
            rlim_max: MOST_MEMORY,
        };
        // SAFETY: a valid pointer.
        match unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it makes one system call, and allocates nothing.
    unsafe { command.pre_exec(limit) };
}

/// Passes the numbers of inputs on, until the process ends.
fn listen(said: impl Read, tell: &Sender<u64>) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if let Some(number) = number(&line)
            && tell.send(number).is_err()
        {
            return;
        }
    }
}

/// The number of an input that begins, if that is what a line says.
fn number(line: &str) -> Option<u64> {
    line.strip_prefix("input ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_lines_those_that_name_an_input_are_passed_on() {
        let said = "\nrunning 1 test\n\ninput 7\ninput 8\ninput is short\ntest a ... ok\n";
        let (tell, numbers) = channel();
        listen(said.as_bytes(), &tell);
        drop(tell);
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [7, 8]);
    }
}
