//! Processes that become targets in the window. The user may have named a program, a port or a group, not processes: a supervisor starts
//! the server anew, another takes over its socket. And the kernel half cannot mark a child of a process that was itself found a moment
//! later.
//!
//! A program shows as it is executed, and a child as it is forked. Who begins to listen on a port shows to a look alone. So do a process
//! that gives itself the name, and one that is moved into a group.

mod look;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashSet, VecDeque},
    mem,
    path::PathBuf,
    time::Duration,
};

use self::look::{Found, look_at_group, look_at_port};
use super::{Settings, settings::Named};
use crate::{
    event::{Event, Exec, Fork},
    machine::{proc, rounds::Rounds},
};

/// The shortest time from one look to the next.
const APART: Duration = Duration::from_secs(1);

/// The same if somebody may have come to the group: a service manager forks a process, moves it, and has it execute the service.
const APART_STRANGERS: Duration = Duration::from_millis(200);

/// A process that was forked, or has executed a program, is looked at so often: it opens its port, or is handed that, within seconds.
const LOOKS: u32 = 4;

/// Most processes that are looked at for that: the youngest.
const MOST_RECENT: usize = 256;

/// Most processes that wait to be traced, and most in one round: the threads of each are read.
const MOST_WANTED: usize = 1024;
const MOST_AT_ONCE: usize = 32;

/// A process that is a target from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newcomer {
    pub(super) pid: u32,
    /// It was found at attach already. The record of its fork says otherwise.
    pub(super) is_found: bool,
}

/// A process that may become a target.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    newcomer: Newcomer,
    /// It has the name that the user gave, or had it.
    by_name: bool,
}

/// The search for processes that become targets.
pub(super) struct Newcomers {
    named: Named,
    follow_children: bool,
    /// The targets.
    own: HashSet<u32>,
    /// Processes that the target asks, or whose locks it waits for, and their children. They are followed, and no targets.
    others: HashSet<u32>,
    /// Living processes that match what the user named. If there are others among the children of targets, they come when all of these
    /// have ended.
    matching: HashSet<u32>,
    /// Have all of them ended since the last look? The trace would end soon.
    is_urgent: bool,
    /// Those among them that were found since the last call of [`Self::take_matching`].
    new: Vec<u32>,
    wanted: VecDeque<Wanted>,
    /// The youngest processes, with the number of looks that are left for each.
    recent: VecDeque<(u32, u32)>,
    listeners: HashSet<u64>,
    /// The folders of the group.
    folders: Vec<PathBuf>,
    /// Has a process been forked or executed a program since the last look that may belong to the group?
    has_strangers: bool,
    looks: Rounds<Found>,
}

impl Newcomers {
    /// The `targets` at attach.
    #[must_use]
    pub(super) fn new(settings: &Settings, targets: &[u32]) -> Self {
        Self {
            named: settings.named.clone(),
            follow_children: settings.follow_children,
            own: targets.iter().copied().collect(),
            others: HashSet::new(),
            matching: settings.pids.iter().copied().collect(),
            // Members that came while the probes were attached have no record of their fork.
            is_urgent: matches!(settings.named, Named::Group(_)),
            new: Vec::new(),
            wanted: VecDeque::new(),
            recent: VecDeque::new(),
            listeners: match settings.named {
                Named::Port(port) => proc::listeners(port),
                _ => HashSet::new(),
            },
            folders: Vec::new(),
            has_strangers: false,
            looks: Rounds::after_rest(),
        }
    }

