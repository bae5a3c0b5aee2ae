//! The owner of a lock in memory, from the word that its waiters sleep on (`futex(2)`).
//!
//! The kernel keeps no owner of a plain futex. Two kinds of locks do: those with a thread id in the word itself (PI and robust ones),
//! and glibc's mutexes, which have an owner beside it. Semaphores and condition variables have none.

use std::fs;

use super::{
    SmallFiles,
    find::{own_id, process_of},
    numbers_in,
    peek::peek,
    system_call::SystemCall,
};
use crate::{
    event::LockOwner,
    machine::clocks::{clock_ns, now_ns},
};

/// Operations of `include/uapi/linux/futex.h`.
const WAIT: u64 = 0;
const LOCK_PI: u64 = 6;
const WAIT_BITSET: u64 = 9;
const WAIT_REQUEUE_PI: u64 = 11;
const LOCK_PI2: u64 = 13;
/// The word belongs to one process.
const PRIVATE: u64 = 128;
/// A time limit is of the clock that people set.
const REALTIME: u64 = 256;
/// The operation without `FUTEX_PRIVATE_FLAG` and `FUTEX_CLOCK_REALTIME`.
const OPERATION: u64 = 0x7f;
/// Part of the word that is a thread id, and the bit that others wait.
const TID_MASK: u32 = 0x3fff_ffff;
const WAITERS: u32 = 0x8000_0000;

/// Who waits with a time limit farther away than this does not wait for the limit, s: databases wait for a lock for a day at most.
const FAR_S: u64 = 600;

/// The word of a glibc mutex that others wait for (`nptl/lowlevellock.h`).
const CONTENDED: u32 = 2;
/// All flags of `__kind` are below this (`nptl/pthreadP.h`).
const KINDS: u32 = 0x400;

/// The begin of a glibc `pthread_mutex_t` on 64-bit machines (`sysdeps/nptl/bits/struct_mutex.h`): the word, the depth, the owner,
/// the users, the kind.
type Mutex = [u32; 5];

/// What a thread waits for in a futex call: the address, and how the owner is found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    address: u64,
    operation: u64,
    value: u32,
    private: bool,
}

impl Wanted {
    fn of(call: &SystemCall) -> Option<Self> {
        let [address, operation, value, ..] = call.arguments;
        (call.number == libc::SYS_futex).then_some(Self {
            address,
            operation: operation & OPERATION,
            value: value as u32,
            private: operation & PRIVATE != 0,
        })
    }

    /// The owner's thread id, as the waiting process counts threads.
    fn owner(&self, mutex: &Mutex) -> Option<u32> {
        let [word, _, owner, users, kind] = *mutex;
        let by_word = word & TID_MASK;
        let found = match self.operation {
            LOCK_PI | LOCK_PI2 => by_word,
            // A robust mutex: the word and the field agree.
            WAIT | WAIT_BITSET if self.value & WAITERS != 0 && owner == by_word => by_word,
            WAIT | WAIT_BITSET
                if (self.value, word) == (CONTENDED, CONTENDED) && users > 0 && kind < KINDS =>
            {
                owner
            }
            _ => 0,
        };
        (found != 0).then_some(found)
    }
}

/// The owner of the lock in memory for which a thread sleeps. `None` if it sleeps for something that has no owner, or the owner is
/// gone. The thread sleeps on.
#[must_use]
pub(crate) fn futex_owner(pid: u32, tid: u32) -> Option<LockOwner> {
    let wanted = Wanted::of(&SystemCall::of(pid, tid)?)?;
    let owner = wanted.owner(&read_mutex(pid, wanted.address)?)?;
    if let Some(tid) = thread_of(pid, owner) {
        return Some(LockOwner { pid, tid });
    }
    let elsewhere = process_of(owner).filter(|_| !wanted.private)?;
    // A number in the word may be of a thread that ended, and be another's by now.
    shares_memory(pid, elsewhere, wanted.address).then_some(LockOwner {
        pid: elsewhere,
        tid: owner,
    })
}

/// Is it a wait that only a thread of the process itself can end, and no timer soon?
pub(super) fn is_own(pid: u32, call: &SystemCall) -> bool {
    let [_, operation, _, limit, ..] = call.arguments;
    let waits = [WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2];
    waits.contains(&(operation & OPERATION))
        && operation & PRIVATE != 0
        && (limit == 0 || is_far(pid, operation, limit))
}

/// Is the time limit of a futex call (a `struct timespec` at `address`) far away?
fn is_far(pid: u32, operation: u64, address: u64) -> bool {
    let mut seconds = [0; 8];
    if peek(pid, address, &mut seconds).is_none() {
        return false;
    }
    let now_ns = match operation & OPERATION {
        // Only this limit is relative.
        WAIT => 0,
        LOCK_PI => clock_ns(libc::CLOCK_REALTIME),
        _ if operation & REALTIME != 0 => clock_ns(libc::CLOCK_REALTIME),
        _ => now_ns(),
    };
    let left_s = i64::from_ne_bytes(seconds).saturating_sub((now_ns / 1_000_000_000) as i64);
    left_s >= FAR_S as i64
}

