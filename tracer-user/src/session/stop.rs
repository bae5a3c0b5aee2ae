//! The ends of a trace: a signal, a time, or the end of its processes.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use crate::machine::proc;

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

/// The signals that end a trace with a report. They are caught before anything is attached, so no signal ends it without a report.
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
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot catch SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot catch SIGTERM")?,
        })
    }
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
