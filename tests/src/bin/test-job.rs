//! A job that needs as much of a CPU as it gets. It is one process, or workers that each lead a session of their own, as fio's do.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use tracer_tests::workload::limit_lifetime;

/// Keeps a CPU busy.
#[derive(Parser)]
struct Cli {
    /// How long, in milliseconds
    for_ms: u64,
    /// Fork so many processes that do it, and wait for them
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Processes that a killed test leaves behind end after this, seconds.
const LIFETIME: u32 = 60;

fn main() {
    let cli = Cli::parse();
    limit_lifetime(LIFETIME);
    let busy = Duration::from_millis(cli.for_ms);
    for _ in 0..cli.workers {
        // SAFETY: this process has one thread.
        if unsafe { libc::fork() } == 0 {
            // SAFETY: no arguments; a child just forked leads no process group, so that it cannot fail.
            unsafe { libc::setsid() };
            limit_lifetime(LIFETIME);
            spin(busy);
            return;
        }
    }
    match cli.workers {
        0 => spin(busy),
        // As fio does: it looks now and then whether they are done.
        _ => thread::sleep(busy),
    }
}

fn spin(busy: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < busy {
        std::hint::spin_loop();
    }
}
