//! The time that the tracer's own programs ran in the kernel.
//!
//! Counting slows every program of the machine, so the kernel counts for a tenth of the time. It does so once a second, because the
//! load changes. One count in the first second of ten would miss a load that begins later.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::Program,
    sys::{Stats, enable_stats},
};

/// Time from one count to the next. To begin and to end a count patches the kernel's code, and every CPU waits for that.
const EVERY: Duration = Duration::from_secs(1);
/// Length of a count.
const COUNTED: Duration = Duration::from_millis(100);

/// The run time of the programs, and the number of runs left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Time that they ran, nanoseconds; `None` if the kernel does not count it.
    pub(crate) kernel_ns: Option<u64>,
    /// Runs that the kernel left out because the same program was running on that CPU already.
    pub(crate) nested: u64,
}

/// A count under way.
struct Count {
    /// The kernel counts as long as this is open.
    _stats: OwnedFd,
    begun: Instant,
    /// The counters at the begin, nanoseconds: another tool may have switched them on before.
    before_ns: u64,
}

/// Counts a tenth of the time.
pub(crate) struct SelfTime {
    begun: Instant,
    due: Instant,
    count: Option<Count>,
    counted: Duration,
    ran_ns: u64,
}

impl SelfTime {
    /// Stands for the time from now on.
    #[must_use]
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            due: now,
            count: None,
            counted: Duration::ZERO,
            ran_ns: 0,
        }
    }

    /// Begins a count or ends it, if it is time.
    pub(crate) fn tick(&mut self, ebpf: &Ebpf) {
        let now = Instant::now();
        match &self.count {
            Some(count) if now - count.begun >= COUNTED => self.stop(ebpf),
            None if now >= self.due => {
                self.due = now + EVERY;
                // The kernel refuses before 5.8, or without CAP_SYS_ADMIN.
                self.count = enable_stats(Stats::RunTime).ok().map(|stats| Count {
                    _stats: stats,
                    begun: now,
                    before_ns: ran_ns(ebpf),
                });
            }
            _ => {}
        }
    }

    fn stop(&mut self, ebpf: &Ebpf) {
        if let Some(count) = self.count.take() {
            self.counted += count.begun.elapsed();
            self.ran_ns += ran_ns(ebpf).saturating_sub(count.before_ns);
        }
    }

    /// The result. To be asked while the programs are loaded.
    #[must_use]
    pub(crate) fn end(&mut self, ebpf: &Ebpf) -> Ran {
        self.stop(ebpf);
        let nested = ebpf.programs().map(|(_, program)| nested(program)).sum();
        Ran {
            kernel_ns: scale(self.ran_ns, self.counted, self.begun.elapsed()),
            nested,
        }
    }
}

/// Scales the time that ran in `counted` to `all`, nanoseconds.
fn scale(ran_ns: u64, counted: Duration, all: Duration) -> Option<u64> {
    let ns = u128::from(ran_ns) * all.as_nanos();
    Some(ns.checked_div(counted.as_nanos())? as u64)
}

/// Time of all programs so far, nanoseconds.
fn ran_ns(ebpf: &Ebpf) -> u64 {
    let ran = ebpf.programs().filter_map(|(_, program)| {
        let info = program.info().ok()?;
        Some(info.run_time().as_nanos() as u64)
    });
    ran.sum()
}

/// `recursion_misses` of `/proc/self/fdinfo/FD` (from 5.12 on).
fn nested(program: &Program) -> u64 {
    let Ok(fd) = program.fd() else { return 0 };
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    misses(&std::fs::read_to_string(path).unwrap_or_default())
}

fn misses(text: &str) -> u64 {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_stands_for_all_and_nothing_is_not_zero() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(scale(7, second, minute), Some(420));
        assert_eq!(scale(0, second, minute), Some(0));
        assert_eq!(scale(0, Duration::ZERO, minute), None);
    }

    #[test]
    fn runs_left_out_are_read_where_the_kernel_tells_them() {
        let text = "pos:\t0\nprog_type:\t26\nrun_cnt:\t5\nrecursion_misses:\t13\n";
        assert_eq!(misses(text), 13);
        assert_eq!(misses("pos:\t0\nrun_cnt:\t5\n"), 0);
    }
}
