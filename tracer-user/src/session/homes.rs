//! Where the processes of the machine belong, and what their containers are called.
//!
//! A process begins in the control group of its parent. A service manager, or the runtime of a container, moves it before it executes its
//! program, and no record says so. So whoever executes a program is looked up again. What a container is called lies in files, on disks
//! that may not answer. All looks are beside the loop that reads: one that hangs is the last one, and containers keep their identities.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    event::{self, Event},
    machine::{clocks::now_ns, proc, rounds::Rounds},
    standing::{Called, home},
};

/// The shortest time from one look to the next. A process may live for less than a second.
const APART: Duration = Duration::from_millis(200);

/// Most processes that wait to be looked up: the youngest.
const MOST_WAITING: usize = 512;

/// Most containers that are ever looked up.
const MOST_CONTAINERS: usize = 1024;

/// How long a look may take at the end of the trace.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a look found.
#[derive(Debug, Default)]
struct Found {
    /// Processes with their groups.
    groups: Vec<(u32, String)>,
    /// Containers with their names.
    called: Vec<Called>,
}

/// The search for groups and names.
pub(super) struct Homes {
    /// The group of each process, as far as is known. Those of one group share its path.
    groups: HashMap<u32, Arc<str>>,
    /// Processes that are to be looked up.
    waiting: VecDeque<u32>,
    /// Processes that ended while a look was under way. It may have seen them before.
    ended: HashSet<u32>,
    /// Groups of containers that are to be looked up, and of those that were or are.
    unnamed: BTreeSet<String>,
    containers: HashSet<String>,
    looks: Rounds<Found>,
}

