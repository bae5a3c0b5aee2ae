//! One figure of two windows: does it differ?

use super::noise::Rate;

/// A change of less than this part of the time that is not idle does not matter: nobody would feel it, and what waits at the begin and
/// at the end of a window alone may be as much.
const MATTERS: f64 = 0.01;

/// A figure before and after, in ns for each unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// In the first window.
    pub before: f64,
    /// In the second.
    pub after: f64,
    /// Part of the time that is not idle, 0..1: before and after.
    pub shares: [f64; 2],
    /// Interval of `after - before`; `None` if it is not compared.
    pub difference: Option<(f64, f64)>,
    /// Does it differ by more than noise, and does that matter? `None` if it is not compared.
    pub differs: Option<bool>,
}

impl Figure {
    /// `after - before`
    #[must_use]
    pub fn change(&self) -> f64 {
        self.after - self.before
    }
}

/// What is needed to compare a figure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) rates: [Rate; 2],
    /// The time that is not idle, in the same unit.
    pub(super) active: [f64; 2],
}

/// How figures are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    /// A difference must exceed so many standard errors.
    pub(super) errors: f64,
    /// Part of the records of each window that was lost, below 1. Each figure may be too low by as much.
    pub(super) lost: [f64; 2],
}

impl Candidate {
    /// The larger of both.
    pub(super) fn largest(&self) -> f64 {
        self.rates[0].value.max(self.rates[1].value)
    }

    /// Is it large enough for a change to matter?
    pub(super) fn matters(&self) -> bool {
        self.largest() > 0.0 && self.largest() >= self.least()
    }

    fn least(&self) -> f64 {
        MATTERS * self.active[0].max(self.active[1])
    }

    /// Compares it, unless there is no test.
    pub(super) fn figure(&self, test: Option<&Test>) -> Figure {
        let [before, after] = self.rates;
        let change = after.value - before.value;
        let difference = test.map(|test| {
            let noise = test.errors * (before.error.powi(2) + after.error.powi(2)).sqrt();
            let unseen = |side: usize| {
                let lost = test.lost[side];
                self.rates[side].value * lost / (1.0 - lost)
            };
            (change - noise - unseen(0), change + noise + unseen(1))
        });
        let is_large = change != 0.0 && change.abs() >= self.least();
        let part = |side: usize| match self.active[side] > 0.0 {
            true => self.rates[side].value / self.active[side],
            false => 0.0,
        };
        Figure {
            before: before.value,
            after: after.value,
            shares: [part(0), part(1)],
            difference,
            differs: difference.map(|(low, high)| is_large && (low > 0.0 || high < 0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(before: (f64, f64), after: (f64, f64)) -> Candidate {
        let rate = |(value, error)| Rate { value, error };
        Candidate {
            rates: [rate(before), rate(after)],
            active: [1000.0, 1000.0],
        }
    }

    fn test(lost: [f64; 2]) -> Test {
        Test { errors: 3.0, lost }
    }

    #[test]
    fn a_change_within_the_noise_or_too_small_to_matter_is_none() {
        let differs = |before, after| {
            let figure = candidate(before, after).figure(Some(&test([0.0; 2])));
            figure.differs.unwrap()
        };
        assert!(differs((100.0, 3.0), (120.0, 4.0)));
        // Three times five: as wide as the change.
        assert!(!differs((100.0, 3.0), (115.0, 4.0)));
        assert!(!differs((100.0, 0.0), (109.0, 0.0)));
        assert!(differs((0.0, 0.0), (10.0, 0.0)));
        assert!(!differs((0.0, 0.0), (0.0, 0.0)));
    }

    #[test]
    fn what_was_lost_may_be_the_whole_change() {
        let figure = |lost| candidate((100.0, 0.0), (120.0, 0.0)).figure(Some(&test(lost)));
        assert_eq!(figure([0.0, 0.5]).differs, Some(true));
        assert_eq!(figure([0.5, 0.0]).differs, Some(false));
    }

    #[test]
    fn the_way_back_mirrors_the_way_there() {
        let there = candidate((100.0, 7.0), (133.0, 2.0)).figure(Some(&test([0.1, 0.2])));
        let back = candidate((133.0, 2.0), (100.0, 7.0)).figure(Some(&test([0.2, 0.1])));
        let (low, high) = there.difference.unwrap();
        assert_eq!(back.difference, Some((-high, -low)));
        assert_eq!(there.differs, back.differs);
        assert_eq!(there.change(), -back.change());
    }

    #[test]
    fn without_a_test_nothing_is_claimed() {
        let figure = candidate((1.0, 0.0), (900.0, 0.0)).figure(None);
        assert_eq!((figure.difference, figure.differs), (None, None));
        assert_eq!(figure.shares, [0.001, 0.9]);
    }
}
