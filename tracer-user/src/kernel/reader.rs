//! Reads the output of the kernel half: records in order of time, and the maps at the end.

use std::cell::LazyCell;

use anyhow::{Context, Result};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
};
use tracer_common::{
    Kind,
    block::RequestState,
    record::{
        COUNTERS_MAP, Counter, EVENTS_MAP, MAP_ADDED_MAP, MAP_FULL_MAP, MapLoss, SNAPSHOTS_MAP,
    },
};

use super::{bios, order::Order, symbols::KernelSymbols};
use crate::{
    event::Event,
    loss::Loss,
    machine::clocks::now_ns,
    probes::{self, Maps},
};

/// A record may be older than one that was read before it, by up to this, ns. A program takes the time before its place in the
/// ring. Programs run for microseconds with preemption off, but the hypervisor may stop a CPU in between. An emulator with one
/// thread for all CPUs gives each a turn of 100 ms. The books would lose a wait that comes later than its successor.
const REORDER_NS: u64 = 110_000_000;

/// Bytes that are read of a ring at once: as many as the larger ring holds. If records come as fast as they are read, the caller
/// must take events in between.
const AT_ONCE: usize = 8 << 20;

/// The kernel's own header of a record, bytes.
const RING_HEADER: usize = 8;

/// Returns the names of the kernel's functions; waits until they are read.
pub(crate) type Naming = Box<dyn FnOnce() -> KernelSymbols + Send>;

/// The reading end of the rings and maps.
pub(crate) struct Reader {
    events: RingBuf<MapData>,
    snapshots: RingBuf<MapData>,
    symbols: LazyCell<KernelSymbols, Naming>,
    /// Read, and too young to be in order for certain.
    pending: Order,
    /// Time of the youngest record read.
    newest_ns: u64,
    received: u64,
    malformed: u64,
}

/// The counters of the kernel half.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    /// Records written.
    pub(crate) sent: u64,
    /// Records dropped by kind; zeros are left out.
    pub(crate) ring: Vec<(String, u64)>,
    /// Facts lost because a map was full; zeros are left out.
    pub(crate) maps: Vec<(String, u64)>,
}

impl Losses {
    /// Counts records that arrived and could not be decoded.
    pub(crate) fn count_malformed(&mut self, records: u64) {
        if records > 0 {
            self.ring.push((Loss::MALFORMED.to_owned(), records));
        }
    }

    /// Counts runs of programs that the kernel skipped: their records are lost.
    pub(crate) fn count_nested(&mut self, runs: u64) {
        if runs > 0 {
            self.sent += runs;
            self.ring.push((Loss::NESTED_RUNS.to_owned(), runs));
        }
    }
}

impl Reader {
    /// Takes the rings out of the loaded object.
    ///
    /// # Errors
    /// If the object lacks a ring.
    pub(crate) fn new(ebpf: &mut Ebpf, symbols: Naming) -> Result<Self> {
        Ok(Self {
            events: ring(ebpf, EVENTS_MAP)?,
            snapshots: ring(ebpf, SNAPSHOTS_MAP)?,
            symbols: LazyCell::new(symbols),
            pending: Order::default(),
            newest_ns: 0,
            received: 0,
            malformed: 0,
        })
    }

    /// Moves all events that are in order for certain to `out`.
    pub(crate) fn poll(&mut self, out: &mut Vec<Event>) {
        // Taken before reading: a record read later cannot be older than this minus [`REORDER_NS`].
        let begun = now_ns();
        let settled = match self.read() {
            true => begun,
            false => begun.min(self.newest_ns),
        };
        self.pending.settle(settled.saturating_sub(REORDER_NS), out);
    }

    /// Moves everything to `out`, after the programs are detached.
    pub(crate) fn finish(&mut self, out: &mut Vec<Event>) {
        while !self.read() {}
        self.pending.settle(u64::MAX, out);
    }

