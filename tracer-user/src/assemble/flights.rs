//! Disk requests of the target's own for which no thread slept. Whether a thread that had a CPU meanwhile polled for them, or worked,
//! is not seen: its time stays what it is.

use std::cmp::Reverse;

use super::blame::holder_name;
use crate::{class::Class, model::books::Books, units::share};

/// If less than this part of the window went so, nobody would feel it.
const TELLING: f64 = 0.1;
/// Most holders that are named.
const NAMED: usize = 3;

/// One line of evidence, if it is much, and a thread had a CPU for half of it at least.
pub(super) fn line(books: &Books) -> Option<String> {
    let threads = books.budget(|bin| &bin.threads);
    let (slept, on_cpu) = (threads[Class::Disk.index()], threads[Class::OnCpu.index()]);
    // The threads' sleeps may overlap: it is this long at least.
    let unslept = books.flights.ns.saturating_sub(slept);
    let part = |ns: u64| (ns as f64 / books.window_ns().max(1) as f64).min(1.0);
    if part(unslept) < TELLING || 2 * on_cpu < unslept {
        return None;
    }
    let (all, unslept) = (share(part(books.flights.ns)), share(part(unslept)));
    Some(format!(
        "its own disk requests were in flight for {all} of the window, and no thread slept for them in {unslept}: a thread that polls for \
         completions is on a CPU{}",
        behind(books)
    ))
}

/// What they stood behind.
fn behind(books: &Books) -> String {
    let mut parts: Vec<_> = books.flights.behind.iter().collect();
    parts.sort_by_key(|(_, ns)| Reverse(**ns));
    let all: u64 = parts.iter().map(|(_, ns)| **ns).sum();
    let named = parts.iter().filter(|(_, ns)| **ns > 0).take(NAMED);
    let named = named.map(|((place, holder), ns)| {
        let part = share(**ns as f64 / all as f64);
        let name = holder_name(books, *holder);
        format!("{name} on {} ({part})", books.places[*place])
    });
    let named: Vec<String> = named.collect();
    match named.is_empty() {
        true => String::new(),
        false => format!("; they stood behind {}", named.join(", ")),
    }
}
