//! The target's own part of a wait, by its processes and threads and by the clients for which they worked. Nobody is accused by it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    constants::{LEAST_PART, MOST_PARTS, MOSTLY, NOTABLE_PART},
    decision::ratio,
    hypothesis::Hypothesis,
    shares::Party,
    view::View,
};
use crate::{
    class::Resource,
    model::books::{Books, Client, Holder, Process, ProcessId},
    units::shorten,
};

/// Columns of a process's title in a sentence.
const TITLE: usize = 60;

/// A part of the target that held a resource while the target waited for it. Also a process that the target asked, at work for it.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfPart {
    /// The process.
    pub process: ProcessId,
    /// Name of the thread, if that is known and is not the process's.
    pub thread: Option<String>,
    /// The client for which it worked, if that is known.
    pub client: Option<Client>,
    /// Part of the resource's waiting time, 0..1. All parts sum to the target's own share at most.
    pub share: f64,
}

type Key = (ProcessId, Option<String>, Option<Client>);

/// The parts of the target that held a resource, the largest first. `parties` have held it for so many ns of the ledger that is
/// judged. The parts are known in the threads' time: they split what the ledger gives to the target.
pub(super) fn parts(
    view: &View<'_>,
    resource: Resource,
    parties: &[(Party, f64)],
) -> Vec<SelfPart> {
    let mut sums: BTreeMap<Key, f64> = BTreeMap::new();
    let mut own = 0.0;
    for (party, ns) in parties {
        match party {
            Party::Plain(holder) if holder.has_parts() => own += ns,
            Party::Plain(Holder::Asked(process)) => {
                *sums.entry((*process, None, None)).or_default() += ns;
            }
            _ => {}
        }
    }
    let known = view.books.own.iter();
    let known = known.filter(|known| known.resource == resource);
    let seen: u64 = known.clone().map(|known| known.ns).sum();
    let serving: u64 = known.clone().map(|known| known.serving_ns).sum();
    // What requests stood behind is what threads with a request stood behind. A worker in the background waits too, for others.
    let of_requests = view.of_requests && serving > 0;
    let whole = seen.max(charged(view.books, resource)) as f64;
    let own = own * ratio(seen as f64, whole);
    for known in known {
        let part_of_seen = match of_requests {
            true => ratio(known.serving_ns as f64, serving as f64),
            false => ratio(known.ns as f64, seen as f64),
        };
        let part = known.part;
        let key = (
            part.process,
            thread(view.books, part.process, part.tid),
            part.client,
        );
        *sums.entry(key).or_default() += own * part_of_seen;
    }
    let waited = view.sums.waited(resource);
    let part = |((process, thread, client), ns): (Key, f64)| SelfPart {
        process,
        thread,
        client,
        share: ratio(ns, waited).clamp(0.0, 1.0),
    };
    let mut parts: Vec<SelfPart> = sums.into_iter().map(part).collect();
    parts.retain(|part| part.share >= LEAST_PART);
    parts.sort_by(|a, b| b.share.total_cmp(&a.share));
    parts.truncate(MOST_PARTS);
    parts
}

/// Threads' time that is charged to the target itself, ns.
fn charged(books: &Books, resource: Resource) -> u64 {
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let own = charges.filter(|charge| charge.resource == resource && charge.holder.has_parts());
    own.map(|charge| charge.ns).sum()
}

/// Name of a thread, if it says more than its process's.
fn thread(books: &Books, process: ProcessId, tid: u32) -> Option<String> {
    let name = books.thread_names.get(&tid)?;
    (*name != books.processes[process].comm).then(|| name.to_string())
}

/// A client in words: an address, or a process with its pid.
#[must_use]
pub fn client_name(books: &Books, client: Client) -> String {
    match client {
        Client::Address(address) => books.addresses[address as usize].clone(),
        Client::Process(id) => {
            let process = &books.processes[id];
            format!("{} (pid {})", process.comm, process.pid)
        }
    }
}

