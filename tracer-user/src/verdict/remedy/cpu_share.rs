//! A cgroup's part of the CPU: a weight, or a limit where it has the least weight already.
//!
//! Documentation/admin-guide/cgroup-v2.rst, "CPU"; Documentation/scheduler/sched-design-CFS.rst and sched-bwc.rst for v1.

use super::{
    Advice,
    case::Case,
    seat::{Seat, Setting},
};
use crate::{
    class::Resource,
    model::books::Holder,
    standing::{Group, Standing},
};

/// A tenth of every group's default: 100 in v2, 1024 in v1.
const WEIGHT: (u64, u64) = (10, 102);
/// Period of a limit, µs: the kernel's own.
const PERIOD_US: u64 = 100_000;
/// The smallest quota that the kernel takes, µs.
const LEAST_QUOTA_US: u64 = 1000;

pub(super) fn cpu_share(case: &Case<'_>) -> Option<Advice> {
    if case.is_client() {
        return None;
    }
    let Some(hierarchy) = &case.books.means.cpu else {
        return Some(Advice {
            command: "systemd-run --scope -p CPUWeight=10 COMMAND".to_owned(),
            why: "leaves most of the CPU to others",
            effect: case.means_known().and_then(|()| {
                Err(
                    "no cgroup hierarchy with the cpu controller is mounted (cgroups(7))"
                        .to_owned(),
                )
            }),
        });
    };
    let unified = hierarchy.unified;
    let document = match unified {
        true => "Documentation/admin-guide/cgroup-v2.rst",
        false => "Documentation/scheduler/sched-design-CFS.rst",
    };
    let (file, least) = match unified {
        true => ("cpu.weight", WEIGHT.0),
        false => ("cpu.shares", WEIGHT.1),
    };
    let has_least = |standing: &Standing| {
        cpu(standing).is_some_and(|group| {
            group.path != "/" && group.weight.is_some_and(|weight| weight <= least)
        })
    };
    if case.all(has_least) {
        return Some(limit(case, unified, hierarchy));
    }
    let seat = Seat::of(case, hierarchy, cpu, Setting::Weight, "+cpu");
    Some(Advice {
        command: seat.command(&["CPUWeight=10".to_owned()], &[(file, least.to_string())]),
        why: "leaves most of the CPU to others while they want it",
        effect: check(case).map(|()| {
            format!("it gets a tenth of another group's part while others want the CPU, and all of it else{} ({document})", seat.cost())
        }),
    })
}

fn limit(case: &Case<'_>, unified: bool, hierarchy: &crate::standing::Hierarchy) -> Advice {
    let held = case.culprit.members.iter().filter_map(|id| {
        let key = (Resource::Cpu, None, Holder::Process(*id));
        Some(case.books.held.get(&key)?.ns)
    });
    let half =
        held.fold(0, u64::saturating_add) as f64 / case.books.window_ns().max(1) as f64 / 2.0;
    let quota = ((half * PERIOD_US as f64) as u64).max(LEAST_QUOTA_US);
    let seat = Seat::of(case, hierarchy, cpu, Setting::Limit, "+cpu");
    let files = match unified {
        true => vec![("cpu.max", format!("{quota} {PERIOD_US}"))],
        false => vec![
            ("cpu.cfs_period_us", PERIOD_US.to_string()),
            ("cpu.cfs_quota_us", quota.to_string()),
        ],
    };
    Advice {
        command: seat.command(&[format!("CPUQuota={}%", (quota * 100 / PERIOD_US).max(1))], &files),
        why: "takes half of its CPU time from it",
        effect: check(case).map(|()| {
            format!(
                "its weight is low already; it takes about twice as long, also while nobody else wants the CPU{} \
                 (Documentation/scheduler/sched-bwc.rst)",
                seat.cost()
            )
        }),
    }
}

fn check(case: &Case<'_>) -> Result<(), String> {
    case.gone()?;
    match case.is_real_time() {
        true => Err(format!(
            "{} runs under a real-time policy, which knows no weights and no quota (sched(7))",
            case.name()
        )),
        false => Ok(()),
    }
}

fn cpu(standing: &Standing) -> Option<&Group> {
    standing.cpu.as_ref()
}
