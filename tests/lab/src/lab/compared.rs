//! What tracer's times of requests are compared with: those requests of the client that ended while tracer watched, from the packet of
//! the question to that of the answer. Of those that began before, tracer knows how long they took only if that was long.
//!
//! A client asks before tracer has begun and after it has ended, and a request that takes seconds falls out of tracer's window. So the
//! client's own p99 is of other requests. Its own clock also has its calls and its wakeups in it, 50 to 100 us a request. The kernel's
//! stamps of its packets do not. Neither side knows anything of the other.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outcome::Outcome;
use crate::latency::Latency;

/// Tracer's quantiles are those of the client up to this part.
const NEAR: f64 = 0.10;

/// From this length on tracer knows how long a request took that began before it watched, ns.
const KNOWN_NS: u64 = 1_000_000_000;

/// More than this is no send, ns: somebody else ran meanwhile.
const LONGEST_SEND_NS: u64 = 50_000;

/// The client's side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compared {
    /// All that the client measured, by its own clock. Older plays know nothing else.
    #[default]
    All,
    /// Its requests in tracer's window, by the kernel's stamps.
    Watched {
        /// Their figures.
        latency: Latency,
        /// The least time that a send takes, ns.
        send_ns: u64,
    },
    /// Nothing: others ask the server too, or nothing that was asked in the window was answered there.
    Nothing,
}

/// Both sides.
pub(super) struct Pair {
    /// What tracer says.
    pub(super) said: Latency,
    /// What the client says.
    pub(super) client: Latency,
    /// Is each quantile of tracer's that of the client?
    pub(super) is_near: bool,
}

impl Compared {
    /// What the client's figures, with its list of requests, say of the window of tracer's report.
    pub(super) fn new(client: &str, report: &str, others_ask: bool) -> Self {
        if others_ask {
            return Self::Nothing;
        }
        let read = |json: &str| serde_json::from_str::<Value>(json).unwrap_or_default();
        let (client, report) = (read(client), read(report));
        let window = window(&report["window"]);
        let Some((listed, (begin_ns, end_ns))) = client["requests"].as_array().zip(window) else {
            return Self::All;
        };
        let times = listed.iter().filter_map(|request| {
            let (begin, length) = (request[0].as_u64()?, request[1].as_u64()?);
            let end = begin + length;
            let is_known = begin >= begin_ns || length >= KNOWN_NS;
            (is_known && (begin_ns..=end_ns).contains(&end)).then_some(length)
        });
        let send_ns = client["send_ns"].as_u64().unwrap_or(0);
        match Latency::of(times.collect()) {
            None => Self::Nothing,
            Some(latency) => Self::Watched {
                latency,
                send_ns: send_ns.min(LONGEST_SEND_NS),
            },
        }
    }

    /// The figures of both sides, if there are any to be compared.
    ///
    /// Tracer counts from the packet that brings a question to the return of the send that ends the answer. The client counts from packet
    /// to packet. So each end may be off by a part of a send, and by no more.
    pub(super) fn pair(outcome: &Outcome) -> Option<Pair> {
        let said = outcome.said.as_ref()?.latency?;
        let (client, send_ns) = match outcome.compared {
            Self::All => (outcome.with?, 0),
            Self::Watched { latency, send_ns } => (latency, send_ns),
            Self::Nothing => return None,
        };
        Some(Pair {
            said,
            client,
            is_near: said.is_near(client, NEAR, send_ns),
        })
    }
}

/// Begin and end of a report's window, ns since 1970.
fn window(window: &Value) -> Option<(u64, u64)> {
    let begin_ns = since_1970(window["start"].as_str()?)?;
    Some((begin_ns, begin_ns + window["duration_ns"].as_u64()?))
}

/// A time as reports have it, RFC 3339 in UTC with milliseconds, in ns since 1970. The calendar is Howard Hinnant's `days_from_civil`.
fn since_1970(text: &str) -> Option<u64> {
    let parts = text.trim_end_matches('Z').split(['-', 'T', ':', '.']);
    let numbers: Option<Vec<u64>> = parts.map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second, ms] = numbers?[..] else {
        return None;
    };
    // A year begins in March here: its last day is the one that not all years have.
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = ((153 * ((month + 9) % 12) + 2) / 5 + day).checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000_000 + ms * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const BEGIN: u64 = 1_790_000_000 * SECOND;

    /// Tracer watched for 6 s.
    fn report() -> String {
        let start = tracer::units::utc(BEGIN);
        format!(
            r#"{{"window": {{"start": "{start}", "duration_ns": {}}}}}"#,
            6 * SECOND
        )
    }

    fn client(send_ns: u64, requests: &[[u64; 2]]) -> String {
        serde_json::json!({"send_ns": send_ns, "requests": requests}).to_string()
    }

    #[test]
    fn only_requests_that_ended_in_the_window_are_compared_and_of_those_from_before_the_long_ones()
    {
        let requests = [
            [BEGIN - 1, 7],
            [BEGIN - 5 * SECOND, 4 * SECOND],
            [BEGIN - SECOND, 2 * SECOND],
            [BEGIN, SECOND],
            [BEGIN + 2 * SECOND, 3 * SECOND],
            [BEGIN + 5 * SECOND, SECOND + 1],
        ];
        let compared = Compared::new(&client(9_000, &requests), &report(), false);
        let Compared::Watched { latency, send_ns } = compared else {
            panic!("{compared:?}")
        };
        assert_eq!((latency.p50_ns, latency.p99_ns), (2 * SECOND, 3 * SECOND));
        assert_eq!((latency.requests, send_ns), (Some(3), 9_000));
    }

    #[test]
    fn a_send_that_others_interrupt_forgives_nothing() {
        let compared = Compared::new(&client(SECOND, &[[BEGIN, 5]]), &report(), false);
        let is_capped = |compared: Compared| match compared {
            Compared::Watched { send_ns, .. } => send_ns == LONGEST_SEND_NS,
            Compared::All | Compared::Nothing => false,
        };
        assert!(is_capped(compared), "{compared:?}");
    }

    #[test]
    fn where_others_ask_or_nothing_was_answered_there_is_nothing_to_compare() {
        let one = client(0, &[[BEGIN, 5]]);
        assert_eq!(Compared::new(&one, &report(), true), Compared::Nothing);
        let none = client(0, &[[BEGIN + 5 * SECOND, 2 * SECOND]]);
        assert_eq!(Compared::new(&none, &report(), false), Compared::Nothing);
        assert_eq!(Compared::new("{}", &report(), false), Compared::All);
    }

    #[test]
    fn times_of_reports_are_read_as_they_are_written() {
        for ns in [0, 951_782_399_999, 951_868_800_000, BEGIN / 1_000_000 + 344] {
            let ns = ns * 1_000_000;
            assert_eq!(since_1970(&tracer::units::utc(ns)), Some(ns));
        }
        assert_eq!(since_1970("yesterday"), None);
    }
}
