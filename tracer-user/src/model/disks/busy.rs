//! For how long a device had any request, while they become known in the order of their ends.

use std::collections::VecDeque;

/// Idle times kept. A request that was there during more of them leaves the first ones idle.
const MOST_IDLE: usize = 1024;

/// The busy time of a device.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy {
    until: u64,
    /// Times without a request, as far as is known: the next request may have been there.
    idle: VecDeque<(u64, u64)>,
}

impl Busy {
    /// A request was on the device in `[begin, end]`. Returns for how long no other was that is known, ns.
    pub(super) fn add(&mut self, begin: u64, end: u64) -> u64 {
        let mut busy = end.saturating_sub(begin.max(self.until));
        while let Some((from, to)) = self.idle.back().copied().filter(|idle| idle.1 > begin) {
            self.idle.pop_back();
            busy += to - from.max(begin);
            if from < begin {
                self.idle.push_back((from, begin));
            }
        }
        if begin > self.until {
            self.idle.push_back((self.until, begin));
        }
        if self.idle.len() > MOST_IDLE {
            self.idle.pop_front();
        }
        self.until = self.until.max(end);
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(requests: &[(u64, u64)]) -> u64 {
        let mut busy = Busy::default();
        requests
            .iter()
            .map(|(begin, end)| busy.add(*begin, *end))
            .sum()
    }

    #[test]
    fn time_between_requests_is_not_busy() {
        assert_eq!(busy(&[(10, 20), (30, 35)]), 15);
        assert_eq!(busy(&[(10, 20), (15, 35)]), 25);
    }

    #[test]
    fn a_long_request_was_there_between_the_short_ones_that_ended_before_it() {
        assert_eq!(busy(&[(10, 20), (30, 35), (5, 40)]), 35);
        assert_eq!(busy(&[(10, 20), (30, 35), (25, 40)]), 25);
        assert_eq!(busy(&[(10, 20), (30, 35), (25, 40), (0, 41)]), 41);
    }
}
