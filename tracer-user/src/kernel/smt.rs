//! Hyperthreads: the time that others ran beside the target, on the sibling of its CPU.

use anyhow::{Context as _, Result};
use aya::{Ebpf, maps::Array};
use tracer_common::smt::{SiblingState, TARGET, THREADS_MAP};

use crate::event::{Event, Siblings};

/// Writes the sibling of each CPU into the kernel half's map; pairs of CPU and sibling.
///
/// # Errors
/// If the map cannot be written.
pub(crate) fn set_siblings(ebpf: &mut Ebpf, siblings: &[(u32, u32)]) -> Result<()> {
    let map = ebpf
        .map_mut(THREADS_MAP)
        .context("the object has no map THREADS")?;
    let mut threads: Array<_, SiblingState> = Array::try_from(map)?;
    for (cpu, sibling) in siblings {
        let known = SiblingState {
            sibling: *sibling,
            ..SiblingState::default()
        };
        threads.set(*cpu, known, 0)?;
    }
    Ok(())
}

/// The time that others ran beside the target until `ns`. `None` if no target thread ran on a CPU with a sibling.
#[must_use]
pub(crate) fn shared(ebpf: &Ebpf, ns: u64) -> Option<Event> {
    let threads: Array<_, SiblingState> = Array::try_from(ebpf.map(THREADS_MAP)?).ok()?;
    let all: Vec<SiblingState> = (0..threads.len())
        .filter_map(|cpu| threads.get(&cpu, 0).ok())
        .collect();
    let sum = sum(&all, ns);
    (sum.target_ns > 0).then_some(Event::Siblings(sum))
}

fn sum(all: &[SiblingState], ns: u64) -> Siblings {
    let mut sum = Siblings::default();
    for cpu in all {
        sum.target_ns += cpu.target_ns;
        sum.beside_ns += cpu.beside_ns;
        // A target thread that still runs.
        let open = ns.saturating_sub(cpu.since_ns);
        if cpu.runs == TARGET && open > 0 {
            let beside = all.get(cpu.sibling as usize);
            let both = beside.map_or(0, |other| {
                other.other_until(ns).saturating_sub(cpu.beside_at_ns)
            });
            sum.target_ns += open;
            sum.beside_ns += both.min(open);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use tracer_common::smt::OTHER;

    use super::*;

    #[test]
    fn a_thread_that_still_runs_counts_with_what_runs_beside_it() {
        let target = SiblingState {
            since_ns: 100,
            beside_at_ns: 1000,
            target_ns: 40,
            beside_ns: 10,
            runs: TARGET,
            sibling: 1,
            ..SiblingState::default()
        };
        let other = SiblingState {
            since_ns: 150,
            other_ns: 1000,
            runs: OTHER,
            ..SiblingState::default()
        };
        // Until 200 the target runs 100 more, and the other beside it for the last 50 of them.
        let expected = Siblings {
            target_ns: 140,
            beside_ns: 60,
        };
        assert_eq!(sum(&[target, other], 200), expected);
    }
}
