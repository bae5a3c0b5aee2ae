//! The use that processes make of disks, as `iotop` has it.

use std::collections::BTreeMap;

use crate::{
    class::Class, counters::ProcessCounts, event::Process, model::books::Budget, report::top,
    standing::home, units::shorten,
};

/// Waits from this time on make a row, ns.
const LEAST_NS: u64 = 1_000_000;

/// Characters of a command line that are shown: it may have thousands.
const CMDLINE: usize = 200;

/// The processes that were looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct DisksOf {
    known: BTreeMap<u32, Known>,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug)]
struct Known {
    first: ProcessCounts,
    last: ProcessCounts,
    /// The look before the last one.
    before: Option<ProcessCounts>,
    /// Was it looked at in this interval?
    is_new: bool,
}

impl Known {
    fn new(counts: ProcessCounts) -> Self {
        Self {
            first: counts,
            last: counts,
            before: None,
            is_new: true,
        }
    }

    /// Bytes each second between the last two looks.
    fn rate(&self, bytes: fn(&ProcessCounts) -> u64) -> Option<f64> {
        let before = self.before?;
        let seconds = self.last.ns.saturating_sub(before.ns) as f64 / 1e9;
        let grew = bytes(&self.last).saturating_sub(bytes(&before));
        (seconds > 0.0).then(|| grew as f64 / seconds)
    }

    fn total(&self, bytes: fn(&ProcessCounts) -> u64) -> u64 {
        bytes(&self.last).saturating_sub(bytes(&self.first))
    }
}

fn read(counts: &ProcessCounts) -> u64 {
    counts.read
}

/// Without what was not written after all.
fn written(counts: &ProcessCounts) -> u64 {
    counts.written.saturating_sub(counts.cancelled)
}

impl DisksOf {
    /// An interval ends, at which these were looked at.
    pub(super) fn see(&mut self, processes: &[ProcessCounts]) {
        for known in self.known.values_mut() {
            known.is_new = false;
        }
        for counts in processes {
            match self.known.get_mut(&counts.pid) {
                // Another process that has its number has read less.
                Some(known) if known.last.read <= counts.read => {
                    known.before = Some(known.last);
                    known.last = *counts;
                    known.is_new = true;
                }
                _ => _ = self.known.insert(counts.pid, Known::new(*counts)),
            }
        }
    }

    /// A process has ended.
    pub(super) fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// Those that used disks in the interval, or waited for disks or memory: the largest first.
    pub(super) fn rows<'a>(
        &self,
        lost: &BTreeMap<u32, Budget>,
        process: impl Fn(u32) -> Option<&'a Process>,
    ) -> Vec<top::Process> {
        let waited = lost.keys().copied();
        let mut pids: Vec<u32> = self.known.keys().copied().chain(waited).collect();
        pids.sort_unstable();
        pids.dedup();
        let rows = pids.into_iter().filter_map(|pid| {
            let row = self.row(pid, lost.get(&pid), process(pid));
            is_told(&row).then_some(row)
        });
        let mut rows: Vec<top::Process> = rows.collect();
        rows.sort_by(|a, b| {
            moved(b)
                .total_cmp(&moved(a))
                .then(b.disk_ns.cmp(&a.disk_ns))
        });
        rows
    }

    fn row(&self, pid: u32, lost: Option<&Budget>, process: Option<&Process>) -> top::Process {
        let known = self.known.get(&pid);
        let fresh = known.filter(|known| known.is_new);
        let of = |class: Class| lost.map_or(0, |lost| lost[class.index()]);
        let unit = process.and_then(|process| home::unit(&process.cgroup));
        top::Process {
            pid,
            comm: process.map_or_else(|| "?".to_owned(), |process| process.comm.clone()),
            cmdline: process.map_or_else(String::new, |process| shorten(&process.cmdline, CMDLINE)),
            unit: unit.map(str::to_owned),
            read_per_s: fresh.and_then(|known| known.rate(read)),
            written_per_s: fresh.and_then(|known| known.rate(written)),
            read_bytes: known.map_or(0, |known| known.total(read)),
            written_bytes: known.map_or(0, |known| known.total(written)),
            disk_ns: of(Class::Disk),
            memory_ns: of(Class::Memory),
        }
    }
}

/// Bytes that a process moved each second.
fn moved(row: &top::Process) -> f64 {
    row.read_per_s.unwrap_or(0.0) + row.written_per_s.unwrap_or(0.0)
}

fn is_told(row: &top::Process) -> bool {
    moved(row) > 0.0 || row.disk_ns >= LEAST_NS || row.memory_ns >= LEAST_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn counts(pid: u32, ns: u64, read: u64, written: u64) -> ProcessCounts {
        ProcessCounts {
            pid,
            ns,
            read,
            written,
            cancelled: written / 4,
        }
    }

    fn rows(disks_of: &DisksOf, lost: &BTreeMap<u32, Budget>) -> Vec<top::Process> {
        disks_of.rows(lost, |_| None)
    }

    #[test]
    fn rates_are_those_between_the_two_times_at_which_a_process_was_read() {
        let mut disks_of = DisksOf::default();
        disks_of.see(&[counts(7, S, 1000, 4000), counts(8, S, 50, 0)]);
        assert!(rows(&disks_of, &BTreeMap::new()).is_empty());
        // The second one has no turn in this interval.
        disks_of.see(&[counts(7, 3 * S, 3000, 8000)]);
        let found = rows(&disks_of, &BTreeMap::new());
        assert_eq!(found.len(), 1);
        let row = &found[0];
        assert_eq!((row.pid, row.read_per_s), (7, Some(1000.0)));
        assert_eq!((row.written_per_s, row.written_bytes), (Some(1500.0), 3000));
        disks_of.see(&[counts(8, 5 * S, 450, 0)]);
        let found = rows(&disks_of, &BTreeMap::new());
        assert_eq!((found.len(), found[0].read_per_s), (1, Some(100.0)));
    }

    #[test]
    fn of_a_long_command_line_the_begin_is_shown() {
        let long = Process {
            cmdline: "ä".repeat(4096),
            ..Process::default()
        };
        let row = DisksOf::default().row(7, None, Some(&long));
        assert_eq!(row.cmdline.chars().count(), CMDLINE);
        assert!(row.cmdline.ends_with("ä…"), "{}", row.cmdline);
    }

    #[test]
    fn another_process_with_the_same_number_begins_anew_and_who_only_waits_has_a_row() {
        let mut disks_of = DisksOf::default();
        disks_of.see(&[counts(7, S, 1000, 0)]);
        disks_of.see(&[counts(7, 2 * S, 10, 0)]);
        assert!(rows(&disks_of, &BTreeMap::new()).is_empty());
        let mut budget = Budget::default();
        budget[Class::Disk.index()] = 5 * LEAST_NS;
        let found = rows(&disks_of, &BTreeMap::from([(9, budget)]));
        assert_eq!((found[0].pid, found[0].disk_ns), (9, 5 * LEAST_NS));
        assert_eq!((found[0].read_per_s, found.len()), (None, 1));
    }
}
