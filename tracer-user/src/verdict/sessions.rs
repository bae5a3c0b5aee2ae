//! Sessions of a database that wait for locks in it at the end of the window, and those that may have these locks.
//!
//! Of a lock that nobody has let go, nothing shows who has it. The titles of a database's processes tell who waits and who is in a
//! transaction. Where only one is, it is named as one that may have the lock. Several are listed, and none is chosen.

use std::collections::BTreeMap;

use super::{Hypothesis, constants::MOST_NAMES};
use crate::{
    class::{Cause, Resource},
    model::books::{Books, Process, ProcessId, Session},
    units::{plural, shorten},
};

/// Columns of a command.
const COMMAND: usize = 40;

/// The sessions of one database.
#[derive(Default)]
struct Sessions {
    waiting: u64,
    /// Processes of those that may have a lock.
    may_hold: Vec<ProcessId>,
}

/// By database, where a session waits.
fn sessions(books: &Books) -> BTreeMap<&str, Sessions> {
    let mut all: BTreeMap<&str, Sessions> = BTreeMap::new();
    for (id, process) in living(books).filter(|(_, process)| process.titled) {
        let Some(session) = Session::of(&process.cmdline) else {
            continue;
        };
        let of = all.entry(session.database).or_default();
        if session.waits() {
            of.waiting += 1;
        } else if session.may_hold() {
            of.may_hold.push(id);
        }
    }
    all.retain(|_, of| of.waiting > 0);
    all
}

/// The target's processes at the end.
fn living(books: &Books) -> impl Iterator<Item = (ProcessId, &Process)> {
    let all = books.processes.iter().enumerate();
    all.filter(|(_, process)| process.target && !process.exited)
}

/// The one process that may have the lock; `None` where there are several, or where a process was not looked at.
fn only(books: &Books, of: &Sessions) -> Option<ProcessId> {
    let [one] = of.may_hold[..] else {
        return None;
    };
    living(books)
        .all(|(_, process)| process.titled)
        .then_some(one)
}

/// The words after "its own locks": ", which its own process 7 (idle in transaction) may hold for the client psql (pid 8)". Empty where
/// more than one comes into question.
pub(super) fn who_may_hold(books: &Books, found: &Hypothesis) -> String {
    let is_own = (found.resource, found.cause) == (Resource::Lock, Some(Cause::Own));
    let mut all = sessions(books).into_values();
    let one = all.next().filter(|_| is_own && found.via.is_empty());
    let only = one
        .filter(|_| all.next().is_none())
        .and_then(|of| only(books, &of));
    only.map_or_else(String::new, |id| {
        let (process, client) = (named(&books.processes[id]), for_client(books, id));
        format!(", which its own process {process} may hold{client}")
    })
}

/// Lines of evidence, one for each database in which sessions wait.
#[must_use]
pub fn waiting_sessions(books: &Books) -> Vec<String> {
    let line = |(database, of): (&str, Sessions)| {
        let waiting = plural(of.waiting, "session");
        let holders = holders(books, &of);
        format!("at the end, {waiting} of the database {database} waited for a lock; {holders}")
    };
    sessions(books).into_iter().map(line).collect()
}

fn holders(books: &Books, of: &Sessions) -> String {
    let with_client = |id: &ProcessId| named(&books.processes[*id]) + &for_client(books, *id);
    if let Some(one) = only(books, of) {
        let one = with_client(&one);
        return format!("process {one} may have it: no other is in a transaction");
    }
    if of.may_hold.is_empty() {
        return "none of the others is known to be in a transaction".to_owned();
    }
    let mut names: Vec<String> = of
        .may_hold
        .iter()
        .take(MOST_NAMES)
        .map(with_client)
        .collect();
    let more = of.may_hold.len() - names.len();
    names.extend((more > 0).then(|| format!("{more} more")));
    let number = plural(of.may_hold.len() as u64, "other");
    format!(
        "{number} in a transaction may have it: {}",
        names.join(", ")
    )
}

/// A process by its pid and its session's command.
fn named(process: &Process) -> String {
    let session = Session::of(&process.cmdline);
    let doing = session.map_or("", |session| session.doing);
    format!("{} ({})", process.pid, shorten(doing, COMMAND))
}

/// The client of this machine for which a process of one thread works at the end: " for the client psql (pid 8)"; empty if it has none.
fn for_client(books: &Books, id: ProcessId) -> String {
    let pid = books.processes[id].pid;
    let mut workers = books.workers.iter();
    let client = workers.find(|(_, tids)| tids.contains(&pid));
    client.map_or_else(String::new, |(client, _)| {
        let client = &books.processes[*client];
        format!(" for the client {} (pid {})", client.comm, client.pid)
    })
}
