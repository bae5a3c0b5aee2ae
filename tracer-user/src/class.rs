//! The words of the verdict: wait classes, resources and causes.

use serde::{Deserialize, Serialize};

/// Where a nanosecond of a thread or of a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Executing.
    OnCpu,
    /// Runnable, not running.
    Cpu,
    /// Waits for block I/O.
    Disk,
    /// Data cannot leave, or a client's cannot arrive.
    Network,
    /// Allocation stalls.
    Memory,
    /// Another task holds a lock.
    Lock,
    /// Waits for another process's answer.
    Upstream,
    /// Waits for work, owning none.
    Idle,
    /// Any other wait.
    Other,
}

impl Class {
    /// All, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::OnCpu,
        Self::Cpu,
        Self::Disk,
        Self::Network,
        Self::Memory,
        Self::Lock,
        Self::Upstream,
        Self::Idle,
        Self::Other,
    ];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// The classes in which a thread or request is blocked.
    pub const BLOCKED: [Self; 7] = [
        Self::Cpu,
        Self::Disk,
        Self::Network,
        Self::Memory,
        Self::Lock,
        Self::Upstream,
        Self::Other,
    ];

    /// Position in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name that reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnCpu => "on_cpu",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Lock => "lock",
            Self::Upstream => "upstream",
            Self::Idle => "idle",
            Self::Other => "other",
        }
    }

    /// The resource that a wait of this class is for.
    #[must_use]
    pub fn resource(self) -> Option<Resource> {
        match self {
            Self::Cpu => Some(Resource::Cpu),
            Self::Disk => Some(Resource::Disk),
            Self::Network => Some(Resource::Network),
            Self::Memory => Some(Resource::Memory),
            Self::Lock => Some(Resource::Lock),
            Self::Upstream => Some(Resource::Upstream),
            Self::OnCpu | Self::Idle | Self::Other => None,
        }
    }
}

/// What a verdict can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the classes of the same names are documented")]
pub enum Resource {
    Disk,
    Network,
    Cpu,
    Memory,
    Lock,
    Upstream,
    None,
}

impl Resource {
    /// All that can be waited for.
    pub const ALL: [Self; 6] = [
        Self::Disk,
        Self::Network,
        Self::Cpu,
        Self::Memory,
        Self::Lock,
        Self::Upstream,
    ];

    /// The name that reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Lock => "lock",
            Self::Upstream => "upstream",
            Self::None => "none",
        }
    }

    /// The class of waits for it.
    #[must_use]
    pub fn class(self) -> Option<Class> {
        Class::ALL
            .into_iter()
            .find(|class| class.resource() == Some(self))
    }
}

/// Why the resource was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Others held it.
    Contention,
    /// The target's own quota (`cpu.max`, I/O limit).
    Quota,
    /// The target itself.
    #[serde(rename = "self")]
    Own,
    /// The CPU was idle and still came late.
    WakeupLatency,
    /// Interrupts ran instead.
    Irq,
    /// The hypervisor ran somebody else.
    Steal,
    /// The device serves more slowly than is usual for it.
    DeviceSlow,
    /// The device answers with errors.
    DeviceError,
    /// Dirty pages are being written back.
    Writeback,
    /// A journal commit.
    Journal,
    /// Pages that were cached had been evicted.
    CacheEviction,
    /// The receiver does not take the data.
    PeerSlow,
    /// Packets were lost.
    Loss,
    /// Pages are being reclaimed.
    DirectReclaim,
    /// Memory is being compacted.
    Compaction,
    /// Pages are read again soon after they were evicted.
    Thrashing,
    /// A task holds the lock.
    LockHolder,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_class_is_its_position() {
        for (position, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), position);
        }
    }
}
