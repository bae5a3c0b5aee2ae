//! Waits that a timer ended: a process of the target slept for a time that it had chosen, and a request waited for that.
//!
//! A child that sleeps, a worker that looks again after a while, a retry: nobody outside the target holds anything. So nobody is charged
//! with them, and the ledger has them as `other`. Here they have a name.

use std::collections::{BTreeMap, BTreeSet};

use arcstr::ArcStr;

use super::books::{Nap, ProcessId};

/// Processes of one name that are told apart.
const MOST_PROCESSES: usize = 4096;
/// Names that are told apart. Naps of further ones have no name.
const MOST_NAMES: usize = 256;

/// The naps of processes of one name.
#[derive(Clone, Debug, Default)]
struct Sum {
    ns: u64,
    last: ProcessId,
    processes: BTreeSet<ProcessId>,
}

/// All naps that were waited for: by the name of the process, and whether a thread of that process itself waited.
#[derive(Clone, Debug, Default)]
pub(super) struct Naps {
    sums: BTreeMap<(ArcStr, bool), Sum>,
}

impl Naps {
    /// A thread waited for a nap of a process of this name.
    pub(super) fn add(&mut self, comm: &ArcStr, process: ProcessId, itself: bool, ns: u64) {
        let key = (comm.clone(), itself);
        if ns == 0 || (self.sums.len() >= MOST_NAMES && !self.sums.contains_key(&key)) {
            return;
        }
        let sum = self.sums.entry(key).or_default();
        sum.ns = sum.ns.saturating_add(ns);
        sum.last = process;
        if sum.processes.len() < MOST_PROCESSES {
            sum.processes.insert(process);
        }
    }

    /// All, the longest first; none is left.
    pub(super) fn take(&mut self) -> Vec<Nap> {
        let sums = std::mem::take(&mut self.sums).into_iter();
        let nap = |((_, itself), sum): ((ArcStr, bool), Sum)| Nap {
            process: sum.last,
            processes: sum.processes.len() as u64,
            itself,
            ns: sum.ns,
        };
        let mut naps: Vec<Nap> = sums.map(nap).collect();
        naps.sort_by_key(|nap| std::cmp::Reverse(nap.ns));
        naps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_of_processes_of_one_name_are_one_sum() {
        let (sleep, server) = (ArcStr::from("sleep"), ArcStr::from("server"));
        let mut naps = Naps::default();
        for process in [1, 2, 2, 3] {
            naps.add(&sleep, process, false, 10);
        }
        naps.add(&server, 0, true, 50);
        naps.add(&server, 0, true, 0);
        let nap = |process, processes, itself, ns| Nap {
            process,
            processes,
            itself,
            ns,
        };
        assert_eq!(naps.take(), [nap(0, 1, true, 50), nap(3, 3, false, 40)]);
        assert_eq!(naps.take(), []);
    }
}
