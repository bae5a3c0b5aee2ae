//! Hyperthreads: how long others ran on the sibling of a CPU while a target thread ran on that CPU. There is no queue to wait in.

/// State of each hyperthread, by CPU number: [`SiblingState`].
pub const THREADS_MAP: &str = "THREADS";

/// The CPU runs nothing.
pub const IDLE: u32 = 0;
/// The CPU runs a target thread.
pub const TARGET: u32 = 1;
/// The CPU runs any other process.
pub const OTHER: u32 = 2;

/// One CPU (map `THREADS`, by CPU), on a cache line of its own. Written by that CPU alone, read by its sibling.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub struct SiblingState {
    /// When the present thread came on, ns.
    pub since_ns: u64,
    /// Time that it ran processes other than the target's, ns.
    pub other_ns: u64,
    /// Value of the sibling's `other_ns` when the running target thread came on, ns.
    pub beside_at_ns: u64,
    /// Time that target threads ran here, ns.
    pub target_ns: u64,
    /// The part of `target_ns` in which the sibling ran another process, ns.
    pub beside_ns: u64,
    /// [`IDLE`], [`TARGET`] or [`OTHER`].
    pub runs: u32,
    /// Its sibling; itself if it has none.
    pub sibling: u32,
    /// Keeps entries apart.
    pub reserved: [u64; 2],
}

const _: () = assert!(size_of::<SiblingState>() == 64);
// SAFETY: `repr(C)`, no padding (its size is that of the fields), any bit pattern is valid.
#[cfg(feature = "user")]
unsafe impl aya::Pod for SiblingState {}

impl SiblingState {
    /// Time that it ran other processes until `now`, ns.
    #[must_use]
    pub fn other_until(&self, now: u64) -> u64 {
        let open = now.wrapping_sub(self.since_ns);
        if self.runs == OTHER && open as i64 > 0 {
            self.other_ns.wrapping_add(open)
        } else {
            self.other_ns
        }
    }
}
