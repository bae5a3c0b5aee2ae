//! Looks for the owners of the locks for which threads of the target sleep.
//!
//! A record of a wait comes at its end, with the one who ended it. A lock that nobody lets go shows neither. So a look asks the lock
//! itself, beside the loop that reads, while a thread sleeps for it, and once more at the end of the window.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use tracer_common::sched::WAIT_RUNNABLE;

use crate::{
    event::{Event, Follow, LockFile, LockOutcome, LockOwner, LockSeen},
    functions::{FILE_LOCKS, FUTEXES, has_any},
    machine::{
        clocks::now_ns,
        looks::Looks,
        proc::{self, FileLocks},
        rounds::Rounds,
    },
};

/// Time between two looks at least. Shorter waits have a record soon enough, with the one who released the lock.
const REST: Duration = Duration::from_millis(500);

/// After reading what is open, rest this many times as long as that took: it costs at most 2 % of a CPU.
const REST_FOR_WORK: u32 = 50;

/// How long the end of the trace waits for the last look.
const PATIENCE: Duration = Duration::from_millis(300);

/// A sleep is looked at after this time, ns.
const LEAST_NS: u64 = 100_000_000;

/// Most threads in one look. The others come next.
const MOST: usize = 128;

/// Most looks for the path of one file: who tries to lock it may have it open only now and then.
const MOST_LOOKS: u32 = 4;

/// Most owners followed, and most children of each: each costs as much as a target of its size.
const MOST_OWNERS: usize = 4;
const MOST_CHILDREN: usize = 16;

/// Most files that are looked for.
const MOST_FILES: usize = 256;

/// What a stack sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    /// A lock on a file.
    File,
    /// A futex, which may be a lock.
    Memory,
}

impl Lock {
    fn of(frames: &[String]) -> Option<Self> {
        let (on_file, in_memory) = (has_any(frames, &FILE_LOCKS), has_any(frames, &FUTEXES));
        on_file
            .then_some(Self::File)
            .or_else(|| in_memory.then_some(Self::Memory))
    }
}

/// A thread that sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sleeper {
    pid: u32,
    tid: u32,
    /// Since when, ns; 0: since before attach.
    since_ns: u64,
}

/// The search for the owners of locks.
pub(super) struct Locks {
    /// Stacks that sleep for a lock, by identity.
    stacks: HashMap<u64, Lock>,
    /// Threads that have slept since before attach.
    seeds: HashMap<u32, (u32, Lock)>,
    /// Sleeps on a futex that has no owner. It gets none while they last.
    ownerless: HashSet<Sleeper>,
    /// Looks for the path of each file, by process and inode.
    files: HashMap<(u32, u64), u32>,
    /// Targets, processes that they ask, and owners that are followed already.
    known: HashSet<u32>,
    owners: usize,
    /// Files to look for.
    wanted: Vec<(u32, u64)>,
    /// When what is open may be read again.
    next: Instant,
    /// When it was last asked whether a look is due.
    begun: Instant,
    /// Each returns the sleeps without an owner. What it finds it sends at once: it may hang in the middle.
    looks: Rounds<Vec<Sleeper>>,
    found: (Sender<Event>, Receiver<Event>),
}

