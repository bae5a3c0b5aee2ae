//! `cargo xtask vm`: runs the tracer, or any command, under other kernels in virtual machines.
//!
//! Guests run under qemu's TCG, which needs no `/dev/kvm`. They see this machine's root file system, read-only, through virtme-ng.
//! With `--own-root` they have one of their own, with busybox and the tracer in it and nothing else. This shows that the one file
//! is all that a server needs. With `--lab` they play scenarios that this machine's kernel cannot play, on slow disks of their own.

pub mod guest;
mod kernels;
mod lab;
mod own_root;

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use clap::builder::PossibleValuesParser;

use self::guest::{Guest, MEMORY};
pub use self::lab::IN_LITTLE_MEMORY;
use crate::{build, command::say, paths};

/// Kernels that are tried when none is named: the oldest that has all that is needed, and a current one.
const USUAL: [&str; 2] = ["5.10", "6.12"];

/// Which guests to boot, and what to run there.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask vm                             smoke test on 5.10 and 6.12\n  \
    cargo xtask vm --own-root --kernel 6.1     the same, in a guest that has only busybox\n  \
    cargo xtask vm --kernel 7.2 -- uname -a    any command, from this machine's file system\n  \
    cargo xtask vm --cpus 8                    on more CPUs, which take turns on one of this machine's\n  \
    cargo xtask vm --lab                       scenarios of file systems that are modules, on 6.12\n  \
    cargo xtask vm --lab memory                scenarios that fill memory, in a guest that has little\n  \
    cargo xtask vm --lab links-guest           those of interfaces and queues that are modules\n  \
    cargo xtask vm --lab limits -- --repeat 3  other scenarios of the lab, with options of its own"
)]
pub struct Args {
    /// Kernel series; may be given several times [default: 5.10 and 6.12, with --lab 6.12]
    #[arg(long, value_parser = PossibleValuesParser::new(kernels::SERIES.map(|series| series.name)))]
    kernel: Vec<String>,
    /// Give the guest a root file system of its own: busybox and the tracer, nothing else
    #[arg(long)]
    own_root: bool,
    /// Make the guest's two CPUs the hyperthreads of one core (not with --own-root)
    #[arg(long, conflicts_with_all = ["own_root", "cpus"])]
    siblings: bool,
    /// How many CPUs the guest has
    #[arg(long, default_value_t = CPUS, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Longest that one guest may take, in seconds [default: 180, with --lab 8400]
    #[arg(long)]
    limit: Option<u32>,
    /// Play scenarios of the lab, or families of them, in a guest with slow disks of its own [default: journal]
    #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with = "own_root")]
    lab: Option<Vec<String>>,
    /// Command to run instead of the smoke test; with --lab, options of the lab
    #[arg(last = true)]
    command: Vec<String>,
}

/// The fewest with which a thread is moved between CPUs.
const CPUS: u32 = 2;

/// Boot under TCG takes 10 to 20 s, the smoke test as long again; three times that is a hang.
const LIMIT_S: u32 = 180;

/// Builds, then runs the guests one after another, and fails when one of them did.
pub fn run(args: &Args) -> Result<()> {
    if let Some(names) = &args.lab {
        lab::ground(names)?;
    }
    build::run(&build::Args::default())?;
    let usual = match args.lab {
        None => USUAL.map(str::to_owned).to_vec(),
        Some(_) => vec![lab::KERNEL.to_owned()],
    };
    let kernels = if args.kernel.is_empty() {
        &usual
    } else {
        &args.kernel
    };
    let script = match &args.lab {
        Some(names) => lab::script(names, &args.command)?,
        None if args.command.is_empty() => smoke(args.own_root)?,
        None => quoted(&args.command),
    };
    let failed: Vec<_> = kernels
        .iter()
        .filter(|name| !one(name, args, &script))
        .map(String::as_str)
        .collect();
    ensure!(failed.is_empty(), "guests failed: {}", failed.join(", "));
    Ok(())
}

/// The smoke test on the usual kernels and, once, with a root file system of its own: (passed, failed).
pub fn smoke_all() -> Result<(usize, usize)> {
    let guest = |name: &str, own_root| -> Result<bool> {
        let args = Args {
            kernel: vec![],
            own_root,
            siblings: false,
            cpus: CPUS,
            limit: None,
            lab: None,
            command: vec![],
        };
        Ok(one(name, &args, &smoke(own_root)?))
    };
    let results = [
        guest(USUAL[0], false)?,
        guest(USUAL[1], false)?,
        guest(USUAL[0], true)?,
    ];
    let passed = results.iter().filter(|ok| **ok).count();
    Ok((passed, results.len() - passed))
}

/// Runs the script on one kernel, and says how it went.
fn one(name: &str, args: &Args, script: &str) -> bool {
    let began = Instant::now();
    let root = if args.own_root {
        " with its own root"
    } else {
        ""
    };
    say(&format!("guest {name}{root}: booting"));
    let outcome = boot(name, args, script);
    let took = began.elapsed().as_secs();
    match outcome {
        Ok(()) => say(&format!("guest {name}{root}: ok after {took} s")),
        Err(ref error) => say(&format!(
            "guest {name}{root}: FAILED after {took} s: {error:#}"
        )),
    }
    outcome.is_ok()
}

/// Boots the guest with what it needs for the script.
fn boot(name: &str, args: &Args, script: &str) -> Result<()> {
    let (drives, shared, limit_s, memory) = match &args.lab {
        None => (Vec::new(), None, LIMIT_S, MEMORY),
        Some(names) => {
            let ground = lab::ground(names)?;
            let drives = lab::drives(&ground)?;
            (drives, Some(lab::kept()?), lab::LIMIT_S, ground.memory)
        }
    };
    let guest = Guest {
        name,
        own_root: args.own_root,
        siblings: args.siblings,
        cpus: args.cpus,
        memory,
        limit_s: args.limit.unwrap_or(limit_s),
        drives: &drives,
        shared: shared.as_deref(),
    };
    guest.run(script)
}

/// The script of the smoke test. A tracer that finds a kernel feature missing exits with status 5: no failure here.
fn smoke(own_root: bool) -> Result<String> {
    let known_workloads = build::guest_smoke()?;
    let at = |host: &Path, inside: &str| {
        if own_root {
            inside.to_owned()
        } else {
            host.display().to_string()
        }
    };
    let tracer = at(&paths::tracer(), own_root::TRACER);
    let mut script =
        format!("{tracer} --version || exit\n{tracer} doctor || [ $? -eq 5 ] || exit\n");
    if let Some(smoke) = known_workloads {
        let smoke = at(&smoke, own_root::SMOKE);
        script += &format!("TRACER_BIN={tracer} {smoke}\n");
    }
    Ok(script)
}

/// One shell command of these words.
fn quoted(words: &[String]) -> String {
    let quote = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    words.iter().map(quote).collect::<Vec<_>>().join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_guest_as_they_are() {
        let words = ["echo", "it's $HOME"].map(str::to_owned);
        assert_eq!(quoted(&words), "'echo' 'it'\\''s $HOME'\n");
    }

    #[test]
    fn the_usual_kernels_can_be_had() {
        assert!(
            USUAL
                .iter()
                .all(|name| kernels::SERIES.iter().any(|series| series.name == *name))
        );
    }
}
