//! The flame graph: target, class, place, holder, then the functions that waited, outermost first.

use std::collections::{BTreeMap, BTreeSet};

use super::{blame::holder_name, place};
use crate::{
    class::{Class, Resource},
    model::books::{Books, FlameLine, Holder, ProcessId, worker_name},
    report::{Flame, FlameStack, Target},
    units,
    verdict::{Hypothesis, Verdict},
};

/// Lines that look the same are one stack.
pub(super) fn flame(books: &Books, target: &Target, verdict: &Verdict) -> Flame {
    let name = process(&target.comm, target.pid);
    let accused = accused(verdict);
    let mut stacks: BTreeMap<Vec<String>, FlameStack> = BTreeMap::new();
    for line in &books.flame {
        let mut frames = vec![name.clone(), line.class.name().to_owned()];
        frames.extend(place(books, line.place));
        let holder = frames.len();
        frames.push(held_by(books, line));
        frames.extend(line.stack.iter().cloned());
        let stack = stacks.entry(frames.clone()).or_insert(FlameStack {
            frames,
            class: line.class,
            holder,
            accused: false,
            ns: 0,
        });
        stack.ns = stack.ns.saturating_add(line.ns);
        if let (Some(resource), Holder::Process(id)) = (line.class.resource(), line.holder) {
            stack.accused |= accused.contains(&(resource, id));
        }
    }
    let title = format!(
        "{} (pid {}): {} blocked in {}",
        target.comm,
        target.pid,
        units::time(stacks.values().map(|stack| stack.ns).sum()),
        units::time(books.window_ns())
    );
    Flame {
        title,
        sentence: verdict.sentence.clone(),
        stacks: stacks.into_values().collect(),
    }
}

/// The processes that the verdict and the other hypotheses accuse, each with the resource.
fn accused(verdict: &Verdict) -> BTreeSet<(Resource, ProcessId)> {
    let of = |found: &Hypothesis| {
        let members = found.culprits.iter().flat_map(|culprit| &culprit.members);
        let of = members.map(|id| (found.resource, *id));
        of.collect::<Vec<_>>()
    };
    verdict.finding.hypotheses.iter().flat_map(of).collect()
}

/// The frame of the holder.
fn held_by(books: &Books, line: &FlameLine) -> String {
    let worker = |id| worker_name(&books.works, id).filter(|_| line.class == Class::Cpu);
    match line.holder {
        Holder::Process(id) => {
            let comm = worker(id).unwrap_or_else(|| books.processes[id].comm.to_string());
            process(&comm, books.processes[id].pid)
        }
        other => holder_name(books, other).replace("its own", "own"),
    }
}

fn process(comm: &str, pid: u32) -> String {
    format!("{comm}[{pid}]")
}
