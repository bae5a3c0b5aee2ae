//! Groups of probes that user space sheds while their facts cannot change the answer. The programs stay attached, and return at once.
//!
//! User space learns of a wait a tenth of a second after its end. So the kernel half itself watches again once target threads queue.

/// When each [`Group`] was last begun to be watched, ns, or [`SHED`], by number: an array. 0: it is watched since the attach.
pub const WATCHED_MAP: &str = "WATCHED";

/// The group is not watched.
pub const SHED: u64 = u64::MAX;

/// Probes that are shed together. The number is the index in [`WATCHED_MAP`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Interrupts and softirqs, and for whom a softirq moves packets.
    Interrupts = 0,
}

/// Number of groups.
pub const GROUPS: u32 = 1;

/// A run-queue wait of this length is a long one, ns: to wake an idle CPU takes less.
pub const LONG_NS: u64 = 50_000;

/// A long wait counts as much as so many times its length in short ones.
pub const LONG_COUNTS: u64 = 20;

/// Once target threads queue on a CPU for so long without a pause, ns, the kernel half watches again. A request that is late by that may
/// be felt.
pub const STANDS_NS: u64 = 1_000_000;

/// The sum of waits on one CPU, [`weighed`], at which the kernel half watches again: one wait of [`STANDS_NS`] fills it. Short ones fill
/// it in half a second if they take a twentieth of the time.
pub const FULL_NS: u64 = STANDS_NS * LONG_COUNTS;

/// The sum of waits in a run queue, ns, with one more of `wait_ns`.
#[inline(always)]
#[must_use]
pub const fn weighed(sum_ns: u64, wait_ns: u64) -> u64 {
    if wait_ns >= STANDS_NS {
        return FULL_NS;
    }
    let times = if wait_ns >= LONG_NS { LONG_COUNTS } else { 1 };
    sum_ns.wrapping_add(wait_ns * times)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of waits of this length after which the group is watched.
    fn waits_until_full(wait_ns: u64) -> u64 {
        let (mut sum_ns, mut waits) = (0, 0);
        while sum_ns < FULL_NS {
            sum_ns = weighed(sum_ns, wait_ns);
            waits += 1;
        }
        waits
    }

    #[test]
    fn one_wait_of_a_millisecond_fills_the_sum_and_so_do_many_shorter_ones() {
        assert_eq!(waits_until_full(u64::MAX), 1);
        assert_eq!(waits_until_full(STANDS_NS), 1);
        assert_eq!(waits_until_full(STANDS_NS / 2), 2);
        assert_eq!(waits_until_full(LONG_NS), 20);
    }

    #[test]
    fn wakeups_of_idle_cpus_do_not_fill_the_sum_before_it_begins_anew() {
        // 8,000 wakeups a second of 3 µs each, for half a second.
        assert!(waits_until_full(3_000) > 4_000);
        // A tenth of the time in short waits does.
        assert!(waits_until_full(LONG_NS - 1) < 500_000_000 / (10 * LONG_NS));
    }
}
