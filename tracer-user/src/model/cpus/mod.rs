//! CPUs as places: their holders while target threads stood in run queues, be it processes, interrupts or the hypervisor.

mod cpu;
mod queue;
mod softirq;
mod steal;
mod unwatched;

use rustc_hash::FxHashMap as HashMap;

use super::{
    account::Account,
    books::{Bin, PlaceId, Works},
    names::Names,
};
use crate::event::{CpuTime, Interrupts, Packets, ProbeGroup, Shed, Slice, Stolen, Watch, Work};
use cpu::{By, Cpu, Piece, part_of};
use softirq::Softirqs;
use unwatched::Unwatched;

pub(super) use queue::Queued;

/// Functions of a kworker that are told apart.
const MOST_FUNCTIONS: usize = 256;

/// All CPUs.
#[derive(Clone, Debug, Default)]
pub(super) struct Cpus {
    /// By the kernel's number.
    cpus: Vec<Cpu>,
    softirqs: Softirqs,
    unwatched: Unwatched,
    /// Part of a CPU's work that was stolen in the window, by place.
    stolen: HashMap<PlaceId, f64>,
    works: Works,
    /// How many records of slices came.
    pub(super) records: u64,
    /// Room for the parts of a wait, and for their holders.
    pieces: Vec<Piece>,
    holders: Vec<(By, u64)>,
}

impl Cpus {
    pub(super) fn slice(&mut self, slice: &Slice) {
        self.records += 1;
        let (cpu, most) = self.cpu(slice.cpu);
        cpu.held(slice.pid, slice.tid, slice.begin_ns, slice.ns);
        cpu.keep(most);
    }

    pub(super) fn interrupted(&mut self, by: &Interrupts) {
        let (cpu, most) = self.cpu(by.cpu);
        cpu.interrupted(&by.took, by.begin_ns, by.ns);
        cpu.keep(most);
    }

    /// Interrupts are shed, or watched again. The window began at `start_ns`.
    pub(super) fn watch(&mut self, watch: &Watch, start_ns: u64) {
        match watch.group {
            ProbeGroup::Interrupts => self.unwatched.set(watch.is_shed, watch.ns.max(start_ns)),
        }
    }

    /// CPUs of which nothing is known but whether interrupts are watched.
    pub(super) fn as_watched(&self) -> Self {
        Self {
            unwatched: self.unwatched.clone(),
            ..Self::default()
        }
    }

    /// How long interrupts were shed until the end of the window, if they were.
    pub(super) fn shed(&self, end_ns: u64) -> Option<Shed> {
        self.unwatched.shed(end_ns)
    }

    /// Time of waits that is charged to nobody because interrupts were shed, ns.
    pub(super) fn unwatched_ns(&self) -> u64 {
        self.unwatched.left_ns
    }

    pub(super) fn stolen(&mut self, stolen: &Stolen) {
        let (cpu, most) = self.cpu(stolen.cpu);
        cpu.stolen(stolen.stolen_ns, stolen.begin_ns, stolen.ns);
        cpu.keep(most);
    }

    /// Stolen part of a CPU in the whole window, where the kernel counts no shorter intervals.
    pub(super) fn stolen_in_all(&mut self, names: &mut Names, cpu: CpuTime) {
        let part = cpu.part().min(1.0);
        if part >= steal::LEAST {
            let place = names.place(&format!("cpu{}", cpu.cpu));
            self.stolen.insert(place, part);
        }
    }

    /// Which functions a kworker ran while a target thread was queued.
    pub(super) fn worked(&mut self, names: &mut Names, work: &Work) {
        let worker = names.processes.id(work.pid);
        let functions = self.works.entry(worker).or_default();
        let ns = work.ns.saturating_sub(work.begin_ns);
        // The function that ran for longest is named: one of so many did not.
        if functions.len() < MOST_FUNCTIONS || functions.contains_key(&work.function) {
            let sum = functions.entry(work.function.clone()).or_default();
            *sum = sum.saturating_add(ns);
        }
    }

    pub(super) fn packets(&mut self, names: &mut Names, account: &mut Account, packets: &Packets) {
        let owner = (packets.pid != 0).then(|| names.holder(packets.pid));
        self.softirqs.moved(packets, owner);
        self.softirqs.fold(names, account);
    }

    /// The CPU with this number, and its part of all that is kept.
    fn cpu(&mut self, cpu: u32) -> (&mut Cpu, usize) {
        let index = cpu as usize;
        if index >= self.cpus.len() {
            self.cpus.resize_with(index + 1, Cpu::default);
        }
        let most = part_of(self.cpus.len());
        (&mut self.cpus[index], most)
    }

    /// Waits behind softirqs of which the packets were forgotten.
    pub(super) fn forgotten(&self) -> u64 {
        self.softirqs.forgotten
    }

    /// Charges what can be judged only once all packets are known.
    pub(super) fn settle(&mut self, names: &mut Names, account: &mut Account) {
        self.softirqs.charge(names, account);
        self.softirqs.clear();
    }

    /// Takes what the hypervisor stole in the whole window out of the charges of closed bins.
    pub(super) fn take_stolen(&self, bins: &mut [Bin]) {
        steal::take(&self.stolen, bins);
    }

    /// Time that kworkers held a CPU.
    pub(super) fn into_works(self) -> Works {
        self.works
    }
}
