//! The words of the verdict: wait classes, resources and causes.

use serde::{Deserialize, Serialize};

/// An enum, all of it in the order of reports, and the words that reports use: one list.
macro_rules! words {
    ($(#[$of:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$of])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Number of variants.
            pub const COUNT: usize = [$($word),+].len();
            /// All, in the order of reports.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];

            /// The name that reports use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

words! {
    /// The use of a nanosecond of a thread or of a request.
    Class {
        /// Executing.
        OnCpu = "on_cpu",
        /// Runnable, not running.
        Cpu = "cpu",
        /// Waits for block I/O.
        Disk = "disk",
        /// Data cannot leave, or a client's cannot arrive.
        Network = "network",
        /// Allocation stalls.
        Memory = "memory",
        /// Another task holds a lock.
        Lock = "lock",
        /// Waits for another process's answer.
        Upstream = "upstream",
        /// Stopped by a signal, by a debugger, or in a frozen group.
        Stopped = "stopped",
        /// Waits for work, owning none.
        Idle = "idle",
        /// Any other wait.
        Other = "other",
    }
}

impl Class {
    /// Position in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Is a thread or request in it blocked?
    #[must_use]
    pub fn is_blocked(self) -> bool {
        match self {
            Self::Cpu
            | Self::Disk
            | Self::Network
            | Self::Memory
            | Self::Lock
            | Self::Upstream
            | Self::Stopped
            | Self::Other => true,
            Self::OnCpu | Self::Idle => false,
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
            Self::Stopped => Some(Resource::Stopped),
            Self::OnCpu | Self::Idle | Self::Other => None,
        }
    }
}

words! {
    /// A resource that a target can wait for, and a verdict can name. The classes of the same names define each.
    Resource {
        /// [`Class::Disk`]
        Disk = "disk",
        /// [`Class::Network`]
        Network = "network",
        /// [`Class::Cpu`]
        Cpu = "cpu",
        /// [`Class::Memory`]
        Memory = "memory",
        /// [`Class::Lock`]
        Lock = "lock",
        /// [`Class::Upstream`]
        Upstream = "upstream",
        // A recording numbers them: a new one comes after all others.
        /// [`Class::Stopped`]. It is the right to run: somebody has taken it.
        Stopped = "stopped",
    }
}

impl Resource {
    /// The class of waits for it.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::Disk => Class::Disk,
            Self::Network => Class::Network,
            Self::Cpu => Class::Cpu,
            Self::Memory => Class::Memory,
            Self::Lock => Class::Lock,
            Self::Upstream => Class::Upstream,
            Self::Stopped => Class::Stopped,
        }
    }
}

/// Why the target waited for the resource.
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
    /// Clients of the target, while they asked it.
    Clients,
    /// The CPU was idle, but the thread still came on it late.
    WakeupLatency,
    /// Interrupts ran instead.
    Irq,
    /// The hypervisor ran something else.
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
    /// A signal stopped it.
    StopSignal,
    /// Its terminal stopped it: Ctrl-Z, or a use of the terminal in the background.
    JobControl,
    /// A debugger stopped it, or another program that traces system calls.
    Traced,
    /// Its control group is frozen.
    Frozen,
    /// The memory limit of the target's group evicts what the target needs.
    Limit,
    /// Memory that was swapped out is read back.
    SwapIn,
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

    #[test]
    fn each_resource_has_its_class_and_no_class_but_those_stands_for_one() {
        let resources = Class::ALL.into_iter().filter_map(Class::resource);
        assert_eq!(resources.clone().count(), Resource::COUNT);
        for resource in resources {
            let class = resource.class();
            assert_eq!(class.resource(), Some(resource));
            assert_eq!(class.name(), resource.name());
            assert!(class.is_blocked());
        }
    }

    #[test]
    fn a_word_in_a_file_is_the_word_in_a_report() {
        for class in Class::ALL {
            let word = serde_json::to_string(&class).unwrap();
            assert_eq!(word, format!("\"{}\"", class.name()));
        }
    }
}
