//! Reads what the kernel half wrote: records in order of time, and the maps at the end.

use std::cell::LazyCell;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
};
use tracer_common::{
    block::{DiskOwner, DiskTotal, Request},
    histogram::{BlockCells, Cell, CellKey, Family},
    irq::Sums,
    packets::{PacketOwner, Packets},
    record::{Counter, Kind, MapLoss},
    sched::{Cpu, NOT_QUEUED, Task},
    tcp::{Link, LinkOwner, SocketState},
};

use super::{bios, order::Order, symbols::KernelSymbols};
use crate::{
    event::{self, Event},
    machine::clocks::now_ns,
    probes::{self, decode},
    units,
};

/// A record may be older than one that was read before it: its time is taken before its place in the ring. Programs run with
/// preemption off in microseconds, but the hypervisor may stop a CPU in between: an emulator that has one thread for all CPUs gives each a
/// turn of 100 ms, and a wait that came later than its successor was lost to the books.
const REORDER_NS: u64 = 110_000_000;

/// So much is read of a ring at once: all that fits into the larger one. Where records come as fast as they are read, what was read has
/// to be taken in between.
const AT_ONCE: usize = 8 << 20;

/// The kernel's own header of a record, bytes.
const RING_HEADER: usize = 8;

/// Waits until the names of the kernel's functions are read.
pub type Naming = Box<dyn FnOnce() -> KernelSymbols + Send>;

/// The reading end of the rings and maps.
pub struct Reader {
    events: RingBuf<MapData>,
    snapshots: RingBuf<MapData>,
    symbols: LazyCell<KernelSymbols, Naming>,
    /// Read, and not old enough to be in order for certain.
    pending: Order,
    /// Time of the youngest record read.
    newest_ns: u64,
    received: u64,
    malformed: u64,
}

/// What the kernel half counted.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// Records written.
    pub sent: u64,
    /// Records dropped by kind; zeros are left out.
    pub ring: Vec<(String, u64)>,
    /// Facts lost because a map was full; zeros are left out.
    pub maps: Vec<(String, u64)>,
}

impl Losses {
    /// A program that did not run told nothing: what it would have told is lost.
    pub fn count_nested(&mut self, runs: u64) {
        if runs > 0 {
            self.sent += runs;
            self.ring.push(("nested_runs".to_owned(), runs));
        }
    }
}

impl Reader {
    /// Takes the rings out of the loaded object.
    ///
    /// # Errors
    /// If the object lacks a ring.
    pub fn new(ebpf: &mut Ebpf, symbols: Naming) -> Result<Self> {
        Ok(Self {
            events: ring(ebpf, "EVENTS")?,
            snapshots: ring(ebpf, "SNAPSHOTS")?,
            symbols: LazyCell::new(symbols),
            pending: Order::default(),
            newest_ns: 0,
            received: 0,
            malformed: 0,
        })
    }

    /// Moves all events that are in order for certain to `out`.
    pub fn poll(&mut self, out: &mut Vec<Event>) {
        // Taken before reading: what is read later cannot be older than this minus the slack.
        let begun = now_ns();
        let settled = match self.read() {
            true => begun,
            false => begun.min(self.newest_ns),
        };
        self.pending.settle(settled.saturating_sub(REORDER_NS), out);
    }

    /// Moves everything to `out`: the programs are detached.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        while !self.read() {}
        self.pending.settle(u64::MAX, out);
    }

    /// Reads what the rings hold, at most as much as fits into one. Is that all?
    fn read(&mut self) -> bool {
        let symbols = &self.symbols;
        let mut is_all = true;
        for ring in [&mut self.events, &mut self.snapshots] {
            let mut length = 0;
            while let Some(item) = ring.next() {
                self.received += 1;
                length += item.len() + RING_HEADER;
                match decode::decode(&item, |address| symbols.display(address)) {
                    Ok(event) => {
                        self.newest_ns = self.newest_ns.max(event.ns());
                        self.pending.push(event);
                    }
                    Err(_) => self.malformed += 1,
                }
                if length >= AT_ONCE {
                    is_all = false;
                    break;
                }
            }
        }
        is_all
    }

    /// The name of the kernel function at this address.
    #[must_use]
    pub fn function(&self, address: u64) -> String {
        self.symbols.display(address)
    }

    /// Records read, and how many of them could not be understood.
    #[must_use]
    pub fn received(&self) -> (u64, u64) {
        (self.received, self.malformed)
    }
}

fn ring(ebpf: &mut Ebpf, name: &str) -> Result<RingBuf<MapData>> {
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the object has no ring {name}"))?;
    Ok(RingBuf::try_from(map)?)
}

fn hash<'a, K: aya::Pod, V: aya::Pod>(
    ebpf: &'a Ebpf,
    name: &str,
) -> Result<HashMap<&'a MapData, K, V>> {
    let map = ebpf
        .map(name)
        .with_context(|| format!("the object has no map {name}"))?;
    HashMap::try_from(map).with_context(|| format!("map {name} is not what was expected"))
}

