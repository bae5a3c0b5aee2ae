//! Clients of this machine that have a CPU because they ask the target.
//!
//! Who asks needs a CPU to ask, often the one on which the target would answer. That is the load that the target is there for, and
//! no client is to blame for it. A client that does much more on the CPU than asking costs (a dump that compresses) is to blame for
//! the rest, as anybody else.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    constants::{ASKING_BYTE_NS, ASKING_CONNECTION_NS, ASKING_REQUEST_NS, MUCH_MORE},
    decision::ratio,
    group::{GroupId, Groups},
};
use crate::{
    class::Resource,
    model::books::{Asks, Books, Holder, ProcessId},
};

/// The processes that ask, or exist to start those that do. With the part of each one's time on a CPU that asking explains, 0..1.
pub(super) type Asking = BTreeMap<ProcessId, f64>;

/// A job with processes that ask.
#[derive(Default)]
struct Job {
    members: BTreeSet<ProcessId>,
    asks: Asks,
}

/// Who asks the target, job by job.
#[must_use]
pub(super) fn asking(books: &Books, groups: &Groups) -> Asking {
    let mut jobs: BTreeMap<GroupId, Job> = BTreeMap::new();
    let others = books.asks.iter();
    for (client, asks) in others.filter(|(client, _)| !books.processes[**client].target) {
        let job = jobs.entry(groups.of(*client)).or_default();
        job.members.insert(*client);
        job.asks.connections += asks.connections;
        job.asks.requests += asks.requests;
        job.asks.bytes += asks.bytes;
    }
    for (group, job) in &mut jobs {
        add_alike(books, groups, *group, job);
        add_starters(books, groups, *group, job);
    }
    let parts = jobs.values().flat_map(|job| {
        let part = explained(books, job);
        job.members.iter().map(move |member| (*member, part))
    });
    parts.collect()
}

/// Adds short-lived ones that run the same command: of a `curl` in a loop only some are seen while they ask.
fn add_alike(books: &Books, groups: &Groups, group: GroupId, job: &mut Job) {
    let process = |id: ProcessId| &books.processes[id];
    let commands: BTreeSet<_> = job.members.iter().map(|id| &process(*id).cmdline).collect();
    let alike = (0..books.processes.len()).filter(|id| {
        let cmdline = &process(*id).cmdline;
        groups.of(*id) == group && !cmdline.is_empty() && commands.contains(cmdline)
    });
    for id in alike.collect::<Vec<_>>() {
        if job.members.insert(id) {
            job.asks.connections += 1;
        }
    }
}

/// Adds the shells and scripts that start them.
fn add_starters(books: &Books, groups: &Groups, group: GroupId, job: &mut Job) {
    for client in job.members.clone() {
        let mut above = books.processes[client].parent;
        while let Some(id) = above.filter(|id| groups.of(*id) == group) {
            if books.processes[id].kernel || !job.members.insert(id) {
                break;
            }
            above = books.processes[id].parent;
        }
    }
}

/// The part of a job's time on a CPU that asking explains.
fn explained(books: &Books, job: &Job) -> f64 {
    let on_cpu = job.members.iter().filter_map(|id| {
        let key = (Resource::Cpu, None, Holder::Process(*id));
        Some(books.held.get(&key)?.ns as f64)
    });
    let (on_cpu, cost) = (on_cpu.sum::<f64>(), cost_ns(&job.asks));
    match on_cpu > MUCH_MORE * cost {
        true => ratio(cost, on_cpu),
        false => 1.0,
    }
}

/// Asking for so much costs at most about this, ns of a CPU.
fn cost_ns(asks: &Asks) -> f64 {
    asks.connections as f64 * ASKING_CONNECTION_NS
        + asks.requests as f64 * ASKING_REQUEST_NS
        + asks.bytes as f64 * ASKING_BYTE_NS
}
