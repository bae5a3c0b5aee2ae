//! Checks under a guest's kernel that the tracer loads, attaches, agrees with the kernel's counters, and names a hog. The checks
//! need no program but the tracer, so that they run in a guest that has nothing else. `busy` is the workload of these checks.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use tracer_tests::{busy, harness::run, truth};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Be a workload
    Busy(busy::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Some(Command::Busy(args)) => busy::run(&args),
        None => smoke(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest-smoke: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn smoke() -> Result<()> {
    let doctor = run(&["doctor"])?;
    ensure!(
        matches!(doctor.code, Some(0 | 5)),
        "doctor ends with {:?}: {}{}",
        doctor.code,
        doctor.stdout,
        doctor.stderr
    );
    println!(
        "doctor: {}",
        doctor.stdout.trim().lines().last().unwrap_or_default()
    );
    let program = std::env::current_exe().context("cannot find myself")?;
    agrees_with_schedstat(&program)?;
    println!("cpu scene: {}", truth::cpu_scene(&program, 5_000)?);
    Ok(())
}

/// Tries once more where it does not. An emulated CPU may stand still between the time of a record and its place in the ring. That
/// may last longer than the reader waits for the record. A real miscount fails both times.
fn agrees_with_schedstat(program: &Path) -> Result<()> {
    let compare = || {
        let sched = truth::sched(program, Some(truth::last_cpu()), 10_000)?;
        println!("schedstat: {sched}");
        sched.check()
    };
    compare().or_else(|error| {
        println!("schedstat again: {error:#}");
        compare()
    })
}