impl Locks {
    /// Nothing seen yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            stacks: HashMap::new(),
            seeds: HashMap::new(),
            ownerless: HashSet::new(),
            files: HashMap::new(),
            known: HashSet::from([std::process::id()]),
            owners: 0,
            wanted: Vec::new(),
            next: Instant::now(),
            begun: Instant::now(),
            looks: Rounds::new(),
            found: channel(),
        }
    }

    /// Takes note of the stacks that sleep for locks, and of the threads that woke.
    pub(super) fn see(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Stack(stack) => {
                    let lock = Lock::of(&stack.frames);
                    self.stacks.extend(lock.map(|lock| (stack.id, lock)));
                }
                Event::Thread(thread) => {
                    let lock = Lock::of(&thread.stack);
                    let seed = lock.map(|lock| (thread.tid, (thread.pid, lock)));
                    self.seeds.extend(seed);
                }
                Event::Wait(wait) if !self.seeds.is_empty() => _ = self.seeds.remove(&wait.tid),
                Event::LockTried(tried)
                    if tried.outcome != LockOutcome::Granted && tried.inode != 0 =>
                {
                    self.want((tried.pid, tried.inode));
                }
                Event::Process(process) if process.target => _ = self.known.insert(process.pid),
                Event::Fork(fork) if fork.target => _ = self.known.insert(fork.pid),
                Event::Joined(joined) => _ = self.known.insert(joined.pid),
                Event::Follow(follow) => _ = self.known.insert(follow.pid),
                Event::LockFile(file) => _ = self.files.insert((file.pid, file.inode), MOST_LOOKS),
                Event::ThreadEnd(end) => _ = self.seeds.remove(&end.tid),
                _ => {}
            }
        }
    }

    /// Wants the path of a file, unless it was looked for often enough.
    fn want(&mut self, file: (u32, u64)) {
        let looks = self.files.get(&file).copied().unwrap_or_default();
        let is_new = looks == 0 && self.files.len() < MOST_FILES;
        if (is_new || (1..MOST_LOOKS).contains(&looks)) && !self.wanted.contains(&file) {
            self.wanted.push(file);
        }
    }

    /// Is it time for a look?
    pub(super) fn is_due(&mut self) -> bool {
        let ownerless = self.looks.take();
        self.ownerless.extend(ownerless.into_iter().flatten());
        self.begun = Instant::now();
        self.has_sleepers() && self.looks.is_due(REST) && self.begun >= self.next
    }

    fn has_sleepers(&self) -> bool {
        !self.stacks.is_empty() || !self.seeds.is_empty() || !self.wanted.is_empty()
    }

    /// Begins a look at the threads that are off the CPU right now, if there are any `open`. Returns what was seen since the last call.
    pub(super) fn take(&mut self, open: Option<Vec<Event>>) -> Vec<Event> {
        if let Some(open) = open {
            let sleepers = self.sleepers(open);
            let files = std::mem::take(&mut self.wanted);
            for file in &files {
                *self.files.entry(*file).or_default() += 1;
            }
            // The list of what is open may be long.
            self.next = Instant::now() + REST.max(self.begun.elapsed() * REST_FOR_WORK);
            if !sleepers.is_empty() || !files.is_empty() {
                let sender = self.found.0.clone();
                self.looks.begin(move || {
                    look_for_files(&files, &sender);
                    look(&sleepers, &sender)
                });
            }
        }
        let found = self.seen();
        self.see(&found);
        found
    }

    /// The owners of locks among these events that are not followed yet, each with its children. Who lets a lock go soon is not among
    /// them: only looks find owners.
    pub(super) fn owners_in(&mut self, found: &[Event]) -> Vec<Follow> {
        let mut all = Vec::new();
        for event in found {
            let Event::LockSeen(seen) = event else {
                continue;
            };
            for owner in &seen.owners {
                if self.owners < MOST_OWNERS && self.known.insert(owner.pid) {
                    self.owners += 1;
                    all.extend(self.family(owner.pid));
                }
            }
        }
        all
    }

    fn family(&mut self, owner: u32) -> Vec<Follow> {
        let children = proc::descendants(owner, proc::parents().into_iter());
        let children = children.into_iter().take(MOST_CHILDREN);
        let children = children.filter(|pid| self.known.insert(*pid));
        let follow = |pid| Follow {
            ns: now_ns(),
            pid,
            by_pid: owner,
            listening: Vec::new(),
        };
        [owner].into_iter().chain(children).map(follow).collect()
    }

    /// The last look, at the end of the window. It may hang in the memory of the target: then its end is not waited for, nor that of an
    /// earlier one. `meanwhile` is called every few milliseconds.
    pub(super) fn last(&mut self, open: Vec<Event>, mut meanwhile: impl FnMut()) -> Vec<Event> {
        self.ownerless.clear();
        if self.has_sleepers() {
            let (sleepers, found) = (self.sleepers(open), self.found.0.clone());
            let look = Looks::begin(vec![()], move |()| drop(look(&sleepers, &found)));
            look.end_within(PATIENCE, || {
                meanwhile();
                false
            });
        }
        self.seen()
    }

    fn seen(&self) -> Vec<Event> {
        self.found.1.try_iter().collect()
    }

    /// The threads that sleep for a lock, and may know an owner.
    fn sleepers(&mut self, open: Vec<Event>) -> Vec<(Sleeper, Lock)> {
        let now = now_ns();
        let seeds = self.seeds.iter().map(|(tid, (pid, lock))| {
            let (pid, tid, since_ns) = (*pid, *tid, 0);
            (Sleeper { pid, tid, since_ns }, *lock)
        });
        let mut all: Vec<(Sleeper, Lock)> = seeds.collect();
        all.extend(open.into_iter().filter_map(|event| {
            let Event::Wait(wait) = event else {
                return None;
            };
            let is_long = wait.flags & WAIT_RUNNABLE == 0 && now >= wait.off_ns + LEAST_NS;
            let lock = self.stacks.get(&wait.stack).filter(|_| is_long)?;
            let sleeper = Sleeper {
                pid: wait.pid,
                tid: wait.tid,
                since_ns: wait.off_ns,
            };
            Some((sleeper, *lock))
        }));
        self.ownerless
            .retain(|known| all.iter().any(|(sleeper, _)| sleeper == known));
        all.retain(|(sleeper, _)| !self.ownerless.contains(sleeper));
        all.sort_unstable_by_key(|(sleeper, _)| (sleeper.since_ns, sleeper.tid));
        all.truncate(MOST);
        all
    }
}

