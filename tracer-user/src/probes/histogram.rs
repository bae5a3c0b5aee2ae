//! Histograms of every family; kernel side: `tracer-ebpf/src/histograms.rs`.

use anyhow::Result;
use tracer_common::{
    histogram::{Cell, CellKey, Family, HISTOGRAMS_MAP, Snapshot},
    record::MapLoss,
    sched::{CpuState, NOT_QUEUED},
};

use super::maps::Maps;
use crate::event::{self, Event};

pub(super) fn snapshot(r: &Snapshot) -> event::Histogram {
    cell(r.header.ns, r.key, &r.cell)
}

/// A histogram from the kernel half's cell, without empty buckets at its ends.
pub(super) fn cell(ns: u64, key: CellKey, cell: &Cell) -> event::Histogram {
    let used = |count: &u32| *count != 0;
    let first = cell.buckets.iter().position(used).unwrap_or(0);
    let end = cell
        .buckets
        .iter()
        .rposition(used)
        .map_or(first, |last| last + 1);
    event::Histogram {
        ns,
        pid: key.pid,
        family: key.family,
        count: cell.count,
        zero_count: cell.zero_count,
        sum_ns: cell.sum_ns,
        max_ns: cell.max_ns,
        held_ns: cell.held_ns,
        first: first as u32,
        buckets: cell.buckets[first..end].to_vec(),
    }
}

/// A thread that runs. The kernel half counts its wait and its time on the CPU only as it leaves.
struct Running {
    pid: u32,
    waited_ns: u64,
    held_ns: u64,
}

/// The threads that run at `ns`.
fn running(cpus: &[CpuState], ns: u64) -> Vec<Running> {
    let runs = cpus
        .iter()
        .filter(|state| state.since_ns != 0 && state.pid != 0);
    let running = runs.map(|state| Running {
        pid: state.pid,
        waited_ns: state.waited_ns,
        held_ns: ns.saturating_sub(state.since_ns),
    });
    running.collect()
}

/// Moves the running threads of this process into its histogram.
fn count_running(running: &mut Vec<Running>, pid: u32, cell: &mut Cell) {
    for run in running.extract_if(.., |run| run.pid == pid) {
        if run.waited_ns != NOT_QUEUED {
            cell.add(run.waited_ns);
        }
        cell.held_ns += run.held_ns;
    }
}

/// Every histogram that is kept by process and family, with the threads that still run at `ns`.
///
/// # Errors
/// If the map cannot be read.
pub(super) fn totals(maps: &impl Maps, cpus: &[CpuState], ns: u64) -> Result<Vec<Event>> {
    let mut running = running(cpus, ns);
    let mut events = Vec::new();
    let mut push = |key, values: &Cell| {
        events.push(Event::Histogram(Box::new(cell(ns, key, values))));
    };
    maps.each(HISTOGRAMS_MAP, |key: CellKey, mut values: Cell| {
        if key.family == Family::RunQueue as u32 {
            count_running(&mut running, key.pid, &mut values);
        }
        push(key, &values);
    })?;
    while let Some(first) = running.first() {
        let (pid, family, mut values) = (first.pid, Family::RunQueue as u32, Cell::EMPTY);
        count_running(&mut running, pid, &mut values);
        push(CellKey { pid, family }, &values);
    }
    Ok(events)
}

/// The number of entries in the map, which evicts the least recently used entry.
///
/// # Errors
/// If the map cannot be read.
pub(super) fn kept(maps: &impl Maps) -> Result<Vec<(MapLoss, u64)>> {
    let count = maps.count::<CellKey, Cell>(HISTOGRAMS_MAP)?;
    Ok(vec![(MapLoss::Histograms, count)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_runs_counts_once_and_a_wait_that_is_not_known_not_at_all() {
        let run = |pid, waited_ns| Running {
            pid,
            waited_ns,
            held_ns: 5,
        };
        let mut running = vec![run(1, 7), run(2, 8), run(1, NOT_QUEUED)];
        let mut cell = Cell::EMPTY;
        count_running(&mut running, 1, &mut cell);
        assert_eq!((cell.count, cell.sum_ns, cell.held_ns), (1, 7, 10));
        assert_eq!(running.len(), 1);
    }
}