    /// Reads the records in the rings, at most [`AT_ONCE`] bytes of each. True if that is all.
    fn read(&mut self) -> bool {
        let symbols = &self.symbols;
        let mut is_all = true;
        for ring in [&mut self.events, &mut self.snapshots] {
            let mut length = 0;
            while let Some(item) = ring.next() {
                self.received += 1;
                length += item.len() + RING_HEADER;
                if let Ok(Some(event)) = probes::brought(&item) {
                    self.pending.push(event);
                }
                match probes::decode(&item, |address| symbols.display(address)) {
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
    pub(crate) fn function(&self, address: u64) -> String {
        self.symbols.display(address)
    }

    /// The number of records read, and the number of malformed ones among them.
    #[must_use]
    pub(crate) fn received(&self) -> (u64, u64) {
        (self.received, self.malformed)
    }
}

fn ring(ebpf: &mut Ebpf, name: &str) -> Result<RingBuf<MapData>> {
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the object has no ring {name}"))?;
    Ok(RingBuf::try_from(map)?)
}

/// The maps of a loaded object.
struct Loaded<'a>(&'a Ebpf);

impl Loaded<'_> {
    fn map(&self, name: &str) -> Result<&Map> {
        let map = self.0.map(name);
        map.with_context(|| format!("the object has no map {name}"))
    }

    fn hash<K: Pod, V: Pod>(&self, name: &str) -> Result<HashMap<&MapData, K, V>> {
        HashMap::try_from(self.map(name)?)
            .with_context(|| format!("map {name} is not what was expected"))
    }

    /// Counts of each CPU by [`MapLoss`].
    fn counts(&self, name: &str) -> Result<PerCpuArray<&MapData, u64>> {
        Ok(PerCpuArray::try_from(self.map(name)?)?)
    }
}

impl Maps for Loaded<'_> {
    fn each<K: Pod, V: Pod>(&self, map: &str, mut see: impl FnMut(K, V)) -> Result<()> {
        for (key, value) in self.hash(map)?.iter().flatten() {
            see(key, value);
        }
        Ok(())
    }

    fn count<K: Pod, V: Pod>(&self, map: &str) -> Result<u64> {
        Ok(self.hash::<K, V>(map)?.keys().flatten().count() as u64)
    }

    fn array<V: Pod>(&self, map: &str) -> Result<Vec<V>> {
        let array: Array<_, V> = Array::try_from(self.map(map)?)?;
        let values = (0..array.len()).map(|index| array.get(&index, 0));
        Ok(values.collect::<Result<_, _>>()?)
    }

    fn issued(&self) -> Vec<RequestState> {
        bios::issued(self.0)
    }
}

/// All that is open at `ns`: requests in flight, holders of CPUs, and target threads off the CPU. A map that cannot be read has
/// nothing open.
#[must_use]
pub(crate) fn open(ebpf: &Ebpf, ns: u64) -> Vec<Event> {
    probes::open(&Loaded(ebpf), ns)
}

/// The content of the maps at the end: the last slices of links and packets, histograms, and totals.
///
/// # Errors
/// If a map cannot be read.
pub(crate) fn totals(ebpf: &Ebpf, ns: u64) -> Result<Vec<Event>> {
    probes::totals(&Loaded(ebpf), ns)
}

/// Since when target threads queue on a CPU without a pause, ns: the longest of all CPUs.
#[must_use]
pub(crate) fn queued_ns(ebpf: &Ebpf) -> Option<u64> {
    probes::sched::queued_ns(&Loaded(ebpf))
}

/// One line of evidence, if the kernel showed nothing for more than a hundredth of a CPU's time.
#[must_use]
pub(crate) fn unseen(ebpf: &Ebpf, window_ns: u64) -> Option<String> {
    probes::sched::unseen(&Loaded(ebpf), window_ns)
}

/// The losses between the programs and this reader.
///
/// # Errors
/// If a counter cannot be read.
pub(crate) fn losses(ebpf: &Ebpf) -> Result<Losses> {
    let mut losses = Losses::default();
    let maps = Loaded(ebpf);
    let counters: PerCpuArray<_, Counter> = PerCpuArray::try_from(maps.map(COUNTERS_MAP)?)?;
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
    let (full, added) = (maps.counts(MAP_FULL_MAP)?, maps.counts(MAP_ADDED_MAP)?);
    let kept = probes::kept(&maps)?;
    for (loss, name) in MapLoss::ALL {
        let sum = |counts: &PerCpuArray<_, u64>| -> Result<u64> {
            Ok(counts.get(&(loss as u32), 0)?.iter().sum())
        };
        let there = kept.iter().filter(|(kept, _)| *kept == loss);
        let there = there.map(|(_, count)| count).sum();
        let count = sum(&full)? + sum(&added)?.saturating_sub(there);
        if count > 0 {
            losses.maps.push((name.to_owned(), count));
        }
    }
    Ok(losses)
}
