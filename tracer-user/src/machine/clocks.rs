//! The kernel's clocks, and the CPU time of a thread.

use std::time::Duration;

use crate::units::time;

/// Now, nanoseconds of `CLOCK_MONOTONIC`: the clock of every record.
#[must_use]
pub(crate) fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// The time of a clock, nanoseconds.
#[must_use]
pub(crate) fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid pointer; the clocks used exist on every supported kernel.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of the calling thread.
#[must_use]
pub(crate) fn thread_cpu_time() -> Duration {
    Duration::from_nanos(clock_ns(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// Less than so much is drift, or the time between two calls, ns.
const TELLING_NS: u64 = 1_000_000_000;

/// The clocks that go on while the machine is suspended, or are set, ahead of the clock of the records, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    boot_ns: u64,
    wall_ns: u64,
}

impl Ahead {
    /// Right now.
    #[must_use]
    pub(crate) fn now() -> Self {
        let now = now_ns();
        Self {
            boot_ns: clock_ns(libc::CLOCK_BOOTTIME).saturating_sub(now),
            wall_ns: clock_ns(libc::CLOCK_REALTIME).saturating_sub(now),
        }
    }

    /// What became of the clocks since `before`, as lines of evidence. No record has a time while the machine is suspended, and each time
    /// of day is reckoned from the begin of the trace.
    #[must_use]
    pub(crate) fn since(self, before: Self) -> Vec<String> {
        let slept_ns = self.boot_ns.saturating_sub(before.boot_ns);
        let expected_ns = before.wall_ns + slept_ns;
        let set_ns = self.wall_ns.abs_diff(expected_ns);
        let mut lines = Vec::new();
        if slept_ns >= TELLING_NS {
            let slept = time(slept_ns);
            lines.push(format!(
                "the machine was suspended for {slept}: no figure contains that time, and times of day after it are too early by as much"
            ));
        }
        if set_ns >= TELLING_NS {
            let way = match self.wall_ns > expected_ns {
                true => "forward",
                false => "back",
            };
            let set = time(set_ns);
            lines.push(format!(
                "the clock of the machine was set {way} by {set}: times of day are those of the clock as the trace began"
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_suspension_and_a_step_of_the_clock_are_told_apart() {
        let before = Ahead {
            boot_ns: 5 * SECOND,
            wall_ns: 1_000 * SECOND,
        };
        let after = |slept, wall_ns| {
            let boot_ns = before.boot_ns + slept * SECOND;
            Ahead { boot_ns, wall_ns }.since(before)
        };
        assert!(after(0, before.wall_ns + SECOND / 2).is_empty());
        let slept = after(60, 1_060 * SECOND);
        assert!(slept.len() == 1 && slept[0].contains("suspended for 60.0 s"));
        let set = after(0, 940 * SECOND);
        assert!(set.len() == 1 && set[0].contains("set back by 60.0 s"));
        let both = after(60, 1_130 * SECOND);
        assert!(both.len() == 2 && both[1].contains("set forward by 70.0 s"));
    }

    #[test]
    fn nothing_is_said_of_clocks_that_went_on() {
        assert_eq!(Ahead::now().since(Ahead::now()), [""; 0]);
    }
}
