//! The ends of a trace: a signal, a time, or the end of its processes.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
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
    /// Ctrl-C, SIGTERM, or the end of the terminal.
    Signal,
    /// All processes that the user named are gone.
    TargetExited,
}

/// The signals that end a trace with a report. They are caught before anything is attached: only a second signal ends it without a
/// report.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal is gone: `ssh` was cut off. `None` if whoever started the tracer ignores that (`nohup`).
    hang_up: Option<Signal>,
}

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on. To be called within a runtime.
    ///
    /// # Errors
    /// If they cannot be caught.
    pub(crate) fn catch() -> Result<Self> {
        // First: what the runtime installs afterwards calls what it finds.
        catch_ends()?;
        let hang_up = match is_ignored(libc::SIGHUP) {
            true => None,
            false => Some(signal(SignalKind::hangup()).context("cannot catch SIGHUP")?),
        };
        Ok(Self {
            hang_up,
            interrupt: signal(SignalKind::interrupt()).context("cannot catch SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot catch SIGTERM")?,
        })
    }
}

/// Catches SIGINT, SIGTERM and SIGHUP from now on. Without a runtime only [`is_asked`] says that one came.
///
/// # Errors
/// If they cannot be caught.
pub(crate) fn catch_ends() -> Result<()> {
    catch_second(libc::SIGINT).context("cannot catch SIGINT")?;
    catch_second(libc::SIGTERM).context("cannot catch SIGTERM")?;
    match is_ignored(libc::SIGHUP) {
        true => Ok(()),
        false => catch_second(libc::SIGHUP).context("cannot catch SIGHUP"),
    }
}

/// Did a signal ask for the end? For those who work while no runtime listens.
#[must_use]
pub(crate) fn is_asked() -> bool {
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

/// Was the process started with this signal ignored?
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all bytes zero are a valid value of this structure of integers and pointers.
    let mut known: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: one valid pointer to write to; nothing is changed.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut known) };
    asked == 0 && known.sa_sigaction == libc::SIG_IGN
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
    deadline: Option<Instant>,
    processes: Processes,
}

impl Ends {
    /// The signals, and the end of these processes. A process that is gone already is not waited for. If processes may be `renewed`, one
    /// that is started soon after the end of the last one goes on with the trace.
    #[must_use]
    pub(super) fn new(signals: Signals, pids: &[u32], renewed: bool) -> Self {
        Self {
            signals,
            deadline: None,
            processes: Processes::of(pids, renewed),
        }
    }

    /// The trace ends at the latest `duration` from now.
    pub(super) fn within(&mut self, duration: Option<Duration>) {
        self.deadline = duration.map(|duration| Instant::now() + duration);
    }

    /// The end of this process is waited for, too.
    pub(super) fn add(&mut self, pid: u32) {
        self.processes.add(pid);
    }

    /// The first of these ends. It may be asked for again and again: no end is missed in between.
    pub(super) async fn next(&mut self) -> Stop {
        // Asked before the runtime could hear it.
        if is_asked() {
            return Stop::Signal;
        }
        let Self {
            signals,
            deadline,
            processes,
        } = self;
        tokio::select! {
            () = sleep_until(*deadline) => Stop::Duration,
            _ = signals.interrupt.recv() => Stop::Signal,
            _ = signals.terminate.recv() => Stop::Signal,
            () = hung_up(&mut signals.hang_up) => Stop::Signal,
            () = processes.ended() => Stop::TargetExited,
        }
    }
}

