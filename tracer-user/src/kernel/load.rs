//! Loads the object and attaches the probes that this kernel supports.

use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use aya::{Ebpf, EbpfLoader, programs::Program};
use tracer_common::{block, config::CONFIG_GLOBAL, histogram, irq, sched};

use super::{
    bios,
    btf::Btf,
    features::{self, Features},
    held_back,
    log::{LEVEL, level},
    maps,
    parents::Parents,
    smt, symbols, verify,
};
use crate::{
    event::MissingProbe,
    machine::{
        capability,
        looks::on_thread,
        proc::{self, IoLimit},
        siblings::siblings,
    },
    probes::{Need, Probe},
};

/// The kernel half, built by `cargo xtask build`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TRACER_BPF_OBJECT"));

/// Entries of maps that grow with the machine: for each CPU, the fewest, the most. With the most, all maps take 28 MB.
const SIZES: [(&str, u32, u32, u32); 7] = [
    (sched::TASKS_MAP, 4096, 16_384, 32_768),
    (histogram::HISTOGRAMS_MAP, 1024, 4096, 6144),
    (histogram::BLOCK_HISTOGRAMS_MAP, 256, 1024, 1536),
    (block::DIRTIERS_MAP, 4096, 16_384, 65_536),
    // Up to 6.15 the kernel sets aside 128 entries of such a map for each CPU.
    (block::TRANSACTIONS_MAP, 256, 1024, 16_384),
    (block::HELD_BACK_MAP, 256, 1024, 16_384),
    (block::EARLIER_MAP, 128, 512, 8192),
];

/// Threads of which the state is kept where every process is a target: 12 MB.
const MOST_THREADS: u32 = 65_536;

/// Loaded and attached programs. Dropping it detaches everything. So does the end of the process, even by `kill -9`: nothing is pinned.
pub(crate) struct Attached {
    /// Programs and maps.
    pub(crate) ebpf: Ebpf,
    /// Probes that could not be attached, with the cost.
    pub(crate) missing: Vec<MissingProbe>,
}

/// A failure that only the user can repair: no permission, or no support in the kernel (exit code 3).
#[derive(Debug)]
pub(crate) struct Unsupported(pub(crate) String);

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// The kernel numbers processes as the first pid namespace does. In another one, each number that the user gives means another process.
///
/// # Errors
/// [`Unsupported`] in another one.
pub(crate) fn need_host_pids() -> Result<()> {
    if !proc::is_first_pid_namespace() {
        let text = "the numbers of processes here are not the kernel's: run tracer in the host's pid namespace (--pid=host)";
        bail!(Unsupported(text.to_owned()));
    }
    Ok(())
}

/// Everything but reading `/proc` needs capabilities. Root has them, unless it is the root of a container.
///
/// # Errors
/// [`Unsupported`] if this process lacks one.
pub(crate) fn need_permission() -> Result<()> {
    let lacking = capability::lacking();
    if !lacking.is_empty() {
        bail!(Unsupported(format!(
            "this process may not load kernel probes, because it lacks {}: run it with sudo, or as a service that has them",
            lacking.join(" and ")
        )));
    }
    Ok(())
}

/// The processes of which the kernel half emits facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The targets alone, and their children if those are followed.
    Targets {
        /// Are they?
        follow_children: bool,
    },
    /// All of the machine: of most only the long waits.
    Everybody,
}

impl Scope {
    /// Is a child of a target a target?
    fn follows_children(self) -> bool {
        match self {
            Self::Targets { follow_children } => follow_children,
            Self::Everybody => true,
        }
    }
}

/// Facts about the target, known before anything is loaded.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    /// Target processes, of which all is wanted.
    pub(crate) pids: Vec<u32>,
    /// Those of which only long waits are wanted ([`Scope::Everybody`]).
    pub(crate) light: Vec<u32>,
    /// Device numbers of the disks under its mounts.
    pub(crate) disks: Vec<u32>,
    /// Limits of its own I/O.
    pub(crate) limits: Vec<IoLimit>,
}

