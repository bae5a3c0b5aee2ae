//! Finds the processes that the arguments mean.

use std::collections::HashSet;

use anyhow::{Result, bail};

use super::{NoTarget, Usage};
use crate::{cli::TargetArgs, kernel::load::Unsupported, machine::proc, session::Named, units};

/// The processes that the user named; the first gives the report its name.
///
/// # Errors
/// [`NoTarget`] if there is none, [`Usage`] for a kernel thread.
pub(crate) fn resolve(args: &TargetArgs) -> Result<Vec<u32>> {
    if let Some(name) = &args.comm {
        return those_left(by_comm(name)?);
    }
    if let Some(port) = args.port {
        return those_left(by_port(port)?);
    }
    let mut seen = HashSet::new();
    let listed = args.pid.iter().flat_map(|list| &list.0).copied();
    let pids: Vec<u32> = listed.filter(|pid| seen.insert(*pid)).collect();
    for pid in &pids {
        check(*pid)?;
    }
    Ok(pids)
}

/// How the user named them: who comes later may match a name or a port, too.
#[must_use]
pub(crate) fn named(args: &TargetArgs) -> Named {
    match (&args.comm, args.port) {
        (Some(name), _) => Named::Comm(name.clone()),
        (None, Some(port)) => Named::Port(port),
        (None, None) => Named::Processes,
    }
}

/// Those found that can be traced: of many with one name some end meanwhile, or are zombies.
fn those_left(mut found: Vec<u32>) -> Result<Vec<u32>> {
    let mut refused = None;
    found.retain(|pid| match check(*pid) {
        Ok(()) => true,
        Err(error) => {
            refused.get_or_insert(error);
            false
        }
    });
    match refused.filter(|_| found.is_empty()) {
        Some(error) => Err(error),
        None => Ok(found),
    }
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

fn by_port(port: u16) -> Result<Vec<u32>> {
    let pids = proc::by_port(port);
    if pids.is_empty() {
        bail!(NoTarget(format!(
            "no process listens on TCP port {port} in this network namespace: see `ss -ltnp`"
        )));
    }
    Ok(pids)
}

fn check(pid: u32) -> Result<()> {
    if pid == std::process::id() {
        bail!(Usage("the tracer does not trace itself".to_owned()));
    }
    if proc::start_time(pid).is_none() {
        if proc::is_alive(pid) {
            bail!(Unsupported(format!(
                "process {pid} is there, but /proc does not show it to this user (hidepid): run tracer with sudo, or with CAP_SYS_PTRACE"
            )));
        }
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn of_those_found_who_has_ended_is_left_out_and_of_none_it_is_said_why() {
        let mut ended = Command::new("true").spawn().unwrap();
        let mut there = Command::new("sleep").arg("60").spawn().unwrap();
        ended.wait().unwrap();
        let left = those_left(vec![ended.id(), there.id()]);
        there.kill().unwrap();
        there.wait().unwrap();
        assert_eq!(left.unwrap(), [there.id()]);
        let error = those_left(vec![there.id()]).unwrap_err();
        assert!(error.is::<NoTarget>(), "{error:#}");
    }
}
