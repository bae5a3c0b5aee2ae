//! The memory of the whole machine: how much of it the kernel takes back from its users, and what each process has filled of it.
//!
//! The counters of `/proc/vmstat` leave out what a full control group takes back from its own members: that is its limit's
//! ([`super::limits`]).

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{
    limits::{Member, of_machine, read_again},
    proc::memory_groups,
};
use crate::{counters::named, standing::Hierarchy};

/// The counters of the machine's memory.
pub(crate) const VMSTAT: &str = "/proc/vmstat";

/// Processes are looked at for this long after the kernel last took pages back. It works in bursts: a reader fills memory between them.
const HOT: Duration = Duration::from_secs(10);

/// Bytes of a page.
const PAGE: u64 = 4096;

/// The state of the machine's memory at one moment. All counts are since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Pages that the kernel took back because memory was short.
    pub(crate) reclaimed: u64,
    /// Pages read again after they had been evicted: of the target's group where the kernel counts that, else of the machine.
    pub(crate) read_again: u64,
    /// Bytes that somebody read from disks or wrote into the page cache.
    pub(crate) filled: u64,
    /// Pages read back from swap.
    pub(crate) swapped_in: u64,
    /// All processes; none while memory is not short.
    pub(crate) members: Vec<Member>,
}

/// Looks at memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    hierarchy: Option<Hierarchy>,
    /// Pages taken back, at the last look.
    reclaimed: Option<u64>,
    /// When the kernel was last seen taking pages back.
    short: Option<Instant>,
}

impl Memory {
    /// On a machine on which this hierarchy divides memory.
    #[must_use]
    pub(crate) fn new(hierarchy: Option<Hierarchy>) -> Self {
        Self {
            hierarchy,
            ..Self::default()
        }
    }

    /// The state now; `target` is the process whose group may count what is read again.
    #[must_use]
    pub(crate) fn look(&mut self, target: Option<u32>) -> Seen {
        let text = fs::read_to_string(VMSTAT).unwrap_or_default();
        let mut seen = seen(&text);
        if self.is_short(seen.reclaimed, Instant::now()) {
            seen.members = of_machine();
            let groups = target.zip(self.hierarchy.as_ref());
            let groups = groups.map(|(pid, hierarchy)| memory_groups(pid, hierarchy));
            if let Some(nearest) = groups.as_ref().and_then(|groups| groups.first()) {
                seen.read_again = read_again(nearest);
            }
        }
        seen
    }

    /// Is memory short, or was it of late? The kernel has taken so many pages back by now.
    fn is_short(&mut self, reclaimed: u64, now: Instant) -> bool {
        let before = self.reclaimed.replace(reclaimed);
        if before.is_some_and(|before| before < reclaimed) {
            self.short = Some(now);
        }
        self.short
            .is_some_and(|short| now.duration_since(short) < HOT)
    }
}

/// The counts in the text of `/proc/vmstat`. Names hold for 5.10 to 7.2.
fn seen(text: &str) -> Seen {
    let sum = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| named(text, name))
            .sum::<u64>()
    };
    Seen {
        reclaimed: sum(&["pgsteal_kswapd", "pgsteal_direct"]),
        read_again: sum(&["workingset_refault_file", "workingset_refault_anon"]),
        filled: sum(&["pgpgin"]) * 1024 + sum(&["nr_dirtied"]) * PAGE,
        swapped_in: sum(&["pswpin"]),
        members: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_took_back_and_what_was_read_again_are_sums_of_its_counters() {
        let text = "nr_dirtied 3\npgpgin 7\npgpgout 99\npswpin 4\npgsteal_kswapd 10\npgsteal_direct 5\n\
                    pgsteal_file 15\nworkingset_refault_anon 2\nworkingset_refault_file 6\n";
        let expected = Seen {
            reclaimed: 15,
            read_again: 8,
            filled: 7 * 1024 + 3 * PAGE,
            swapped_in: 4,
            members: Vec::new(),
        };
        assert_eq!(seen(text), expected);
        assert_eq!(seen(""), Seen::default());
    }

    #[test]
    fn memory_is_short_for_a_while_after_the_kernel_last_took_pages_back() {
        let (mut memory, begin) = (Memory::default(), Instant::now());
        let mut is_short =
            |reclaimed, s| memory.is_short(reclaimed, begin + Duration::from_secs(s));
        // What was taken back before the first look does not count.
        assert!(!is_short(100, 0));
        assert!(!is_short(100, 1));
        assert!(is_short(101, 2));
        assert!(is_short(101, 11));
        assert!(!is_short(101, 12));
    }

    #[test]
    fn the_processes_of_the_machine_have_memory_of_their_own() {
        let own = std::process::id();
        let members = of_machine();
        let member = members.iter().find(|member| member.pid == own);
        assert!(member.is_some_and(|member| member.own > 0));
    }
}
