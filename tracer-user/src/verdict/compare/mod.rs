//! Two windows of one target side by side: what differs by more than noise.
//!
//! Windows of different lengths are compared by what both have: time for each request that ended, and time for each second of the
//! window. A change is claimed only where its interval leaves no change out, and where it is large enough to matter.

mod batches;
mod caveats;
mod figure;
mod identity;
mod noise;
mod quantiles;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

pub use self::{
    figure::Figure,
    identity::{Identities, Identity},
    quantiles::Quantile,
};

use self::{
    batches::Batches,
    caveats::Ground,
    figure::{Candidate, Test},
    identity::{Key, Row, rows},
    noise::Rate,
    quantiles::quantiles,
};
use super::{Charged, Verdict};
use crate::{
    class::{Class, Resource},
    model::books::{Bin, Books, Budget},
};

/// One of two windows that are compared.
#[derive(Clone, Debug)]
pub struct Window<'a> {
    books: &'a Books,
    verdict: &'a Verdict,
    batches: Batches,
}

impl<'a> Window<'a> {
    /// The books of a window, and the verdict on them.
    #[must_use]
    pub fn new(charged: &'a Charged<'_>, verdict: &'a Verdict) -> Self {
        let books = charged.books();
        Self {
            books,
            verdict,
            batches: Batches::new(books),
        }
    }

    /// Requests that ended in a second; `None` if none was seen.
    #[must_use]
    pub fn requests_per_second(&self) -> Option<f64> {
        let load = self.batches.load()?;
        (load.value > 0.0).then_some(load.value)
    }
}

/// What differs, and what cannot be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Is it the same target, and are both windows long enough? No change is claimed otherwise.
    pub comparable: bool,
    /// Is blame compared by the time of requests, not of threads?
    pub of_requests: bool,
    /// How long requests took. Empty if a window has none.
    pub quantiles: Vec<Quantile>,
    /// Time of requests by class, for each that ended, ns; `None` if a window has none.
    pub per_request: Option<Vec<(Class, Figure)>>,
    /// Time of threads by class, for each second of the window, ns.
    pub per_second: Vec<(Class, Figure)>,
    /// Who held what was waited for, the largest first.
    pub blame: Vec<Blamed>,
    /// What cannot be compared, and what else may explain a difference. Text from outside is not escaped in it.
    pub caveats: Vec<String>,
    /// In one sentence. Text from outside is not escaped in it.
    pub sentence: String,
}

/// Time that was waited behind one holder.
#[derive(Clone, Debug, PartialEq)]
pub struct Blamed {
    /// The resource.
    pub resource: Resource,
    /// The place, if its name lasts.
    pub place: Option<String>,
    /// The holder.
    pub holder: Identity,
    /// How long, ns: for each request, or for each second of the window.
    pub figure: Figure,
    /// Does more than half of it rest on an estimate, in one of the windows?
    pub estimated: bool,
}

/// Compares two windows.
#[must_use]
pub fn compare(before: &Window<'_>, after: &Window<'_>) -> Comparison {
    let windows = [before, after];
    let ground = Ground::new(windows);
    let tables = Tables::new(windows);
    let test = ground.test(tables.figures());
    let figures = |budget: &[(Class, Candidate)], is_sound: bool| {
        let figure = |(class, candidate): &(Class, Candidate)| {
            let is_seen = class
                .resource()
                .is_none_or(|resource| ground.sees(resource));
            let test = test.as_ref().filter(|_| is_sound && is_seen);
            (*class, candidate.figure(test))
        };
        budget.iter().map(figure).collect::<Vec<_>>()
    };
    let mut comparison = Comparison {
        comparable: ground.is_comparable(),
        of_requests: tables.of_requests,
        quantiles: match windows.map(|window| window.books.requests.as_ref()) {
            [Some(first), Some(second)] => quantiles(
                (first, &before.batches),
                (second, &after.batches),
                ground.has_quantiles(),
            ),
            _ => Vec::new(),
        },
        per_request: tables
            .per_request
            .as_ref()
            .map(|budget| figures(budget, ground.has_requests)),
        per_second: figures(&tables.per_second, true),
        blame: blame(&tables, &ground, test.as_ref()),
        caveats: ground.caveats,
        sentence: String::new(),
    };
    comparison.sentence = words::sentence(&comparison, ground.reason.as_deref());
    comparison
}