impl Homes {
    /// Nobody is known yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            groups: HashMap::new(),
            waiting: VecDeque::new(),
            ended: HashSet::new(),
            unnamed: BTreeSet::new(),
            containers: HashSet::new(),
            looks: Rounds::new(),
        }
    }

    /// Takes note of processes that were there at attach, that come and that go.
    pub(super) fn see<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        let mut last: Arc<str> = Arc::default();
        for event in events {
            match event {
                Event::Process(process) => {
                    // One that follows on another of its service or container shares the path.
                    if *last != *process.cgroup {
                        last = process.cgroup.as_str().into();
                    }
                    self.lives_in(process.pid, Arc::clone(&last));
                }
                Event::Fork(fork) if fork.pid == fork.tid => self.forked(fork),
                Event::Exec(exec) => self.look_up(exec.pid),
                Event::Joined(joined) => self.look_up(joined.pid),
                Event::Exit(exit) => self.exited(exit.pid),
                _ => {}
            }
        }
    }

    fn forked(&mut self, fork: &event::Fork) {
        self.ended.remove(&fork.pid);
        if let Some(group) = self.groups.get(&fork.parent_pid).cloned() {
            self.groups.insert(fork.pid, group);
        }
        // The parent has moved, and nobody knows yet where: so has the child.
        if self.waiting.contains(&fork.parent_pid) {
            self.look_up(fork.pid);
        }
    }

    fn exited(&mut self, pid: u32) {
        self.waiting.retain(|waiting| *waiting != pid);
        match self.looks.is_looking() {
            true => _ = self.ended.insert(pid),
            false => _ = self.groups.remove(&pid),
        }
    }

    fn look_up(&mut self, pid: u32) {
        if self.waiting.contains(&pid) {
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(pid);
    }

    /// A process belongs to this group, and so to its container.
    fn lives_in(&mut self, pid: u32, group: Arc<str>) {
        if let Some(container) = home::container(&group)
            && home::is_id(container.id)
            && self.containers.len() < MOST_CONTAINERS
            && self.containers.insert(container.path.to_owned())
        {
            self.unnamed.insert(container.path.to_owned());
        }
        self.groups.insert(pid, group);
    }

    /// What was found since the last call. Looks for more when it is time.
    pub(super) fn take(&mut self) -> Vec<Event> {
        let found = self.looks.take();
        let events = found.map_or_else(Vec::new, |found| self.found(found));
        let is_left = !self.waiting.is_empty() || !self.unnamed.is_empty();
        if is_left && self.looks.is_due(APART) {
            self.look();
        }
        events
    }

    /// What is found of what is left, at the end of the trace.
    pub(super) fn end(&mut self) -> Vec<Event> {
        let found = self.looks.wait(PATIENCE);
        let mut events = self.found(found.unwrap_or_default());
        // A process that has just begun may be in a container that nobody knew: a second look names that.
        for _ in 0..2 {
            let is_left = !self.waiting.is_empty() || !self.unnamed.is_empty();
            if is_left && !self.looks.is_looking() {
                self.look();
                let found = self.looks.wait(PATIENCE);
                events.extend(self.found(found.unwrap_or_default()));
            }
        }
        events
    }

    fn look(&mut self) {
        let pids = std::mem::take(&mut self.waiting);
        let unnamed = std::mem::take(&mut self.unnamed);
        let group = |pid: u32| Some((pid, proc::cgroup(pid)?));
        self.looks.begin(move || Found {
            groups: pids.into_iter().filter_map(group).collect(),
            called: proc::called(&unnamed),
        });
    }

    fn found(&mut self, found: Found) -> Vec<Event> {
        let mut events = Vec::new();
        for (pid, cgroup) in found.groups {
            // One that had ended before has no group, and its number may be another's.
            let known = self.groups.get(&pid);
            if known.is_none_or(|known| **known == *cgroup) {
                continue;
            }
            self.lives_in(pid, cgroup.as_str().into());
            let ns = now_ns();
            events.push(Event::Moved(event::Moved { ns, pid, cgroup }));
        }
        for pid in self.ended.drain() {
            self.groups.remove(&pid);
        }
        let called = found.called.into_iter();
        events.extend(called.map(|called| Event::Called(Box::new(called))));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    fn process(pid: u32, cgroup: &str) -> Event {
        Event::Process(event::Process {
            pid,
            cgroup: cgroup.to_owned(),
            ..event::Process::default()
        })
    }

    fn fork(pid: u32, parent_pid: u32) -> Event {
        Event::Fork(event::Fork {
            pid,
            tid: pid,
            parent_pid,
            ..event::Fork::default()
        })
    }

    fn exec(pid: u32) -> Event {
        Event::Exec(event::Exec {
            pid,
            ..event::Exec::default()
        })
    }

    fn exit(pid: u32) -> Event {
        Event::Exit(event::Exit { ns: 1, pid })
    }

    /// The groups that a look finds.
    fn moved(homes: &mut Homes) -> Vec<(u32, String)> {
        homes.look();
        let found = homes.looks.wait(LONG).unwrap();
        let events = homes.found(found).into_iter();
        let moved = events.filter_map(|event| match event {
            Event::Moved(moved) => Some((moved.pid, moved.cgroup)),
            _ => None,
        });
        moved.collect()
    }

    #[test]
    fn who_executes_a_program_elsewhere_than_it_was_forked_has_moved() {
        let (own, parent) = (std::process::id(), u32::MAX);
        let cgroup = proc::cgroup(own).unwrap();
        let mut homes = Homes::new();
        homes.see(&[process(parent, "/init.scope-of-a-test"), fork(own, parent)]);
        assert!(homes.waiting.is_empty());
        homes.see(&[exec(own), exec(own)]);
        assert_eq!(homes.waiting.len(), 1);
        assert_eq!(moved(&mut homes), [(own, cgroup.clone())]);
        // The next one executes where it was forked.
        homes.see(&[exec(own)]);
        assert_eq!(moved(&mut homes), []);
        homes.see(&[exec(own), exit(own)]);
        assert!(homes.waiting.is_empty() && !homes.groups.contains_key(&own));
    }

    #[test]
    fn one_that_ended_while_it_was_looked_up_has_its_group_and_is_forgotten_then() {
        let (own, parent) = (std::process::id(), u32::MAX);
        let mut homes = Homes::new();
        homes.see(&[
            process(parent, "/init.scope-of-a-test"),
            fork(own, parent),
            exec(own),
        ]);
        homes.look();
        homes.see(&[exit(own), exit(parent), fork(parent, 7)]);
        let found = homes.looks.wait(LONG).unwrap();
        assert_eq!(homes.found(found).len(), 1);
        assert!(homes.groups.keys().eq([&parent]) && homes.ended.is_empty());
    }

    #[test]
    fn a_child_of_one_that_is_still_to_be_looked_up_is_looked_up_too() {
        let mut homes = Homes::new();
        homes.see(&[process(7, "/a"), exec(7), fork(8, 7), fork(10, 9)]);
        assert_eq!(homes.waiting, [7, 8]);
        assert_eq!(&*homes.groups[&8], "/a");
        let all: Vec<Event> = (0..2 * MOST_WAITING as u32).map(exec).collect();
        homes.see(&all);
        assert_eq!(homes.waiting.len(), MOST_WAITING);
        assert_eq!(homes.waiting.back(), Some(&(2 * MOST_WAITING as u32 - 1)));
    }

    #[test]
    fn each_container_is_looked_up_once_and_one_that_has_a_name_never() {
        let id = "0".repeat(64);
        let mut homes = Homes::new();
        homes.see(&[
            process(7, &format!("/docker/{id}")),
            process(8, &format!("/docker/{id}")),
            process(9, "/lxc.payload.web/init.scope"),
        ]);
        assert!(homes.unnamed.iter().eq([&format!("/docker/{id}")]));
        assert!(Arc::ptr_eq(&homes.groups[&7], &homes.groups[&8]));
        // No container can have this identity.
        assert_eq!(homes.end(), []);
        homes.see(&[process(10, &format!("/docker/{id}"))]);
        assert!(homes.unnamed.is_empty());
    }
}
