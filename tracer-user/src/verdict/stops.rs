//! Stops: which are felt, and the words for them.
//!
//! A stop takes from idle time as from work. So it is measured by the whole time of a thread, and not by active time alone: a debugger
//! that stops an idle server and lets it go on at once takes most of its active time, and nobody feels it. But one process of thirty
//! that is stopped all the time is felt by whoever asks that one.

use std::borrow::Cow;

use super::{
    Finding, Hypothesis,
    constants::{CULPRIT_COST, CULPRIT_PART, NOT_HELD_UP},
    decision::ratio,
    operator::named,
    view::active_ns,
};
use crate::{
    class::{Cause, Class, Resource},
    model::books::{Bin, Books, Budget},
    units::share,
};

const STOPPED: usize = Class::Stopped as usize;

/// Where one thread was stopped this many times as long as all on average, the rest of the target was not.
const IN_PART: f64 = 2.0;

/// Part of the threads' time in which they were stopped, 0..1.
fn of_threads(books: &Books) -> f64 {
    let budget = books.budget(|bin| &bin.threads);
    ratio(budget[STOPPED] as f64, budget.iter().sum::<u64>() as f64)
}

/// Part of the requests' time in which they were stopped, 0..1.
fn of_requests(books: &Books) -> f64 {
    let budget = books.budget(|bin| &bin.requests);
    ratio(budget[STOPPED] as f64, active_ns(&budget) as f64)
}

/// Part of the window in which the thread was stopped that was stopped longest, 0..1.
fn of_one(books: &Books) -> f64 {
    ratio(books.most_stopped_ns as f64, books.window_ns() as f64)
}

/// The books, without stops that cost neither a thread nor the requests as much as a culprit must cost.
pub(super) fn without_unfelt(mut books: Cow<'_, Books>) -> Cow<'_, Books> {
    let parts = [of_one(&books), of_threads(&books), of_requests(&books)];
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
            taking,
        } = bin;
        let budgets = [requests, threads, behind_own, taking].into_iter();
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

/// The clause after the target's name: "is stopped for 50 % of the time by sh (pid 7), with a signal". `also` is empty or "also ".
pub(super) fn is_stopped(
    books: &Books,
    finding: &Finding,
    found: &Hypothesis,
    also: &str,
) -> String {
    let (whole, one) = (of_threads(books), of_one(books));
    let part = match found.via.is_empty() {
        true if one > IN_PART * whole => {
            format!("{} of the time in one of its threads", share(one))
        }
        true => format!("{} of the time", share(whole)),
        false => {
            let of = match finding.of_requests {
                true => "its requests' blocked time",
                false => "its blocked time",
            };
            format!("{} of {of}", share(found.share))
        }
    };
    let by = by(books, found);
    let Some(asked) = found.via.last() else {
        return format!("is {also}stopped for {part}{by}");
    };
    let asked = &books.processes[*asked];
    format!(
        "{also}waits for {} (pid {}), which is stopped for {part}{by}",
        asked.comm, asked.pid
    )
}

/// Who stopped it, and how.
fn by(books: &Books, found: &Hypothesis) -> String {
    let place = found.place.map(|place| books.places[place].as_str());
    let place = place.map_or_else(String::new, |place| format!(" ({place})"));
    if found.culprits.is_empty() {
        return by_nobody(found, &place);
    }
    let culprits = found.culprits.iter();
    let named: Vec<String> = culprits.map(|culprit| named(books, culprit, "")).collect();
    let named = named.join(" and ");
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
