//! What is read when the window ends: histograms, totals, and what was lost.

use serde::{Deserialize, Serialize};
use tracer_common::histogram::Family;

use crate::loss::Loss;

/// A histogram since attach; the latest one of a process and family counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// When it was taken.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Index in [`Family::ALL`].
    pub family: u32,
    /// Values.
    pub count: u64,
    /// Values that count as zero.
    pub zero_count: u64,
    /// Sum, ns.
    pub sum_ns: u64,
    /// Largest, ns.
    pub max_ns: u64,
    /// CPU time the process held, for [`Family::RunQueue`].
    pub held_ns: u64,
    /// Index of the first bucket kept.
    pub first: u32,
    /// Values per bucket from there on, without trailing zeros.
    pub buckets: Vec<u32>,
}

impl Histogram {
    /// Is it of this family?
    #[must_use]
    pub fn is(&self, family: Family) -> bool {
        self.family == family as u32
    }
}

/// The end of the window, and what was lost on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// End of the window.
    pub ns: u64,
    /// Records sent, by kind.
    pub sent: u64,
    /// Records received.
    pub received: u64,
    /// Records dropped because a ring was full, by kind; zeros are left out.
    pub ring_drops: Vec<(String, u64)>,
    /// Facts lost because a map was full; zeros are left out.
    pub map_losses: Vec<(String, u64)>,
    /// Events that the recording had to leave out.
    pub recording_drops: u64,
    /// CPU time of the tracer.
    pub cpu_ns: u64,
    /// Its resident memory.
    pub rss_bytes: u64,
    /// Its maps' memory.
    pub maps_bytes: u64,
    /// Time its programs ran in the kernel, if that was measured.
    pub kernel_ns: Option<u64>,
    /// Lines of the kernel's log in the window that matter, and other evidence.
    pub evidence: Vec<String>,
    /// The target was gone before the end.
    pub target_exited: bool,
}

impl End {
    /// Records that a full ring dropped, each kind with its number.
    pub fn dropped(&self) -> impl Iterator<Item = (Loss, u64)> {
        let drops = self.ring_drops.iter();
        drops.map(|(name, dropped)| (Loss::of_record(name), *dropped))
    }
}
