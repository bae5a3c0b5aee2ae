//! Stops: which are felt, and the words for them.
//!
//! A stop takes from idle time as from work. So it is measured by the whole time of the threads, and not by their active time alone:
//! a debugger that stops an idle server and lets it go on at once takes most of its active time, and nobody feels it.

use std::borrow::Cow;

use super::{
    Finding, Hypothesis,
    constants::{CULPRIT_COST, CULPRIT_PART, NOT_HELD_UP},
    decision::ratio,
};
use crate::{
    class::{Cause, Class, Resource},
    model::books::{Bin, Books, Budget},
    units::share,
};

const STOPPED: usize = Class::Stopped as usize;

/// Part of the threads' time in which they were stopped, 0..1.
fn of_threads(books: &Books) -> f64 {
    let budget = books.budget(|bin| &bin.threads);
    ratio(budget[STOPPED] as f64, budget.iter().sum::<u64>() as f64)
}

/// Part of the requests' time in which they were stopped, 0..1.
fn of_requests(books: &Books) -> f64 {
    let budget = books.budget(|bin| &bin.requests);
    ratio(budget[STOPPED] as f64, budget.iter().sum::<u64>() as f64)
}

/// The books, without stops that cost neither the threads nor the requests as much as a culprit must cost.
pub(super) fn without_unfelt(mut books: Cow<'_, Books>) -> Cow<'_, Books> {
    let parts = [of_threads(&books), of_requests(&books)];
    let is_there = parts.iter().any(|part| *part > 0.0);
    if !is_there || parts.iter().any(|part| *part >= CULPRIT_COST) {
        return books;
    }
    for bin in &mut books.to_mut().bins {
        let Bin {
            requests,
            threads,
            charges,
            served,
            behind_own,
        } = bin;
        let budgets = [requests, threads, behind_own].into_iter();
        let of_clients = served.iter_mut();
        let budgets = budgets.chain(of_clients.map(|part| &mut part.requests));
        budgets.for_each(|budget: &mut Budget| budget[STOPPED] = 0);
        charges.retain(|charge| charge.resource != Resource::Stopped);
    }
    books
}

/// Do stops hide the requests? While all threads are stopped nobody receives, so a request that comes then is not seen.
pub(super) fn hide_requests(books: &Books) -> bool {
    of_threads(books) >= NOT_HELD_UP && of_requests(books) < CULPRIT_COST
}

/// The clause after the target's name: "is stopped for 50 % of the time by sh (pid 7), with a signal".
pub(super) fn is_stopped(books: &Books, finding: &Finding, found: &Hypothesis) -> String {
    let part = match found.via.is_empty() {
        true => format!("{} of the time", share(of_threads(books))),
        false => {
            let of = match finding.of_requests {
                true => "its requests' blocked time",
                false => "its blocked time",
            };
            format!("{} of {of}", share(found.share))
        }
    };
    let asked = found.via.last().map_or_else(String::new, |id| {
        let process = &books.processes[*id];
        format!("waits for {} (pid {}), which ", process.comm, process.pid)
    });
    format!("{asked}is stopped for {part}{}", by(books, found))
}

/// Who stopped it, and how.
fn by(books: &Books, found: &Hypothesis) -> String {
    let place = found.place.map(|place| books.places[place].as_str());
    let place = place.map_or_else(String::new, |place| format!(" ({place})"));
    if found.culprits.is_empty() {
        return by_nobody(found, &place);
    }
    let named = found.culprits.iter().map(|culprit| {
        let pid = books.processes[culprit.process].pid;
        format!("{} (pid {pid})", culprit.name)
    });
    let named = named.collect::<Vec<_>>().join(" and ");
    let how = match found.cause {
        Some(Cause::Traced) => ", which debugs it".to_owned(),
        Some(Cause::Frozen) => format!(", which froze its cgroup{place}"),
        Some(Cause::StopSignal) => ", with a signal".to_owned(),
        _ => String::new(),
    };
    format!(" by {named}{how}")
}

fn by_nobody(found: &Hypothesis, place: &str) -> String {
    let itself = found.self_share > 1.0 - CULPRIT_PART;
    match found.cause {
        Some(Cause::Frozen) => format!(": its cgroup is frozen{place}"),
        Some(Cause::Traced) => " by a debugger".to_owned(),
        Some(Cause::JobControl) => {
            " by its terminal: it was suspended there, or used it in the background".to_owned()
        }
        Some(Cause::StopSignal) if itself => ": it sends the signal itself".to_owned(),
        Some(Cause::StopSignal) => " by a signal; who sent it was not seen".to_owned(),
        _ => "; who stopped it was not seen".to_owned(),
    }
}
