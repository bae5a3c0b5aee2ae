//! Waits that only a timer of the target's own ended: it slept for a time that it had chosen, or a process of its own did. Nobody is to
//! blame for that, and it is no resource. But it has a name.

use super::{
    Finding,
    constants::{ALSO_NAMED, MOSTLY, NOTABLE_PART},
    decision::ratio,
    view::View,
};
use crate::{
    class::Class,
    model::books::{Books, Nap},
    units::share,
};

/// Part of blocked time that went into such sleeps, 0..1. They are counted in the threads' time.
pub(super) fn part(view: &View<'_>) -> f64 {
    let other = Class::Other.index();
    let of_threads = view.books.budget(|bin| &bin.threads)[other] as f64;
    let of_other = ratio(slept_ns(view.books), of_threads).min(1.0);
    let ns = of_other * view.budget[other] as f64;
    ratio(ns, view.sums.blocked).min(1.0)
}

fn slept_ns(books: &Books) -> f64 {
    let naps = books.naps.iter();
    naps.map(|nap| nap.ns).sum::<u64>() as f64
}

/// The same of the naps of one name.
fn of(books: &Books, finding: &Finding, nap: &Nap) -> f64 {
    finding.napped * ratio(nap.ns as f64, slept_ns(books))
}

/// What it waits for where it waits for no resource, if that is mostly such a sleep: "waits for its own process sleep (pid 7), which sleeps
/// until a timer wakes it: 98 %".
pub(super) fn instead(books: &Books, finding: &Finding) -> Option<String> {
    let first = books.naps.first()?;
    let part = share(of(books, finding, first) * finding.blocked_part);
    let enough = finding.napped >= MOSTLY;
    enough.then(|| format!("{}: {part}", clause(books, first, "")))
}

/// The same beside a resource.
pub(super) fn beside(books: &Books, finding: &Finding) -> Option<String> {
    let first = books.naps.first()?;
    let part = share(of(books, finding, first));
    let enough = finding.napped >= ALSO_NAMED;
    enough.then(|| format!("{}: {part}", clause(books, first, "also ")))
}

/// All that are worth a line.
pub(super) fn lines(books: &Books, finding: &Finding) -> Vec<String> {
    let line = |nap: &Nap| {
        let part = of(books, finding, nap);
        let slept = match nap.itself {
            true => "it slept itself".to_owned(),
            false => format!("{} slept", named(books, nap)),
        };
        let line = || {
            let part = share(part);
            format!("for {part} of the blocked time it waited for a timer alone: {slept}")
        };
        (part >= NOTABLE_PART).then(line)
    };
    books.naps.iter().filter_map(line).collect()
}

fn clause(books: &Books, nap: &Nap, also: &str) -> String {
    if nap.itself {
        return format!("{also}sleeps until a timer of its own wakes it");
    }
    let sleeps = match nap.processes {
        1 => "which sleeps until a timer wakes it",
        _ => "which sleep until a timer wakes them",
    };
    format!("{also}waits for {}, {sleeps}", named(books, nap))
}

/// "its own process sleep (pid 7)"
fn named(books: &Books, nap: &Nap) -> String {
    let process = &books.processes[nap.process];
    let (comm, pid) = (&process.comm, process.pid);
    match nap.processes {
        1 => format!("its own process {comm} (pid {pid})"),
        many => format!("its own processes {comm} (pid {pid} and {} more)", many - 1),
    }
}
