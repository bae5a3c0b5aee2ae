//! What is read when the window ends: histograms, and what was lost.

use serde::{Deserialize, Serialize};

use crate::loss::Loss;

/// The end of the window, and what was lost on the way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// End of the window.
    pub ns: u64,
    /// Records sent, of all kinds.
    pub sent: u64,
    /// Records received.
    pub received: u64,
    /// Records dropped because a ring was full, by kind; zeros are left out.
    pub ring_drops: Vec<(String, u64)>,
    /// Facts lost because a map was full; zeros are left out.
    pub map_losses: Vec<(String, u64)>,
    /// Events that the recording had to leave out.
    pub recording_drops: u64,
    /// CPU time of the tracer, ns.
    pub cpu_ns: u64,
    /// Its resident memory.
    pub rss_bytes: u64,
    /// Its maps' memory.
    pub maps_bytes: u64,
    /// Time its programs ran in the kernel, ns, if that was measured.
    pub kernel_ns: Option<u64>,
    /// Lines of the kernel's log that matter, of the window, and other evidence.
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
