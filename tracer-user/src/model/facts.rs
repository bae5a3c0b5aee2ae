//! Facts that the fold only passes on: the books carry them as they came.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap as HashMap;
use tracer_common::histogram::{FAMILIES, Family};

use super::books::ProcessId;
use crate::{
    event,
    standing::{Means, OwnLimit, Standing},
};

/// Facts about the machine, the window and the processes.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) start: event::Start,
    pub(super) end: event::End,
    /// Time of the latest event, ns: where the window ends as long as nobody said so.
    pub(super) now_ns: u64,
    pub(super) standings: BTreeMap<ProcessId, Standing>,
    pub(super) means: Means,
    pub(super) own_limits: Vec<OwnLimit>,
    pub(super) siblings: event::Siblings,
    pub(super) interrupted: event::Interrupted,
    /// The latest of each process and family.
    histograms: HashMap<(ProcessId, u32), event::Histogram>,
}

impl Facts {
    /// A process's figures so far, in place of those before.
    pub(super) fn histogram(&mut self, process: ProcessId, histogram: &event::Histogram) {
        let key = (process, histogram.family);
        self.histograms.insert(key, histogram.clone());
    }

    /// The index will be another process's.
    pub(super) fn forget(&mut self, process: ProcessId) {
        for family in 0..FAMILIES as u32 {
            self.histograms.remove(&(process, family));
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
