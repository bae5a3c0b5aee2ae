//! The event at the end of the window, with the losses and the tracer's own cost.

use serde::{Deserialize, Serialize};

use crate::loss::Loss;

/// The end of the window, the losses, and the tracer's own cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// End of the window, ns.
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
    /// Its resident memory, bytes.
    pub rss_bytes: u64,
    /// Memory of its maps, bytes.
    pub maps_bytes: u64,
    /// Time that its programs ran in the kernel, ns, if that was measured.
    pub kernel_ns: Option<u64>,
    /// Lines of evidence from the window: lines of the kernel's log that matter, and others.
    pub evidence: Vec<String>,
    /// The target was gone before the end.
    pub target_exited: bool,
}

/// Where the lines of evidence of the window come from. Before the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// The file of the kernel's for each line of [`End::evidence`], in the same order. `None`: the tracer found it out itself.
    pub files: Vec<Option<String>>,
}

impl End {
    /// Records that a full ring dropped, each kind with its number.
    pub fn dropped(&self) -> impl Iterator<Item = (Loss, u64)> {
        let drops = self.ring_drops.iter();
        drops.map(|(name, dropped)| (Loss::of_record(name), *dropped))
    }
}
