//! How often the rings are read: the more comes, the sooner again, so that the reader never takes a CPU for long from who needs it.
//!
//! It runs before others (nice -10), on a machine whose CPUs may all be at work: read every 50 ms, the records of a busy server took two to
//! four milliseconds at once, in which it answered nobody, and the slowest of its requests took four times as long.

use std::time::{Duration, Instant};

/// The rest where little comes. At 300,000 records a second of about 100 bytes, 1.5 MB of the ring's 8 MiB fill meanwhile.
const LONGEST: Duration = Duration::from_millis(50);
/// The rest where much comes: to wake up costs some 10 microseconds.
const SHORTEST: Duration = Duration::from_millis(4);
/// Records that are taken in a quarter of a millisecond.
const AT_ONCE: u64 = 600;
/// How often it is time for what costs as much as reading, and is not urgent.
const ROUND: Duration = Duration::from_millis(250);

/// Rests between readings.
#[derive(Debug)]
pub(crate) struct Pace {
    rest: Duration,
    /// When the last reading was, and when the last round.
    read: Instant,
    round: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            rest: LONGEST,
            read: now,
            round: now,
        }
    }
}

impl Pace {
    /// How long to rest now.
    #[must_use]
    pub(crate) fn rest(&self) -> Duration {
        self.rest
    }

    /// So many records came since the last reading.
    pub(crate) fn took(&mut self, records: u64) {
        let now = Instant::now();
        let since = now - self.read;
        self.read = now;
        self.rest = next(since, records);
    }

    /// Is it time for a round? Asked after each reading.
    pub(crate) fn is_round(&mut self) -> bool {
        let is_time = self.read - self.round >= ROUND;
        if is_time {
            self.round = self.read;
        }
        is_time
    }
}

/// After which rest [`AT_ONCE`] records come, if they come as in the time `since` the last reading.
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
    fn rounds_are_rarer_than_readings() {
        let mut pace = Pace::default();
        pace.took(1);
        assert!(!pace.is_round());
        pace.read += ROUND;
        assert!(pace.is_round());
        assert!(!pace.is_round());
    }
}
