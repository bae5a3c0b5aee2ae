//! Waits for locks with owners that were seen while the thread slept. A wait that has not ended has no other witness.

use rustc_hash::FxHashMap as HashMap;

use super::{Threads, signs::Lock, thread::Thread};
use crate::{
    class::{Class, Resource},
    event::{self, LockOutcome},
    model::{
        account::{Account, Charge},
        books::{Holder, PlaceId, ProcessId},
        names::Names,
    },
};

/// A sight of a lock in memory tells of this much time before and after it, ns. Looks come more often. Farther away, others may have had
/// the lock.
const COVERS_NS: u64 = 2_000_000_000;

/// A nap that begins within this time after a refusal is a wait for the lock, ns. Programs that try again do so at once, or after a
/// short nap; one that naps much later does so for another reason.
const TRIES_AGAIN_NS: u64 = 1_000_000_000;

/// Sights kept of one wait. A wait that changes its owner more often is a busy lock, and its first owners are enough.
const MOST_SIGHTS: usize = 1 << 12;

/// Files for which threads waited of which the path is kept.
const MOST_FILES: usize = 4096;
/// Place of the waits for one that is frozen.
const FROZEN: &str = "a frozen file system";
/// Threads of which it is counted how long others waited for their locks. Of more, those with the longer half stay.
pub(super) const MOST_OWNERS: usize = 4096;

/// An owner of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    holder: Holder,
    /// The part of the target that owns it: a process, and its thread, or 0 where the lock belongs to the whole process.
    own: Option<(ProcessId, u32)>,
}

impl Owner {
    /// The process and the thread with these ids.
    pub(super) fn new(names: &mut Names, (pid, tid): (u32, u32)) -> Self {
        match names.holder(pid) {
            Holder::Own => Self::own(names.processes.id(pid), tid),
            holder => Self { holder, own: None },
        }
    }

    fn own(process: ProcessId, tid: u32) -> Self {
        Self {
            holder: Holder::OwnLock,
            own: Some((process, tid)),
        }
    }

    /// The thread of the target that owns it, if it is one.
    fn own_tid(&self) -> Option<u32> {
        let (_, tid) = self.own?;
        (tid != 0).then_some(tid)
    }

    /// May it be the same? Threads of the target are told apart where both are known.
    fn may_be(&self, other: &Self) -> bool {
        let is_other_thread = match (self.own, other.own) {
            (Some((process, tid)), Some((other, other_tid))) => {
                process != other || (tid != other_tid && tid != 0 && other_tid != 0)
            }
            _ => false,
        };
        self.holder == other.holder && !is_other_thread
    }
}

/// A part of the target had a lock for which a thread slept.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Had {
    /// That part: its process, and its thread or 0.
    pub(in crate::model) by: (ProcessId, u32),
    /// Time that the thread slept for it, ns.
    pub(in crate::model) ns: u64,
    /// Up to when, ns.
    pub(in crate::model) end_ns: u64,
    /// Does the thread that slept have a request?
    pub(in crate::model) serves: bool,
}

/// The owners of the lock for which a thread sleeps, as they were seen once or several times in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    first_ns: u64,
    last_ns: u64,
    lock: Lock,
    /// The locked file, if its path is known.
    place: Option<PlaceId>,
    /// The locked file, if its inode is known; else 0.
    inode: u64,
    /// Is it a file system that is frozen? Then it has the same owner throughout a sleep, whoever thaws it.
    is_frozen: bool,
    owners: Vec<Owner>,
}

/// A sleep for a lock.
#[derive(Clone, Debug)]
pub(super) struct LockWait {
    pub(super) tid: u32,
    pub(super) stack: u64,
    /// Begin and end, ns.
    pub(super) begin: u64,
    pub(super) end: u64,
    sights: Vec<Sight>,
}

/// A part of a sleep, with the sight that tells of it.
type Part<'a> = (u64, u64, Option<&'a Sight>);

