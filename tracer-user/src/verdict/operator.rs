//! The names by which an operator knows a process: its pod, its container, its cron job, its unit, or the script that its program runs.

use super::{
    job::{cron_job, script},
    view::Culprit,
};
use crate::{
    model::books::{Books, Holder, Process, ProcessId},
    standing::{Called, home},
    units::shorten,
};

/// Columns of such a name in the sentence.
const WIDTH: usize = 40;

/// Where a process belongs, by the names that people use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// systemd unit.
    pub unit: Option<String>,
    /// Container: its name, or its short identity as `docker ps` and `crictl ps` print it.
    pub container: Option<String>,
    /// Pod: `NAMESPACE/NAME`, or its identity if it has no name.
    pub pod: Option<String>,
    /// The workload of that, as far as its name shows: `NAMESPACE/NAME`.
    pub workload: Option<String>,
    /// The command of a cron job.
    pub cron_job: Option<String>,
    /// Login session.
    pub session: Option<String>,
}

/// Where a process belongs.
#[must_use]
pub fn place(books: &Books, process: ProcessId) -> Place {
    let path = books.processes[process].cgroup.as_str();
    let called = called(books, &books.processes[process]);
    Place {
        unit: home::unit(path).map(str::to_owned),
        container: home::container(path).map(|found| {
            let name = called.map(|called| called.name.as_str());
            name.unwrap_or(found.short()).to_owned()
        }),
        pod: called
            .and_then(Called::full_pod)
            .or_else(|| home::pod(path)),
        workload: called.and_then(Called::workload),
        cron_job: cron_job(books, process),
        session: home::session(path).map(str::to_owned),
    }
}

/// What the container of a process is called.
fn called<'a>(books: &'a Books, process: &Process) -> Option<&'a Called> {
    let container = home::container(&process.cgroup)?;
    books.containers.get(container.path)
}

/// Words for a holder that is no process. The target's own parts are among them, and so is nobody.
#[must_use]
pub fn holder_in_words(holder: Holder) -> String {
    let words = match holder {
        Holder::Own | Holder::RemoteClient => "itself",
        Holder::OwnQuota => "its own quota",
        Holder::OwnLock => "its own lock",
        Holder::SlowDevice => "the device",
        Holder::FailedDevice => "the device's errors",
        Holder::Peer => "the peer",
        Holder::LossyPath => "a lossy path",
        Holder::IdleCpu => "idle CPU",
        Holder::Hypervisor => "the hypervisor",
        Holder::Nobody => "unattributed",
        Holder::Interrupt(source) => return source.to_string(),
        Holder::StopSignal => "a stop signal",
        Holder::Freezer => "its frozen cgroup",
        Holder::Earlier => "pages dirtied before the trace",
        Holder::Process(_) | Holder::Asked(_) | Holder::Client(_) => "a process",
    };
    words.to_owned()
}

/// A culprit with its name, its pid, and the name by which an operator knows it: "tar (pid 4711, backup.service)". `mark` follows.
pub(super) fn named(books: &Books, culprit: &Culprit, mark: &str) -> String {
    let pid = books.processes[culprit.process].pid;
    let known_as = known_as(books, culprit.process);
    let known_as = known_as.map_or_else(String::new, |name| format!(", {}", shorten(&name, WIDTH)));
    format!("{} (pid {pid}{known_as}{mark})", culprit.name)
}

/// What sets a process apart from the target: the first of its pod, container, cron job and unit in which the target is not, too; else its
/// script.
fn known_as(books: &Books, process: ProcessId) -> Option<String> {
    let target = books.targets.first().map(|id| names(books, *id));
    let pairs = names(books, process)
        .into_iter()
        .zip(target.unwrap_or_default());
    let mut apart = pairs.filter(|(own, target)| own != target);
    let apart = apart.find_map(|(own, _)| own);
    apart.or_else(|| script(&books.processes[process]).map(str::to_owned))
}

/// Its pod, container, cron job and unit, in words. A user may give his own groups any name: it is said whose they are.
fn names(books: &Books, process: ProcessId) -> [Option<String>; 4] {
    let place = place(books, process);
    let user = home::user(&books.processes[process].cgroup);
    let whose = user.map_or_else(String::new, |uid| format!(" of uid {uid}"));
    let whose = whose.as_str();
    let kinds = [
        ("pod ", place.pod, whose),
        ("container ", place.container, whose),
        ("cron job ", place.cron_job, ""),
        ("", place.unit, whose),
    ];
    kinds.map(|(kind, name, whose)| Some(format!("{kind}{}{whose}", name?)))
}
