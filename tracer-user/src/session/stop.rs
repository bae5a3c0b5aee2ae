//! The ends of a trace: a signal, a time, or the end of its processes.

use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use crate::machine::{clocks::now_ns, proc};

/// Signals so close to each other are one. `timeout` sends each of them to its command, and again to the group of that (coreutils,
/// `cleanup`); ns.
const ONE_NS: u64 = 200_000_000;

/// When the first signal came, ns; 0: none came yet.
static FIRST_NS: AtomicU64 = AtomicU64::new(0);

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The time was over.
    Duration,
    /// Ctrl-C or SIGTERM.
    Signal,
    /// All processes that the user named are gone.
    TargetExited,
}

/// The signals that end a trace with a report. They are caught before anything is attached: only a second signal ends it without a
/// report.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches SIGINT and SIGTERM from now on. To be called within a runtime.
    ///
    /// # Errors
    /// If they cannot be caught.
    pub(crate) fn catch() -> Result<Self> {
        // First: what the runtime installs afterwards calls what it finds.
        catch_second(libc::SIGINT).context("cannot catch SIGINT")?;
        catch_second(libc::SIGTERM).context("cannot catch SIGTERM")?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot catch SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot catch SIGTERM")?,
        })
    }
}

/// Did a signal ask for the end? For those who work while no runtime listens.
#[must_use]
pub(super) fn is_asked() -> bool {
    FIRST_NS.load(Relaxed) != 0
}

/// Lets the second of these signals end the process at once, whatever it is doing.
fn catch_second(signal: libc::c_int) -> io::Result<()> {
    let handler = on_signal as *const () as libc::sighandler_t;
    // SAFETY: the handler has the type that `signal` wants, and calls only what a handler of signals may (signal-safety(7)).
    match unsafe { libc::signal(signal, handler) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

extern "C" fn on_signal(signal: libc::c_int) {
    let now = now_ns();
    let first = FIRST_NS.compare_exchange(0, now, Relaxed, Relaxed);
    if first.is_err_and(|first| is_another(first, now)) {
        // SAFETY: takes no pointer, and returns to nobody. The status is the one that a shell gives (128 and the signal).
        unsafe { libc::_exit(128 + signal) };
    }
}

/// Is a signal at `now` another one than that at `first`, ns?
fn is_another(first: u64, now: u64) -> bool {
    now.saturating_sub(first) >= ONE_NS
}

/// Everything that may end a trace.
pub(super) struct Ends {
    signals: Signals,
    /// A descriptor of each process that the user named; readable once the process has ended.
    processes: Vec<OwnedFd>,
}

impl Ends {
    /// The signals, and the end of these processes. A process that is gone already is not waited for.
    #[must_use]
    pub(super) fn new(signals: Signals, pids: &[u32]) -> Self {
        Self {
            signals,
            processes: pids
                .iter()
                .filter_map(|pid| proc::process_descriptor(*pid))
                .collect(),
        }
    }

    /// The first of these ends, at the latest `duration` from now.
    pub(super) fn first(self, duration: Option<Duration>) -> impl Future<Output = Stop> {
        let deadline = duration.map(|duration| Instant::now() + duration);
        let Self {
            mut signals,
            processes,
        } = self;
        async move {
            // Asked before the runtime could hear it.
            if is_asked() {
                return Stop::Signal;
            }
            tokio::select! {
                () = sleep_until(deadline) => Stop::Duration,
                _ = signals.interrupt.recv() => Stop::Signal,
                _ = signals.terminate.recv() => Stop::Signal,
                () = all_of(processes) => Stop::TargetExited,
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Returns when every process has ended; never, if there is nothing to wait for.
async fn all_of(exits: Vec<OwnedFd>) {
    if exits.is_empty() {
        std::future::pending::<()>().await;
    }
    for exit in exits {
        // SAFETY: the descriptor is owned, and lives as long as its registration.
        let exit = unsafe { AsyncFd::register_with_interest(exit, Interest::READABLE) };
        if let Ok(exit) = exit {
            let _ = exit.readable().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_sent_twice_at_once_is_one_and_a_later_one_is_another() {
        let (first, ms) = (5_000_000_000, 1_000_000);
        assert!(!is_another(first, first));
        assert!(!is_another(first, first + 20 * ms));
        // Two threads may read the clock in one order, and write in the other.
        assert!(!is_another(first, first - ms));
        assert!(is_another(first, first + 300 * ms));
    }
}