impl LockWait {
    /// The whole sleep, part by part. Between two sights with different owners, each has the half next to it.
    fn parts(&self) -> Vec<Part<'_>> {
        if let Some(sight) = self.of_file() {
            return vec![(self.begin, self.end, Some(sight))];
        }
        let mut parts = Vec::new();
        let mut at = self.begin;
        for (index, sight) in self.sights.iter().enumerate() {
            let next = self.sights.get(index + 1);
            let until = next.map_or(self.end, |next| sight.last_ns.midpoint(next.first_ns));
            // Two ways to see a lock may not agree on what came first.
            let until = until.clamp(at, self.end);
            let from = sight.first_ns.saturating_sub(COVERS_NS).clamp(at, until);
            let to = sight.last_ns.saturating_add(COVERS_NS).clamp(from, until);
            parts.extend([(at, from, None), (from, to, Some(sight)), (to, until, None)]);
            at = until;
        }
        parts.push((at, self.end, None));
        parts.retain(|(from, to, _)| from < to);
        parts
    }

    /// What was last seen of a lock on a file. It has the same owner throughout a sleep: the kernel wakes all that wait when it is
    /// released or goes to another, also those that queue behind that one (`__locks_wake_up_blocks` of `fs/locks.c`, since 4.20). So
    /// the waker may be who got it, and is not asked.
    fn of_file(&self) -> Option<&Sight> {
        let is_file = |sight: &&Sight| sight.lock == Lock::File;
        let of_file = || self.sights.iter().rev().filter(is_file);
        let mut owned = of_file().filter(|sight| !sight.owners.is_empty());
        owned.next().or_else(|| of_file().next())
    }

    fn place(&self, files: &HashMap<u64, PlaceId>) -> Option<PlaceId> {
        let place = |sight: &Sight| sight.place.or_else(|| files.get(&sight.inode).copied());
        self.sights.iter().find_map(place)
    }

    /// The threads of the target that own the lock at some time.
    fn own_tids(&self) -> impl Iterator<Item = u32> {
        let owners = self.sights.iter().flat_map(|sight| &sight.owners);
        owners.filter_map(Owner::own_tid)
    }
}

impl Threads {
    /// A thread was seen asleep for a lock.
    pub(in crate::model) fn lock_seen(&mut self, names: &mut Names, seen: &event::LockSeen) {
        let Some(thread) = self.living.get_mut(seen.tid) else {
            return;
        };
        // The record of that sleep has come already.
        if seen.ns <= thread.known_ns() || thread.locks.len() >= MOST_SIGHTS {
            return;
        }
        let owner = |owner: &event::LockOwner| Owner::new(names, (owner.pid, owner.tid));
        let owners: Vec<Owner> = seen.owners.iter().map(owner).collect();
        let place = seen.file.as_ref().map(|file| names.place(file));
        thread.locks.push(Sight {
            first_ns: seen.ns,
            last_ns: seen.ns,
            lock: match seen.file {
                Some(_) => Lock::File,
                None => Lock::Memory,
            },
            place,
            inode: 0,
            is_frozen: false,
            owners,
        });
        if let [.., before, last] = &mut thread.locks[..]
            && (before.place, &before.owners) == (last.place, &last.owners)
        {
            before.last_ns = seen.ns;
            thread.locks.pop();
        }
    }

    /// A thread tried to get a lock: it sleeps now, or was refused, or got it after all. A file system was frozen at `frozen_ns`, since
    /// boot, if that is known.
    pub(in crate::model) fn lock_tried(
        &mut self,
        names: &mut Names,
        tried: &event::LockTried,
        frozen_ns: Option<u64>,
    ) {
        let Some(thread) = self.living.get_mut(tried.tid) else {
            return;
        };
        let is_frozen = tried.outcome == LockOutcome::Frozen;
        let owner = owner(names, tried, frozen_ns);
        let sight = Sight {
            first_ns: tried.ns,
            last_ns: tried.ns,
            lock: match tried.outcome {
                LockOutcome::Kernel | LockOutcome::Frozen => Lock::Kernel,
                _ => Lock::File,
            },
            place: is_frozen.then(|| names.place(FROZEN)),
            inode: tried.inode,
            is_frozen,
            owners: owner.into_iter().collect(),
        };
        match tried.outcome {
            LockOutcome::Granted => thread.refused = None,
            LockOutcome::Refused => thread.refused = Some(sight),
            LockOutcome::Waits | LockOutcome::Kernel | LockOutcome::Frozen
                if tried.ns > thread.known_ns() && thread.locks.len() < MOST_SIGHTS =>
            {
                thread.locks.push(sight);
            }
            LockOutcome::Waits | LockOutcome::Kernel | LockOutcome::Frozen => {}
        }
    }

    /// A thread of the target was woken by who released a lock of the kernel.
    pub(in crate::model) fn lock_released(&mut self, released: &event::LockReleased) {
        if let Some(thread) = self.living.get_mut(released.tid) {
            thread.released = (released.ns, released.since_ns);
        }
    }

    /// A file for which threads waited has a path.
    pub(in crate::model) fn lock_file(&mut self, names: &mut Names, file: &event::LockFile) {
        if self.lock_files.len() < MOST_FILES || self.lock_files.contains_key(&file.inode) {
            let place = names.place(&file.path);
            self.lock_files.insert(file.inode, place);
        }
    }

