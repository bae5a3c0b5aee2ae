//! The input of a row: the verdict's hypothesis, one of its culprits, and the facts about both on this machine.

use crate::{
    class::Resource,
    model::books::{Books, Holder, Process, ProcessId},
    standing::Standing,
    verdict::{Culprit, Hypothesis, group::Groups},
};

/// The verdict against one culprit.
pub(super) struct Case<'a> {
    pub books: &'a Books,
    pub found: &'a Hypothesis,
    pub culprit: &'a Culprit,
    pub groups: &'a Groups,
}

impl<'a> Case<'a> {
    pub(super) fn process(&self, id: ProcessId) -> &'a Process {
        &self.books.processes[id]
    }

    pub(super) fn name(&self) -> &'a str {
        &self.culprit.name
    }

    /// Does it ask the target? Then nothing stops or slows it as a whole: the target waits for it meanwhile, with its locks and its
    /// transaction.
    pub(super) fn is_client(&self) -> bool {
        let asks = |id: &ProcessId| self.books.asks.contains_key(id);
        self.culprit.through || self.culprit.members.iter().any(asks)
    }

    /// Members that are still there and take orders, the largest holder first.
    pub(super) fn alive(&self) -> impl Iterator<Item = ProcessId> + Clone + 'a {
        let books = self.books;
        let members = self.culprit.members.iter().copied();
        members.filter(|id| !books.processes[*id].exited && !books.processes[*id].kernel)
    }

    /// Did every member end? Then a command with its pid comes too late.
    pub(super) fn gone(&self) -> Result<(), String> {
        match self.alive().next() {
            Some(_) => Ok(()),
            None => Err(format!(
                "{} has ended: start it with the limit next time",
                self.name()
            )),
        }
    }

    /// Is it known what this machine has?
    pub(super) fn means_known(&self) -> Result<(), String> {
        match self.books.means.is_known() {
            true => Ok(()),
            false => Err("what this machine has for it was not recorded".to_owned()),
        }
    }

    /// The pids of the members that are still there, or else of the one that held most. Then those of their ancestors in the job. A
    /// script's commands are short-lived, and its next ones inherit its nice value, I/O class and cgroup.
    pub(super) fn pids(&self) -> Vec<u32> {
        let members: Vec<ProcessId> = self.alive().collect();
        let mut ids = members.clone();
        for member in members {
            let mut above = self.parent_in_job(member);
            while let Some(id) = above.filter(|id| !ids.contains(id)) {
                if self.process(id).exited || self.process(id).kernel {
                    break;
                }
                ids.push(id);
                above = self.parent_in_job(id);
            }
        }
        match ids.is_empty() {
            true => vec![self.process(self.culprit.process).pid],
            false => ids.into_iter().map(|id| self.process(id).pid).collect(),
        }
    }

    /// The members' pids with spaces between them.
    pub(super) fn pid_words(&self) -> String {
        let pids: Vec<String> = self.pids().iter().map(u32::to_string).collect();
        pids.join(" ")
    }

    /// The members' threads: nice values and I/O classes are each thread's own.
    pub(super) fn thread_words(&self) -> String {
        let threaded = |standing: &Standing| standing.threads > 1;
        if !self.standings().any(threaded) {
            return self.pid_words();
        }
        let folders: Vec<String> = self
            .pids()
            .iter()
            .map(|pid| format!("/proc/{pid}/task/*"))
            .collect();
        format!("$(basename -a {})", folders.join(" "))
    }

    /// The target's threads that work for the members, if it is through them that it holds the resource.
    pub(super) fn working_threads(&self) -> Vec<u32> {
        let members = self.culprit.members.iter();
        let of = members.filter_map(|id| self.books.workers.get(id));
        of.flatten().copied().collect()
    }

    pub(super) fn standing(&self, id: ProcessId) -> Option<&'a Standing> {
        self.books.standings.get(&id)
    }

    /// Of the members that are still there, as far as is known.
    pub(super) fn standings(&self) -> impl Iterator<Item = &'a Standing> + Clone + 'a {
        let books = self.books;
        self.alive().filter_map(|id| books.standings.get(&id))
    }

    /// Does this hold for every member that is still there? No if nothing is known.
    pub(super) fn all(&self, holds: impl Fn(&Standing) -> bool) -> bool {
        let mut alive = self.alive().peekable();
        alive.peek().is_some() && alive.all(|id| self.standing(id).is_some_and(&holds))
    }

    /// The target's.
    pub(super) fn target(&self) -> Option<&'a Standing> {
        self.standing(*self.books.targets.first()?)
    }

    /// Is each of them under a real-time policy?
    pub(super) fn is_real_time(&self) -> bool {
        self.all(Standing::is_real_time)
    }

    pub(super) fn place(&self) -> Option<&'a str> {
        self.found
            .place
            .map(|place| self.books.places[place].as_str())
    }

    /// Bytes that the members moved at the place in the window.
    pub(super) fn moved(&self) -> u64 {
        let moved = self.culprit.members.iter().filter_map(|id| {
            let key = (self.found.resource, self.found.place, Holder::Process(*id));
            Some(self.books.held.get(&key)?.bytes)
        });
        moved.fold(0, u64::saturating_add)
    }

    /// Bytes that the members wrote on the disk.
    pub(super) fn written(&self) -> u64 {
        let Some(place) = self
            .found
            .place
            .filter(|_| self.found.resource == Resource::Disk)
        else {
            return 0;
        };
        let written = self.culprit.members.iter();
        let written =
            written.filter_map(|id| self.books.written.get(&(place, Holder::Process(*id))));
        written.copied().fold(0, u64::saturating_add)
    }

    /// Does most of what it moved there go through the page cache, to be written back by the kernel?
    pub(super) fn writes_back(&self) -> bool {
        self.written().saturating_mul(2) > self.moved()
            && !self.standings().any(|standing| standing.unbuffered)
    }

    /// Half of what the members moved there, bytes per second; `None` if that is not known.
    pub(super) fn half_rate(&self) -> Option<u64> {
        let seconds = self.books.window_ns() as f64 / 1e9;
        let rate = self.moved() as f64 / seconds / 2.0;
        (rate >= 1024.0).then_some(rate as u64)
    }

    /// The parent, if it belongs to the same job.
    pub(super) fn parent_in_job(&self, id: ProcessId) -> Option<ProcessId> {
        let parent = self.process(id).parent?;
        (self.groups.of(parent) == self.groups.of(id)).then_some(parent)
    }
}
