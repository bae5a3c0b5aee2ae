//! CPUs and threads: `/proc/stat`.

use serde::{Deserialize, Serialize};

use super::{named, number};

/// Where the states of the line `cpu` stand, behind that word.
mod at {
    pub(super) const USER: usize = 1;
    pub(super) const NICE: usize = 2;
    pub(super) const SYSTEM: usize = 3;
    pub(super) const IDLE: usize = 4;
    pub(super) const IOWAIT: usize = 5;
    pub(super) const IRQ: usize = 6;
    pub(super) const SOFTIRQ: usize = 7;
    pub(super) const STEAL: usize = 8;
}

/// CPU states in ticks of 10 ms, summed over all CPUs, and what the scheduler counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuCounts {
    /// Programs, niced ones too. Time of guests is in it.
    pub user: u64,
    /// The kernel, interrupts too.
    pub system: u64,
    /// Idle, and nothing was waited for.
    pub idle: u64,
    /// Idle, while a thread waited for a disk.
    pub iowait: u64,
    /// The hypervisor ran something else.
    pub steal: u64,
    /// Interrupts.
    pub interrupts: u64,
    /// Switches from one thread to another.
    pub switches: u64,
    /// Forks.
    pub forks: u64,
    /// Threads that run or are runnable, right now.
    pub running: u64,
    /// Threads that wait for a disk, right now.
    pub blocked: u64,
}

impl CpuCounts {
    /// Parses `/proc/stat`, 5.10 to 7.2; `None` if it lacks the states.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.lines().next()?.split_ascii_whitespace().collect();
        if words.first() != Some(&"cpu") {
            return None;
        }
        let sum = |places: &[usize]| -> Option<u64> {
            let values = places.iter().map(|at| number(&words, *at));
            values.sum()
        };
        let count = |name| named(text, name);
        Some(Self {
            user: sum(&[at::USER, at::NICE])?,
            system: sum(&[at::SYSTEM, at::IRQ, at::SOFTIRQ])?,
            idle: sum(&[at::IDLE])?,
            iowait: sum(&[at::IOWAIT])?,
            steal: sum(&[at::STEAL])?,
            interrupts: count("intr")?,
            switches: count("ctxt")?,
            forks: count("processes")?,
            running: count("procs_running")?,
            blocked: count("procs_blocked")?,
        })
    }

    /// All states together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let states = [self.user, self.system, self.idle, self.iowait, self.steal];
        states.into_iter().fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
cpu  100 20 30 4000 50 6 7 8 90 1
cpu0 50 10 15 2000 25 3 3 4 45 0
intr 9000 1 2 3
ctxt 8000
btime 1700000000
processes 700
procs_running 3
procs_blocked 2
softirq 5 0 1
";

    #[test]
    fn states_are_those_of_all_cpus_together_and_guests_are_in_them_already() {
        let counts = CpuCounts::parse(TEXT).unwrap();
        let states = (counts.user, counts.system, counts.idle, counts.iowait);
        assert_eq!(states, (120, 43, 4000, 50));
        assert_eq!((counts.steal, counts.total()), (8, 4221));
        let counted = (counts.interrupts, counts.switches, counts.forks);
        assert_eq!(counted, (9000, 8000, 700));
        assert_eq!((counts.running, counts.blocked), (3, 2));
    }

    #[test]
    fn a_cut_text_is_none_at_every_length() {
        let needed = TEXT.find("procs_blocked 2").unwrap();
        for length in 0..needed {
            assert_eq!(CpuCounts::parse(&TEXT[..length]), None, "{length}");
        }
    }
}
