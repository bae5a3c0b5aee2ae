//! Locks whose owners were seen while a thread slept for them.

use super::*;
use crate::event::{LockFile, LockOutcome, LockOwner, LockReleased, LockSeen, LockTried};

pub(super) const FLOCK: u64 = 10;
pub(super) const FUTEX: u64 = 11;
pub(super) const NAP: u64 = 12;
const FROZEN: u64 = 14;

fn stacks() -> [Event; 3] {
    let flock = ["schedule", "locks_lock_inode_wait", "__do_sys_flock"];
    let futex = ["schedule", "futex_do_wait", "do_futex"];
    let nap = ["schedule", "do_nanosleep", "hrtimer_nanosleep"];
    [stack(FLOCK, &flock), stack(FUTEX, &futex), stack(NAP, &nap)]
}

/// At `ms` a thread was seen asleep for a lock of these (process, thread).
pub(super) fn seen(tid: u32, ms: u64, owners: &[(u32, u32)], file: Option<&str>) -> Event {
    let owner = |(pid, tid): &(u32, u32)| LockOwner {
        pid: *pid,
        tid: *tid,
    };
    Event::LockSeen(LockSeen {
        ns: at(ms),
        pid: SERVER,
        tid,
        owners: owners.iter().map(owner).collect(),
        file: file.map(str::to_owned),
    })
}

pub(super) fn on_file(tid: u32, ms: u64, owner: u32) -> Event {
    seen(tid, ms, &[(owner, 0)], Some("/run/lock"))
}

pub(super) fn in_memory(tid: u32, ms: u64, pid: u32, owner: u32) -> Event {
    seen(tid, ms, &[(pid, owner)], None)
}

pub(super) fn books_of(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    let books = books(stacks().into_iter().chain(events), end_ms);
    assert_closed(&books);
    books
}

pub(super) fn locked(books: &Books, holder: Holder) -> u64 {
    charged(books, Resource::Lock, holder)
}

#[test]
fn a_lock_that_is_held_all_the_time_is_charged_to_who_holds_it_on_its_file() {
    let asleep = seed(SERVER, 'S', "locks_lock_inode_wait");
    let looks = (0..10).map(|look| on_file(SERVER, 100 + 500 * look, TAR));
    let books = books_of([asleep].into_iter().chain(looks), 5_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 5_000);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let mut places = charges.map(|charge| books.places[charge.place.unwrap()].as_str());
    assert!(places.all(|place| place == "/run/lock"));
}

#[test]
fn an_open_sleep_that_began_in_the_window_is_charged_from_its_begin() {
    let books = books_of(
        running(SERVER).into_iter().chain([
            on_file(SERVER, 600, TAR),
            on_file(SERVER, 1_000, TAR),
            still(SERVER, 100, 1_000, FLOCK),
        ]),
        1_000,
    );
    assert_eq!(locked(&books, holder(&books, TAR)), 900);
    assert_eq!(threads(&books, Class::OnCpu), 100);
}

#[test]
fn a_lock_of_the_own_process_accuses_nobody() {
    let asleep = seed(WORKER, 'S', "locks_lock_inode_wait");
    let books = books_of([asleep, on_file(WORKER, 100, SERVER)], 1_000);
    assert_eq!(locked(&books, Holder::OwnLock), 1_000);
}

#[test]
fn a_holder_that_was_not_found_is_nobody_and_the_file_is_known() {
    let asleep = seed(SERVER, 'S', "locks_lock_inode_wait");
    let unknown = seen(SERVER, 100, &[], Some("/run/lock"));
    let books = books_of([asleep, unknown], 1_000);
    assert_eq!(locked(&books, Holder::Nobody), 1_000);
    assert_eq!(books.places, ["/run/lock"]);
}

/// A thread sleeps for a lock from 0 to 1,000 ms. TAR was seen with it, and RSYNC wakes it.
fn released(stack: u64, look: fn(u64) -> Event) -> Books {
    let released = Wait {
        waker_pid: RSYNC,
        waker_tid: RSYNC,
        flags: WAIT_TASK_WAKER,
        ..asleep(SERVER, 0, 1_000, 0, stack)
    };
    let events = running(SERVER).into_iter().chain([look(200), look(900)]);
    books_of(events.chain([Event::Wait(released)]), 1_000)
}

#[test]
fn who_got_a_lock_on_a_file_next_wakes_those_behind_it_and_has_not_held_it() {
    let books = released(FLOCK, |ms| on_file(SERVER, ms, TAR));
    assert_eq!(locked(&books, holder(&books, TAR)), 1_000);
}

#[test]
fn who_released_a_mutex_has_not_held_it_while_another_was_seen_with_it() {
    let books = released(FUTEX, |ms| in_memory(SERVER, ms, TAR, TAR));
    // Between the last look and the end each has a half.
    assert_eq!(locked(&books, holder(&books, TAR)), 950);
    assert_eq!(locked(&books, holder(&books, RSYNC)), 50);
}

