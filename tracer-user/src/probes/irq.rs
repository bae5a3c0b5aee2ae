//! Interrupts; kernel side: `tracer-ebpf/src/probes/irq.rs`.

use tracer_common::{
    irq::{self, INTERRUPTS_MAP, Interrupts, SOURCES, Sums},
    sched::CpuState,
    shed::Group,
};

use super::{
    maps::Maps,
    sched::open_slice,
    table::{Probe, optional},
};
use crate::event::{self, Event, Source};

/// The cost of not seeing hard interrupts, and of not seeing softirqs.
const HARD: &str = "run-queue time that interrupts took is charged to those whom they interrupted";
const SOFT: &str = "run-queue time that softirqs took is charged to those whom they interrupted";

/// The probes of the family.
pub(super) const PROBES: &[Probe] = &[
    optional("irq_handler_entry", &[], HARD, None).shed_with(Group::Interrupts),
    optional("irq_handler_exit", &[], HARD, None).shed_with(Group::Interrupts),
    optional("softirq_entry", &[], SOFT, None).shed_with(Group::Interrupts),
    optional("softirq_exit", &[], SOFT, None).shed_with(Group::Interrupts),
];

pub(super) fn interrupts(r: &Interrupts) -> event::Interrupts {
    event::Interrupts {
        ns: r.header.ns,
        cpu: r.place,
        begin_ns: r.begin_ns,
        took: took(&r.ns),
    }
}

/// Time that interrupts took of target threads on all CPUs, from the kernel half's sums.
fn interrupted(cpus: &[Sums]) -> event::Interrupted {
    let sum = |source: usize| cpus.iter().map(|sums| sums.own_ns[source]).sum();
    event::Interrupted {
        took: took(&std::array::from_fn(sum)),
    }
}

/// The sources that took any time.
fn took(ns: &[u64; SOURCES]) -> Vec<(Source, u64)> {
    let source = |number: usize| match number {
        irq::HARD => Source::Irq,
        softirq => Source::Softirq(softirq as u32),
    };
    let all = ns.iter().enumerate();
    all.filter(|(_, ns)| **ns > 0)
        .map(|(number, ns)| (source(number), *ns))
        .collect()
}

/// Time that interrupts took of a CPU with a queued target thread, not reported yet, from the kernel half's state.
fn open_interrupts(cpu: u32, state: &CpuState, sums: &Sums, ns: u64) -> Option<event::Interrupts> {
    let begin_ns = open_slice(cpu, state, ns)?.begin_ns.max(state.opened_ns);
    let unreported = std::array::from_fn(|n| sums.ns[n].saturating_sub(sums.reported_ns[n]));
    let took = took(&unreported);
    (!took.is_empty()).then_some(event::Interrupts {
        ns,
        cpu,
        begin_ns,
        took,
    })
}

/// Time that interrupts took of CPUs with queued target threads, not reported yet. None, if the map cannot be read.
pub(super) fn open(maps: &impl Maps, cpus: &[CpuState], ns: u64) -> Vec<Event> {
    let sums = maps.array(INTERRUPTS_MAP).unwrap_or_default();
    let all = (0..).zip(cpus.iter().zip(&sums));
    let taken = all.filter_map(|(cpu, (state, sums))| open_interrupts(cpu, state, sums, ns));
    taken.map(Event::Interrupts).collect()
}

/// Time that interrupts took of target threads since attach; `None` if the map cannot be read.
pub(super) fn totals(maps: &impl Maps) -> Option<Event> {
    let sums: Vec<Sums> = maps.array(INTERRUPTS_MAP).ok()?;
    Some(Event::Interrupted(interrupted(&sums)))
}
