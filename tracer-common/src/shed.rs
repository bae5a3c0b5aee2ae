//! Groups of probes that user space sheds while their facts cannot change the answer. The programs stay attached, and return at once.

/// When user space last began to watch each [`Group`], ns, or [`SHED`], by number: an array. 0: it is watched since the attach.
pub const WATCHED_MAP: &str = "WATCHED";

/// The group is not watched.
pub const SHED: u64 = u64::MAX;

/// Probes that are shed together. The number is the index in [`WATCHED_MAP`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Interrupts and softirqs, and for whom a softirq moves packets.
    Interrupts = 0,
}

/// Number of groups.
pub const GROUPS: u32 = 1;
