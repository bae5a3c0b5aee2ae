//! The machine's memory, and who fills it.

use tracer_common::sched::WAIT_MEMSTALL;

use super::*;
use crate::{class::Cause, event::MemoryUse};

const RECLAIM: u64 = 20;
const SWAP: u64 = 21;
const FAULT: u64 = 22;

/// From 0 to 200 ms these processes filled so many pages each, and so many were read again.
fn filled(read_again: u64, used: &[(u32, u64)]) -> Event {
    Event::MemoryUse(Box::new(MemoryUse {
        begin_ns: at(0),
        ns: at(200),
        reclaimed: 500,
        read_again,
        used: used
            .iter()
            .map(|(pid, pages)| (*pid, pages * 4096))
            .collect(),
        unknown: 0,
    }))
}

/// Memory has been short for a while, and nobody filled it.
fn short() -> Event {
    Event::MemoryUse(Box::new(MemoryUse {
        begin_ns: T0,
        ns: T0,
        ..MemoryUse::default()
    }))
}

fn stacks() -> [Event; 3] {
    [
        stack(
            RECLAIM,
            &["schedule", "shrink_inactive_list", "try_to_free_pages"],
        ),
        stack(
            SWAP,
            &["io_schedule", "folio_wait_bit_common", "do_swap_page"],
        ),
        stack(
            FAULT,
            &["io_schedule", "folio_wait_bit_common", "filemap_fault"],
        ),
    ]
}

/// A sleep from 120 to 160 ms in this stack, for which a disk reads if `reads`, and the use of memory that is then known.
fn waited(stack: u64, flags: u32, reads: bool, uses: Vec<Event>) -> Books {
    let mut events = Vec::from(stacks());
    events.push(Event::Wait(first(SERVER, 10, 0)));
    events.extend(reads.then(|| read(SERVER, 120, 160, 4096)));
    events.push(Event::Wait(Wait {
        state: 2,
        flags: WAIT_NO_WAKER | flags,
        ..asleep(SERVER, 120, 160, 0, stack)
    }));
    events.extend(uses);
    books(sleeper([short()].into_iter().chain(events)), 300)
}

fn evicted(read_again: u64, used: &[(u32, u64)]) -> Books {
    let uses = vec![filled(read_again, used)];
    waited(PAGE, WAIT_IOWAIT | WAIT_MEMSTALL, true, uses)
}

#[test]
fn who_filled_memory_has_evicted_the_page_that_is_read_again() {
    let books = evicted(100, &[(SERVER, 100), (TAR, 300), (RSYNC, 100)]);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 30);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, RSYNC)), 10);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 0);
    assert_eq!(
        books.causes,
        [(Resource::Disk, Cause::CacheEviction, 40 * MS)]
    );
    assert_eq!(books.by_memory.get(&Resource::Disk), Some(&(40 * MS)));
    assert_closed(&books);
}

#[test]
fn who_filled_less_than_was_read_again_has_evicted_no_more() {
    let books = evicted(400, &[(SERVER, 400), (TAR, 100)]);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 10);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 30);
    assert_closed(&books);
}

#[test]
fn what_the_target_reads_for_the_first_time_evicts_too() {
    let books = evicted(100, &[(SERVER, 400), (TAR, 100)]);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 10);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 30);
}

#[test]
fn a_read_of_a_new_page_accuses_nobody_of_filling_memory() {
    let uses = vec![filled(10, &[(SERVER, 100), (TAR, 300)])];
    let books = waited(FAULT, WAIT_IOWAIT, true, uses);
    assert_eq!(charged(&books, Resource::Disk, Holder::Own), 40);
    assert!(books.causes.is_empty());
    assert_closed(&books);
}

#[test]
fn where_the_kernel_does_not_mark_such_waits_the_rate_of_pages_read_again_decides() {
    let of = |read_again: u64| {
        let use_of = |from: u64, to: u64| {
            let used = vec![(SERVER, 90 * 4096), (TAR, 300 * 4096)];
            Event::MemoryUse(Box::new(MemoryUse {
                begin_ns: at(from),
                ns: at(to),
                reclaimed: 500,
                read_again,
                used,
                unknown: 0,
            }))
        };
        let mut events = Vec::from(stacks());
        events.extend([
            use_of(0, 100),
            Event::Wait(first(SERVER, 10, 0)),
            read(SERVER, 120, 160, 4096),
            Event::Wait(Wait {
                state: 2,
                flags: WAIT_NO_WAKER | WAIT_IOWAIT,
                ..asleep(SERVER, 120, 160, 0, FAULT)
            }),
            use_of(100, 200),
        ]);
        let books = books(sleeper(events), 300);
        charged(&books, Resource::Disk, holder(&books, TAR))
    };
    assert_eq!((of(90), of(10)), (40, 0));
}

#[test]
fn who_filled_memory_holds_up_who_has_to_reclaim_it() {
    let uses = vec![filled(0, &[(SERVER, 100), (TAR, 300)])];
    let books = waited(RECLAIM, 0, false, uses);
    assert_eq!(threads(&books, Class::Memory), 40);
    assert_eq!(charged(&books, Resource::Memory, holder(&books, TAR)), 30);
    assert_eq!(charged(&books, Resource::Memory, Holder::Own), 10);
    assert_eq!(
        books.causes,
        [(Resource::Memory, Cause::DirectReclaim, 40 * MS)]
    );
    assert_closed(&books);
}

#[test]
fn memory_that_is_swapped_in_is_a_wait_for_memory_whoever_has_the_disk() {
    let uses = vec![filled(0, &[(TAR, 300)])];
    let books = waited(SWAP, WAIT_IOWAIT, true, uses);
    assert_eq!(charged(&books, Resource::Memory, holder(&books, TAR)), 40);
    assert_eq!(threads(&books, Class::Disk), 0);
    assert_eq!(books.causes, [(Resource::Memory, Cause::SwapIn, 40 * MS)]);
    assert_closed(&books);
}

#[test]
fn what_was_swapped_out_before_anybody_was_seen_filling_memory_accuses_nobody() {
    let books = waited(SWAP, WAIT_IOWAIT, true, Vec::new());
    assert_eq!(threads(&books, Class::Memory), 40);
    assert_eq!(charged(&books, Resource::Memory, holder(&books, TAR)), 0);
    assert_closed(&books);
}

#[test]
fn memory_filled_after_the_wait_does_not_count() {
    let after = MemoryUse {
        begin_ns: at(200),
        ns: at(290),
        reclaimed: 500,
        used: vec![(RSYNC, 4096)],
        ..MemoryUse::default()
    };
    let uses = vec![filled(0, &[(TAR, 300)]), Event::MemoryUse(Box::new(after))];
    let books = waited(RECLAIM, 0, false, uses);
    assert_eq!(charged(&books, Resource::Memory, holder(&books, TAR)), 40);
    assert_eq!(charged(&books, Resource::Memory, holder(&books, RSYNC)), 0);
}
