//! What noise alone can do: intervals for rates and for quantiles.
//!
//! Waits come in bursts, so neighbouring slices of a window are alike and say less than as many independent ones. Rates are therefore
//! judged by batches, which are long against most bursts. The figures of a batch are taken as one observation each.

/// Chance that noise alone makes any of the figures that are compared together differ. Each single one gets its part of it
/// (Bonferroni), because a table of thirty figures would otherwise show one false change or two.
const FALSE_ALARM: f64 = 0.05;

/// Quantiles of the requests that are compared together.
pub(super) const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Chance that a quantile lies beyond one end of its interval. Two quantiles differ if their intervals do not touch: each has two ends,
/// there are two windows, and [`QUANTILES`] share [`FALSE_ALARM`].
const BEYOND: f64 = FALSE_ALARM / (2 * 2 * QUANTILES.len()) as f64;
/// Standard deviations of the normal distribution beyond which [`BEYOND`] of it lies.
const BEYOND_DEVIATIONS: f64 = 2.638;

/// From this variance on a binomial distribution is close enough to the normal one. Below, its terms are summed.
const NORMAL_FROM: f64 = 100.0;

/// So much of something per unit, and the standard error of that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) value: f64,
    pub(super) error: f64,
}

impl Rate {
    /// The ratio of two sums over batches; `None` without any unit. The error is that of a ratio estimator (Cochran, "Sampling
    /// Techniques", 1977, 6.4): a batch with twice the requests may have twice the waits, and is no noise.
    pub(super) fn new(amounts: &[f64], units: &[f64]) -> Option<Self> {
        let all: f64 = units.iter().sum();
        if all <= 0.0 {
            return None;
        }
        let value = amounts.iter().sum::<f64>() / all;
        let residual = |(amount, unit): (&f64, &f64)| (amount - value * unit).powi(2);
        let residuals: f64 = amounts.iter().zip(units).map(residual).sum();
        let batches = amounts.len() as f64;
        let error = (batches / (batches - 1.0).max(1.0) * residuals).sqrt() / all;
        Some(Self { value, error })
    }
}

/// How many standard errors a difference must exceed, if so many figures are compared, and the window with fewer batches has so many.
/// That one's degrees of freedom stand for both, which is on the safe side of Welch's.
pub(super) fn errors(figures: usize, batches: usize) -> f64 {
    let degrees = batches.saturating_sub(1).max(1) as u32;
    student(FALSE_ALARM / figures.max(1) as f64, degrees)
}

