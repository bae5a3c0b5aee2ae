//! The floor below which nobody feels that a target waits, whatever part of its time it is.
//!
//! A server that is idle nearly all the time is blocked for half of the little that it does, and nobody notices. So the parts of a
//! verdict are parts of active time, but of no less than a *least active time*. A request counts as if it lasted 10 ms at least:
//! then waits of 1 ms on average hold it up ([`NOT_HELD_UP`]). Threads count as if one of them was active in all of the window.

use super::constants::{FELT_NS, NOT_HELD_UP, ONE_FELT_IN_NS, REQUESTS_FELT_TOGETHER};
use crate::{model::books::Books, units};

/// The figures that show how much is felt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Length of the window, ns.
    pub window_ns: u64,
    /// Requests that ended in it, or were open at its end. `None`: threads are judged.
    pub requests: Option<u64>,
    /// Time that threads lost in single waits of at least 10 ms, ns.
    pub long_waits_ns: u64,
}

impl Seen {
    pub(super) fn new(books: &Books, of_requests: bool) -> Self {
        let requests = books.requests.as_ref().filter(|_| of_requests);
        Self {
            window_ns: books.window_ns(),
            requests: requests.map(|requests| requests.count + requests.open),
            long_waits_ns: books.long_waits_ns,
        }
    }

    /// Active time counts as this at least, ns.
    #[must_use]
    pub fn least_active_ns(&self) -> f64 {
        self.least_lost_ns() / NOT_HELD_UP
    }

    /// With less lost in the window, nobody feels anything, ns.
    fn least_lost_ns(&self) -> f64 {
        let window = self.window_ns as f64;
        let (once, much) = (window * FELT_NS / ONE_FELT_IN_NS, window * NOT_HELD_UP);
        match self.requests {
            Some(requests) => (requests as f64 * felt_per_request_ns()).clamp(once, much),
            // Many waits of some microseconds are felt only where they are much in all.
            None if self.long_waits_ns as f64 >= once => once,
            None => much,
        }
    }

    /// What was lost in a few words, where that is little: "0.1 ms a request".
    pub(super) fn in_words(&self, lost_ns: f64) -> String {
        let requests = self.requests.filter(|requests| *requests > 0);
        let per_request = requests.map(|requests| lost_ns / requests as f64);
        match per_request.filter(|lost| *lost < felt_per_request_ns()) {
            Some(lost) => format!("{} a request", units::time(lost as u64)),
            None => {
                let seconds = (self.window_ns as f64 / 1e9).max(f64::MIN_POSITIVE);
                format!("{} a second", units::time((lost_ns / seconds) as u64))
            }
        }
    }
}

/// Lost per request on average: a person feels it from here on, ns.
fn felt_per_request_ns() -> f64 {
    FELT_NS / REQUESTS_FELT_TOGETHER
}
