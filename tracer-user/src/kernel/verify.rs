//! Hands the programs to the kernel's verifier, several at a time: it dominates the time until the first probe fires.
//!
//! The verifier locks nothing for those who may load what these programs need, hence runs on as many CPUs as there are callers.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, bail};
use aya::{Ebpf, programs::Program};

use crate::probes::{Hook, Probe};

/// So many threads at most: the longest verification is about a quarter of the sum of all, so more could not shorten it.
const AT_ONCE: usize = 4;

/// Outcome for each probe, by its name.
pub type Outcomes = HashMap<&'static str, Result<()>>;

/// Loads the programs of these probes, and attaches none.
pub fn load_all(ebpf: &mut Ebpf, btf: &aya::Btf, probes: &[&'static Probe]) -> Outcomes {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    // Taken from the end: the first probes are the ones that take longest to verify.
    let wanted = probes.iter().rev().map(|probe| {
        let program = programs.remove(probe.name);
        (*probe, program)
    });
    let queue: Mutex<Vec<(&'static Probe, Option<&mut Program>)>> = Mutex::new(wanted.collect());
    let outcomes = Mutex::new(Outcomes::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((probe, program)) = next else {
                return;
            };
            let outcome = load(probe, program, btf);
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes.insert(probe.name, outcome);
        }
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..cpus.min(AT_ONCE) {
            scope.spawn(work);
        }
        work();
    });
    outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
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
