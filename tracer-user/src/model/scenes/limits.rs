//! Limits of the target's group, and who uses them up.

use tracer_common::{block::IO_THROTTLED, sched::WAIT_MEMSTALL};

use super::*;
use crate::{class::Cause, event::LimitUse};

const QUOTA: &str = "/cpu/shop/cpu.cfs_quota_us";

fn used(from: u64, to: u64, used: &[(u32, u64)]) -> LimitUse {
    LimitUse {
        begin_ns: at(from),
        ns: at(to),
        resource: Resource::Cpu,
        file: QUOTA.to_owned(),
        disk: String::new(),
        held_back: 50 * MS,
        read_again: 0,
        used: used.iter().map(|(pid, ms)| (*pid, ms * MS)).collect(),
    }
}

fn limit(used: LimitUse) -> Event {
    Event::LimitUse(Box::new(used))
}

/// Throttled from 120 to 160 ms, of which nobody else ran.
fn throttled() -> Vec<Event> {
    let wait = Wait {
        throttled_ns: 40 * MS,
        ..preempted(SERVER, 120, 160)
    };
    vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, 0, 120, 160),
        Event::Wait(wait),
    ]
}

fn after(events: Vec<Event>, uses: Vec<LimitUse>) -> Books {
    let begin = limit(used(0, 0, &[]));
    let events = [begin].into_iter().chain(events);
    books(sleeper(events.chain(uses.into_iter().map(limit))), 300)
}

#[test]
fn who_used_up_the_quota_of_the_group_is_charged_as_it_used_it() {
    let books = after(throttled(), vec![used(0, 200, &[(SERVER, 10), (TAR, 30)])]);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 10);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 30);
    assert_eq!(books.causes, [(Resource::Cpu, Cause::Quota, 40 * MS)]);
    assert_eq!(books.places[*books.limits.first().unwrap()], QUOTA);
    assert_closed(&books);
}

#[test]
fn a_quota_that_only_the_target_uses_is_its_own() {
    let books = after(throttled(), vec![used(0, 200, &[(SERVER, 10), (TAR, 0)])]);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 40);
    assert!(books.limits.is_empty());
    assert_closed(&books);
}

#[test]
fn use_long_before_and_long_after_the_wait_does_not_count() {
    let uses = vec![
        used(0, 15, &[(TAR, 900)]),
        used(15, 200, &[(SERVER, 40)]),
        used(200, 300, &[(TAR, 900)]),
    ];
    let books = after(throttled(), uses);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 40);
}

#[test]
fn where_the_use_never_becomes_known_the_quota_is_the_targets_own() {
    let books = after(throttled(), Vec::new());
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 40);
    assert_closed(&books);
}

#[test]
fn of_two_limits_the_one_that_stopped_its_group_counts() {
    let above = LimitUse {
        file: "/cpu/cpu.cfs_quota_us".to_owned(),
        ..used(0, 200, &[(SERVER, 10), (TAR, 30)])
    };
    let near = |held_back| LimitUse {
        held_back,
        ..used(0, 200, &[(SERVER, 10)])
    };
    let books_of = |near: LimitUse| {
        let begin = limit(LimitUse {
            begin_ns: at(0),
            ns: at(0),
            used: Vec::new(),
            ..above.clone()
        });
        let events = [begin].into_iter().chain(throttled());
        after(events.collect(), vec![near, above.clone()])
    };
    let books = books_of(near(0));
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 30);
    let books = books_of(near(60 * MS));
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 40);
}

#[test]
fn a_limit_that_the_target_is_not_under_holds_nobody_up() {
    let books = after(throttled(), vec![used(0, 200, &[(TAR, 30), (RSYNC, 10)])]);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 40);
}

const FAULT: u64 = 20;

