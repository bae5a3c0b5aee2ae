//! What cannot be compared, and what else may explain a difference.

use super::{Window, batches::LEAST, figure::Test, noise};
use crate::{
    class::Resource,
    model::books::{Books, Process},
    standing::home,
    units::{plural, share, time},
    verdict::{confidence::lost, constants::ENOUGH_REQUESTS},
};

/// The names of the two windows, in their order.
const NAMES: [&str; 2] = ["before", "after"];

/// Quantiles are not compared if more than this part of the records was lost: it is as large as the tail that the 99th percentile cuts
/// off, and nobody knows of which requests it was.
const LOST: f64 = 0.01;
/// More than this part of the records cannot be lost: the figures have to be divided by what is left.
const MOST_LOST: f64 = 0.99;

/// If so large a part of the requests is open at the end, their time in the window says how long that was rather than how long they take.
const OPEN: f64 = 0.1;

/// So many standard errors make it certain that the load was another one.
const LOAD_ERRORS: f64 = 3.0;
/// A load that is that much another one may make requests faster or slower by itself: with each request there come or go as many others
/// to stand behind.
const LOAD: f64 = 1.25;

/// What two windows have in common.
pub(super) struct Ground {
    /// Why no change is claimed at all.
    pub(super) reason: Option<String>,
    /// What is to be said.
    pub(super) caveats: Vec<String>,
    /// Did enough requests end in both?
    pub(super) has_requests: bool,
    /// Resources that one of them could not see.
    blind: Vec<Resource>,
    lost: [f64; 2],
    /// Batches of the shorter window.
    batches: usize,
}

impl Ground {
    pub(super) fn new(windows: [&Window<'_>; 2]) -> Self {
        let reason = other_target(windows).or_else(|| too_short(windows));
        let few: Vec<String> = each(windows, few_requests).collect();
        let mut blind = Vec::new();
        let mut caveats: Vec<String> = reason.iter().cloned().collect();
        for (window, name) in windows.into_iter().zip(NAMES) {
            for (resource, why) in &window.verdict.unknown {
                let resource_name = resource.name();
                caveats.push(format!(
                    "{resource_name} is not compared: {name} it cannot be seen ({why})"
                ));
                blind.push(*resource);
            }
        }
        caveats.extend(each(windows, losses));
        let has_requests = few.is_empty();
        // Of two servers without requests nobody expects any.
        if windows.iter().any(|window| window.books.requests.is_some()) {
            caveats.extend(few);
        }
        caveats.extend(each(windows, open));
        caveats.extend(ledgers(windows));
        caveats.extend(other_load(windows));
        caveats.extend(other_machine(windows));
        caveats.extend(is_older(windows));
        Self {
            reason,
            caveats,
            has_requests,
            blind,
            lost: windows.map(|window| lost(window.books).min(MOST_LOST)),
            batches: windows[0].batches.count().min(windows[1].batches.count()),
        }
    }

    pub(super) fn is_comparable(&self) -> bool {
        self.reason.is_none()
    }

    /// How so many figures are compared; `None` if nothing is.
    pub(super) fn test(&self, figures: usize) -> Option<Test> {
        self.is_comparable().then(|| Test {
            errors: noise::errors(figures, self.batches),
            lost: self.lost,
        })
    }

    /// Can the quantiles be compared?
    pub(super) fn has_quantiles(&self) -> bool {
        let is_whole = self.lost.iter().all(|lost| *lost <= LOST);
        self.is_comparable() && self.has_requests && is_whole
    }

    /// Did both windows see waits for it?
    pub(super) fn sees(&self, resource: Resource) -> bool {
        !self.blind.contains(&resource)
    }
}

/// The same caveat of each window.
fn each<'a>(
    windows: [&'a Window<'a>; 2],
    caveat: impl Fn(&Window<'_>, &str) -> Option<String> + 'a,
) -> impl Iterator<Item = String> + 'a {
    let named = windows.into_iter().zip(NAMES);
    named.filter_map(move |(window, name)| caveat(window, name))
}