    /// A nap of a thread between two attempts to lock a file; `None` if it was not refused a moment ago.
    pub(super) fn nap(&self, tid: u32, stack: u64, (begin, end): (u64, u64)) -> Option<LockWait> {
        let refused = self.living.get(tid)?.refused.as_ref()?;
        let naps = self.stacks.get(stack)?.nap;
        let soon = begin < refused.last_ns + TRIES_AGAIN_NS;
        // Who sleeps for long does not need the lock: a standby of a leader, a job that comes again later.
        let short = end.saturating_sub(begin) <= TRIES_AGAIN_NS;
        (naps && soon && short).then(|| LockWait {
            tid,
            stack,
            begin,
            end,
            sights: vec![refused.clone()],
        })
    }

    /// A sleep of a thread, if owners of a lock were seen in it. `waker` is who ended it.
    pub(super) fn lock_wait(
        &mut self,
        (tid, stack): (u32, u64),
        (begin, end): (u64, u64),
        waker: Option<Owner>,
    ) -> Option<LockWait> {
        let known = self.stacks.get(stack).map(|stack| stack.lock);
        let thread = self.living.get_mut(tid)?;
        // The thread may have got an earlier lock without a sleep. The stack of a sleep since before attach is not kept.
        let of_this = |sight: &Sight| match known {
            Some(lock) => lock == Some(sight.lock),
            None => sight.lock != Lock::Kernel,
        };
        let within = |sight: &mut Sight| of_this(sight) && sight.last_ns <= end;
        let mut sights: Vec<Sight> = thread.locks.extract_if(.., within).collect();
        for sight in &mut sights {
            // The attempt comes before the sleep.
            sight.first_ns = sight.first_ns.max(begin);
            sight.last_ns = sight.last_ns.max(begin);
        }
        let last = sights.last_mut()?;
        if last.is_frozen {
            (last.first_ns, last.last_ns) = (begin, end);
        } else if let Some(waker) = waker.filter(|_| last.lock != Lock::File) {
            match last.owners.iter().any(|owner| owner.may_be(&waker)) {
                true => last.last_ns = end,
                false => {
                    // Who goes on running until it releases the lock has not had it before.
                    let since_ns = match (last.lock, thread.released) {
                        (Lock::Kernel, (ns, since_ns)) if (begin..=end).contains(&ns) => since_ns,
                        _ => end,
                    };
                    let first_ns = since_ns.clamp(last.last_ns, end);
                    if first_ns < end {
                        last.last_ns = first_ns;
                    }
                    let sight = Sight {
                        first_ns,
                        last_ns: end,
                        owners: vec![waker],
                        ..*last
                    };
                    sights.push(sight);
                }
            }
        }
        Some(LockWait {
            tid,
            stack,
            begin,
            end,
            sights,
        })
    }

    /// Charges a sleep to the owners of the lock, in turn. While an own thread that owns it waits for something itself, that is waited
    /// for. A sleep that is open at the end waits until all others are known.
    pub(super) fn slept_for_lock(&mut self, account: &mut Account, wait: LockWait, is_open: bool) {
        if is_open && wait.own_tids().next().is_some() {
            return self.open_locks.push(wait);
        }
        for (from, to, sight) in wait.parts() {
            let owners = sight.map_or(&[][..], |sight| &sight.owners);
            let own = match owners {
                [owner] => owner.own_tid(),
                _ => None,
            };
            match own {
                Some(own) => self.behind_own(account, &wait, (own, owners), (from, to)),
                None => self.behind(account, &wait, owners, (from, to)),
            }
        }
    }

    /// A part of a sleep behind these owners, or nobody.
    fn behind(
        &mut self,
        account: &mut Account,
        wait: &LockWait,
        owners: &[Owner],
        (begin, end): (u64, u64),
    ) {
        const UNKNOWN: &[Owner] = &[Owner {
            holder: Holder::Nobody,
            own: None,
        }];
        self.spend(account, wait.tid, Class::Lock, end);
        let owners = match owners {
            [] => UNKNOWN,
            known => known,
        };
        let (place, serves) = (wait.place(&self.lock_files), self.serves(wait.tid));
        let (all_ns, count) = (end - begin, owners.len() as u64);
        for (index, owner) in (0..).zip(owners) {
            let ns = all_ns / count + u64::from(index < all_ns % count);
            account.charge(Charge {
                resource: Resource::Lock,
                place,
                holder: owner.holder,
                stack: wait.stack,
                span: (begin, end),
                ns,
                estimated: false,
            });
            self.had_locks.extend(owner.own.map(|by| Had {
                by,
                ns,
                end_ns: end,
                serves,
            }));
        }
    }