#[test]
fn a_look_at_a_mutex_tells_nothing_of_a_time_long_before_or_after_it() {
    let asleep = seed(SERVER, 'S', "do_futex");
    let books = books_of([asleep, in_memory(SERVER, 5_000, TAR, TAR)], 10_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 4_000);
    assert_eq!(locked(&books, Holder::Nobody), 6_000);
}

#[test]
fn a_look_that_comes_after_the_record_of_its_sleep_is_not_of_the_next_one() {
    let events = running(SERVER).into_iter().chain([
        sleep(SERVER, 0, 600, FLOCK),
        on_file(SERVER, 500, TAR),
        still(SERVER, 650, 1_000, FLOCK),
    ]);
    let books = books_of(events, 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 0);
}

#[test]
fn several_readers_of_a_file_hold_it_together() {
    let asleep = seed(SERVER, 'S', "locks_lock_inode_wait");
    let readers = seen(SERVER, 500, &[(TAR, 0), (RSYNC, 0)], Some("/run/lock"));
    let books = books_of([asleep, readers], 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 500);
    assert_eq!(locked(&books, holder(&books, RSYNC)), 500);
}

#[test]
fn a_mutex_in_shared_memory_is_charged_to_the_process_that_owns_it() {
    let asleep = seed(SERVER, 'S', "do_futex");
    let books = books_of([asleep, in_memory(SERVER, 500, TAR, TAR)], 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 1_000);
    assert_eq!(threads(&books, Class::Idle), 0);
}

#[test]
fn a_futex_without_an_owner_is_a_wait_for_work() {
    let books = books_of([seed(SERVER, 'S', "do_futex")], 1_000);
    assert_eq!(threads(&books, Class::Idle), 1_000);
}

#[test]
fn behind_an_own_thread_that_computes_or_sleeps_it_waits_for_its_own_lock() {
    let waits = || {
        [
            seed(WORKER, 'S', "do_futex"),
            in_memory(WORKER, 500, SERVER, SERVER),
        ]
    };
    let computes = books_of(running(SERVER).into_iter().chain(waits()), 1_000);
    assert_eq!(locked(&computes, Holder::OwnLock), 1_000);
    let naps = seed(SERVER, 'S', "hrtimer_nanosleep");
    let sleeps = books_of([naps].into_iter().chain(waits()), 1_000);
    assert_eq!(locked(&sleeps, Holder::OwnLock), 1_000);
}

#[test]
fn behind_an_own_thread_that_waits_for_the_disk_it_waits_for_the_disk() {
    let events = running(SERVER).into_iter().chain([
        seed(WORKER, 'S', "do_futex"),
        in_memory(WORKER, 500, SERVER, SERVER),
        sleep(SERVER, 200, 900, PAGE),
        in_memory(WORKER, 950, SERVER, SERVER),
    ]);
    let books = books_of(events, 1_000);
    assert_eq!(threads(&books, Class::Disk), 700 + 700);
    assert_eq!(locked(&books, Holder::OwnLock), 300);
}

#[test]
fn behind_an_own_thread_that_waits_for_a_strangers_lock_it_waits_for_that() {
    let books = books_of(
        [
            seed(SERVER, 'S', "locks_lock_inode_wait"),
            seed(WORKER, 'S', "do_futex"),
            on_file(SERVER, 500, TAR),
            in_memory(WORKER, 500, SERVER, SERVER),
        ],
        1_000,
    );
    assert_eq!(locked(&books, holder(&books, TAR)), 2_000);
}

#[test]
fn who_sleeps_for_an_own_lock_to_the_end_waits_for_no_cpu() {
    let events = running(WORKER).into_iter().chain(running(SERVER)).chain([
        in_memory(WORKER, 600, SERVER, SERVER),
        still(WORKER, 100, 1_000, FUTEX),
    ]);
    let books = books_of(events, 1_000);
    assert_eq!(threads(&books, Class::Cpu), 0);
    assert_eq!(threads(&books, Class::Lock), 900);
    assert_eq!(locked(&books, Holder::OwnLock), 900);
    assert_closed(&books);
}

#[test]
fn threads_that_wait_for_each_other_wait_for_their_own_locks() {
    let books = books_of(
        [
            seed(SERVER, 'S', "do_futex"),
            seed(WORKER, 'S', "do_futex"),
            in_memory(SERVER, 500, SERVER, WORKER),
            in_memory(WORKER, 500, SERVER, SERVER),
        ],
        1_000,
    );
    assert_eq!(locked(&books, Holder::OwnLock), 2_000);
}

