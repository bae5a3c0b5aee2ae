//! The cgroup in which a culprit is restrained: its own, if it is alone there, else a new one.
//!
//! A weight counts only against the groups beside it. So the group must lie where the ways to the culprit and to the target part
//! (Documentation/admin-guide/cgroup-v2.rst, "Weights").

use super::{case::Case, shell::quote};
use crate::standing::{Group, Hierarchy, Standing};

/// Where to write.
pub(super) struct Seat {
    /// A systemd unit, through which systemd wants it done.
    unit: Option<String>,
    folder: String,
    /// Commands before and after the settings.
    prepare: Option<String>,
    follow: Option<String>,
}

/// The kind of setting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    Weight,
    Limit,
}

impl Seat {
    /// The seat for a culprit, given which controllers (`+io`) a new group needs in v2.
    pub(super) fn of(
        case: &Case<'_>,
        hierarchy: &Hierarchy,
        group_of: fn(&Standing) -> Option<&Group>,
        setting: Setting,
        controllers: &str,
    ) -> Self {
        if let Some(path) = service(case).filter(|_| hierarchy.unified && case.books.means.systemd)
            && (setting == Setting::Limit || parts_above(path, cgroup_of_target(case)))
        {
            return Self {
                unit: path.rsplit('/').next().map(str::to_owned),
                folder: format!("{}{path}", hierarchy.mount),
                prepare: None,
                follow: None,
            };
        }
        let target = case.target().and_then(group_of);
        if let Some(group) = own(case, group_of)
            && (setting == Setting::Limit || target.is_some_and(|target| parts_at(group, target)))
        {
            let name = group.path.rsplit('/').next().unwrap_or_default();
            let is_unit = name.ends_with(".service") || name.ends_with(".scope");
            let by_systemd = is_unit && hierarchy.unified && case.books.means.systemd;
            return Self {
                unit: by_systemd.then(|| name.to_owned()),
                folder: format!("{}{}", hierarchy.mount, group.path),
                prepare: None,
                follow: None,
            };
        }
        let pids = case.pid_words();
        let first = case.pids()[0];
        let folder = format!("{}/tracer-{first}", hierarchy.mount);
        let enable = match hierarchy.unified {
            true => format!(
                "echo {} > {} && ",
                quote(controllers),
                quote(&format!("{}/cgroup.subtree_control", hierarchy.mount))
            ),
            false => String::new(),
        };
        Self {
            unit: None,
            prepare: Some(format!("{enable}mkdir -p {}", quote(&folder))),
            follow: Some(format!(
                "for p in {pids}; do echo $p > {}; done",
                quote(&format!("{folder}/cgroup.procs"))
            )),
            folder,
        }
    }

    /// The command: through systemd by these properties, else by these files and what is written to them.
    pub(super) fn command(&self, properties: &[String], files: &[(&str, String)]) -> String {
        if let Some(unit) = &self.unit {
            let properties: Vec<String> =
                properties.iter().map(|property| quote(property)).collect();
            return format!(
                "systemctl set-property --runtime {} {}",
                quote(unit),
                properties.join(" ")
            );
        }
        let write = |(file, value): &(&str, String)| {
            format!(
                "echo {} > {}",
                quote(value),
                quote(&format!("{}/{file}", self.folder))
            )
        };
        let settings = files.iter().map(write);
        let parts = self
            .prepare
            .clone()
            .into_iter()
            .chain(settings)
            .chain(self.follow.clone());
        parts.collect::<Vec<_>>().join(" && ")
    }

    /// The cost of the seat itself to the user.
    pub(super) fn cost(&self) -> &'static str {
        match (&self.prepare, &self.unit) {
            (Some(_), _) => "; it leaves the cgroup it is in now, with that one's limits",
            (None, Some(_)) => "; until the next boot",
            (None, None) => "",
        }
    }
}

/// The group that the culprit has for itself: with every member in it, and nobody of another job.
fn own<'a>(case: &Case<'a>, group_of: fn(&Standing) -> Option<&Group>) -> Option<&'a Group> {
    let mut groups = case.standings().filter_map(group_of);
    let group = groups.next()?;
    let alone = group.own
        && group.leaf
        && group.path != "/"
        && !group.members.is_empty()
        && group.members.len() < Group::MOST
        && case.pids().iter().all(|pid| group.members.contains(pid))
        && group.members.iter().all(|pid| of_job(case, *pid));
    alone.then_some(group)
}

/// The group of the culprit's systemd service, if no other process is known to be in it. The controller need not be enabled for it yet:
/// systemd does that. No process is taken out of its unit, because systemd would lose sight of it.
fn service<'a>(case: &Case<'a>) -> Option<&'a str> {
    let mut paths = case.alive().map(|id| case.process(id).cgroup.as_str());
    let path = paths.next()?;
    let name = path.rsplit('/').next()?;
    // A session's scope and a user's manager hold all that the user has started.
    let of_jobs = name.ends_with(".service") && !name.starts_with("user@");
    let books = case.books;
    let mut there = (0..books.processes.len())
        .filter(|id| books.processes[*id].cgroup == path && !books.processes[*id].exited);
    let alone = of_jobs
        && paths.all(|other| other == path)
        && there.all(|id| case.groups.of(id) == case.culprit.group);
    alone.then_some(path)
}

/// The target's own path.
fn cgroup_of_target<'a>(case: &Case<'a>) -> &'a str {
    let target = case.books.targets.first();
    target.map_or("", |id| case.process(*id).cgroup.as_str())
}

/// Does a process that is there now belong to the culprit's job?
fn of_job(case: &Case<'_>, pid: u32) -> bool {
    let there = |process: &crate::model::books::Process| process.pid == pid && !process.exited;
    let id = case.books.processes.iter().rposition(there);
    id.is_some_and(|id| case.groups.of(id) == case.culprit.group)
}

/// Do the ways to two groups part just above the first?
fn parts_at(group: &Group, target: &Group) -> bool {
    parts_above(&group.path, &target.path)
}

fn parts_above(path: &str, target: &str) -> bool {
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    let below = target.strip_prefix(above);
    below.is_some_and(|below| below.is_empty() || below.starts_with('/')) && path != target
}
