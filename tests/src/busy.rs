//! A process that keeps a CPU busy on request. It is asleep before and after, so that no wait is open when its counters are read.
//!
//! It says `ready` when all threads exist and sleep. It starts at a line on stdin, and says `done` when all sleep again. It ends
//! when stdin is closed.

use std::{
    io::{self, BufRead as _, Write as _},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// How busy.
#[derive(clap::Args, Clone)]
pub struct Args {
    /// Threads that work
    #[arg(long, default_value_t = 3)]
    pub threads: usize,
    /// CPU to which all are bound; they move about without it
    #[arg(long)]
    pub cpu: Option<usize>,
    /// How long to work, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    pub for_ms: u64,
    /// Never sleep while working
    #[arg(long)]
    pub hog: bool,
}

/// One turn of work between two sleeps: long against a switch, and no multiple of the scheduler's tick.
const TURN: Duration = Duration::from_micros(3_170);
/// A sleep between two turns.
const REST: Duration = Duration::from_micros(1_930);

/// Works, once a line on stdin asks for it.
///
/// # Errors
/// If it cannot be bound to its CPU, or stdin or stdout fail.
pub fn run(args: &Args) -> Result<()> {
    args.cpu.map_or(Ok(()), bind)?;
    let start = Arc::new(Barrier::new(args.threads));
    let end = Arc::new(Barrier::new(args.threads));
    // The first thread works too. One that only waited for another to end would stand in the run queue beside it.
    for number in 1..args.threads {
        let (start, end, args) = (Arc::clone(&start), Arc::clone(&end), args.clone());
        thread::spawn(move || {
            start.wait();
            work(&args, number);
            end.wait();
            // Asleep, and alive so that its counters can be read.
            thread::park();
        });
    }
    say("ready")?;
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read stdin")?;
    start.wait();
    work(args, 0);
    end.wait();
    say("done")?;
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read stdin")?;
    Ok(())
}

fn say(word: &str) -> Result<()> {
    println!("{word}");
    io::stdout().flush().context("cannot write to stdout")
}

fn work(args: &Args, number: usize) {
    let deadline = Instant::now() + Duration::from_millis(args.for_ms);
    let mut turns = number;
    while Instant::now() < deadline {
        let turn = Instant::now();
        while turn.elapsed() < TURN {
            std::hint::spin_loop();
        }
        turns += 1;
        if !args.hog && turns.is_multiple_of(3) {
            thread::sleep(REST);
        }
    }
}

/// Binds the process to a CPU.
///
/// # Errors
/// If there is no such CPU.
pub fn bind(cpu: usize) -> Result<()> {
    // SAFETY: an all-zero set is valid, and the set is as large as said.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error()).with_context(|| format!("cannot be bound to CPU {cpu}"))
}