pub(super) fn tried(ms: u64, owner: u32, outcome: LockOutcome) -> Event {
    Event::LockTried(LockTried {
        ns: at(ms),
        pid: SERVER,
        tid: SERVER,
        inode: 7,
        owner_pid: owner,
        owner_tid: 0,
        outcome,
    })
}

/// The server is refused a lock of `owner` at 100 ms, and naps from there to 150 ms.
pub(super) fn refused(owner: u32, then: impl IntoIterator<Item = Event>) -> Books {
    let refused = [
        tried(99, owner, LockOutcome::Refused),
        sleep(SERVER, 100, 150, NAP),
    ];
    let events = running(SERVER).into_iter().chain(refused);
    books_of(events.chain(then), 2_000)
}

#[test]
fn a_nap_after_a_refused_lock_is_a_wait_for_it() {
    let books = refused(TAR, []);
    assert_eq!(locked(&books, holder(&books, TAR)), 50);
    assert_eq!(locked(&refused(SERVER, []), Holder::OwnLock), 50);
    assert_eq!(locked(&refused(0, []), Holder::Nobody), 50);
}

#[test]
fn a_nap_after_the_lock_was_got_or_long_after_it_was_refused_is_a_nap() {
    let granted = [
        tried(160, 0, LockOutcome::Granted),
        sleep(SERVER, 170, 400, NAP),
    ];
    let books = refused(TAR, granted);
    assert_eq!(locked(&books, holder(&books, TAR)), 50);
    assert_eq!(threads(&books, Class::Idle), 230);
    let later = refused(TAR, [sleep(SERVER, 1_100, 1_400, NAP)]);
    assert_eq!(threads(&later, Class::Lock), 50);
}

#[test]
fn a_short_wait_for_a_file_is_charged_to_who_had_it_as_the_wait_began() {
    let released = Wait {
        waker_pid: RSYNC,
        waker_tid: RSYNC,
        flags: WAIT_TASK_WAKER,
        ..asleep(SERVER, 100, 150, 0, FLOCK)
    };
    let file = Event::LockFile(LockFile {
        ns: at(120),
        pid: SERVER,
        inode: 7,
        path: "/run/lock".to_owned(),
    });
    let waits = [
        tried(100, TAR, LockOutcome::Waits),
        file,
        Event::Wait(released),
    ];
    let books = books_of(running(SERVER).into_iter().chain(waits), 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 50);
    assert_eq!(books.places, ["/run/lock"]);
}

#[test]
fn who_opens_a_file_waits_for_the_lease_on_it_as_for_a_lock() {
    const LEASE: u64 = 13;
    let opens = [
        stack(
            LEASE,
            &["schedule_timeout", "__break_lease", "do_dentry_open"],
        ),
        tried(100, TAR, LockOutcome::Waits),
        sleep(SERVER, 100, 600, LEASE),
    ];
    let books = books_of(running(SERVER).into_iter().chain(opens), 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 500);
}

#[test]
fn a_lock_that_was_made_by_a_process_that_ended_is_charged_to_who_is_seen_to_share_it() {
    let exit = |pid| Event::Exit(event::Exit { ns: at(1), pid });
    let asleep = [
        exit(RSYNC),
        tried(100, RSYNC, LockOutcome::Waits),
        on_file(SERVER, 600, TAR),
        still(SERVER, 100, 1_000, FLOCK),
    ];
    let books = books_of(running(SERVER).into_iter().chain(asleep), 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 900);
}

/// From 100 to 600 ms the server sleeps for a mutex of the kernel. TAR had it at the begin; RSYNC released it, and ran since `ran` ms.
fn convoy(ran: u64) -> Books {
    let released = Wait {
        waker_pid: RSYNC,
        waker_tid: RSYNC,
        flags: WAIT_TASK_WAKER,
        ..asleep(SERVER, 100, 600, 0, MUTEX)
    };
    let woken = Event::LockReleased(LockReleased {
        ns: at(600),
        pid: SERVER,
        tid: SERVER,
        since_ns: at(ran),
    });
    let waits = [
        tried(99, TAR, LockOutcome::Kernel),
        woken,
        Event::Wait(released),
    ];
    books_of(running(SERVER).into_iter().chain(waits), 1_000)
}

#[test]
fn who_passes_through_a_lock_of_the_kernel_last_is_charged_for_its_own_time() {
    let books = convoy(590);
    assert_eq!(locked(&books, holder(&books, TAR)), 490);
    assert_eq!(locked(&books, holder(&books, RSYNC)), 10);
    let ran_all_the_time = convoy(50);
    let rsync = holder(&ran_all_the_time, RSYNC);
    assert_eq!(locked(&ran_all_the_time, rsync), 500);
}

#[test]
fn a_lock_that_was_got_without_a_sleep_is_not_of_the_next_sleep() {
    let waits = [
        tried(99, TAR, LockOutcome::Kernel),
        sleep(SERVER, 200, 300, FUTEX),
        still(SERVER, 400, 1_000, FLOCK),
    ];
    let books = books_of(running(SERVER).into_iter().chain(waits), 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 0);
}