/// The value that a variable of Student's distribution exceeds in absolute value with this probability.
fn student(probability: f64, degrees: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1e6);
    // Each step halves the interval: 64 leave nothing of it that a `f64` could tell.
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if beyond(middle, degrees) > probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The probability that it exceeds `t` in absolute value (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn beyond(t: f64, degrees: u32) -> f64 {
    let angle = (t / f64::from(degrees).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = f64::from(degrees % 2);
    let (mut term, mut sum) = (1.0, 0.0);
    for number in 0..degrees / 2 {
        if number > 0 {
            let below = 2.0 * f64::from(number) + odd;
            term *= cosine * cosine * (below - 1.0) / below;
        }
        sum += term;
    }
    let within = match degrees % 2 {
        0 => sine * sum,
        _ => std::f64::consts::FRAC_2_PI * (angle + sine * cosine * sum),
    };
    1.0 - within
}

/// The ranks of two of `count` independent values, in order, between which a quantile lies, whatever the distribution (David and Nagaraja,
/// "Order Statistics", 2003, 7.1). `None`: there are too few values to bound it on that side.
pub(super) fn ranks(count: u64, part: f64) -> (Option<u64>, Option<u64>) {
    let above = 1.0 - part;
    let (few, many) = match count as f64 * part * above {
        variance if variance >= NORMAL_FROM => {
            let mean = count as f64 * above;
            let wide = BEYOND_DEVIATIONS * variance.sqrt() + 1.0;
            let few = (mean - wide).floor();
            let many = (mean + wide).ceil();
            let few = (few >= 0.0).then_some(few as u64);
            (few, (many <= count as f64).then_some(many as u64))
        }
        _ => tails(count, above),
    };
    let lower = many.map(|many| count - many + 1);
    (lower, few.map(|few| count - few))
}

/// Of how many of `count` values lie above a quantile, if `above` of them do on average: the largest number that is too few, and the
/// smallest one that is too many.
fn tails(count: u64, above: f64) -> (Option<u64>, Option<u64>) {
    let mut chance = (1.0 - above).powf(count as f64);
    let mut sum = 0.0;
    let mut few = None;
    for number in 0..=count {
        // It has the chances of all smaller numbers.
        if 1.0 - sum <= BEYOND {
            return (few, Some(number));
        }
        sum += chance;
        if sum <= BEYOND {
            few = Some(number);
        }
        chance *= (count - number) as f64 / (number + 1) as f64 * above / (1.0 - above);
    }
    (few, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(left: f64, right: f64, by: f64) {
        assert!((left - right).abs() < by, "{left} is not {right}");
    }

    #[test]
    fn student_is_as_in_the_tables() {
        for (probability, degrees, expected) in [
            (0.05, 1, 12.706),
            (0.05, 9, 2.262),
            (0.05, 19, 2.093),
            (0.01, 4, 4.604),
            (0.001, 10, 4.587),
        ] {
            near(student(probability, degrees), expected, 0.001);
        }
        // More figures, or fewer batches, ask for more.
        assert!(errors(30, 10) > errors(3, 10) && errors(3, 5) > errors(3, 10));
    }

    #[test]
    fn a_rate_has_no_error_where_amounts_follow_the_units() {
        let even = Rate::new(&[10.0, 20.0, 30.0], &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.value, even.error), (10.0, 0.0));
        // The standard error of a mean: the deviation is 1.
        let uneven = Rate::new(&[9.0, 10.0, 11.0], &[1.0, 1.0, 1.0]).unwrap();
        near(uneven.error, (1.0_f64 / 3.0).sqrt(), 1e-9);
        assert_eq!(Rate::new(&[1.0], &[0.0]), None);
        assert_eq!(Rate::new(&[], &[]), None);
    }

    #[test]
    fn the_ranks_of_a_quantile_hold_it_as_often_as_they_say() {
        // Each end is missed with at most the chance that it may be missed with, and the next rank would be missed more often.
        let below = |count: u64, part: f64, rank: u64| -> f64 {
            let mut chance = (1.0 - part).powf(count as f64);
            let mut sum = 0.0;
            for number in 0..rank {
                sum += chance;
                chance *= (count - number) as f64 / (number + 1) as f64 * part / (1.0 - part);
            }
            sum
        };
        let (lower, upper) = ranks(100, 0.5);
        let (lower, upper) = (lower.unwrap(), upper.unwrap());
        assert!(below(100, 0.5, lower) <= BEYOND && below(100, 0.5, lower + 1) > BEYOND);
        assert!(1.0 - below(100, 0.5, upper) <= BEYOND);
        assert!(1.0 - below(100, 0.5, upper - 1) > BEYOND);
        assert_eq!(lower + upper, 101);
    }

    #[test]
    fn few_values_do_not_bound_a_high_quantile_from_above() {
        assert_eq!(ranks(300, 0.99).1, None);
        assert!(ranks(2000, 0.99).1.is_some());
        assert!(ranks(300, 0.99).0.is_some());
        assert_eq!(ranks(0, 0.5), (None, None));
        assert_eq!(ranks(3, 0.5), (None, None));
    }

    #[test]
    fn many_values_have_ranks_on_both_sides() {
        let (lower, upper) = ranks(1_000_000, 0.99);
        let (lower, upper) = (lower.unwrap(), upper.unwrap());
        assert!((989_500..990_000).contains(&lower), "{lower}");
        assert!((990_000..990_500).contains(&upper), "{upper}");
    }
}
