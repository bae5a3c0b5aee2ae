//! The pace of reading the rings. The more records come, the sooner the next reading, so the reader never takes a CPU for long.
//!
//! The reader runs before others (nice -10), and all CPUs may be busy. Read every 50 ms, the records of a busy server took two to
//! four milliseconds at once. Meanwhile the server answered no request, and its slowest requests took four times as long.

use std::time::{Duration, Instant};

/// The longest rest, when few records come. At 300,000 records a second of about 100 bytes, 1.5 MB of the ring's 8 MiB fill
/// meanwhile.
const LONGEST: Duration = Duration::from_millis(50);
/// The shortest rest, when many records come: each waking costs some 10 microseconds.
const SHORTEST: Duration = Duration::from_millis(4);
/// Records to take at a time: about a quarter of a millisecond's work.
const AT_ONCE: u64 = 600;
/// Time between two rounds. A round is for work that costs as much as a reading and is not urgent.
const ROUND: Duration = Duration::from_millis(250);

/// Rests between readings.
#[derive(Debug)]
pub(crate) struct Pace {
    rest: Duration,
    /// Time of the last reading.
    read: Instant,
    /// Time of the last round.
    round: Instant,
    /// The longest time from one reading to the next.
    longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            rest: LONGEST,
            read: now,
            round: now,
            longest: Duration::ZERO,
        }
    }
}

impl Pace {
    /// The rest before the next reading.
    #[must_use]
    pub(crate) fn rest(&self) -> Duration {
        self.rest
    }

    /// Takes note of a reading, and of the number of records that it took.
    pub(crate) fn took(&mut self, records: u64) {
        let now = Instant::now();
        let since = now - self.read;
        self.read = now;
        self.longest = self.longest.max(since);
        self.rest = next(since, records);
    }

    /// The longest time from one reading to the next, the one that has yet to come included.
    #[must_use]
    pub(crate) fn longest(&self) -> Duration {
        self.longest.max(self.read.elapsed())
    }

    /// Is it time for a round? To be asked after each reading.
    pub(crate) fn is_round(&mut self) -> bool {
        let is_time = self.read - self.round >= ROUND;
        if is_time {
            self.round = self.read;
        }
        is_time
    }
}

/// The rest until [`AT_ONCE`] records are there, at the rate of the time `since` the last reading.
fn next(since: Duration, records: u64) -> Duration {
    let rest = since.as_nanos() * u128::from(AT_ONCE) / u128::from(records.max(1));
    let rest = rest.min(LONGEST.as_nanos()) as u64;
    Duration::from_nanos(rest).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_comes_the_sooner_it_is_read_again() {
        let ms = Duration::from_millis;
        assert_eq!(next(ms(50), 0), ms(50));
        assert_eq!(next(ms(50), 100), ms(50));
        assert_eq!(next(ms(50), 3_000), ms(10));
        assert_eq!(next(ms(10), 600), ms(10));
        assert_eq!(next(ms(50), 15_000), ms(4));
        assert_eq!(next(ms(4), 10), ms(50));
    }

    #[test]
    fn who_was_stopped_has_read_nothing_for_so_long() {
        let stopped = Duration::from_secs(3);
        let mut pace = Pace::default();
        pace.read -= stopped;
        assert!(pace.longest() >= stopped);
        pace.took(5);
        pace.took(5);
        assert!(pace.longest() >= stopped);
    }

    #[test]
    fn rounds_are_rarer_than_readings() {
        let mut pace = Pace::default();
        pace.took(1);
        assert!(!pace.is_round());
        pace.read += ROUND;
        assert!(pace.is_round());
        assert!(!pace.is_round());
    }
}
