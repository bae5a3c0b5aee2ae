//! Names of processes, by identity, and of places.

use std::collections::BTreeMap;

use arcstr::ArcStr;
use rustc_hash::FxHashMap as HashMap;

use super::{
    books::{Holder, PlaceId, ProcessId},
    process::Processes,
};
use crate::event;

/// Places that have a name of their own. Disks, CPUs and interfaces are few; addresses that the target asks, files that it locks, and
/// the interfaces of containers may be many. Further ones are one place.
const MOST_PLACES: usize = 4096;
/// That one.
const OTHERS: &str = "other places";
/// Threads of which the names are kept.
const MOST_THREADS: usize = 4096;

/// Every process and every place that the fold has met. All rooms share it, so that an index means the same everywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) processes: Processes,
    /// By [`PlaceId`].
    pub(super) places: Vec<String>,
    /// The index of each: who asks ten thousand addresses has as many places.
    by_name: HashMap<String, PlaceId>,
    /// How often something stood at a place without a name of its own.
    pub(super) elsewhere: u64,
    /// Names of the target's threads, as far as they are known.
    pub(super) threads: BTreeMap<u32, ArcStr>,
}

impl Names {
    /// The process with this id, as a holder. The idle task, pid 0, is nobody.
    #[inline]
    pub(super) fn holder(&mut self, pid: u32) -> Holder {
        if pid == 0 {
            return Holder::Nobody;
        }
        let id = self.processes.id(pid);
        self.holder_of(id)
    }

    /// The same for a process that has an index.
    #[inline]
    pub(super) fn holder_of(&self, id: ProcessId) -> Holder {
        if self.is_target(id) {
            Holder::Own
        } else {
            Holder::Process(id)
        }
    }

    /// Who had it done: the process that started `holder` as a command of its own session, if `holder` has ended meanwhile. A script that
    /// runs `kill` is known by its own name.
    pub(super) fn who_had_it_done(&self, holder: Holder) -> Holder {
        let all = self.processes.all();
        let mut had_it_done = holder;
        // A chain of parents is no longer than the list, unless it is a circle of reused ids.
        for _ in 0..all.len() {
            let Holder::Process(id) = had_it_done else {
                break;
            };
            let Some(parent) = all[id].parent.filter(|_| all[id].exited) else {
                break;
            };
            let above = &all[parent];
            if above.pid <= 1 || above.kernel || above.sid != all[id].sid {
                break;
            }
            had_it_done = self.holder_of(parent);
        }
        had_it_done
    }

    /// A process outside the target that ran, `None` for a kernel thread and for the idle task. It may be forgotten once it ended.
    pub(super) fn bystander(&mut self, pid: u32) -> Option<ProcessId> {
        let id = self.processes.id_if_there(pid).filter(|_| pid != 0)?;
        let process = &self.processes.all()[id];
        (!process.kernel && !process.target).then_some(id)
    }

    /// Index of the place with this name; a new one if nobody stood there before.
    pub(super) fn place(&mut self, name: &str) -> PlaceId {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        if self.places.len() >= MOST_PLACES && name != OTHERS {
            self.elsewhere += 1;
            return self.place(OTHERS);
        }
        let place = self.places.len();
        self.places.push(name.to_owned());
        self.by_name.insert(name.to_owned(), place);
        place
    }

    /// Words by which a process or thread of the target is known from now on.
    pub(super) fn named(&mut self, named: &event::Named) {
        if named.tid == 0 {
            self.processes.titled(named.pid, &named.cmdline);
        } else if self.threads.len() < MOST_THREADS || self.threads.contains_key(&named.tid) {
            self.threads.insert(named.tid, ArcStr::from(&named.comm));
        }
    }

    /// The processes as another one would name them if it were the target; no place yet.
    pub(super) fn seen_by(&self, target: ProcessId) -> Self {
        Self {
            processes: self.processes.seen_by(target),
            ..Self::default()
        }
    }

    /// Is the process traced?
    pub(super) fn is_target(&self, id: ProcessId) -> bool {
        self.processes.is_target(id)
    }

    /// Is the holder a kernel thread, which works for others?
    pub(super) fn is_kernel_thread(&self, holder: Holder) -> bool {
        matches!(holder, Holder::Process(id) if self.processes.all()[id].kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        let found = |pid, target, kernel| event::Process {
            pid,
            target,
            kernel,
            ..event::Process::default()
        };
        names.processes.found(&found(10, true, false));
        names.processes.found(&found(20, false, true));
        names
    }

    #[test]
    fn a_process_is_the_target_itself_or_another_and_the_idle_task_is_nobody() {
        let mut names = names();
        assert_eq!(names.holder(10), Holder::Own);
        assert_eq!(names.holder(20), Holder::Process(1));
        assert_eq!(names.holder(0), Holder::Nobody);
        assert_eq!(names.holder(30), Holder::Process(2));
    }

    #[test]
    fn only_a_process_of_the_kernel_is_a_kernel_thread() {
        let mut names = names();
        let other = names.holder(30);
        assert!(names.is_kernel_thread(Holder::Process(1)));
        assert!(!names.is_kernel_thread(other));
        assert!(!names.is_kernel_thread(Holder::Own));
    }

    #[test]
    fn places_are_bounded_and_further_ones_are_one() {
        let mut names = Names::default();
        for port in 0..2 * MOST_PLACES {
            names.place(&format!("10.0.0.1:{port}"));
        }
        assert_eq!(names.places.len(), MOST_PLACES + 1);
        assert_eq!(names.elsewhere, MOST_PLACES as u64);
        assert_eq!(names.place("10.0.0.1:7"), 7);
        assert_eq!(names.place("another"), names.place("one more"));
    }

    #[test]
    fn a_place_has_one_index_however_often_it_is_named() {
        let mut names = Names::default();
        assert_eq!(names.place("sda"), 0);
        assert_eq!(names.place("eth0"), 1);
        assert_eq!(names.place("sda"), 0);
        assert_eq!(names.places, ["sda", "eth0"]);
    }
}
