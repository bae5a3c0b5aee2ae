//! Whether a client felt the backups: how long its requests took without them, and beside them.
//!
//! The slowest request of a hundred (p99) does not say it alone. Hundreds of requests are asked, so it is one of a few: chance
//! doubles it, and so does tracer, which attaches and ends while the client asks and was not there before. The mean is of all
//! requests. The verdict judges by it too: its figures are sums over all requests.

use std::{ops::RangeInclusive, time::Duration};

use tracer::verdict::{constants::CULPRIT_COST, floor::Seen};

use crate::latency::Latency;

/// Less than this on top of the slowest requests is no harm. The slowest of fast requests vary by as much on their own.
const NOBODY_FEELS_NS: u64 = 2_000_000;

/// Why requests are not as many times slower as the scenario says, if they are not. `asked` is how long the client asked beside the
/// backups.
pub(super) fn not_felt(
    bounds: &RangeInclusive<f64>,
    without: Latency,
    with: Latency,
    asked: Duration,
) -> Option<String> {
    let times = match *bounds.start() > 1.0 {
        true => harm(without, with),
        false => disturbance(without, with, asked)?,
    };
    (!bounds.contains(&times)).then(|| {
        format!(
            "requests take {times:.1} times as long, not {} to {}",
            bounds.start(),
            bounds.end()
        )
    })
}

/// How many times slower requests are where there must be harm. It may be to the usual requests, or to a few for so long that the mean
/// shows it.
fn harm(without: Latency, with: Latency) -> f64 {
    let usual = ratio(with.p50_ns, without.p50_ns);
    usual.max(mean(without, with).unwrap_or_else(|| slowest(without, with)))
}

/// How many times slower requests are where there must be no harm; none where it is too little for anybody. Backups that are in the
/// way make the slowest requests slower, and the mean too. One long stall shows in the mean alone.
fn disturbance(without: Latency, with: Latency, asked: Duration) -> Option<f64> {
    let is_little = with.p99_ns < without.p99_ns + NOBODY_FEELS_NS
        || costs(without, with, asked).is_some_and(|cost| cost < CULPRIT_COST);
    let slowest = slowest(without, with);
    (!is_little).then(|| mean(without, with).map_or(slowest, |mean| mean.min(slowest)))
}

/// What the backups cost at most, as a part of the least time that the verdict takes for the requests' ([`Seen`]). It accuses nobody
/// of less than [`CULPRIT_COST`].
fn costs(without: Latency, with: Latency, asked: Duration) -> Option<f64> {
    let longer_ns = with.mean_ns?.saturating_sub(without.mean_ns?);
    let requests = with.requests?;
    let seen = Seen {
        window_ns: u64::try_from(asked.as_nanos()).ok()?,
        requests: Some(requests),
        long_waits_ns: 0,
    };
    Some(longer_ns as f64 * requests as f64 / seen.least_active_ns())
}

fn slowest(without: Latency, with: Latency) -> f64 {
    ratio(with.p99_ns, without.p99_ns)
}

fn mean(without: Latency, with: Latency) -> Option<f64> {
    Some(ratio(with.mean_ns?, without.mean_ns?))
}

fn ratio(with: u64, without: u64) -> f64 {
    with as f64 / without as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARMED: RangeInclusive<f64> = 2.0..=f64::INFINITY;
    const UNHARMED: RangeInclusive<f64> = 0.0..=1.5;
    const ASKED: Duration = Duration::from_secs(7);

    /// Figures of 500 requests, in microseconds.
    fn took(p50: u64, p99: u64, mean: u64) -> Latency {
        Latency {
            p50_ns: p50 * 1000,
            p99_ns: p99 * 1000,
            mean_ns: Some(mean * 1000),
            requests: Some(500),
        }
    }

    fn is_so(bounds: RangeInclusive<f64>, without: Latency, with: Latency) -> bool {
        not_felt(&bounds, without, with, ASKED).is_none()
    }

    #[test]
    fn a_few_slow_requests_are_no_harm_where_the_mean_is_the_same() {
        let (without, with) = (took(2300, 4500, 2500), took(2500, 9700, 2800));
        assert!(is_so(UNHARMED, without, with));
    }

    #[test]
    fn a_mean_that_doubles_is_no_harm_where_the_verdict_could_accuse_nobody_of_it() {
        // A request counts as 10 ms, of which a culprit costs 0.5 ms.
        let without = took(260, 2100, 330);
        assert!(is_so(UNHARMED, without, took(270, 5100, 800)));
        assert!(!is_so(UNHARMED, without, took(270, 5100, 850)));
    }

    #[test]
    fn slow_requests_of_which_the_mean_is_slow_are_harm() {
        let (without, with) = (took(800, 30_000, 2000), took(900, 150_000, 6000));
        let why = not_felt(&UNHARMED, without, with, ASKED).unwrap();
        assert_eq!(why, "requests take 3.0 times as long, not 0 to 1.5");
    }

    #[test]
    fn one_stall_that_makes_only_the_mean_slow_is_no_harm() {
        assert!(is_so(UNHARMED, took(800, 2000, 900), took(800, 2100, 3000)));
    }

    #[test]
    fn the_slowest_requests_alone_prove_no_backup_that_must_be_in_the_way() {
        assert!(!is_so(
            HARMED,
            took(2000, 3700, 2200),
            took(2100, 9000, 2500)
        ));
    }

    #[test]
    fn a_few_requests_that_stand_for_seconds_prove_it() {
        assert!(is_so(
            HARMED,
            took(400, 900, 450),
            took(450, 4_200_000, 62_000)
        ));
    }

    #[test]
    fn without_a_mean_the_slowest_requests_decide() {
        let no_mean = |latency: Latency| Latency {
            mean_ns: None,
            ..latency
        };
        let (without, with) = (no_mean(took(2000, 3700, 0)), no_mean(took(2100, 9000, 0)));
        assert!(is_so(HARMED, without, with) && !is_so(UNHARMED, without, with));
    }
}