    /// Takes note of processes that come and go, and of those that are followed.
    pub(super) fn see<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            match event {
                Event::Fork(fork) if fork.pid == fork.tid => self.forked(fork),
                Event::Exec(exec) => self.executed(exec),
                Event::Exit(exit) => self.ended(exit.pid),
                Event::Follow(follow) | Event::FollowOwner(follow) | Event::FollowHand(follow) => {
                    self.others.insert(follow.pid);
                }
                _ => {}
            }
        }
    }

    fn forked(&mut self, fork: &Fork) {
        let is_child = self.own.contains(&fork.parent_pid);
        let is_known = self.own.contains(&fork.pid);
        match (fork.target, is_known) {
            (true, true) => {}
            (true, false) if !is_child && self.others.contains(&fork.parent_pid) => {
                self.others.insert(fork.pid);
            }
            (true, false) => _ = self.own.insert(fork.pid),
            // It was looked at between its fork and now.
            (false, true) => self.want(fork.pid, true, false),
            (false, false) if is_child && self.follow_children => self.want(fork.pid, false, false),
            (false, false) if self.has_name(&fork.comm) => self.want(fork.pid, false, true),
            (false, false) => self.note_stranger(fork.pid),
        }
    }

    fn executed(&mut self, exec: &Exec) {
        if !self.has_name(&exec.comm) {
            return self.note_stranger(exec.pid);
        }
        if self.own.contains(&exec.pid) {
            self.matches(exec.pid);
        } else {
            self.want(exec.pid, false, true);
        }
    }

    fn ended(&mut self, pid: u32) {
        self.own.remove(&pid);
        self.others.remove(&pid);
        if self.matching.remove(&pid) && self.matching.is_empty() {
            self.is_urgent = true;
        }
        self.wanted.retain(|wanted| wanted.newcomer.pid != pid);
        self.recent.retain(|(recent, _)| *recent != pid);
    }

    fn has_name(&self, comm: &str) -> bool {
        matches!(&self.named, Named::Comm(name) if proc::is_comm(comm, name))
    }

    /// Its children are children of a target from now on.
    fn want(&mut self, pid: u32, is_found: bool, by_name: bool) {
        if self.others.contains(&pid)
            || pid == std::process::id()
            || self.wanted.len() >= MOST_WANTED
        {
            return;
        }
        if self.own.insert(pid) || is_found {
            let newcomer = Newcomer { pid, is_found };
            self.wanted.push_back(Wanted { newcomer, by_name });
        }
    }

    fn matches(&mut self, pid: u32) {
        if self.matching.insert(pid) {
            self.new.push(pid);
        }
    }

    /// It is no target so far. It may come to listen on the port, or have come to the group.
    fn note_stranger(&mut self, pid: u32) {
        if self.own.contains(&pid) {
            return;
        }
        match self.named {
            Named::Port(_) => self.may_listen(pid),
            Named::Group(_) => self.has_strangers = true,
            Named::Processes | Named::Comm(_) => {}
        }
    }

    fn may_listen(&mut self, pid: u32) {
        self.recent.retain(|(recent, _)| *recent != pid);
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((pid, LOOKS));
    }

    /// The processes that are targets from now on. Looks for more when it is time.
    pub(super) fn take(&mut self) -> Vec<Newcomer> {
        if let Some(found) = self.looks.take() {
            self.found(found);
        }
        let is_urgent = self.is_urgent && !self.looks.is_looking();
        let apart = match self.has_strangers {
            true => APART_STRANGERS,
            false => APART,
        };
        if self.named != Named::Processes && (is_urgent || self.looks.is_due(apart)) {
            (self.is_urgent, self.has_strangers) = (false, false);
            self.look();
        }
        self.ready()
    }

    fn ready(&mut self) -> Vec<Newcomer> {
        let due = self.wanted.len().min(MOST_AT_ONCE);
        let mut newcomers = Vec::new();
        for wanted in self.wanted.drain(..due).collect::<Vec<Wanted>>() {
            match self.joins(&wanted) {
                true => newcomers.push(wanted.newcomer),
                false => _ = self.own.remove(&wanted.newcomer.pid),
            }
        }
        newcomers
    }

    /// Is the process still there, and what it was wanted for?
    fn joins(&mut self, wanted: &Wanted) -> bool {
        let pid = wanted.newcomer.pid;
        let Some(comm) = proc::comm(pid) else {
            return false;
        };
        if wanted.by_name {
            // A child that was forked to execute something else has had the name for a moment.
            if !self.has_name(&comm) || proc::is_kernel_thread(pid) {
                return false;
            }
            self.matches(pid);
        }
        true
    }

    /// The processes found since the last call that match what the user named.
    pub(super) fn take_matching(&mut self) -> Vec<u32> {
        mem::take(&mut self.new)
    }

    fn look(&mut self) {
        let (own, follow_children) = (self.own.clone(), self.follow_children);
        let with_children = move |found: Found| match follow_children {
            true => found.with_children(&own),
            false => found,
        };
        match self.named.clone() {
            Named::Processes => {}
            Named::Comm(name) => self.looks.begin(move || {
                with_children(Found {
                    matching: proc::by_comm(&name),
                    ..Found::default()
                })
            }),
            Named::Port(port) => {
                let (before, candidates) = (self.listeners.clone(), self.candidates());
                self.looks.begin(move || {
                    with_children(look_at_port(port, &before, candidates.as_deref()))
                });
            }
            Named::Group(wanted) => {
                let folders = self.folders.clone();
                self.looks.begin(move || look_at_group(&wanted, &folders));
            }
        }
    }

    /// The processes that may listen on a socket that is known. `None`: everybody, because no target is known to do.
    fn candidates(&mut self) -> Option<Vec<u32>> {
        if self.matching.is_empty() {
            return None;
        }
        let mut pids: Vec<u32> = self.recent.iter().map(|(pid, _)| *pid).collect();
        for (_, left) in &mut self.recent {
            *left -= 1;
        }
        self.recent.retain(|(_, left)| *left > 0);
        // Children of a target share its socket: whoever has had it longer counts.
        if !self.follow_children {
            pids.extend(&self.own);
        }
        Some(pids)
    }

    fn found(&mut self, found: Found) {
        self.listeners = found.listeners;
        self.folders = found.folders;
        for pid in found.matching {
            if self.others.contains(&pid) {
                continue;
            }
            if self.matching.is_empty() || !self.own.contains(&pid) {
                self.matches(pid);
            }
            self.want(pid, false, false);
        }
        for pid in found.below {
            self.want(pid, false, false);
        }
    }
}
