//! Programs that keep CPUs busy: without a pause, or for a part of the time.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

/// How busy.
#[derive(clap::Args)]
pub struct Args {
    /// Threads that are busy at the same time
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Milliseconds to be busy before each pause
    #[arg(long, default_value_t = 10)]
    pub busy_ms: u64,
    /// Milliseconds to pause
    #[arg(long, default_value_t = 0)]
    pub pause_ms: u64,
}

/// Is busy until the process is ended.
pub fn run(args: &Args) {
    let (busy, pause) = (
        Duration::from_millis(args.busy_ms),
        Duration::from_millis(args.pause_ms),
    );
    thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                loop {
                    spin(busy);
                    if !pause.is_zero() {
                        thread::sleep(pause);
                    }
                }
            });
        }
    });
}

/// Computes for this long by the clock; it reads the clock so rarely that this does not count.
fn spin(length: Duration) {
    let begin = Instant::now();
    let mut state = 1_u64;
    while begin.elapsed() < length {
        for _ in 0..10_000 {
            state = black_box(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spin_lasts_as_long_as_was_asked() {
        let begin = Instant::now();
        spin(Duration::from_millis(20));
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }
}
