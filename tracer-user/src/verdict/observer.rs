//! The tracer itself, which waits for CPUs and has them like any other process. Its time is taken out of what is judged: without it
//! nobody would ask, and it ends with the trace.

use std::collections::{BTreeMap, BTreeSet};

use super::job::is_broker;
use crate::{
    class::Resource,
    model::books::{Books, Holder, ProcessId},
};

/// A process that only runs another one uses at most this part of a CPU.
const RUNNER_PART: f64 = 0.01;

/// The processes that exist only to trace: the tracer, what it started, and what exists only to run it (`timeout`, `sh -c`).
#[must_use]
pub(super) fn observers(books: &Books) -> BTreeSet<ProcessId> {
    let Some(tracer) = books.tracer else {
        return BTreeSet::new();
    };
    let mut observers = BTreeSet::from([tracer]);
    add_children(books, &mut observers);
    let mut above = books.processes[tracer].parent;
    while let Some(parent) = above.filter(|parent| only_runs(books, &observers, *parent)) {
        // A circle of reused ids ends here.
        if !observers.insert(parent) {
            break;
        }
        above = books.processes[parent].parent;
    }
    observers
}

/// A parent may come after its child in the list.
fn add_children(books: &Books, observers: &mut BTreeSet<ProcessId>) {
    let mut children: BTreeMap<ProcessId, Vec<ProcessId>> = BTreeMap::new();
    for (id, process) in books.processes.iter().enumerate() {
        if let Some(parent) = process.parent.filter(|_| !process.target) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut next: Vec<ProcessId> = observers.iter().copied().collect();
    while let Some(parent) = next.pop() {
        next.extend(children.remove(&parent).into_iter().flatten());
        observers.insert(parent);
    }
}

/// Has this process no other child? A shell that also started a backup, or the target, does more than run the tracer.
fn only_runs(books: &Books, observers: &BTreeSet<ProcessId>, parent: ProcessId) -> bool {
    let process = &books.processes[parent];
    let mut children = books.processes.iter().enumerate();
    let alone = children.all(|(id, child)| child.parent != Some(parent) || observers.contains(&id));
    alone
        && is_idle(books, parent)
        && process.pid > 1
        && !process.target
        && !process.kernel
        && !is_broker(process)
}

/// Does a process no more than wait for the end of what it runs? One that works is a culprit like any other, though it started the tracer.
fn is_idle(books: &Books, process: ProcessId) -> bool {
    let held = books
        .held
        .get(&(Resource::Cpu, None, Holder::Process(process)));
    let ran_ns = held.map_or(0, |held| held.ns);
    ran_ns as f64 <= RUNNER_PART * books.window_ns() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::fixture::Scene;

    /// `timeout` runs the tracer, below a shell.
    fn scene() -> (Scene, [ProcessId; 3]) {
        let mut scene = Scene::new();
        let [shell, timeout, tracer] = [(20, "bash"), (21, "timeout"), (22, "tracer")]
            .map(|(pid, comm)| scene.process(pid, comm));
        scene.books.processes[timeout].parent = Some(shell);
        scene.books.processes[tracer].parent = Some(timeout);
        scene.books.tracer = Some(tracer);
        (scene, [shell, timeout, tracer])
    }

    #[test]
    fn what_only_runs_the_tracer_belongs_to_it_and_what_it_started_too() {
        let (mut scene, [shell, timeout, tracer]) = scene();
        let tc = scene.process(23, "tc");
        scene.books.processes[tc].parent = Some(tracer);
        let backup = scene.process(24, "tar");
        scene.books.processes[backup].parent = Some(shell);
        assert_eq!(
            observers(&scene.books),
            BTreeSet::from([timeout, tracer, tc])
        );
    }

    #[test]
    fn a_parent_that_works_itself_is_no_part_of_the_tracer() {
        let (mut scene, [shell, timeout, tracer]) = scene();
        let ns = scene.books.window_ns() / 2;
        let key = (Resource::Cpu, None, Holder::Process(timeout));
        scene.books.held.entry(key).or_default().ns = ns;
        assert!(ns > 0 && shell != timeout);
        assert_eq!(observers(&scene.books), BTreeSet::from([tracer]));
    }

    #[test]
    fn a_target_that_the_tracer_started_does_not_belong_to_it() {
        let (mut scene, [_, _, tracer]) = scene();
        let target = scene.books.targets[0];
        scene.books.processes[target].parent = Some(tracer);
        assert!(!observers(&scene.books).contains(&target));
    }

    #[test]
    fn an_old_recording_names_no_tracer() {
        let (mut scene, _) = scene();
        scene.books.tracer = None;
        assert!(observers(&scene.books).is_empty());
    }
}