/// A page fault from 120 to 160 ms, in a group that read so many pages again while the target read 100 and tar 300, and was full so
/// often.
fn faulted(read_again: u64, full: u64, stall: u32) -> Books {
    let memory = |from, to, used: &[(u32, u64)]| LimitUse {
        resource: Resource::Memory,
        file: "/memory/shop/memory.limit_in_bytes".to_owned(),
        held_back: full,
        read_again,
        used: used
            .iter()
            .map(|(pid, pages)| (*pid, pages * 4096))
            .collect(),
        ..self::used(from, to, &[])
    };
    let events = vec![
        stack(
            FAULT,
            &[
                "schedule",
                "io_schedule",
                "folio_wait_bit_common",
                "filemap_fault",
            ],
        ),
        limit(memory(0, 0, &[(SERVER, 0)])),
        limit(memory(0, 100, &[(SERVER, 100), (TAR, 300)])),
        Event::Wait(first(SERVER, 10, 0)),
        Event::Wait(Wait {
            state: 2,
            flags: WAIT_NO_WAKER | WAIT_IOWAIT | stall,
            ..asleep(SERVER, 120, 160, 0, FAULT)
        }),
        limit(memory(100, 200, &[(SERVER, 100), (TAR, 300)])),
    ];
    books(sleeper(events), 300)
}

#[test]
fn pages_that_a_full_group_reads_again_wait_for_memory() {
    let books = faulted(90, 7, 0);
    assert_eq!(threads(&books, Class::Memory), 40);
    assert_eq!(charged(&books, Resource::Memory, Holder::OwnQuota), 10);
    assert_eq!(charged(&books, Resource::Memory, holder(&books, TAR)), 30);
    assert_eq!(books.causes, [(Resource::Memory, Cause::Limit, 40 * MS)]);
    assert_closed(&books);
}

#[test]
fn a_page_that_the_kernel_counts_as_evicted_waits_for_memory_if_the_group_is_full() {
    let books = faulted(10, 7, WAIT_MEMSTALL);
    assert_eq!(threads(&books, Class::Memory), 40);
}

#[test]
fn pages_that_are_new_or_of_a_group_with_room_wait_for_the_disk() {
    for (read_again, full, stall) in [(10, 7, 0), (90, 0, 0), (90, 0, WAIT_MEMSTALL)] {
        let books = faulted(read_again, full, stall);
        assert_eq!(threads(&books, Class::Memory), 0);
        assert_eq!(threads(&books, Class::Disk), 40);
    }
}

/// The server's read of the disk 7 is held back from 20 to 60 ms. Its own and a stranger's bytes are counted over all disks. The device 8
/// is a loop on that disk.
fn held_back_read(stranger: Event) -> Books {
    let use_of_disk = LimitUse {
        resource: Resource::Disk,
        file: "/blkio/shop/blkio.throttle.read_bps_device".to_owned(),
        disk: "sda".to_owned(),
        held_back: 0,
        ..used(0, 200, &[(SERVER, 10), (TAR, 30)])
    };
    let disk = |dev, name: &str, below: &[u32]| {
        Event::Disk(event::Disk {
            dev,
            name: name.to_owned(),
            below: below.to_vec(),
            ..event::Disk::default()
        })
    };
    let disks = [disk(7, "sda", &[]), disk(8, "loop0", &[7])];
    let read = Event::Io(Io {
        flags: IO_THROTTLED,
        ..io(SERVER, 60, 61, 4096)
    });
    let begin = LimitUse {
        ns: at(0),
        used: Vec::new(),
        ..use_of_disk.clone()
    };
    let events = disks.into_iter().chain([limit(begin), read]);
    let events = events.chain(running(SERVER));
    let wait = sleep(SERVER, 20, 61, PAGE);
    books(events.chain([wait, stranger, limit(use_of_disk)]), 300)
}

#[test]
fn who_reads_another_disk_has_not_used_the_limit_of_this_one() {
    let on = |dev| {
        held_back_read(Event::Io(Io {
            dev,
            ..io(TAR, 62, 65, 4096)
        }))
    };
    let innocent = on(9);
    assert_eq!(charged(&innocent, Resource::Disk, Holder::OwnQuota), 40);
    // On the disk itself, and on the loop, of which a worker asks the disk in the reader's group.
    for guilty in [on(7), on(8)] {
        assert_eq!(charged(&guilty, Resource::Disk, Holder::OwnQuota), 10);
        assert_eq!(charged(&guilty, Resource::Disk, holder(&guilty, TAR)), 30);
    }
}
