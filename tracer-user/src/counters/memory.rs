//! Memory and swap: `/proc/meminfo` and `/proc/vmstat`.

use serde::{Deserialize, Serialize};

use super::named;

/// Fill of the memory right now, KiB, and what moved between it and disks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCounts {
    /// All memory, KiB.
    pub total_kib: u64,
    /// Unused, KiB.
    pub free_kib: u64,
    /// What programs could get without swapping, KiB.
    pub available_kib: u64,
    /// Of disks' own blocks, KiB.
    pub buffers_kib: u64,
    /// Of files, and what the kernel can give back of its own, KiB.
    pub cached_kib: u64,
    /// Swap that is in use, KiB.
    pub swapped_kib: u64,
    /// Pages read back from swap.
    pub swapped_in: u64,
    /// Pages written to swap.
    pub swapped_out: u64,
    /// Read from disks, KiB.
    pub read_kib: u64,
    /// Written to disks, KiB.
    pub written_kib: u64,
}

impl MemoryCounts {
    /// Parses `/proc/meminfo` and `/proc/vmstat`, 5.10 to 7.2; `None` if one lacks what is needed.
    #[must_use]
    pub fn parse(meminfo: &str, vmstat: &str) -> Option<Self> {
        let kib = |name| named(meminfo, name);
        let count = |name| named(vmstat, name);
        Some(Self {
            total_kib: kib("MemTotal")?,
            free_kib: kib("MemFree")?,
            available_kib: kib("MemAvailable")?,
            buffers_kib: kib("Buffers")?,
            cached_kib: kib("Cached")?.saturating_add(kib("SReclaimable")?),
            swapped_kib: kib("SwapTotal")?.saturating_sub(kib("SwapFree")?),
            // A kernel without swap does not count it.
            swapped_in: count("pswpin").unwrap_or(0),
            swapped_out: count("pswpout").unwrap_or(0),
            read_kib: count("pgpgin")?,
            written_kib: count("pgpgout")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "\
MemTotal:        8000 kB
MemFree:         1000 kB
MemAvailable:    5000 kB
Buffers:          200 kB
Cached:          3000 kB
SwapCached:        11 kB
SwapTotal:       2000 kB
SwapFree:        1500 kB
Slab:             400 kB
SReclaimable:     300 kB
";
    const VMSTAT: &str =
        "pgpgin 70\npgpgout 80\npgpgoutclean 5\npswpin 9\npswpout 10\npswpinother 4\n";

    #[test]
    fn the_figures_are_those_that_vmstat_shows() {
        let counts = MemoryCounts::parse(MEMINFO, VMSTAT).unwrap();
        let expected = MemoryCounts {
            total_kib: 8000,
            free_kib: 1000,
            available_kib: 5000,
            buffers_kib: 200,
            cached_kib: 3300,
            swapped_kib: 500,
            swapped_in: 9,
            swapped_out: 10,
            read_kib: 70,
            written_kib: 80,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_kernel_without_swap_has_swapped_nothing_and_one_that_counts_nothing_is_unknown() {
        let without_swap = MemoryCounts::parse(MEMINFO, "pgpgin 70\npgpgout 80\n").unwrap();
        assert_eq!((without_swap.swapped_in, without_swap.swapped_out), (0, 0));
        assert_eq!(MemoryCounts::parse(MEMINFO, ""), None);
        assert_eq!(MemoryCounts::parse("", VMSTAT), None);
    }
}