fn blame(tables: &Tables, ground: &Ground, test: Option<&Test>) -> Vec<Blamed> {
    let is_sound = !tables.of_requests || ground.has_requests;
    let row = |(key, row): &(Key, Compared)| {
        let test = test.filter(|_| is_sound && ground.sees(key.resource));
        Blamed {
            resource: key.resource,
            place: key.place.clone(),
            holder: key.holder.clone(),
            figure: row.candidate.figure(test),
            estimated: row.estimated,
        }
    };
    tables.rows.iter().map(row).collect()
}

/// All figures that are compared together.
struct Tables {
    of_requests: bool,
    per_request: Option<Vec<(Class, Candidate)>>,
    per_second: Vec<(Class, Candidate)>,
    /// The largest first.
    rows: Vec<(Key, Compared)>,
}

/// A row of blame.
struct Compared {
    candidate: Candidate,
    estimated: bool,
}

/// Requests or threads: their time in a slice, and what it is counted by.
#[derive(Clone, Copy)]
enum Ledger {
    Requests,
    Threads,
}

impl Ledger {
    fn of(self, bin: &Bin) -> &Budget {
        match self {
            Self::Requests => &bin.requests,
            Self::Threads => &bin.threads,
        }
    }

    fn units(self, batches: &Batches) -> &[f64] {
        match self {
            Self::Requests => &batches.ended,
            Self::Threads => &batches.seconds,
        }
    }
}

impl Tables {
    fn new(windows: [&Window<'_>; 2]) -> Self {
        let answered = windows.iter().all(|w| w.batches.all_ended() > 0.0);
        let judged = windows.iter().all(|w| w.verdict.finding.of_requests);
        let of_requests = answered && judged;
        let ledger = match of_requests {
            true => Ledger::Requests,
            false => Ledger::Threads,
        };
        Self {
            of_requests,
            per_request: answered.then(|| budget(windows, Ledger::Requests)),
            per_second: budget(windows, Ledger::Threads),
            rows: compared(windows, ledger),
        }
    }

    /// How many of them are large enough for a change to matter: so many are compared together.
    fn figures(&self) -> usize {
        let requests = self.per_request.iter().flatten();
        let budgets = requests.chain(&self.per_second);
        let budgets = budgets.map(|(_, candidate)| candidate);
        let rows = self.rows.iter().map(|(_, row)| &row.candidate);
        budgets.chain(rows).filter(|of| of.matters()).count()
    }
}

/// The time of a class, of both windows.
fn budget(windows: [&Window<'_>; 2], ledger: Ledger) -> Vec<(Class, Candidate)> {
    let active = windows.map(|window| active(window, ledger));
    let candidate = |class: Class| {
        let rates = windows.map(|window| {
            let amounts = window
                .batches
                .sums(window.books, |bin| ledger.of(bin)[class.index()]);
            rate(&amounts, window, ledger)
        });
        (class, Candidate { rates, active })
    };
    Class::ALL.into_iter().map(candidate).collect()
}

/// Time of a ledger that is not idle, for each of its units, ns.
fn active(window: &Window<'_>, ledger: Ledger) -> f64 {
    let active = |bin: &Bin| super::view::active_ns(ledger.of(bin));
    let amounts = window.batches.sums(window.books, active);
    rate(&amounts, window, ledger).value
}

fn rate(amounts: &[f64], window: &Window<'_>, ledger: Ledger) -> Rate {
    Rate::new(amounts, ledger.units(&window.batches)).unwrap_or_default()
}

/// Who held what, matched by identity.
fn compared(windows: [&Window<'_>; 2], ledger: Ledger) -> Vec<(Key, Compared)> {
    let active = windows.map(|window| active(window, ledger));
    let mut both: BTreeMap<Key, [Row; 2]> = BTreeMap::new();
    for (side, window) in windows.into_iter().enumerate() {
        let found = rows(window.books, |bin| ledger.of(bin), &window.batches);
        for (key, row) in found {
            both.entry(key).or_default()[side] = row;
        }
    }
    let row = |(key, sides): (Key, [Row; 2])| {
        let estimated = sides.iter().any(Row::is_estimated);
        let rates = [0, 1].map(|side| {
            rate(
                &sides[side].padded(&windows[side].batches),
                windows[side],
                ledger,
            )
        });
        let candidate = Candidate { rates, active };
        (
            key,
            Compared {
                candidate,
                estimated,
            },
        )
    };
    let mut all: Vec<(Key, Compared)> = both.into_iter().map(row).collect();
    all.sort_by(|a, b| {
        let largest = |row: &Compared| row.candidate.largest();
        largest(&b.1).total_cmp(&largest(&a.1))
    });
    all
}
