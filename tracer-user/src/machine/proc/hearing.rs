//! What a process would notice right now: the sockets on which its threads sleep.
//!
//! Whatever cannot be told is `None`: such a thread, and so its process, may notice anything.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    SmallFiles,
    descriptors::{self, Descriptors, Sleeper},
    links::inodes,
    numbers_in,
    process::Stat,
    unix::Listed,
};
use crate::functions::plain;

/// A process with more threads is not looked at.
const MOST_THREADS: usize = 1024;

/// A process with more descriptors waits for more than its fellows.
const MOST_OF_FELLOW: usize = 256;

/// How long such processes are looked for.
const SEARCH: Duration = Duration::from_millis(200);

/// Most processes of several threads that are looked for.
const MOST_SERVERS: usize = 16;

/// Where a thread of the kernel that works for a ring sleeps while it has nothing to do.
const RESTS: [&str; 3] = ["io_wq_worker", "io_wqe_worker", "io_sq_thread"];

/// Those of these processes that wait for their fellows alone: each has one thread, and only its own processes can end the sleep of that.
/// PostgreSQL's processes wait so for locks.
#[must_use]
pub(crate) fn wait_for_fellows(pids: &[u32]) -> Vec<u32> {
    let until = Instant::now() + SEARCH;
    let waits = |pid: u32| {
        let hearing = Hearing::of(pid, until);
        hearing.is_some_and(|hearing| matches!(&hearing.sleepers[..], [one] if one.own))
    };
    let pids = pids.iter().copied().take_while(|_| Instant::now() < until);
    pids.filter(|pid| is_small(*pid) && waits(*pid)).collect()
}

/// Those of these processes that have several threads, and streams that they accepted on Unix sockets: each may have its thread. Changes
/// the network namespace of the calling thread.
#[must_use]
pub(crate) fn serve_streams(pids: &[u32]) -> Vec<u32> {
    let until = Instant::now() + SEARCH;
    let is_large = |pid: u32| threads(pid).take(2).count() > 1 && !has_too_many_descriptors(pid);
    let serves = |pid: u32| {
        let accepted = Listed::of(pid).map(|listed| listed.accepted());
        accepted.is_some_and(|accepted| {
            !accepted.is_empty() && inodes(pid).any(|inode| accepted.contains(&inode))
        })
    };
    let pids = pids.iter().copied().take_while(|_| Instant::now() < until);
    let found = pids.filter(|pid| is_large(*pid) && serves(*pid));
    found.take(MOST_SERVERS).collect()
}

/// Has a process one thread, and not many descriptors?
pub(super) fn is_small(pid: u32) -> bool {
    let descriptors = numbers_in(&format!("/proc/{pid}/fd"));
    threads(pid).take(2).count() == 1
        && descriptors.take(MOST_OF_FELLOW + 1).count() <= MOST_OF_FELLOW
}

/// What a process hears.
pub(super) struct Hearing {
    /// Inodes of the sockets on which a thread would notice something.
    pub(super) heard: BTreeSet<u64>,
    pub(super) sleepers: Vec<Sleeper>,
    descriptors: Descriptors,
}

impl Hearing {
    /// `None` if the process may notice anything, or time is up.
    pub(super) fn of(pid: u32, until: Instant) -> Option<Self> {
        Self::through(pid, Descriptors::of(pid)?, until)
    }

    /// The same of a process with these descriptors.
    pub(super) fn through(pid: u32, mut descriptors: Descriptors, until: Instant) -> Option<Self> {
        let before: BTreeSet<u32> = threads(pid).take(MOST_THREADS + 1).collect();
        if before.len() > MOST_THREADS {
            return None;
        }
        let (mut sleepers, mut gone) = (Vec::new(), BTreeSet::new());
        let mut lines = SmallFiles::default();
        let for_ring = before.iter().copied();
        let for_ring: BTreeSet<u32> = for_ring
            .filter(|tid| descriptors.has_ring && works_for_ring(&mut lines, pid, *tid))
            .collect();
        let may_hear = |descriptors: &Descriptors| {
            descriptors.do_rings_wait() || !for_ring.iter().all(|tid| rests(pid, *tid))
        };
        descriptors.ring_hears = descriptors.has_ring && may_hear(&descriptors);
        for tid in &before {
            if Instant::now() >= until {
                return None;
            }
            // Such a thread notices what comes. The program does so only when one of its own threads takes that from the ring.
            if for_ring.contains(tid) {
                continue;
            }
            match lines.read(format_args!("/proc/{pid}/task/{tid}/syscall")) {
                Some(line) => sleepers.push(descriptors.sleeper(*tid, line)?),
                None => _ = gone.insert(*tid),
            }
        }
        // A loop may have asked its ring for something meanwhile.
        if descriptors.has_ring && !descriptors.ring_hears && may_hear(&descriptors) {
            return None;
        }
        // A thread that was born meanwhile was not looked at.
        let is_known = |tid: u32| before.contains(&tid) && !gone.contains(&tid);
        let heard = sleepers.iter().flat_map(|sleeper| &sleeper.inodes);
        let heard = heard.copied().collect();
        threads(pid).all(is_known).then_some(Self {
            heard,
            sleepers,
            descriptors,
        })
    }

    /// Inodes of what the `epoll` sets of the process would notice something on, if threads waited on them; `None` if a set cannot be
    /// read, or a ring may have any.
    pub(super) fn registered(&self) -> Option<BTreeSet<u64>> {
        if self.descriptors.ring_hears {
            return None;
        }
        let mut inodes = BTreeSet::new();
        for fd in self.descriptors.sets() {
            inodes.extend(&self.descriptors.set(fd)?.inodes);
        }
        Some(inodes)
    }
}

/// Has the process so many threads that it is not looked at?
pub(super) fn has_too_many_threads(pid: u32) -> bool {
    threads(pid).take(MOST_THREADS + 1).count() > MOST_THREADS
}

/// The same for descriptors: whatever it has open, it may hear.
pub(super) fn has_too_many_descriptors(pid: u32) -> bool {
    let all = numbers_in(&format!("/proc/{pid}/fd"));
    all.take(descriptors::MOST + 1).count() > descriptors::MOST
}

/// Is it a thread of the kernel that works for a ring of the process?
fn works_for_ring(files: &mut SmallFiles, pid: u32, tid: u32) -> bool {
    let line = files.read(format_args!("/proc/{pid}/task/{tid}/stat"));
    let stat = line.and_then(Stat::parse);
    stat.is_some_and(|stat| stat.works_for_ring())
}

/// Does such a thread have nothing to do? One that is at work may read from a socket.
fn rests(pid: u32, tid: u32) -> bool {
    RESTS.contains(&function(pid, tid).as_str())
}

fn threads(pid: u32) -> impl Iterator<Item = u32> {
    numbers_in(&format!("/proc/{pid}/task"))
}

/// The kernel function in which a thread sleeps; empty if it cannot be told.
pub(super) fn function(pid: u32, tid: u32) -> String {
    let mut files = SmallFiles::default();
    let found = files.read(format_args!("/proc/{pid}/task/{tid}/wchan"));
    let name = found.and_then(|name| str::from_utf8(name).ok());
    let name = name.map(|name| plain(name.trim()));
    let name = name.filter(|name| *name != "0");
    name.unwrap_or_default().to_owned()
}
