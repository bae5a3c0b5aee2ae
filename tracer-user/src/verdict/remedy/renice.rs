//! Nice values weigh threads of the normal policies against others of the same group (sched(7)). The group is the CPU cgroup or, in
//! the root cgroup, the autogroup.

use super::{Advice, case::Case};
use crate::standing::{Group, Standing};

const LOWEST: i32 = 19;
/// `SCHED_IDLE` of sched(7).
const SCHED_IDLE: u32 = 5;

pub(super) fn renice(case: &Case<'_>) -> Option<Advice> {
    if case.is_client() {
        return None;
    }
    let autogroups = autogroups(case);
    let command = match autogroups.is_empty() {
        true => format!("renice -n 19 -p {}", case.thread_words()),
        false => {
            let each = autogroups
                .iter()
                .map(|pid| format!("echo 19 > /proc/{pid}/autogroup"));
            each.collect::<Vec<_>>().join(" && ")
        }
    };
    Some(Advice {
        command,
        why: "makes it give way to others on a contended CPU",
        effect: effect(case, !autogroups.is_empty()),
    })
}

fn effect(case: &Case<'_>, by_autogroup: bool) -> Result<String, String> {
    case.gone()?;
    if case.is_real_time() {
        return Err(format!(
            "{} runs under a real-time policy, which knows no nice values (sched(7))",
            case.name()
        ));
    }
    if by_autogroup {
        return Ok(
            "it is in another session than the target, and nice values count between sessions only so; everything in its session gives way \
             (sched(7), autogroup)"
                .to_owned(),
        );
    }
    let lowest = |standing: &Standing| standing.nice >= LOWEST || standing.policy == SCHED_IDLE;
    if case.all(lowest) {
        return Err(format!(
            "{} has the lowest priority already (renice(1))",
            case.name()
        ));
    }
    if let (Some(target), Some(other)) = (case.target().and_then(cpu), other_group(case)) {
        return Err(format!(
            "nice counts only within a CPU cgroup, and {} is in {}, the target in {} (sched(7))",
            case.name(),
            other.path,
            target.path
        ));
    }
    if is_root(case) && sleeps_apart(case) {
        return Err(format!(
            "the session of {} has the lowest priority already (sched(7), autogroup)",
            case.name()
        ));
    }
    let mut note = "it takes longer while others want the CPU (renice(1))".to_owned();
    if case.target().and_then(cpu).is_none() {
        note.insert_str(
            note.len() - " (renice(1))".len(),
            "; in a CPU cgroup nice counts among its members only",
        );
    }
    if case.books.start.cpus > 1 {
        note.push_str("; or keep it on CPUs that the target does not use: `taskset -a -c -p CPUS PID` (taskset(1))");
    }
    Ok(note)
}

/// One process of each autogroup that is not the target's and not lowest; none where autogroups do not count.
fn autogroups(case: &Case<'_>) -> Vec<u32> {
    let own = case.target().and_then(|target| target.autogroup);
    let Some((own, _)) = own.filter(|_| is_root(case) && !case.is_real_time()) else {
        return Vec::new();
    };
    let mut seen = Vec::new();
    let mut pids = Vec::new();
    for standing in case.standings() {
        let Some((group, nice)) = standing.autogroup else {
            continue;
        };
        if group != own && nice < LOWEST && !seen.contains(&group) {
            seen.push(group);
            pids.push(standing.pid);
        }
    }
    pids
}

/// Are the culprit and the target in different autogroups, and the culprit's lowest?
fn sleeps_apart(case: &Case<'_>) -> bool {
    let own = case
        .target()
        .and_then(|target| target.autogroup)
        .map(|own| own.0);
    own.is_some()
        && case.all(|standing| {
            standing
                .autogroup
                .is_some_and(|(id, nice)| Some(id) != own && nice >= LOWEST)
        })
}

/// Do autogroups count: are they on, and are all in the root cgroup?
fn is_root(case: &Case<'_>) -> bool {
    let root = |standing: &Standing| cpu(standing).is_none_or(|group| group.path == "/");
    case.books.means.autogroup && case.target().is_some_and(root) && case.all(root)
}

/// A CPU cgroup of the culprit that is not the target's.
fn other_group<'a>(case: &Case<'a>) -> Option<&'a Group> {
    let target = cpu(case.target()?)?;
    case.standings()
        .filter_map(cpu)
        .find(|group| group.path != target.path)
}

fn cpu(standing: &Standing) -> Option<&Group> {
    standing.cpu.as_ref()
}