    /// Sleeps for locks that parts of the target had, since the last call.
    pub(in crate::model) fn take_had_locks(&mut self) -> Vec<Had> {
        std::mem::take(&mut self.had_locks)
    }

    /// A part of a sleep behind a thread of the target, the one owner: it counts as what that thread waits for meanwhile.
    fn behind_own(
        &mut self,
        account: &mut Account,
        wait: &LockWait,
        (own, owners): (u32, &[Owner]),
        (begin, end): (u64, u64),
    ) {
        self.owned_ns.add(own, end - begin);
        let pieces = self.living.get(own).map(|own| waits_of(own, begin, end));
        let pieces = pieces.filter(|_| own != wait.tid);
        for (from, to, class) in pieces.unwrap_or_else(|| vec![(begin, end, None)]) {
            match class {
                None => self.behind(account, wait, owners, (from, to)),
                Some(class) => {
                    self.spend(account, wait.tid, class, to);
                    account.ledger.indirect(class, from, to, to - from);
                    let frames = (class, None, Holder::OwnLock, wait.stack);
                    account.burn_only(frames, to - from);
                }
            }
        }
    }

    /// The sleeps that are open at the end and stand behind threads of the target: first those behind threads that are no such
    /// sleepers themselves. In a circle all stand behind locks of their own.
    pub(super) fn close_locks(&mut self, account: &mut Account) {
        let mut left = std::mem::take(&mut self.open_locks);
        while !left.is_empty() {
            let sleeps: Vec<u32> = left.iter().map(|wait| wait.tid).collect();
            let is_first = |wait: &mut LockWait| !wait.own_tids().any(|tid| sleeps.contains(&tid));
            let mut first: Vec<LockWait> = left.extract_if(.., is_first).collect();
            if first.is_empty() {
                first = std::mem::take(&mut left);
            }
            first.sort_unstable_by_key(|wait| wait.tid);
            for wait in first {
                self.slept_for_lock(account, wait, false);
            }
        }
    }

    /// The thread of the target whose locks were waited for longest.
    pub(in crate::model) fn lock_owner(&self) -> Option<u32> {
        let owners = self.owned_ns.sums().iter();
        let longest = owners.max_by_key(|(tid, ns)| (**ns, std::cmp::Reverse(**tid)));
        longest.map(|(tid, _)| *tid)
    }

    /// Does a sleep of this thread wait for the end of the window to be charged?
    pub(super) fn is_left_open(&self, tid: u32) -> bool {
        self.open_locks.iter().any(|wait| wait.tid == tid)
    }
}

/// The owner of a lock that a thread tried to get, if it is there. Who froze a file system need not be: it stays frozen when `fsfreeze` has
/// ended, and whoever started that has it. Another process may have its id by then.
fn owner(names: &mut Names, tried: &event::LockTried, frozen_ns: Option<u64>) -> Option<Owner> {
    if tried.outcome != LockOutcome::Frozen || tried.owner_pid == 0 {
        // A lock of an open file may outlive the process that made it.
        names.processes.living(tried.owner_pid)?;
        return Some(Owner::new(names, (tried.owner_pid, tried.owner_tid)));
    }
    let froze = match frozen_ns {
        Some(ns) => names.processes.id_at(tried.owner_pid, ns)?,
        None => names.processes.id(tried.owner_pid),
    };
    let holder = match names.holder_of(froze) {
        Holder::Own => return Some(Owner::own(froze, tried.owner_tid)),
        stranger => names.who_had_it_done(stranger),
    };
    Some(Owner {
        holder: match holder {
            Holder::Own => Holder::OwnLock,
            other => other,
        },
        own: None,
    })
}

/// What a thread waits for while another one waits for it, piece by piece; `None` while it runs, or waits for what is not known. A sum of
/// forgotten steps has no such order.
pub(super) fn waits_of(thread: &Thread, begin: u64, end: u64) -> Vec<(u64, u64, Option<Class>)> {
    let mut pieces: Vec<(u64, u64, Option<Class>)> = Vec::new();
    let since_ns = thread.remembered_ns();
    thread.for_each_piece(begin, end, |from, to, spent| {
        let ns = |class: Class| spent.certain[class.index()] + spent.tentative[class.index()];
        let most = Class::ALL.into_iter().max_by_key(|class| ns(*class));
        let class = most.filter(|most| most.is_blocked() && *most != Class::Other && ns(*most) > 0);
        let class = class.filter(|_| from >= since_ns);
        match pieces.last_mut() {
            Some(last) if last.2 == class => last.1 = to,
            _ => pieces.push((from, to, class)),
        }
    });
    pieces
}