/// What is open at `ns`: who holds the CPUs they wait for, target threads off the CPU, and requests in flight.
/// A map that cannot be read has nothing open.
#[must_use]
pub fn open(ebpf: &Ebpf, ns: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let open_io = |request: Request| Event::Io(decode::open_io(&request, ns));
    events.extend(bios::issued(ebpf).into_iter().map(open_io));
    if let Ok(requests) = hash::<u64, Request>(ebpf, "REQUESTS") {
        let alone = requests.iter().flatten();
        events.extend(alone.map(|(_, request)| open_io(request)));
    }
    let cpus = cpus(ebpf);
    let all = || (0..).zip(&cpus);
    let slices = all().filter_map(|(cpu, state)| decode::open_slice(cpu, state, ns));
    events.extend(slices.map(Event::Slice));
    let sums = ebpf.map("INTERRUPTS");
    if let Some(sums) = sums.and_then(|map| Array::<_, Sums>::try_from(map).ok()) {
        let told = all().filter_map(|(cpu, state)| {
            decode::open_interrupts(cpu, state, &sums.get(&cpu, 0).ok()?, ns)
        });
        events.extend(told.map(Event::Interrupts));
    }
    if let Ok(tasks) = hash::<u32, Task>(ebpf, "TASKS") {
        events.extend(
            tasks
                .iter()
                .flatten()
                .filter_map(|(tid, task)| decode::open_wait(tid, &task, ns))
                .map(Event::Wait),
        );
    }
    events
}

/// The state of each CPU; none, if the map cannot be read.
fn cpus(ebpf: &Ebpf) -> Vec<Cpu> {
    let map = ebpf.map("CPUS").map(Array::<_, Cpu>::try_from);
    let Some(Ok(cpus)) = map else {
        return Vec::new();
    };
    let state = |cpu| cpus.get(&cpu, 0).unwrap_or_default();
    (0..cpus.len()).map(state).collect()
}

/// One line of evidence, if the kernel showed nothing for more than a hundredth of a CPU's time.
#[must_use]
pub fn unseen(ebpf: &Ebpf, window_ns: u64) -> Option<String> {
    let most = cpus(ebpf).iter().map(|state| state.unseen_ns).max()?;
    unseen_line(most, window_ns)
}

fn unseen_line(most_ns: u64, window_ns: u64) -> Option<String> {
    let share = most_ns as f64 / window_ns as f64;
    (share > 0.01).then(|| {
        format!(
            "this kernel shows nothing while a process that it guards runs, {} of a CPU's time: wakeups and interrupts meanwhile were not \
             seen",
            units::share(share)
        )
    })
}

/// A thread that runs: what it waited, and what it held of its CPU, is counted as it leaves.
struct Running {
    pid: u32,
    waited_ns: u64,
    held_ns: u64,
}

/// Moves what threads of this process still run to its histogram.
fn count_running(running: &mut Vec<Running>, pid: u32, cell: &mut Cell) {
    for run in running.extract_if(.., |run| run.pid == pid) {
        if run.waited_ns != NOT_QUEUED {
            cell.add(run.waited_ns);
        }
        cell.held_ns += run.held_ns;
    }
}

/// Who runs at `ns`; nobody, if the map cannot be read.
fn running(ebpf: &Ebpf, ns: u64) -> Vec<Running> {
    let states = cpus(ebpf).into_iter();
    let runs = states.filter(|state| state.since_ns != 0 && state.pid != 0);
    let running = runs.map(|state| Running {
        pid: state.pid,
        waited_ns: state.waited_ns,
        held_ns: ns.saturating_sub(state.since_ns),
    });
    running.collect()
}