fn read_mutex(pid: u32, address: u64) -> Option<Mutex> {
    let mut bytes = [0; size_of::<Mutex>()];
    peek(pid, address, &mut bytes)?;
    let mut mutex = Mutex::default();
    for (word, four) in mutex.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes(four.try_into().ok()?);
    }
    Some(mutex)
}

/// The thread of a process that has this id in its own pid namespace.
fn thread_of(pid: u32, inner: u32) -> Option<u32> {
    let mut files = SmallFiles::default();
    let mut is_it = |tid: u32| {
        let status = files.read(format_args!("/proc/{pid}/task/{tid}/status"))?;
        (own_id(status)? == inner).then_some(tid)
    };
    // Nearly always the ids are the same inside and outside.
    is_it(inner).or_else(|| numbers_in(&format!("/proc/{pid}/task")).find_map(is_it))
}

/// Does another process map the file that a process has at this address?
fn shares_memory(pid: u32, other: u32, address: u64) -> bool {
    let maps = |pid| fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let own = maps(pid);
    let Some(file) = own.lines().find_map(|line| file_at(line, address)) else {
        return false;
    };
    maps(other).lines().any(|line| file_of(line) == Some(file))
}

/// Device and inode of a line `7f00-7f10 rw-s 00000000 00:1a 4711 /dev/shm/x`; `None` where no file is mapped.
fn file_of(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_ascii_whitespace().skip(3);
    let file = (words.next()?, words.next()?);
    (file.1 != "0").then_some(file)
}

fn file_at(line: &str, address: u64) -> Option<(&str, &str)> {
    let (begin, end) = line.split(' ').next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let there = (number(begin)?..number(end)?).contains(&address);
    file_of(line).filter(|_| there)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(operation: u64, value: u32) -> Wanted {
        Wanted {
            address: 0,
            operation,
            value,
            private: true,
        }
    }

    #[test]
    fn a_mutex_of_glibc_has_its_owner_beside_the_word() {
        let mutex = [2, 1, 4711, 1, 0];
        assert_eq!(wanted(WAIT, 2).owner(&mutex), Some(4711));
        assert_eq!(wanted(WAIT_BITSET, 2).owner(&mutex), Some(4711));
        // Just let go.
        assert_eq!(wanted(WAIT, 2).owner(&[2, 0, 0, 0, 0]), None);
        assert_eq!(wanted(WAIT, 2).owner(&[0, 0, 4711, 1, 0]), None);
    }

    #[test]
    fn a_lock_with_a_thread_in_its_word_is_owned_by_that() {
        let word = WAITERS | 4711;
        assert_eq!(wanted(LOCK_PI, 0).owner(&[word, 0, 0, 0, 0]), Some(4711));
        let robust = |owner| wanted(WAIT, word).owner(&[word, 1, owner, 1, 16]);
        assert_eq!((robust(4711), robust(4712)), (Some(4711), None));
    }

    #[test]
    fn what_has_no_owner_is_no_mutex() {
        // A semaphore, whose waiters sleep on 0, and a condition variable before a mutex that somebody has.
        assert_eq!(wanted(WAIT, 0).owner(&[0, 1, 128, 0, 0]), None);
        assert_eq!(wanted(WAIT_BITSET, 4).owner(&[4, 0, 4711, 1, 0]), None);
        assert_eq!(wanted(WAIT, 2).owner(&[2, 0, 4711, 1, 0x7f00]), None);
    }

    #[test]
    fn a_shared_file_is_found_at_its_address_and_plain_memory_is_none() {
        let line = "7f00-7f10 rw-s 00000000 00:1a 4711 /dev/shm/x";
        assert_eq!(file_at(line, 0x7f0f), Some(("00:1a", "4711")));
        assert_eq!(file_at(line, 0x7f10), None);
        assert_eq!(file_at("7f00-7f10 rw-p 00000000 00:00 0", 0x7f00), None);
    }

    #[test]
    fn only_a_private_futex_without_a_limit_or_with_a_far_one_is_of_the_process_alone() {
        let is_own = |operation, limit| {
            let arguments = [8, operation, 2, limit, 0, 0];
            let number = libc::SYS_futex;
            is_own(std::process::id(), &SystemCall { number, arguments })
        };
        assert!(is_own(PRIVATE, 0) && is_own(PRIVATE | WAIT_BITSET | REALTIME, 0));
        assert!(!is_own(0, 0) && !is_own(PRIVATE | 1, 0));
        let (day, soon) = ([86_400_i64, 0], [5_i64, 0]);
        let at = |limit: &[i64; 2]| limit.as_ptr() as u64;
        assert!(is_own(PRIVATE, at(&day)) && !is_own(PRIVATE, at(&soon)));
        // An absolute time that is over.
        assert!(!is_own(PRIVATE | WAIT_BITSET | REALTIME, at(&day)));
    }
}
