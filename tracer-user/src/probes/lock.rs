//! Locks of the kernel and on files; kernel side: `tracer-ebpf/src/probes/lock.rs`.

use tracer_common::lock::{
    LOCK_FROZEN, LOCK_KERNEL, LOCK_REFUSED, LOCK_WAITS, LockReleased, LockTried,
};

use super::table::{Probe, at_entry, optional};
use crate::event::{self, Event, LockOutcome};

/// Without these a lock in the way cannot be read.
const FACTS: &[&str] = &[
    "inode_number",
    "inode_locks",
    "locks_flock",
    "locks_posix",
    "lock_list",
    "lock_blocker",
    "lock_pid",
    "lock_type",
    "lock_owner",
    "lock_begin",
    "lock_end",
];

/// The probes of the family.
pub(super) const PROBES: &[Probe] = &[
    optional(
        "posix_lock_inode",
        FACTS,
        "short waits for locks on files (fcntl) are charged to the process that ended them, and repeated attempts are not seen",
        None,
    ),
    optional(
        "flock_lock_inode",
        FACTS,
        "short waits for locks on files (flock) are charged to the process that ended them, and repeated attempts are not seen",
        None,
    ),
    optional(
        "break_lease_block",
        &["inode_number", "lock_blocker", "lock_pid"],
        "short waits for leases on files are charged to the process that ended them",
        None,
    ),
    optional(
        "contention_begin",
        &["mutex_owner", "rwsem_owner", "task_pid", "task_tid"],
        "waits for locks of the kernel are charged to the process that ended them",
        None,
    ),
    at_entry(
        "freeze_super",
        &["sb_frozen", "sb_writers", "sb_writers_end"],
        "who froze the file system to which the target writes is unknown",
    ),
    at_entry(
        "thaw_super",
        &[],
        "once 64 file systems were frozen, who freezes another one is unknown",
    ),
];

pub(super) fn tried(r: &LockTried) -> Event {
    let tried = attempt(r);
    match tried.outcome {
        LockOutcome::Frozen => Event::LockedOut(event::LockedOut {
            tried,
            frozen_ns: r.frozen_ns,
        }),
        _ => Event::LockTried(tried),
    }
}

fn attempt(r: &LockTried) -> event::LockTried {
    event::LockTried {
        ns: r.header.ns,
        pid: r.pid,
        tid: r.tid,
        inode: r.inode,
        owner_pid: r.owner_pid,
        owner_tid: r.owner_tid,
        outcome: match r.outcome {
            LOCK_WAITS => LockOutcome::Waits,
            LOCK_REFUSED => LockOutcome::Refused,
            LOCK_KERNEL => LockOutcome::Kernel,
            LOCK_FROZEN => LockOutcome::Frozen,
            _ => LockOutcome::Granted,
        },
    }
}

pub(super) fn released(r: &LockReleased) -> event::LockReleased {
    event::LockReleased {
        ns: r.header.ns,
        pid: r.pid,
        tid: r.tid,
        since_ns: r.since_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_the_fields_of_a_freeze_still_shows_the_owners_of_all_other_locks() {
        let of_freezes = |probe: &&Probe| probe.facts.iter().any(|fact| fact.starts_with("sb_"));
        let names = PROBES.iter().filter(of_freezes).map(|probe| probe.name);
        assert_eq!(names.collect::<Vec<_>>(), ["freeze_super"]);
    }
}