/// aya's loader, without the kernel's types: only relocations would need them, and the Rust compiler emits none.
pub(crate) struct Loader(EbpfLoader<'static>);

impl Loader {
    /// To be called while the process has one thread.
    ///
    /// aya's constructor always parses all types, which takes 50 ms. If it cannot open their file, it goes on without them. So this
    /// process may open no file while the constructor runs. With one thread, that hinders nothing else.
    ///
    /// From then on a thread asks the kernel what aya wants to know before it loads anything: a score of small programs, maps and types.
    /// [`prepare`] waits for the answers, and the kernel's types are read meanwhile.
    #[must_use]
    pub(crate) fn begin() -> Self {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: a valid pointer.
        let is_known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
        let set = |limit: libc::rlimit| {
            // SAFETY: a valid pointer. Any process may lower this limit, and raise it again.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        };
        if is_known {
            set(libc::rlimit {
                rlim_cur: 0,
                ..limit
            });
        }
        let loader = EbpfLoader::new();
        if is_known {
            set(limit);
        }
        lift_memory_limit();
        // Without a thread aya asks when it needs to know.
        let _ = on_thread(|| {
            aya::features();
        });
        Self(loader)
    }
}

/// The maps, and the types that loading the programs needs.
pub(crate) struct Prepared {
    ebpf: Ebpf,
    hooks: aya::Btf,
}

/// The programs as the verifier left them. None is attached.
pub(crate) struct Verified {
    ebpf: Ebpf,
    outcomes: verify::Outcomes,
}

/// Creates the maps, for as many CPUs as there are, and freezes the kernel's features into the programs.
///
/// # Errors
/// [`Unsupported`] when a required probe is missing or the kernel refuses the maps.
pub(crate) fn prepare(
    loader: Loader,
    btf: &Btf,
    features: &Features,
    wanted: Scope,
) -> Result<Prepared> {
    if let Some((probe, reason)) = features.missing_required() {
        bail!(Unsupported(format!(
            "probe {} cannot be attached: {reason}",
            probe.name
        )));
    }
    thread::scope(|scope| {
        // Both take milliseconds: each has a CPU of its own.
        let hooks = scope.spawn(|| verify::hooks(btf, &features.usable));
        let ebpf = create_maps(loader, features, wanted)?;
        let hooks = hooks.join();
        let hooks = hooks.map_err(|_| anyhow!("cannot say what the programs hook"))??;
        Ok(Prepared { ebpf, hooks })
    })
}

fn create_maps(loader: Loader, features: &Features, wanted: Scope) -> Result<Ebpf> {
    let mut config = features.config;
    config.self_pid = std::process::id();
    config.follow_children = u32::from(wanted.follows_children());
    let is_light = wanted == Scope::Everybody;
    config.light = u32::from(is_light);
    let cpus = aya::util::nr_cpus().map(|cpus| cpus as u32).unwrap_or(1);
    let siblings = siblings(cpus);
    // Nobody runs beside the target where all are.
    config.has_siblings = u32::from(!siblings.is_empty() && !is_light);
    let places = bios::places(cpus);
    config.bios_mask = bios::mask(places);
    let level = level();
    let Loader(mut loader) = loader;
    loader
        .override_global(CONFIG_GLOBAL, &config, true)
        .override_global(LEVEL, &level, false)
        .map_max_entries(block::BIOS_MAP, places);
    for map in [
        sched::CPUS_MAP,
        irq::INTERRUPTS_MAP,
        tracer_common::smt::THREADS_MAP,
    ] {
        loader.map_max_entries(map, cpus);
    }
    for (map, each_cpu, fewest, most) in SIZES {
        loader.map_max_entries(map, cpus.saturating_mul(each_cpu).clamp(fewest, most));
    }
    if is_light {
        loader.map_max_entries(sched::TASKS_MAP, MOST_THREADS);
    }
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(refused("the kernel refuses the maps"))?;
    smt::set_siblings(&mut ebpf, &siblings)?;
    Ok(ebpf)
}

/// Loads the programs, and calls `meanwhile`: what is read before they are attached need not be known before they are loaded.
pub(crate) fn load_programs<T>(
    prepared: Prepared,
    features: &Features,
    meanwhile: impl FnOnce(Parents<'_>) -> T,
) -> (Verified, T) {
    let Prepared { mut ebpf, hooks } = prepared;
    let (outcomes, found) = verify::load_all(&mut ebpf, &hooks, &features.usable, meanwhile);
    (Verified { ebpf, outcomes }, found)
}

/// Attaches the programs for these targets.
///
/// # Errors
/// [`Unsupported`] when the kernel refuses a required probe; an error of another kind when a map cannot be written.
pub(crate) fn attach(verified: Verified, features: &Features, traced: &Traced) -> Result<Attached> {
    let Verified {
        mut ebpf,
        mut outcomes,
    } = verified;
    maps::set_targets(&ebpf, &traced.pids)?;
    maps::set_light(&ebpf, &traced.light)?;
    maps::watch_disks(&mut ebpf, &traced.disks)?;
    held_back::limit(&mut ebpf, &traced.limits);
    let mut missing = features.costs();
    missing.extend(symbols::missing());
    for probe in &features.usable {
        let loaded = outcomes.remove(probe.name).context("it was not loaded");
        let outcome = loaded.flatten().and_then(|()| attach_one(&mut ebpf, probe));
        match (outcome, probe.instead_of) {
            (Ok(()), None) => {}
            // The substitute does the tracepoint's work: nothing is missing.
            (Ok(()), Some(tracepoint)) => missing.retain(|missing| missing.name() != tracepoint),
            (Err(error), Some(tracepoint)) => {
                let told = missing
                    .iter_mut()
                    .filter(|missing| missing.name() == tracepoint);
                told.for_each(|missing| {
                    missing
                        .cost
                        .push_str(&format!("; {} was {}", probe.name, refusal(&error)));
                });
            }
            (Err(error), None) => missing.extend(without(probe, &error)?),
        }
    }
    for missing in &missing {
        log::info!("without probe {}: {}", missing.probe, missing.cost);
    }
    Ok(Attached { ebpf, missing })
}

/// The cost of a probe that the kernel refuses although its BTF promises it. An error if the probe is required.
fn without(probe: &'static Probe, error: &anyhow::Error) -> Result<Option<MissingProbe>> {
    match probe.need {
        Need::Required => {
            log::info!("probe {}: {error:#}", probe.name);
            let state = std::fs::read_to_string(LOCKDOWN).unwrap_or_default();
            bail!(Unsupported(format!(
                "probe {} was {}{}",
                probe.name,
                refusal(error),
                locked_down(&state)
            )))
        }
        Need::Optional { .. } => Ok(features::cost(probe, &refusal(error))),
    }
}

/// What the kernel keeps even from root, as `none [integrity] confidentiality`.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Why a kernel in this state of lockdown refuses whatever reads its memory (`LOCKDOWN_BPF_READ_KERNEL`, 5.4 to 7.2). Empty in another one.
fn locked_down(state: &str) -> &'static str {
    match state.contains("[confidentiality]") {
        true => {
            "; it is locked down (lockdown=confidentiality), and lets no program read its memory"
        }
        false => "",
    }
}

/// A refusal in one line. The verifier's log may have thousands of lines: its objection is enough.
fn refusal(error: &anyhow::Error) -> String {
    let text = error.to_string();
    let Some((what, account)) = text.split_once("Verifier output:") else {
        return format!("refused: {text}");
    };
    let figures = ["verification time", "stack depth", "processed", ")"];
    let objection = account.lines().rev().find(|line| {
        !line.trim().is_empty() && !figures.iter().any(|figure| line.starts_with(figure))
    });
    let what = what.trim_end_matches([' ', '.']);
    format!("refused: {what}: {}", objection.unwrap_or_default().trim())
}

/// Attaches a program that is loaded.
fn attach_one(ebpf: &mut Ebpf, probe: &Probe) -> Result<()> {
    let program = ebpf
        .program_mut(probe.name)
        .with_context(|| format!("the object has no program {}", probe.name))?;
    match program {
        Program::BtfTracePoint(program) => program.attach().map(drop)?,
        Program::RawTracePoint(program) => program.attach(probe.name).map(drop)?,
        Program::FEntry(program) => program.attach().map(drop)?,
        Program::FExit(program) => program.attach().map(drop)?,
        _ => bail!("program {} is of another type", probe.name),
    }
    Ok(())
}

/// Takes the programs out of the kernel; the maps stay readable.
pub(crate) fn detach(ebpf: &mut Ebpf) {
    for (_, program) in ebpf.programs_mut() {
        // It fails only for a program that was never loaded.
        let _ = match program {
            Program::BtfTracePoint(program) => program.unload(),
            Program::RawTracePoint(program) => program.unload(),
            Program::FEntry(program) => program.unload(),
            Program::FExit(program) => program.unload(),
            _ => Ok(()),
        };
    }
}

/// Lifts `RLIMIT_MEMLOCK`, against which maps count before 5.11. If that fails, creating the maps fails with a message of its own.
fn lift_memory_limit() {
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a valid pointer.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

fn refused<E: std::error::Error>(doing: &'static str) -> impl Fn(E) -> anyhow::Error {
    move |error| {
        let mut text = format!("{doing}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Unsupported(text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_refusal_the_objection_is_told() {
        let log = "the call returned Permission denied (os error 13). Verifier output: 0: R1=ctx() R10=fp0\n5: (79) r2 = *(u64 *)(r2 +0)\n\
                   R2 invalid mem access 'scalar'\nverification time 69 usec\nstack depth 0\nprocessed 5 insns\n)";
        assert_eq!(
            refusal(&anyhow::anyhow!(log)),
            "refused: the call returned Permission denied (os error 13): R2 invalid mem access 'scalar'"
        );
        assert_eq!(refusal(&anyhow::anyhow!("no")), "refused: no");
    }

    #[test]
    fn only_the_lockdown_that_hides_the_kernels_memory_is_a_reason() {
        assert_eq!(locked_down("none [integrity] confidentiality\n"), "");
        assert_eq!(locked_down(""), "");
        assert!(locked_down("none integrity [confidentiality]\n").contains("locked down"));
    }
}
