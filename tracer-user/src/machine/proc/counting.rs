//! What the kernel counts by itself: of disks, of memory, of CPUs, of interfaces, of processes and of connections.
//!
//! A machine may have ten thousand processes. Those that are known to do something are read each time, the others in turns.

use std::fs;

use super::{SmallFiles, disk, flows::Flows, pids};
use crate::{
    counters::{Counters, CpuCounts, DiskCounts, LinkCounts, MemoryCounts, ProcessCounts},
    machine::clocks::now_ns,
};

/// Processes that are read in turn at one look, beside those that do something. Reading one takes some ten microseconds.
const IN_TURN: usize = 512;

/// Reads the counts again and again.
#[derive(Default)]
pub(crate) struct Counting {
    files: SmallFiles,
    /// The last process that was read in turn.
    last: u32,
    flows: Flows,
}

impl Counting {
    /// All counts right now. The processes that are `busy` are among those that are read.
    pub(crate) fn look(&mut self, busy: &[u32]) -> Counters {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut pids = pids();
        pids.sort_unstable();
        let whole = disk::names();
        let disks = text("/proc/diskstats");
        let disks = DiskCounts::parse(&disks).filter(|disk| whole.contains(&disk.name));
        Counters {
            ns: now_ns(),
            cpu: CpuCounts::parse(&text("/proc/stat")),
            memory: MemoryCounts::parse(&text("/proc/meminfo"), &text("/proc/vmstat")),
            disks: disks.collect(),
            links: LinkCounts::parse(&text("/proc/net/dev")).collect(),
            processes: self.processes(busy, &pids),
            sockets: self.flows.look(&pids),
        }
    }

    fn processes(&mut self, busy: &[u32], pids: &[u32]) -> Vec<ProcessCounts> {
        let mut wanted = self.turn(pids);
        wanted.extend(busy);
        wanted.sort_unstable();
        wanted.dedup();
        let files = &mut self.files;
        let read = |pid: u32| {
            let text = files.read(format_args!("/proc/{pid}/io"))?;
            ProcessCounts::parse((pid, now_ns()), str::from_utf8(text).ok()?)
        };
        wanted.into_iter().filter_map(read).collect()
    }

    /// The processes whose turn it is: those that come next in order of their numbers.
    fn turn(&mut self, pids: &[u32]) -> Vec<u32> {
        let first = pids.partition_point(|pid| *pid <= self.last);
        let (before, after) = pids.split_at(first);
        let turn = after.iter().chain(before).take(IN_TURN);
        let turn: Vec<u32> = turn.copied().collect();
        self.last = turn.last().copied().unwrap_or_default();
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_its_turn_and_then_the_first_comes_again() {
        let mut counting = Counting::default();
        let pids: Vec<u32> = (1..=IN_TURN as u32 + 3).collect();
        assert_eq!(counting.turn(&pids).len(), IN_TURN);
        let next = counting.turn(&pids);
        assert_eq!(next[..5], [513, 514, 515, 1, 2]);
        // Those that are left are fewer than a turn, and each comes once.
        assert_eq!(counting.turn(&[7, 600]), [600, 7]);
        assert_eq!(counting.turn(&[]), [0; 0]);
    }

    #[test]
    fn this_machine_counts_and_this_process_is_read_if_it_is_busy() {
        let own = std::process::id();
        let mut counting = Counting {
            last: own,
            ..Counting::default()
        };
        let counters = counting.look(&[own]);
        assert!(counters.cpu.unwrap().total() > 0);
        assert!(counters.memory.unwrap().total_kib > 0);
        assert!(counters.links.iter().any(|link| link.name == "lo"));
        assert!(counters.processes.iter().any(|process| process.pid == own));
        let times = counters
            .processes
            .iter()
            .filter(|process| process.pid == own);
        assert_eq!(times.count(), 1);
    }
}
