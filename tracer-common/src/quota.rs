//! Use of the CPU by the members of control groups that share a quota with a target. No records: user space reads the map.

use crate::plain;

/// Groups of which the members' use is counted, by number (`kernfs_node.id`). User space writes it.
pub const QUOTA_GROUPS_MAP: &str = "QUOTA_GROUPS";
/// The number of entries in [`QUOTA_GROUPS_MAP`]: an array of one.
pub const QUOTA_GATE_MAP: &str = "QUOTA_GATE";
/// CPU time of each member since it was first counted, ns, by [`Member`].
pub const QUOTA_USE_MAP: &str = "QUOTA_USE";
/// Most groups that are counted at once.
pub const QUOTA_GROUPS: u32 = 1024;

/// A process in a group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Member {
    /// Number of its group in the hierarchy that divides the CPU.
    pub group: u64,
    /// The process.
    pub pid: u32,
    /// Explicit padding.
    pub reserved: u32,
}

plain!(Member = 16);
