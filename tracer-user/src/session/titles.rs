//! The titles of the target's processes and the names of its threads. A server writes `postgres: autovacuum worker` over its command
//! line after it was forked, and a thread names itself after it was born: no event says so.
//!
//! A look takes all of them, beside the loop that reads. Reading a command line may wait for the process's memory: a look that hangs
//! is the last one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    event::{self, Event},
    machine::{clocks::now_ns, proc, rounds::Rounds},
};

/// Most processes looked at. If there are more, those that came first.
const MOST: usize = 256;
/// Most threads of which the names are read, at the end.
const MOST_THREADS: usize = 2048;
/// The shortest time from one look to the next.
const APART: Duration = Duration::from_secs(1);
/// The same while there is a process that was never looked at. A worker may live for less than a second.
const APART_NEW: Duration = Duration::from_millis(200);
/// How long a look may take at the end of the trace.
const PATIENCE: Duration = Duration::from_millis(300);

/// The search for titles.
pub(crate) struct Titles {
    /// The target's processes, with the last title that was read.
    living: BTreeMap<u32, Option<String>>,
    /// Those that ended since the last call of [`Self::take`].
    ended: Vec<Event>,
    /// Each finds titles of processes.
    looks: Rounds<Vec<(u32, String)>>,
}

impl Titles {
    /// Of the target's processes at attach. Their command lines are known, and may change.
    #[must_use]
    pub(crate) fn of(targets: &[u32]) -> Self {
        let first = targets.iter().take(MOST);
        Self {
            living: first.map(|pid| (*pid, None)).collect(),
            ended: Vec::new(),
            looks: Rounds::after_rest(),
        }
    }

    /// Takes note of processes that come and go, and looks when it is time.
    pub(crate) fn see<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            match event {
                Event::Fork(fork)
                    if fork.target && fork.pid == fork.tid && self.living.len() < MOST =>
                {
                    self.living.insert(fork.pid, None);
                }
                Event::Joined(joined) if self.living.len() < MOST => {
                    self.living.entry(joined.pid).or_default();
                }
                Event::Exit(exit) => {
                    if let Some(Some(title)) = self.living.remove(&exit.pid) {
                        self.ended.push(process(exit.pid, title));
                    }
                }
                _ => {}
            }
        }
        let titles = self.looks.take();
        self.keep(titles.unwrap_or_default());
        let is_new = self.living.values().any(Option::is_none);
        if self.looks.is_due(if is_new { APART_NEW } else { APART }) {
            self.look();
        }
    }

    /// What is known of the processes that ended since the last call.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.ended)
    }

    /// What is known of all others at the end of the window, and the names of the threads.
    pub(crate) fn end(&mut self) -> Vec<Event> {
        if !self.looks.is_looking() {
            self.look();
        }
        let titles = self.looks.wait(PATIENCE);
        self.keep(titles.unwrap_or_default());
        let pids: BTreeSet<u32> = self.living.keys().copied().collect();
        let titles = std::mem::take(&mut self.living).into_iter();
        let titles = titles.filter_map(|(pid, title)| Some(process(pid, title?)));
        let mut events: Vec<Event> = self.ended.drain(..).chain(titles).collect();
        let threads = pids.into_iter().flat_map(|pid| {
            let names = proc::thread_names(pid).into_iter();
            names.map(move |(tid, comm)| thread(pid, tid, comm))
        });
        events.extend(threads.take(MOST_THREADS));
        events
    }

    fn look(&mut self) {
        let pids: Vec<u32> = self.living.keys().copied().collect();
        let title = |pid: u32| Some((pid, proc::title(pid)?));
        self.looks
            .begin(move || pids.into_iter().filter_map(title).collect());
    }

    fn keep(&mut self, titles: Vec<(u32, String)>) {
        for (pid, title) in titles {
            // One that has ended meanwhile may have been read too late.
            if let Some(known) = self.living.get_mut(&pid) {
                *known = Some(title);
            }
        }
    }
}

fn process(pid: u32, cmdline: String) -> Event {
    Event::Named(event::Named {
        ns: now_ns(),
        pid,
        tid: 0,
        comm: String::new(),
        cmdline,
    })
}

fn thread(pid: u32, tid: u32, comm: String) -> Event {
    Event::Named(event::Named {
        ns: now_ns(),
        pid,
        tid,
        comm,
        cmdline: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmdlines(events: Vec<Event>) -> Vec<(u32, String)> {
        let of = |event| match event {
            Event::Named(named) if named.tid == 0 => Some((named.pid, named.cmdline)),
            _ => None,
        };
        events.into_iter().filter_map(of).collect()
    }

    #[test]
    fn the_title_of_this_process_and_the_names_of_its_threads_are_known_at_the_end() {
        let pid = std::process::id();
        let events = Titles::of(&[pid]).end();
        let is_thread = |event: &Event| matches!(event, Event::Named(named) if named.tid != 0 && !named.comm.is_empty());
        assert!(events.iter().any(is_thread));
        let (of, cmdline) = cmdlines(events).remove(0);
        assert_eq!(of, pid);
        assert_eq!(cmdline, proc::title(pid).unwrap());
    }

    #[test]
    fn of_a_process_that_ended_the_last_title_is_reported_once() {
        let (pid, parent_pid) = (u32::MAX, std::process::id());
        let mut titles = Titles::of(&[]);
        let fork = event::Fork {
            pid,
            tid: pid,
            parent_pid,
            target: true,
            ..event::Fork::default()
        };
        titles.see(&[Event::Fork(fork)]);
        for title in ["postgres: startup", "postgres: bench COPY"] {
            titles.keep(vec![(pid, title.to_owned())]);
        }
        titles.see(&[Event::Exit(event::Exit { ns: 1, pid })]);
        let expected = [(pid, "postgres: bench COPY".to_owned())];
        assert_eq!(cmdlines(titles.take()), expected);
        assert_eq!(cmdlines(titles.end()), []);
    }
}
