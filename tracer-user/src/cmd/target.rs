//! Finds the processes that the arguments mean.

use std::{collections::HashSet, time::Duration};

use anyhow::{Result, bail};

use super::{NoTarget, Usage};
use crate::{
    cli::TargetArgs,
    kernel::load::Unsupported,
    machine::{
        looks::Looks,
        proc::{self, GroupsNotFound, WantedGroup},
    },
    session::Named,
    units,
};

/// How long the groups of all processes, and the names of containers, may take to be read. Ten thousand are read in a fraction of that.
const PATIENCE: Duration = Duration::from_secs(5);

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
    if let Some(wanted) = group(args) {
        return those_left(by_group(&wanted)?);
    }
    let mut seen = HashSet::new();
    let listed = args.pid.iter().flat_map(|list| &list.0).copied();
    let pids: Vec<u32> = listed.filter(|pid| seen.insert(*pid)).collect();
    for pid in &pids {
        check(*pid)?;
    }
    Ok(pids)
}

/// How the user named them: who comes later may match a name, a port or a group, too.
#[must_use]
pub(crate) fn named(args: &TargetArgs) -> Named {
    match (&args.comm, args.port) {
        (Some(name), _) => Named::Comm(name.clone()),
        (None, Some(port)) => Named::Port(port),
        (None, None) => group(args).map_or(Named::Processes, Named::Group),
    }
}

/// The control group that the user named.
fn group(args: &TargetArgs) -> Option<WantedGroup> {
    let unit = args.unit.clone().map(WantedGroup::Unit);
    let container = args.container.clone().map(WantedGroup::Container);
    unit.or(container)
        .or_else(|| args.cgroup.clone().map(WantedGroup::Cgroup))
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

fn by_group(wanted: &WantedGroup) -> Result<Vec<u32>> {
    let asked = wanted.clone();
    let looks = Looks::begin(vec![()], move |()| {
        proc::find_groups(&asked).map(|folders| proc::members(&folders))
    });
    match looks.end_within(PATIENCE, || false).found.pop() {
        None => bail!(
            "{wanted} could not be looked up within {} s: the control groups, or the disk with the state of containers, do not \
             answer; name processes by --pid",
            PATIENCE.as_secs()
        ),
        Some(Err(GroupsNotFound::None(text))) => bail!(NoTarget(text)),
        Some(Err(GroupsNotFound::Unclear(text))) => bail!(Usage(text)),
        Some(Ok(pids)) if pids.is_empty() => bail!(NoTarget(format!(
            "{wanted} has no process that can be traced: start it, or move one into it, and try again"
        ))),
        Some(Ok(pids)) => Ok(pids),
    }
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
    fn a_group_that_is_not_there_is_no_target_and_the_root_of_all_is_none() {
        for wanted in [
            WantedGroup::Unit("tracer-no-such-unit".to_owned()),
            WantedGroup::Container("tracer-no-such-container".to_owned()),
            WantedGroup::Cgroup("/tracer-no-such-group".to_owned()),
            WantedGroup::Cgroup("/".to_owned()),
        ] {
            let error = by_group(&wanted).unwrap_err();
            assert!(error.is::<NoTarget>(), "{wanted}: {error:#}");
        }
    }

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
