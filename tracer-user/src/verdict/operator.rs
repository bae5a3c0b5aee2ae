//! The names by which an operator knows a process: its unit, its container, or the script that its program runs.

use super::{
    job::{container_name, script, unit_name},
    view::Culprit,
};
use crate::{
    model::books::{Books, Holder, Process, ProcessId},
    units::shorten,
};

/// Columns of such a name in the sentence.
const WIDTH: usize = 32;

/// The systemd unit of a process.
#[must_use]
pub fn unit(process: &Process) -> Option<String> {
    unit_name(&process.cgroup).map(str::to_owned)
}

/// The container of a process: its short identity as `docker ps` and `crictl ps` print it, or the name of one of LXC.
#[must_use]
pub fn container(process: &Process) -> Option<String> {
    container_name(&process.cgroup).map(str::to_owned)
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

/// What sets a process apart from the target: its container or its unit, unless the target is in that one, too; else its script.
fn known_as(books: &Books, process: ProcessId) -> Option<String> {
    let place = |process: &Process| {
        let container = container(process).map(|name| format!("container {name}"));
        container.or_else(|| unit(process))
    };
    let target = books.targets.first();
    let targets = target.and_then(|id| place(&books.processes[*id]));
    let process = &books.processes[process];
    let own = place(process).filter(|own| targets.as_ref() != Some(own));
    own.or_else(|| script(process).map(str::to_owned))
}