/// Targets are the same if they have one name, or lie in one unit with a name that lasts.
fn other_target(windows: [&Window<'_>; 2]) -> Option<String> {
    let [before, after] = windows.map(|window| target(window.books));
    let comm = |process: Option<&Process>| {
        process.map_or_else(|| "nothing".to_owned(), |process| process.comm.to_string())
    };
    let unit = |process: Option<&Process>| {
        let name = home::lasting_name(&process?.cgroup)?;
        Some(name.to_owned())
    };
    let is_same =
        comm(before) == comm(after) || (unit(before).is_some() && unit(before) == unit(after));
    let (before, after) = (comm(before), comm(after));
    (!is_same).then(|| format!("the targets are different ones, {before} before and {after} after"))
}

fn target(books: &Books) -> Option<&Process> {
    let first = books.targets.first()?;
    books.processes.get(*first)
}

fn too_short(windows: [&Window<'_>; 2]) -> Option<String> {
    let short = |window: &Window<'_>, name: &str| {
        let length = time(window.books.window_ns());
        (window.batches.count() < LEAST).then(|| {
            format!("the window {name} lasts {length}, and in less than {LEAST} s noise looks like a change")
        })
    };
    each(windows, short).next()
}

fn losses(window: &Window<'_>, name: &str) -> Option<String> {
    let lost = lost(window.books);
    let quantiles = match lost > LOST {
        true => ", and quantiles are not compared",
        false => "",
    };
    (lost > 0.0).then(|| {
        let part = share(lost);
        format!("{name} {part} of the records were lost: a change has to exceed that{quantiles}")
    })
}

fn few_requests(window: &Window<'_>, name: &str) -> Option<String> {
    let ended = window.batches.all_ended();
    (ended < ENOUGH_REQUESTS as f64).then(|| {
        let ended = plural(ended as u64, "request");
        format!(
            "{name} {ended} ended, too few to compare the time of one ({ENOUGH_REQUESTS} at least)"
        )
    })
}

fn open(window: &Window<'_>, name: &str) -> Option<String> {
    let found = window.books.requests.as_ref()?;
    let all = found.count + found.open;
    (found.open as f64 > OPEN * all as f64).then(|| {
        let open = plural(found.open, "request");
        format!("{name} {open} of {all} were open at the end: of these only the time in the window counts")
    })
}

fn ledgers(windows: [&Window<'_>; 2]) -> Option<String> {
    let [before, after] = windows.map(|window| window.verdict.finding.of_requests);
    let words = |of_requests| match of_requests {
        true => "requests",
        false => "threads",
    };
    (before != after).then(|| {
        let (before, after) = (words(before), words(after));
        format!(
            "the verdict is about {before} before and about {after} after: who held what is compared by the threads' time"
        )
    })
}

fn other_load(windows: [&Window<'_>; 2]) -> Option<String> {
    let [before, after] = windows.map(|window| window.batches.load());
    let (before, after) = (before?, after?);
    let noise = LOAD_ERRORS * (before.error.powi(2) + after.error.powi(2)).sqrt();
    let (less, more) = (before.value.min(after.value), before.value.max(after.value));
    let is_other = more >= LOAD * less && more - less > noise;
    is_other.then(|| {
        let (before, after) = (before.value, after.value);
        format!(
            "{before:.1} requests ended in a second before and {after:.1} after: more or fewer of them can be slower or faster for that \
             alone"
        )
    })
}

fn other_machine(windows: [&Window<'_>; 2]) -> Option<String> {
    let [before, after] = windows.map(|window| {
        let start = &window.books.start;
        let cpus = plural(u64::from(start.cpus), "CPU");
        format!("{} with Linux {} and {cpus}", start.hostname, start.kernel)
    });
    (before != after).then(|| format!("the machines differ: {before} before, {after} after"))
}

fn is_older(windows: [&Window<'_>; 2]) -> Option<String> {
    let [before, after] = windows.map(|window| window.books.start.wall_ns);
    (after > 0 && after < before)
        .then(|| "what is called after was traced first: give the older recording first".to_owned())
}
