//! The flame graph: target, class, place, holder, then the functions that waited, outermost first.

use std::collections::BTreeMap;

use super::{blame::holder_name, place};
use crate::{
    class::Class,
    model::books::{Books, Holder, worker_name},
    report::{Flame, FlameStack, Target},
    units,
};

/// Lines that look the same are one stack.
pub fn flame(books: &Books, target: &Target) -> Flame {
    let name = process(&target.comm, target.pid);
    let mut sums: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for line in &books.flame {
        let worker = |id| worker_name(&books.works, id).filter(|_| line.class == Class::Cpu);
        let holder = match line.holder {
            Holder::Process(id) => {
                let comm = worker(id).unwrap_or_else(|| books.processes[id].comm.to_string());
                process(&comm, books.processes[id].pid)
            }
            other => holder_name(books, other).replace("its own", "own"),
        };
        let mut frames = vec![name.clone(), line.class.name().to_owned()];
        frames.extend(place(books, line.place));
        frames.push(holder);
        frames.extend(line.stack.iter().cloned());
        *sums.entry(frames).or_default() += line.ns;
    }
    let title = format!(
        "{} (pid {}): {} blocked in {}",
        target.comm,
        target.pid,
        units::time(sums.values().sum()),
        units::time(books.window_ns())
    );
    let stacks = sums
        .into_iter()
        .map(|(frames, ns)| FlameStack { frames, ns })
        .collect();
    Flame { title, stacks }
}

fn process(comm: &str, pid: u32) -> String {
    format!("{comm}[{pid}]")
}