/// The part that has most of what the target owes to itself, in words; `None` where no part stands out, or where there is only one.
/// One part alone that has a lock is worth a word: others wait for it.
pub(super) fn mostly(books: &Books, found: &Hypothesis) -> Option<String> {
    let parts = &found.self_parts;
    let enough = |share: f64| share >= MOSTLY * found.self_share;
    let alone = found.resource == Resource::Lock;
    if let Some((client, share)) = largest(parts, alone, |part| part.client)
        && enough(share)
    {
        let notable = parts.iter().filter(|part| part.share >= NOTABLE_PART);
        let of = notable.filter(|part| part.client == Some(client));
        let processes: BTreeSet<ProcessId> = of.map(|part| part.process).collect();
        let one = processes.first().filter(|_| processes.len() == 1);
        let by = one.map_or_else(String::new, |id| {
            format!(" ({})", named(&books.processes[*id]))
        });
        return Some(format!(
            "mostly for the client {}{by}",
            client_name(books, client)
        ));
    }
    let several = books.processes.iter().filter(|process| process.target);
    let alone = alone && several.take(2).count() == 2;
    if let Some((process, share)) = largest(parts, alone, |part| Some(part.process))
        && enough(share)
    {
        let name = named(&books.processes[process]);
        let of_lock = books
            .lock_owner
            .filter(|_| found.resource == Resource::Lock);
        let thread = of_lock.filter(|tid| has_most_locks(books, process, *tid));
        let of = thread.map_or_else(String::new, |tid| format!("thread {tid} of "));
        return Some(format!("mostly those of {of}its own process {name}"));
    }
    let title = |part: &SelfPart| Some(title(&books.processes[part.process]));
    if let Some((words, share)) = largest(parts, false, title)
        && enough(share)
    {
        return Some(format!("mostly those of its own processes `{words}`"));
    }
    let (thread, share) = largest(parts, alone, |part| part.thread.clone())?;
    enough(share).then(|| format!("mostly those of its thread {thread}"))
}

/// Has one thread most of the locks that its process has, and is it one of several threads?
fn has_most_locks(books: &Books, process: ProcessId, tid: u32) -> bool {
    let locks = books
        .own
        .iter()
        .filter(|own| own.resource == Resource::Lock);
    let of_process = locks.filter(|own| own.part.process == process);
    let of_thread = of_process.clone().filter(|own| own.part.tid == tid);
    let [all, its]: [u64; 2] = [
        of_process.map(|own| own.ns).sum(),
        of_thread.map(|own| own.ns).sum(),
    ];
    tid != books.processes[process].pid && ratio(its as f64, all as f64) >= MOSTLY
}

/// The largest of what tells parts apart, small ones included; `None` where nothing does: they have one, or none. It may be `alone`.
/// Small parts add nothing to it: many of them would look like one.
fn largest<K: Ord>(
    parts: &[SelfPart],
    alone: bool,
    key: impl Fn(&SelfPart) -> Option<K>,
) -> Option<(K, f64)> {
    let mut sums: BTreeMap<K, f64> = BTreeMap::new();
    for part in parts {
        if let Some(key) = key(part) {
            let sum: &mut f64 = sums.entry(key).or_default();
            if part.share >= NOTABLE_PART {
                *sum += part.share;
            }
        }
    }
    let apart = alone || sums.len() >= 2;
    let largest = sums.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    largest.filter(|_| apart)
}

/// A process by its pid and its title.
fn named(process: &Process) -> String {
    format!("{} `{}`", process.pid, title(process))
}

/// The title of a process, if it has written one over its command line (`postgres: autovacuum worker`); else its name.
fn title(process: &Process) -> String {
    let title = process.cmdline.strip_prefix(process.comm.as_str());
    match title.is_some_and(|title| title.starts_with(':')) {
        true => shorten(&process.cmdline, TITLE),
        false => process.comm.to_string(),
    }
}