/// TAR has the lock for which the server sleeps. TAR's child reads a disk behind RSYNC.
#[test]
fn the_owner_of_a_lock_waits_for_what_its_child_waits_for() {
    const CHILD: u32 = 250;
    let follow = |pid| {
        Event::FollowOwner(event::Follow {
            ns: at(1),
            pid,
            by_pid: TAR,
            listening: Vec::new(),
        })
    };
    let child = |wait: Wait| {
        Event::Wait(Wait {
            pid: CHILD,
            tid: CHILD,
            ..wait
        })
    };
    let mut events = vec![
        seed(SERVER, 'S', "locks_lock_inode_wait"),
        Event::Process(process(CHILD, "cat")),
        follow(TAR),
        follow(CHILD),
        on_file(SERVER, 500, TAR),
        child(first(CHILD, 2, 0)),
    ];
    events.extend((0..8).map(|i| read(CHILD, 10 * i + 3, 10 * i + 4, 4096)));
    events.extend([
        read(RSYNC, 100, 890, 8 << 20),
        read(CHILD, 101, 900, 4096),
        child(asleep(CHILD, 101, 900, 0, PAGE)),
    ]);
    let books = books_of(events, 1_000);
    assert_eq!(locked(&books, holder(&books, TAR)), 1_000);
    let waits: Vec<_> = books
        .owner_waits
        .iter()
        .map(|wait| {
            (
                Holder::Process(wait.owner),
                wait.resource,
                wait.behind.map(Holder::Process),
            )
        })
        .collect();
    let expected = (
        holder(&books, TAR),
        Resource::Disk,
        Some(holder(&books, RSYNC)),
    );
    assert_eq!(waits, [expected]);
}

/// The server writes to a file system from 100 ms on. TAR froze it, and ended before.
fn frozen(sleep: Wait) -> Books {
    frozen_after([], tried(99, TAR, LockOutcome::Frozen), sleep)
}

/// The same, after these events and this attempt.
fn frozen_after<const N: usize>(before: [Event; N], tried: Event, sleep: Wait) -> Books {
    let frames = [
        "schedule",
        "percpu_rwsem_wait",
        "__percpu_down_read",
        "vfs_write",
    ];
    let ended = Event::Exit(event::Exit {
        ns: at(50),
        pid: TAR,
    });
    let wait = Event::Wait(Wait { state: 2, ..sleep });
    let begun = [stack(FROZEN, &frames), ended].into_iter().chain(before);
    let events = running(SERVER).into_iter().chain(begun);
    books_of(events.chain([tried, wait]), 9_000)
}

#[test]
fn who_writes_to_a_frozen_file_system_waits_for_who_froze_it_also_to_the_end() {
    let open = asleep(SERVER, 100, 9_000, 0, FROZEN);
    let books = frozen(Wait {
        flags: open.flags | WAIT_OPEN,
        ..open
    });
    assert_eq!(locked(&books, holder(&books, TAR)), 8_900);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let mut locks = charges.filter(|charge| charge.resource == Resource::Lock);
    assert!(locks.all(|charge| {
        let place = charge.place.map(|place| books.places[place].as_str());
        place == Some("a frozen file system")
    }));
}

#[test]
fn who_froze_a_file_system_is_known_although_another_process_has_its_id_since() {
    let reused = event::Fork {
        ns: at(60),
        pid: TAR,
        tid: TAR,
        parent_pid: RSYNC,
        start_ns: 60 * MS,
        comm: "cron".to_owned(),
        ..event::Fork::default()
    };
    let Event::LockTried(tried) = tried(99, TAR, LockOutcome::Frozen) else {
        unreachable!("an attempt");
    };
    let frozen_ns = 40 * MS;
    let tried = Event::LockedOut(event::LockedOut { tried, frozen_ns });
    let sleep = asleep(SERVER, 100, 8_100, 0, FROZEN);
    let books = frozen_after([Event::Fork(reused)], tried, sleep);
    let by = |comm: &str| {
        let id = books.processes.iter().position(|known| known.comm == comm);
        id.map_or(0, |id| locked(&books, Holder::Process(id)))
    };
    assert_eq!((by("tar"), by("cron")), (8_000, 0));
}

#[test]
fn who_thaws_a_file_system_has_not_held_it() {
    let books = frozen(Wait {
        waker_pid: RSYNC,
        waker_tid: RSYNC,
        flags: WAIT_TASK_WAKER,
        ..asleep(SERVER, 100, 8_100, 0, FROZEN)
    });
    assert_eq!(locked(&books, holder(&books, TAR)), 8_000);
    assert_eq!(locked(&books, holder(&books, RSYNC)), 0);
}
