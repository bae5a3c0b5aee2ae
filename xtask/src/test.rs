//! `cargo xtask test`: all tests, from functions to guests, and one summary that cannot look better than it is.
//!
//! A kernel test prints its family of tests, and whether the machine allowed it: `RAN <family>` or `SKIP <family>: <reason>`. A test that
//! was skipped for another reason than its kernel is a failure, and so is a run in which none ran.

use std::{
    io::{self, Read, Write},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    build,
    command::{cargo, find, is_root, say},
    paths, setup,
    toolchain::Compiler,
    vm,
};

/// Which tests to run.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask test                     everything\n  \
    cargo xtask test --no-guests         only on this machine's own kernel\n  \
    cargo xtask test --filter schedstat  tests whose name contains this, no guests"
)]
pub(crate) struct Args {
    /// Leave out the guests with other kernels
    #[arg(long)]
    no_guests: bool,
    /// Run only tests with this in their name; leaves out the guests
    #[arg(long)]
    filter: Option<String>,
}

/// How one stage went.
#[derive(Default)]
struct Stage {
    name: &'static str,
    passed: usize,
    failed: usize,
    /// Tests that ended well without testing anything.
    skipped: usize,
    /// Faults besides failed tests.
    faults: Vec<String>,
    seconds: u64,
}

impl Stage {
    fn is_good(&self) -> bool {
        self.failed == 0 && self.faults.is_empty()
    }
}

/// Builds, runs every stage even when an earlier one failed, and sums up.
pub(crate) fn run(args: &Args) -> Result<()> {
    build::run(&build::Args::default())?;
    setup::test_tools()?;
    let mut stages = vec![
        timed("unit tests", || unit_tests(args)),
        timed("kernel tests", || kernel_tests(args)),
    ];
    if !args.no_guests && args.filter.is_none() {
        stages.push(timed("guests", guests));
    }
    summary(&stages)
}

fn timed(name: &'static str, stage: impl FnOnce() -> Result<Stage>) -> Stage {
    let began = Instant::now();
    say(&format!("running {name}"));
    let outcome = stage().unwrap_or_else(|error| Stage {
        faults: vec![format!("{error:#}")],
        ..Stage::default()
    });
    Stage {
        name,
        seconds: began.elapsed().as_secs(),
        ..outcome
    }
}

/// Prints how each stage went, and fails when one did.
fn summary(stages: &[Stage]) -> Result<()> {
    println!();
    for stage in stages {
        let verdict = if stage.is_good() { "ok" } else { "FAILED" };
        println!(
            "{:<14}{verdict:<8}{}, {} s",
            stage.name,
            counts(stage.passed, stage.failed, stage.skipped),
            stage.seconds
        );
        for fault in &stage.faults {
            println!("              {fault}");
        }
    }
    let sum = |count: fn(&Stage) -> usize| stages.iter().map(count).sum::<usize>();
    let failed = sum(|stage| stage.failed + stage.faults.len());
    println!(
        "total: {}",
        counts(
            sum(|stage| stage.passed),
            failed,
            sum(|stage| stage.skipped)
        )
    );
    ensure!(failed == 0, "tests failed");
    Ok(())
}

/// "3 passed, 0 failed, 1 skipped".
fn counts(passed: usize, failed: usize, skipped: usize) -> String {
    let skipped = if skipped == 0 {
        String::new()
    } else {
        format!(", {skipped} skipped")
    };
    format!("{passed} passed, {failed} failed{skipped}")
}

fn unit_tests(args: &Args) -> Result<Stage> {
    let mut command = cargo();
    command
        .args(["test", "--no-fail-fast", "--workspace"])
        // The kernel half has no tests on this machine, and those of real probes are a stage of their own.
        .args(["--exclude", "tracer-ebpf", "--exclude", "tracer-tests"])
        .arg("--")
        .args(&args.filter);
    let (text, good) = run_and_read(&mut command)?;
    Ok(counted(&text, good))
}

/// Each kernel test alone, as root, on the kernel that runs here.
fn kernel_tests(args: &Args) -> Result<Stage> {
    let mut command = cargo();
    command
        .args([
            "test",
            "--no-fail-fast",
            "--package",
            "tracer-tests",
            "--tests",
            "--",
        ])
        .args(["--test-threads=1", "--nocapture"])
        .args(&args.filter)
        .env("TRACER_BIN", paths::tracer());
    if !is_root() {
        let sudo = find("sudo")
            .context("the kernel tests need root: install sudo, or run this as root")?;
        command.env(
            runner_variable()?,
            format!("{} --preserve-env=TRACER_BIN,PATH", sudo.display()),
        );
    }
    let (text, good) = run_and_read(&mut command)?;
    let mut stage = counted(&text, good);
    let said = said(&text);
    // The test runner knows no skipping at run time: it counts what returned early as passed.
    stage.skipped = said.skipped.len();
    stage.passed = stage.passed.saturating_sub(stage.skipped);
    stage.faults.extend(said.faults(args.filter.is_some()));
    Ok(stage)
}

