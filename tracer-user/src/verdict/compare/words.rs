//! What differs, in one sentence.

use super::{Blamed, Comparison, Figure, Identity, Quantile};
use crate::{
    class::{Class, Resource},
    model::books::Holder,
    units::{share, time},
    verdict::{constants::ALSO_NAMED, resources::words},
};

/// Says what differs most; or why nothing is claimed.
pub(super) fn sentence(comparison: &Comparison, reason: Option<&str>) -> String {
    if let Some(reason) = reason {
        return format!("No change is claimed: {reason}.");
    }
    let parts: Vec<String> = requests(&comparison.quantiles)
        .into_iter()
        .chain(waits(comparison))
        .collect();
    match parts.is_empty() {
        true => "after: no difference that exceeds the noise.".to_owned(),
        false => format!("after: {}.", parts.join("; ")),
    }
}

/// "requests 3.1 × faster (p50 86.1 ms → 27.8 ms)": the middle one, else the slowest.
fn requests(quantiles: &[Quantile]) -> Option<String> {
    let differs = |quantile: &&Quantile| quantile.differs == Some(true);
    let middle = quantiles.first().filter(differs);
    let found = middle.or_else(|| quantiles.iter().rev().find(differs))?;
    let which = match middle {
        Some(_) => "requests",
        None => "the slowest requests",
    };
    let [before, after] = found.ns;
    let word = if after < before { "faster" } else { "slower" };
    let factor = before.max(after) as f64 / before.min(after).max(1) as f64;
    let percentile = (found.part * 100.0).round();
    let (before, after) = (time(before), time(after));
    Some(format!(
        "{which} {} {word} (p{percentile} {before} → {after})",
        times(factor)
    ))
}

fn times(factor: f64) -> String {
    match factor {
        factor if factor < 9.95 => format!("{factor:.1} ×"),
        factor => format!("{factor:.0} ×"),
    }
}

/// The largest change of what was waited for, and the largest one in the other direction, if that is not much smaller.
fn waits(comparison: &Comparison) -> Vec<String> {
    let mut changes: Vec<(String, Figure)> = comparison.blame.iter().filter_map(behind).collect();
    if changes.is_empty() {
        let requests = comparison.per_request.as_ref();
        let budget = requests.filter(|_| comparison.of_requests);
        let budget = budget.unwrap_or(&comparison.per_second);
        changes = budget.iter().filter_map(class).collect();
    }
    changes.sort_by(|a, b| b.1.change().abs().total_cmp(&a.1.change().abs()));
    let Some(first) = changes.first().map(|(_, figure)| figure.change()) else {
        return Vec::new();
    };
    let is_other = |figure: &Figure| {
        let change = figure.change();
        change.signum() != first.signum() && change.abs() >= ALSO_NAMED * first.abs()
    };
    let other = changes.iter().find(|(_, figure)| is_other(figure));
    let said = changes.iter().take(1).chain(other);
    said.map(|(what, figure)| went(what, figure, comparison.of_requests))
        .collect()
}

/// A row that differs. Of what nobody is known to have held, the class says enough.
fn behind(row: &Blamed) -> Option<(String, Figure)> {
    if row.figure.differs != Some(true) || row.holder == Identity::Plain(Holder::Nobody) {
        return None;
    }
    let (noun, name) = (words(row.resource).noun, row.holder.name());
    let what = match row.resource {
        Resource::Stopped => format!("stops by {name}"),
        _ => format!("{noun} behind {name}"),
    };
    Some((what, row.figure))
}

/// A class that differs.
fn class((class, figure): &(Class, Figure)) -> Option<(String, Figure)> {
    if figure.differs != Some(true) || *class == Class::Idle {
        return None;
    }
    let what = match class.resource() {
        Some(Resource::Stopped) => "stops".to_owned(),
        Some(resource) => format!("waits for {}", words(resource).noun),
        None if *class == Class::OnCpu => "work on a CPU".to_owned(),
        None => "waits for something else".to_owned(),
    };
    Some((what, *figure))
}

/// "the disk behind tar went from 81 % to 2 % of request time (70.1 ms → 540 µs a request)". Of what is less and still a larger part of
/// the rest, only the time is said.
fn went(what: &str, figure: &Figure, of_requests: bool) -> String {
    let (of, unit) = match of_requests {
        true => ("request time", "a request"),
        false => ("active time", "a second"),
    };
    let [before, after] = figure.shares;
    let [from, to] = [figure.before, figure.after].map(|ns| time(ns.round() as u64));
    let (first, second) = (share(before), share(after));
    let agrees = (after - before).signum() == figure.change().signum();
    match agrees && first != second {
        true => format!("{what} went from {first} to {second} of {of} ({from} → {to} {unit})"),
        false => format!("{what} went from {from} to {to} {unit}"),
    }
}
