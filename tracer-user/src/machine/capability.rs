//! The capabilities of this process (capabilities(7)).

use std::fs;

/// A capability, with its number in `linux/capability.h`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Capability {
    /// To lock any amount of memory.
    IpcLock = 14,
    /// Nearly everything; before 5.8 it includes the next two.
    SysAdmin = 21,
    /// To read the kernel's memory in a program, and to attach one to a tracepoint.
    Perfmon = 38,
    /// To load programs and to create maps.
    Bpf = 39,
}

impl Capability {
    /// Is it among the effective ones of this process?
    #[must_use]
    pub(crate) fn is_effective(self) -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        self.is_in(&status)
    }

    /// Is it among the effective ones that a `status` file lists?
    fn is_in(self, status: &str) -> bool {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        effective.unwrap_or(0) >> self as u32 & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_a_bit_of_the_effective_set() {
        let status = "Name:\ttracer\nCapPrm:\tffffffffffffffff\nCapEff:\t000000c000200000\n";
        assert!(Capability::SysAdmin.is_in(status));
        assert!(Capability::Perfmon.is_in(status) && Capability::Bpf.is_in(status));
        assert!(!Capability::IpcLock.is_in(status));
        assert!(!Capability::Bpf.is_in(""));
    }
}