async fn hung_up(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A supervisor starts a server that ended anew within this time: systemd after 100 ms, most others after a second.
const RENEWED: Duration = Duration::from_secs(5);

/// The processes that the user named.
struct Processes {
    /// A descriptor of each that was added since the last wait; readable once the process has ended.
    new: Vec<OwnedFd>,
    /// The same of those that have not ended.
    living: Vec<AsyncFd<OwnedFd>>,
    /// Was there ever one to wait for?
    is_known: bool,
    /// May another one come after the last one has ended?
    renewed: bool,
    /// Since when all have ended.
    gone: Option<Instant>,
}

impl Processes {
    fn of(pids: &[u32], renewed: bool) -> Self {
        let mut processes = Self {
            new: Vec::new(),
            living: Vec::new(),
            is_known: false,
            renewed,
            gone: None,
        };
        pids.iter().for_each(|pid| processes.add(*pid));
        processes
    }

    fn add(&mut self, pid: u32) {
        // Of a server that is started anew every second no descriptors are left behind.
        self.living.retain(|process| !is_over(process.get_ref()));
        if let Some(descriptor) = proc::process_descriptor(pid) {
            self.new.push(descriptor);
            self.is_known = true;
        }
    }

    /// Returns when every process has ended; never, if there is nothing to wait for.
    async fn ended(&mut self) {
        for descriptor in self.new.drain(..) {
            // SAFETY: the descriptor is owned, and lives as long as its registration.
            let exit = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
            self.living.extend(exit);
            self.gone = None;
        }
        // Whoever waits may leave off at any time: only a process that has ended is taken out.
        while let Some(last) = self.living.last() {
            let _ = last.readable().await;
            self.living.pop();
        }
        if !self.is_known {
            std::future::pending::<()>().await;
        }
        if self.renewed {
            let gone = *self.gone.get_or_insert_with(Instant::now);
            tokio::time::sleep_until(gone + RENEWED).await;
        }
    }
}

/// Has a process ended?
fn is_over(process: &OwnedFd) -> bool {
    let mut asked = libc::pollfd {
        fd: process.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid entry; it does not wait.
    unsafe { libc::poll(&raw mut asked, 1, 0) > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_signal_that_is_ignored_is_ignored() {
        // The standard library ignores it for every program.
        assert!(is_ignored(libc::SIGPIPE));
        assert!(!is_ignored(libc::SIGUSR2));
    }

    #[test]
    fn a_signal_sent_twice_at_once_is_one_and_a_later_one_is_another() {
        let (first, ms) = (5_000_000_000, 1_000_000);
        assert!(!is_another(first, first));
        assert!(!is_another(first, first + 20 * ms));
        // Two threads may read the clock in one order, and write in the other.
        assert!(!is_another(first, first - ms));
        assert!(is_another(first, first + 300 * ms));
    }

    /// Asks for so long whether all have ended.
    async fn have_ended(processes: &mut Processes, ms: u64) -> bool {
        let patience = Duration::from_millis(ms);
        tokio::time::timeout(patience, processes.ended())
            .await
            .is_ok()
    }

    #[test]
    fn the_end_of_the_last_process_is_the_end_unless_another_comes_soon() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let sleep = || std::process::Command::new("sleep").arg("60").spawn();
        let end = |child: &mut std::process::Child| {
            child.kill().unwrap();
            child.wait().unwrap();
        };
        runtime.block_on(async {
            let [mut first, mut second] = [sleep().unwrap(), sleep().unwrap()];
            let pids = [first.id(), second.id()];
            let mut all = Processes::of(&pids, false);
            let mut some = Processes::of(&pids[..1], true);
            assert!(!have_ended(&mut all, 1).await);
            end(&mut first);
            assert!(!have_ended(&mut all, 1).await && !have_ended(&mut some, 100).await);
            // The one that comes goes on.
            some.add(second.id());
            assert!(!have_ended(&mut some, 1).await && some.gone.is_none());
            end(&mut second);
            assert!(have_ended(&mut all, 60_000).await);
            assert!(!have_ended(&mut some, 1000).await);
            some.gone = some.gone.map(|gone| gone - RENEWED);
            assert!(have_ended(&mut some, 60_000).await);
            assert!(!have_ended(&mut Processes::of(&[], false), 1).await);
        });
    }
}