/// The variable that names the program through which cargo starts what it has built.
fn runner_variable() -> Result<String> {
    let triple = Compiler::active()?.host;
    Ok(format!(
        "CARGO_TARGET_{}_RUNNER",
        triple.to_uppercase().replace('-', "_")
    ))
}

fn guests() -> Result<Stage> {
    let (passed, failed) = vm::smoke_all()?;
    Ok(Stage {
        passed,
        failed,
        ..Stage::default()
    })
}

/// The counts in the closing lines of the test runner. No closing line at all is a fault.
fn counted(text: &str, good: bool) -> Stage {
    let mut stage = Stage::default();
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("test result: "))
    {
        let count = |what: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let at = words
                .iter()
                .position(|word| word.trim_end_matches(';') == what)?;
            words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
        };
        stage.passed += count("passed").unwrap_or(0);
        stage.failed += count("failed").unwrap_or(0);
    }
    if !good && stage.failed == 0 {
        stage
            .faults
            .push("the test runner failed: see above".to_owned());
    }
    stage
}

/// A skip is no fault if its reason begins so: another kernel has what the test is about. A program that is missing can be installed.
const BY_KERNEL: &str = "this kernel ";

/// What the kernel tests said: how many tried something, and which did not, with the reason.
#[derive(Default)]
struct Said {
    ran: usize,
    skipped: Vec<(String, String)>,
}

fn said(text: &str) -> Said {
    let (mut said, mut test) = (Said::default(), "");
    for line in text.lines() {
        // libtest leaves the cursor behind the test's name: `test name ... RAN cpu`.
        let named = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "));
        let line = named.map_or(line, |(_, said)| said);
        test = named.map_or(test, |(name, _)| name);
        if line.starts_with("RAN ") {
            said.ran += 1;
        } else if let Some((_, reason)) = line
            .strip_prefix("SKIP ")
            .and_then(|rest| rest.split_once(':'))
        {
            let reason = reason.trim().to_owned();
            said.skipped.push((test.to_owned(), reason));
        }
    }
    said
}

impl Said {
    /// Faults that must not pass for success. With a filter, few tests run, and none of them may be a kernel test.
    fn faults(&self, filtered: bool) -> Vec<String> {
        let skipped = self.skipped.iter();
        let avoidable = skipped.filter(|(_, reason)| !reason.starts_with(BY_KERNEL));
        let mut faults: Vec<String> = avoidable
            .map(|(test, reason)| format!("{test} tried nothing: {reason}"))
            .collect();
        if !filtered && self.ran == 0 {
            faults.push("no kernel test ran".to_owned());
        }
        faults
    }
}

/// Runs a command, shows its output as it comes, and returns the text and whether it succeeded.
fn run_and_read(command: &mut Command) -> Result<(String, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (out, err) = (
        child.stdout.take().context("no stdout")?,
        child.stderr.take().context("no stderr")?,
    );
    let errors = thread::spawn(move || copy(err, io::stderr()));
    let mut text = copy(out, io::stdout())?;
    text += "\n";
    text += &errors
        .join()
        .ok()
        .context("could not read what the tests said")??;
    Ok((text, child.wait()?.success()))
}

/// Copies at once, without waiting for whole lines: a test that hangs has then been named.
fn copy(mut from: impl Read, mut to: impl Write) -> Result<String> {
    let (mut all, mut chunk) = (Vec::new(), [0; 8192]);
    loop {
        let len = from
            .read(&mut chunk)
            .context("could not read what the tests said")?;
        if len == 0 {
            return Ok(String::from_utf8_lossy(&all).into_owned());
        }
        all.extend_from_slice(&chunk[..len]);
        to.write_all(&chunk[..len])
            .and_then(|()| to.flush())
            .context("could not show what the tests said")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let text = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured\nx\ntest result: FAILED. 3 passed; 2 failed; 0 ignored\n";
        let stage = counted(text, false);
        assert_eq!((stage.passed, stage.failed, stage.faults.len()), (15, 2, 0));
    }

    #[test]
    fn a_runner_that_fails_without_a_failed_test_is_a_fault() {
        assert!(!counted("error: could not compile", false).is_good());
        assert!(counted("test result: ok. 1 passed; 0 failed", true).is_good());
    }

    #[test]
    fn a_test_that_tried_nothing_is_a_fault_unless_its_kernel_lacks_what_it_is_about() {
        let text = "test a ... SKIP disk: no loop device\nok\ntest b ... RAN disk\nok\ntest c ... SKIP net: this kernel has no bbr\nok\n";
        let said = said(text);
        assert_eq!((said.ran, said.skipped.len()), (1, 2));
        assert_eq!(said.faults(false), ["a tried nothing: no loop device"]);
    }

    #[test]
    fn a_run_in_which_no_kernel_test_ran_is_a_fault_unless_filtered() {
        assert_eq!(said("test a ... ok").faults(false).len(), 1);
        assert_eq!(said("test a ... ok").faults(true).len(), 0);
    }
}
