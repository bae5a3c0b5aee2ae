//! Facts that the fold only passes on: the books carry them as they came.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap as HashMap;
use tracer_common::histogram::{FAMILIES, Family};

use super::{alike::Forgotten, books::ProcessId};
use crate::{
    event,
    standing::{Called, Means, OwnLimit, Standing, Wrapping},
};

/// Most containers of which the names are kept.
const MOST_CONTAINERS: usize = 4096;

/// Facts about the machine, the window and the processes.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) start: event::Start,
    pub(super) end: event::End,
    /// Time of the latest event, ns: the end of the window until that is reported.
    pub(super) now_ns: u64,
    pub(super) standings: BTreeMap<ProcessId, Standing>,
    pub(super) means: Means,
    pub(super) wrapping: Vec<Wrapping>,
    pub(super) sources: Vec<Option<String>>,
    pub(super) own_limits: Vec<OwnLimit>,
    pub(super) siblings: event::Siblings,
    pub(super) interrupted: event::Interrupted,
    /// As a recording has it that does not say when.
    pub(super) shed: BTreeMap<event::ProbeGroup, event::Shed>,
    /// The containers that have names, by the paths of their groups.
    pub(super) containers: BTreeMap<String, Called>,
    /// The process that traces.
    pub(super) tracer: Option<ProcessId>,
    /// The latest of each process and family.
    histograms: HashMap<(ProcessId, u32), event::Histogram>,
}

impl Facts {
    /// What a container is called.
    pub(super) fn called(&mut self, called: &Called) {
        if self.containers.len() < MOST_CONTAINERS {
            self.containers.insert(called.group.clone(), called.clone());
        }
    }

    /// A process's figures so far, in place of those before.
    pub(super) fn histogram(&mut self, process: ProcessId, histogram: &event::Histogram) {
        let key = (process, histogram.family);
        self.histograms.insert(key, histogram.clone());
    }

    /// The index will be another process's. What is known of one that shares an entry is added to that.
    pub(super) fn forget(&mut self, forgotten: Forgotten) {
        for family in 0..FAMILIES as u32 {
            let known = self.histograms.remove(&(forgotten.process, family));
            if let (Some(known), Some(entry)) = (known, forgotten.shares) {
                let sum = self.histograms.entry((entry, family)).or_default();
                sum.absorb(&known);
            }
        }
    }

    /// How long each process had a CPU in the whole window, ns.
    pub(super) fn on_cpus(&self) -> impl Iterator<Item = (ProcessId, u64)> {
        let histograms = self.histograms.iter();
        let queued = histograms.filter(|((_, family), _)| *family == Family::RunQueue as u32);
        queued.map(|((process, _), histogram)| (*process, histogram.held_ns))
    }

    /// All histograms by process and family; none is left.
    pub(super) fn take_histograms(&mut self) -> Vec<(ProcessId, event::Histogram)> {
        let histograms = std::mem::take(&mut self.histograms).into_iter();
        let mut histograms: Vec<_> = histograms
            .map(|((process, _), histogram)| (process, histogram))
            .collect();
        histograms.sort_by_key(|(process, histogram)| (*process, histogram.family));
        histograms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(family: Family, held_ns: u64) -> event::Histogram {
        event::Histogram {
            family: family as u32,
            held_ns,
            ..event::Histogram::default()
        }
    }

    #[test]
    fn the_latest_histogram_of_a_process_and_family_counts_until_the_process_is_forgotten() {
        let mut facts = Facts::default();
        for (process, family, held_ns) in [
            (2, Family::RunQueue, 5),
            (1, Family::BlockIoQueue, 0),
            (1, Family::RunQueue, 3),
            (1, Family::RunQueue, 4),
        ] {
            facts.histogram(process, &histogram(family, held_ns));
        }
        let mut on_cpus: Vec<_> = facts.on_cpus().collect();
        on_cpus.sort_unstable();
        assert_eq!(on_cpus, [(1, 4), (2, 5)]);
        facts.forget(Forgotten {
            process: 2,
            shares: Some(1),
        });
        assert_eq!(facts.on_cpus().collect::<Vec<_>>(), [(1, 9)]);
        facts.forget(Forgotten {
            process: 7,
            shares: None,
        });
        let left: Vec<_> = facts
            .take_histograms()
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        assert_eq!(left, [1, 1]);
        assert_eq!(facts.on_cpus().count(), 0);
    }
}
