//! Finds the processes that the arguments mean.

use std::collections::HashSet;

use anyhow::{Result, bail};

use super::{NoTarget, Usage};
use crate::{cli::TargetArgs, machine::proc, units};

/// The processes that the user named; the first gives the report its name.
///
/// # Errors
/// [`NoTarget`] if there is none, [`Usage`] for a kernel thread.
pub(crate) fn resolve(args: &TargetArgs) -> Result<Vec<u32>> {
    let pids = if let Some(name) = &args.comm {
        by_comm(name)?
    } else if let Some(port) = args.port {
        vec![by_port(port)?]
    } else {
        let mut seen = HashSet::new();
        let listed = args.pid.iter().flat_map(|list| &list.0).copied();
        listed.filter(|pid| seen.insert(*pid)).collect()
    };
    for pid in &pids {
        check(*pid)?;
    }
    Ok(pids)
}

fn by_comm(name: &str) -> Result<Vec<u32>> {
    let own = std::process::id();
    let pids: Vec<u32> = proc::by_comm(name)
        .into_iter()
        .filter(|pid| *pid != own)
        .collect();
    if pids.is_empty() {
        bail!(NoTarget(format!(
            "no process is named `{name}`: names are cut to 15 characters, see `ps -e -o pid,comm`"
        )));
    }
    Ok(pids)
}

fn by_port(port: u16) -> Result<u32> {
    match proc::by_port(port) {
        Some(pid) => Ok(pid),
        None => bail!(NoTarget(format!(
            "no process listens on TCP port {port} in this network namespace: see `ss -ltnp`"
        ))),
    }
}

fn check(pid: u32) -> Result<()> {
    if pid == std::process::id() {
        bail!(Usage("the tracer does not trace itself".to_owned()));
    }
    if proc::start_time(pid).is_none() {
        let hint = match proc::inner_pid(pid) {
            Some(host) => {
                format!("; inside a container there is one: did you mean host pid {host}?")
            }
            None => String::new(),
        };
        bail!(NoTarget(format!("no process has pid {pid}{hint}")));
    }
    if let Some(parent) = proc::zombie_of(pid) {
        bail!(NoTarget(format!(
            "process {pid} has ended and is a zombie: its parent, {} (pid {}), has not taken its exit code",
            units::escape_terminal(&parent.comm),
            parent.pid
        )));
    }
    if proc::is_kernel_thread(pid) {
        bail!(Usage(format!(
            "pid {pid} is a kernel thread: it works for others and has no requests of its own"
        )));
    }
    if let Some(process) = proc::process_of(pid).filter(|process| *process != pid) {
        bail!(Usage(format!(
            "{pid} is a thread of process {process}: use --pid {process}"
        )));
    }
    Ok(())
}