/// Sends what the locks of these threads show. Returns the sleeps on a futex without an owner.
fn look(sleepers: &[(Sleeper, Lock)], found: &Sender<Event>) -> Vec<Sleeper> {
    let of_files = sleepers.iter().any(|(_, lock)| *lock == Lock::File);
    let mut files = of_files.then(FileLocks::read);
    let mut ownerless = Vec::new();
    for (sleeper, lock) in sleepers {
        let Sleeper { pid, tid, .. } = *sleeper;
        let (file, owners) = match (lock, &mut files) {
            (Lock::File, Some(files)) => match files.wanted_by(pid, tid) {
                Some((file, owners)) => (Some(file), owners.into_iter().map(whole).collect()),
                None => continue,
            },
            _ => match proc::futex_owner(pid, tid) {
                Some(owner) => (None, vec![owner]),
                None => {
                    ownerless.push(*sleeper);
                    continue;
                }
            },
        };
        // The receiver is gone once the trace is over.
        let _ = found.send(Event::LockSeen(LockSeen {
            ns: now_ns(),
            pid,
            tid,
            owners,
            file,
        }));
    }
    ownerless
}

/// Sends the paths of these files, each of a process and with its inode.
fn look_for_files(files: &[(u32, u64)], found: &Sender<Event>) {
    for (pid, inode) in files {
        if let Some(path) = proc::open_file(*pid, *inode) {
            let _ = found.send(Event::LockFile(LockFile {
                ns: now_ns(),
                pid: *pid,
                inode: *inode,
                path,
            }));
        }
    }
}

fn whole(pid: u32) -> LockOwner {
    LockOwner { pid, tid: 0 }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd as _, process::Command};

    use super::*;
    use crate::event::{LockTried, Stack, Thread, Wait};

    fn frames(function: &str) -> Vec<String> {
        ["schedule", function].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_thread_that_sleeps_for_a_file_since_before_attach_is_looked_at_until_it_wakes() {
        let path = std::env::temp_dir().join(format!("tracer-locks-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        // SAFETY: the descriptor is open.
        assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
        let mut waiter = Command::new("flock");
        let mut waiter = waiter.arg(&path).arg("true").spawn().unwrap();
        let pid = waiter.id();
        let mut locks = Locks::new();
        locks.see(&[Event::Thread(Thread {
            pid,
            tid: pid,
            state: 'S',
            stack: frames("locks_lock_inode_wait"),
        })]);
        let seen = loop {
            let found = locks.last(Vec::new(), || ());
            if let [Event::LockSeen(seen)] = &found[..]
                && !seen.owners.is_empty()
            {
                break seen.clone();
            }
            std::thread::yield_now();
        };
        locks.see(&[Event::Wait(Wait {
            tid: pid,
            ..Wait::default()
        })]);
        let after = locks.last(Vec::new(), || ());
        drop(file);
        waiter.wait().unwrap();
        std::fs::remove_file(&path).unwrap();
        let pid = std::process::id();
        assert_eq!(seen.owners, [LockOwner { pid, tid: 0 }]);
        assert_eq!(seen.file, Some(path.display().to_string()));
        assert_eq!(after, []);
    }

    #[test]
    fn only_long_sleeps_in_a_function_that_waits_for_locks_are_looked_at() {
        let mut locks = Locks::new();
        let stack = |id, function| {
            let frames = frames(function);
            Event::Stack(Stack { ns: 1, id, frames })
        };
        locks.see(&[stack(1, "do_futex"), stack(2, "ep_poll")]);
        let asleep = |tid, stack, off_ns| {
            Event::Wait(Wait {
                tid,
                stack,
                off_ns,
                ..Wait::default()
            })
        };
        let now = now_ns();
        let open = vec![asleep(7, 1, 5), asleep(8, 2, 5), asleep(9, 1, now)];
        let sleepers = locks.sleepers(open);
        assert_eq!(sleepers.len(), 1);
        assert_eq!((sleepers[0].0.tid, sleepers[0].1), (7, Lock::Memory));
    }

    #[test]
    fn a_file_is_looked_for_a_few_times_and_its_owner_is_followed_once() {
        let mut locks = Locks::new();
        let tried = Event::LockTried(LockTried {
            pid: u32::MAX,
            inode: 7,
            ..LockTried::default()
        });
        for _ in 0..2 * MOST_LOOKS {
            locks.see(std::slice::from_ref(&tried));
            for file in std::mem::take(&mut locks.wanted) {
                *locks.files.entry(file).or_default() += 1;
            }
        }
        assert_eq!(locks.files[&(u32::MAX, 7)], MOST_LOOKS);
        let own = std::process::id();
        let seen = |pid| {
            Event::LockSeen(LockSeen {
                owners: vec![LockOwner { pid, tid: 0 }],
                ..LockSeen::default()
            })
        };
        let found = [seen(u32::MAX), seen(u32::MAX), seen(own)];
        let follow = locks.owners_in(&found);
        assert_eq!(follow.len(), 1);
        assert_eq!((follow[0].pid, follow[0].by_pid), (u32::MAX, u32::MAX));
    }
}