/// Everything the maps hold at the end: the last slices of links, histograms, totals of disks.
///
/// # Errors
/// If a map cannot be read.
pub fn totals(ebpf: &Ebpf, ns: u64) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    let links = hash::<LinkOwner, Link>(ebpf, "LINKS")?;
    events.extend(
        links
            .iter()
            .flatten()
            .filter(|(_, link)| link.packets > 0)
            .map(|(_, link)| Event::Link(decode::link(&link))),
    );
    // Without the TCP family there are none.
    if let Ok(packets) = hash::<PacketOwner, Packets>(ebpf, "PACKETS") {
        let cells = packets.iter().flatten();
        events.extend(cells.map(|(_, cell)| Event::Packets(probes::packets::packets(&cell))));
    }
    let cells = hash::<CellKey, Cell>(ebpf, "HISTOGRAMS")?;
    let mut running = running(ebpf, ns);
    for (key, mut cell) in cells.iter().flatten() {
        if key.family == Family::RunQueue as u32 {
            count_running(&mut running, key.pid, &mut cell);
        }
        events.push(Event::Histogram(Box::new(decode::cell(ns, key, &cell))));
    }
    while let Some(first) = running.first() {
        let (pid, family, mut cell) = (first.pid, Family::RunQueue as u32, Cell::EMPTY);
        count_running(&mut running, pid, &mut cell);
        let key = CellKey { pid, family };
        events.push(Event::Histogram(Box::new(decode::cell(ns, key, &cell))));
    }
    let of_disks = hash::<u32, BlockCells>(ebpf, "BLOCK_HISTOGRAMS")?;
    for (pid, cells) in of_disks.iter().flatten() {
        for (family, cell) in [
            (Family::BlockIoQueue, &cells.queue),
            (Family::BlockIoDevice, &cells.device),
        ] {
            let family = family as u32;
            let cell = decode::cell(ns, CellKey { pid, family }, cell);
            events.push(Event::Histogram(Box::new(cell)));
        }
    }
    let disks = hash::<DiskOwner, DiskTotal>(ebpf, "DISK_TOTALS")?;
    events.extend(
        disks
            .iter()
            .flatten()
            .map(|(key, total)| Event::DiskTotal(decode::disk_total(key, &total))),
    );
    let sums = ebpf.map("INTERRUPTS");
    if let Some(sums) = sums.and_then(|map| Array::<_, Sums>::try_from(map).ok()) {
        let all = (0..sums.len()).filter_map(|cpu| sums.get(&cpu, 0).ok());
        let all: Vec<Sums> = all.collect();
        events.push(Event::Interrupted(decode::interrupted(&all)));
    }
    // Without the TCP family there is none.
    if let Ok(sockets) = hash::<u64, SocketState>(ebpf, "SOCKETS") {
        let all = sockets.iter().flatten();
        let unread = all.filter(|(_, state)| state.announced != 0 && state.arrived_ns != 0);
        events.extend(unread.map(|(socket, state)| {
            Event::Unread(event::Unread {
                ns,
                socket,
                pid: state.pid,
                arrived_ns: state.arrived_ns,
            })
        }));
    }
    Ok(events)
}

/// What was lost between the programs and this reader.
///
/// # Errors
/// If a counter cannot be read.
pub fn losses(ebpf: &Ebpf) -> Result<Losses> {
    let mut losses = Losses::default();
    let counters: PerCpuArray<_, Counter> = PerCpuArray::try_from(
        ebpf.map("COUNTERS")
            .context("the object has no map COUNTERS")?,
    )?;
    for (kind, name) in Kind::ALL {
        let per_cpu = counters.get(&(kind as u32), 0)?;
        losses.sent += per_cpu
            .iter()
            .map(|counter| counter.sent + counter.dropped)
            .sum::<u64>();
        let dropped: u64 = per_cpu.iter().map(|counter| counter.dropped).sum();
        if dropped > 0 {
            losses.ring.push((name.to_owned(), dropped));
        }
    }
    let (full, added) = (counts(ebpf, "MAP_FULL")?, counts(ebpf, "MAP_ADDED")?);
    for (loss, name) in MapLoss::ALL {
        let sum = |counts: &PerCpuArray<_, u64>| -> Result<u64> {
            Ok(counts.get(&(loss as u32), 0)?.iter().sum())
        };
        let there = match loss {
            MapLoss::Histograms => entries::<CellKey, Cell>(ebpf, "HISTOGRAMS")?,
            MapLoss::BlockHistograms => entries::<u32, BlockCells>(ebpf, "BLOCK_HISTOGRAMS")?,
            MapLoss::DiskTotals => entries::<DiskOwner, DiskTotal>(ebpf, "DISK_TOTALS")?,
            _ => 0,
        };
        let count = sum(&full)? + sum(&added)?.saturating_sub(there);
        if count > 0 {
            losses.maps.push((name.to_owned(), count));
        }
    }
    Ok(losses)
}

/// Counts of each CPU by [`MapLoss`].
fn counts<'a>(ebpf: &'a Ebpf, name: &str) -> Result<PerCpuArray<&'a MapData, u64>> {
    let map = ebpf.map(name);
    let map = map.with_context(|| format!("the object has no map {name}"))?;
    Ok(PerCpuArray::try_from(map)?)
}

/// How many entries a map has.
fn entries<K: aya::Pod, V: aya::Pod>(ebpf: &Ebpf, name: &str) -> Result<u64> {
    Ok(hash::<K, V>(ebpf, name)?.keys().flatten().count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_hides_is_evidence_from_a_hundredth_of_a_cpu_on() {
        assert_eq!(unseen_line(10_000_000, 1_000_000_000), None);
        let line = unseen_line(30_000_000, 1_000_000_000).unwrap();
        assert!(line.contains("runs, 3 % of a CPU's time"), "{line}");
    }

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
