//! Passes the programs to the kernel's verifier, several at a time: it dominates the time until the first probe fires.
//!
//! The verifier takes no global lock for a caller with these capabilities. So it runs on as many CPUs as there are callers.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, bail};
use aya::{Ebpf, programs::Program};

use super::{
    btf::Btf,
    parents::{self, Parents},
};
use crate::{
    machine::clocks::thread_cpu_time,
    probes::{Hook, Probe},
};

/// Most threads: the longest verification is about a quarter of the sum of all, so more could not shorten it.
const AT_ONCE: usize = 4;

/// Programs that take 15 ms and more, the longest first. They begin first, so that no CPU has one of them left when the others are done.
const LONGEST: [&str; 8] = [
    "sched_switch",
    "block_rq_complete",
    "block_bio_queue",
    "sock_send_length",
    "net_dev_start_xmit",
    "block_rq_issue",
    "tcp_probe",
    "inet_sock_set_state",
];

/// Outcome for each probe, by its name.
pub(crate) type Outcomes = HashMap<&'static str, Result<()>>;

/// Loads the programs of these probes, and attaches none. This thread calls `meanwhile` first, which may wait for others, so each CPU has a
/// thread besides.
pub(crate) fn load_all<T>(
    ebpf: &mut Ebpf,
    hooks: &aya::Btf,
    probes: &[&'static Probe],
    meanwhile: impl FnOnce(Parents<'_>) -> T,
) -> (Outcomes, T) {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let parents = Parents {
        program: programs.remove(parents::PROGRAM),
        hooks,
    };
    let wanted = probes.iter().map(|probe| {
        let program = programs.remove(probe.name);
        (*probe, program)
    });
    let mut wanted: Vec<(&'static Probe, Option<&mut Program>)> = wanted.collect();
    let rank = |name| LONGEST.iter().position(|long| *long == name);
    // Threads take from the end.
    wanted.sort_by_key(|(probe, _)| Reverse(rank(probe.name).unwrap_or(LONGEST.len())));
    let queue = Mutex::new(wanted);
    let outcomes = Mutex::new(Outcomes::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((probe, program)) = next else {
                return;
            };
            let begun = thread_cpu_time();
            let outcome = load(probe, program, hooks);
            let took = thread_cpu_time().saturating_sub(begun);
            log::debug!("{} took {} µs of CPU to load", probe.name, took.as_micros());
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes.insert(probe.name, outcome);
        }
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let found = thread::scope(|scope| {
        for _ in 0..cpus.min(AT_ONCE) {
            scope.spawn(work);
        }
        let found = meanwhile(parents);
        work();
        found
    });
    let outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    (outcomes, found)
}

/// The kernel's types for aya. It looks up only the numbers of the tracepoints and functions that these probes and the iterator hook.
///
/// # Errors
/// If aya cannot parse these types.
pub(crate) fn hooks(btf: &Btf, probes: &[&'static Probe]) -> Result<aya::Btf> {
    let (mut tracepoints, mut functions) = (Vec::new(), vec![parents::FUNCTION]);
    for probe in probes {
        match probe.hook {
            Hook::Tracepoint => tracepoints.push(probe.name),
            Hook::Entry(function) | Hook::Exit(function, _) => functions.push(function),
            Hook::InModule(_) => {}
        }
    }
    let types = btf.hooks(&tracepoints, &functions);
    aya::Btf::parse(&types, aya::Endianness::default())
        .context("cannot pass on the kernel's type information")
}

fn load(probe: &Probe, program: Option<&mut Program>, btf: &aya::Btf) -> Result<()> {
    let program = program.with_context(|| format!("the object has no program {}", probe.name))?;
    match (probe.hook, program) {
        (Hook::Tracepoint, Program::BtfTracePoint(program)) => program.load(probe.name, btf)?,
        (Hook::InModule(_), Program::RawTracePoint(program)) => program.load()?,
        (Hook::Entry(function), Program::FEntry(program)) => program.load(function, btf)?,
        (Hook::Exit(function, _), Program::FExit(program)) => program.load(function, btf)?,
        _ => bail!("program {} is of another type", probe.name),
    }
    Ok(())
}
