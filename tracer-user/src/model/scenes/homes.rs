//! Waits for what kernel threads write: only the disk of the file counts.

use tracer_common::{
    block::{IO_BEFORE, IO_JOURNAL, IO_WRITEBACK, OP_WRITE},
    sched::WAIT_TASK_WAKER,
};

use super::*;

/// The disk of the server's files, and another one.
const HERE: u32 = 7;
const ELSEWHERE: u32 = 9;
/// The thread of the journal on the first disk, and that on the second.
const JOURNAL: u32 = 310;
const OTHER_JOURNAL: u32 = 311;

/// Identities of stacks.
const COMMIT: u64 = 30;
const THROTTLED: u64 = 31;
const SYNC: u64 = 32;
const FSYNC: u64 = 33;
const XFS: u64 = 34;
const BTRFS: u64 = 35;

/// The facts at attach, with two disks under the target's mounts.
fn two_disks() -> Vec<Event> {
    on_disks(&[HERE, ELSEWHERE])
}

fn on_disks(under_target: &[u32]) -> Vec<Event> {
    let mut events = attach();
    if let Event::Start(start) = &mut events[0] {
        start.target_disks = under_target.to_vec();
    }
    let disk = |(dev, name): (u32, &str)| {
        Event::Disk(event::Disk {
            dev,
            name: name.to_owned(),
            ..event::Disk::default()
        })
    };
    events.extend([(HERE, "sda"), (ELSEWHERE, "sdb")].map(disk));
    let journals = [(JOURNAL, "jbd2/sda1-8"), (OTHER_JOURNAL, "jbd2/sdb-8")];
    events.extend(journals.map(|(pid, comm)| {
        Event::Process(event::Process {
            kernel: true,
            ..process(pid, comm)
        })
    }));
    events.extend([
        stack(COMMIT, &["schedule", "jbd2_log_wait_commit"]),
        stack(SYNC, &["schedule", "wb_wait_for_completion", "ksys_sync"]),
        stack(
            FSYNC,
            &["schedule", "jbd2_log_wait_commit", "ext4_sync_file"],
        ),
        stack(XFS, &["schedule", "xlog_wait_on_iclog", "xfs_file_fsync"]),
        stack(BTRFS, &["schedule", "btrfs_sync_log", "btrfs_sync_file"]),
        stack(THROTTLED, &["io_schedule_timeout", "balance_dirty_pages"]),
        Event::Wait(first(SERVER, 1, 0)),
    ]);
    events
}

/// What kernel threads write for a process on a disk.
fn written(dev: u32, pid: u32, (queue, end): (u64, u64), bytes: u32, flags: u32) -> Event {
    Event::Io(Io {
        dev,
        flags,
        op: OP_WRITE,
        ..io(pid, queue, end, bytes)
    })
}

/// A large file of another process is written back to the other disk all the time.
fn backup_elsewhere() -> Event {
    written(ELSEWHERE, TAR, (90, 150), 1 << 20, IO_WRITEBACK)
}

/// The server sleeps from 100 to 140 ms; the process `by` wakes it.
fn ended_by(by: u32, stack: u64) -> Event {
    Event::Wait(Wait {
        state: 2,
        flags: WAIT_TASK_WAKER,
        waker_pid: by,
        waker_tid: by,
        ..asleep(SERVER, 100, 140, 0, stack)
    })
}

/// The server waits for a commit on its disk, while a large file of another process is written back to that disk or to another one.
pub(crate) fn commit_beside_a_writer(here: bool) -> Books {
    let own = written(HERE, SERVER, (100, 140), 8 << 10, IO_JOURNAL);
    let dev = if here { HERE } else { ELSEWHERE };
    let others = written(dev, TAR, (90, 150), 1 << 20, IO_WRITEBACK);
    let events = [own, ended_by(JOURNAL, COMMIT), others];
    books_from(two_disks(), events, 200)
}

/// Disk time charged to the other process, to the target and to nobody, ms.
fn shares(attach: Vec<Event>, events: Vec<Event>) -> [u64; 3] {
    let books = books_from(attach, events, 200);
    assert_closed(&books);
    assert_eq!(threads(&books, Class::Disk), 40);
    [holder(&books, TAR), Holder::Own, Holder::Nobody]
        .map(|holder| charged(&books, Resource::Disk, holder))
}

#[test]
fn who_writes_to_another_disk_is_not_in_the_way_of_a_commit() {
    let own = written(HERE, SERVER, (100, 130), 8 << 10, IO_JOURNAL);
    let events = vec![own, ended_by(JOURNAL, COMMIT), backup_elsewhere()];
    assert_eq!(shares(two_disks(), events), [0, 30, 10]);
}

#[test]
fn who_writes_to_the_disk_of_the_journal_is() {
    let own = written(HERE, SERVER, (100, 140), 256 << 10, IO_JOURNAL);
    let others = written(HERE, TAR, (90, 150), 768 << 10, IO_WRITEBACK);
    let events = vec![own, ended_by(JOURNAL, COMMIT), others];
    assert_eq!(shares(two_disks(), events), [29, 10, 0]);
}

#[test]
fn the_thread_that_ends_a_wait_for_a_commit_shows_the_disk() {
    // The target has no part of its own in the transaction that was seen, and writes elsewhere meanwhile.
    let events = vec![
        written(HERE, RSYNC, (100, 140), 8 << 10, IO_JOURNAL),
        written(ELSEWHERE, SERVER, (100, 139), 8 << 10, 0),
        ended_by(JOURNAL, COMMIT),
        backup_elsewhere(),
    ];
    let books = books_from(two_disks(), events, 200);
    let rsync = charged(&books, Resource::Disk, holder(&books, RSYNC));
    assert_eq!(rsync, 40);
    assert_eq!(charged(&books, Resource::Disk, holder(&books, TAR)), 0);
    assert_closed(&books);
}

#[test]
fn of_several_threads_that_write_the_one_that_waits_shows_the_disk() {
    let beside = Event::Io(Io {
        dev: ELSEWHERE,
        tid: SERVER + 1,
        op: OP_WRITE,
        flags: IO_JOURNAL,
        ..io(SERVER, 100, 139, 8 << 10)
    });
    let events = vec![
        written(HERE, SERVER, (100, 130), 8 << 10, IO_JOURNAL),
        beside,
        ended_by(KWORKER, COMMIT),
        backup_elsewhere(),
    ];
    assert_eq!(shares(two_disks(), events)[0], 0);
}

/// The server begins to write the files of a disk out.
fn syncs(dev: u32) -> Event {
    Event::Sync(event::Sync {
        ns: at(99),
        dev,
        pid: SERVER,
        tid: SERVER,
    })
}

#[test]
fn the_call_that_waits_shows_the_disk() {
    for stack in [SYNC, FSYNC, XFS, BTRFS] {
        let events = |dev| vec![syncs(dev), ended_by(KWORKER, stack), backup_elsewhere()];
        assert_eq!(shares(two_disks(), events(ELSEWHERE)), [40, 0, 0]);
        assert_eq!(shares(two_disks(), events(HERE)), [0, 0, 40]);
    }
    // A wait of another kind, later.
    let events = vec![
        syncs(ELSEWHERE),
        ended_by(KWORKER, THROTTLED),
        backup_elsewhere(),
    ];
    assert_eq!(shares(two_disks(), events), [0, 0, 40]);
}

#[test]
fn who_waits_for_a_disk_since_before_attach_stands_behind_what_was_dirtied_then() {
    let waits = |stack: &str| {
        let thread = event::Thread {
            pid: SERVER,
            tid: SERVER,
            state: 'D',
            stack: vec!["schedule".to_owned(), stack.to_owned()],
        };
        let flags = IO_WRITEBACK | IO_BEFORE;
        let before = written(ELSEWHERE, 0, (0, 180), 3 << 20, flags);
        let mut facts = two_disks();
        // It does not run in the window.
        facts.pop();
        facts.extend([Event::Thread(thread), syncs(ELSEWHERE)]);
        let books = books_from(facts, vec![before], 200);
        assert_closed(&books);
        let of = |holder| charged(&books, Resource::Disk, holder);
        (threads(&books, Class::Disk), of(Holder::Earlier))
    };
    // To the end of the window, and longer than anything was written.
    for stack in [
        "jbd2_log_wait_commit",
        "folio_wait_writeback",
        "blk_mq_get_tag",
    ] {
        assert_eq!(waits(stack), (200, 180), "{stack}");
    }
    assert_eq!(waits("ep_poll"), (0, 0));
}

#[test]
fn a_writer_is_held_back_for_the_disk_that_it_writes_to() {
    let events = |dev| {
        let own = written(dev, SERVER, (60, 95), 1 << 20, IO_WRITEBACK);
        let waits = Wait {
            state: 2,
            ..asleep(SERVER, 100, 140, 0, THROTTLED)
        };
        vec![own, Event::Wait(waits), backup_elsewhere()]
    };
    // Nothing is written to its own disk meanwhile: nobody knows for whom it waits.
    assert_eq!(shares(two_disks(), events(HERE)), [0, 0, 40]);
    assert_eq!(shares(two_disks(), events(ELSEWHERE)), [40, 0, 0]);
}

#[test]
fn where_nothing_shows_the_disk_nobody_is_charged_unless_there_is_only_one() {
    let events = || {
        vec![
            Event::Wait(Wait {
                state: 2,
                ..asleep(SERVER, 100, 140, 0, COMMIT)
            }),
            backup_elsewhere(),
        ]
    };
    assert_eq!(shares(two_disks(), events()), [0, 0, 40]);
    assert_eq!(shares(on_disks(&[ELSEWHERE]), events()), [40, 0, 0]);
}

#[test]
fn a_strangers_read_is_waited_for_only_if_it_was_there_from_the_beginning() {
    let events = |queue, also| {
        let mut events = vec![read(TAR, queue, 140, 4096), sleep(SERVER, 100, 140, PAGE)];
        events.extend(also);
        events
    };
    assert_eq!(shares(two_disks(), events(139, None)), [0, 0, 40]);
    let [_, own, nobody] = shares(two_disks(), events(99, None));
    assert_eq!((own, nobody), (40, 0));
    // A read of another disk ends at the same time: one of both does so by chance.
    let chance = Event::Io(Io {
        dev: ELSEWHERE,
        ..io(RSYNC, 99, 140, 4096)
    });
    assert_eq!(shares(two_disks(), events(99, Some(chance))), [0, 0, 40]);
}

#[test]
fn state_d_alone_is_no_disk_wait() {
    let at_attach = |function| {
        let mut events = attach();
        events.push(seed(SERVER, 'D', function));
        books_from(events, [], 100)
    };
    let frozen = at_attach("__refrigerator");
    assert_eq!(threads(&frozen, Class::Stopped), 100);
    let unknown = at_attach("a_driver_waits");
    assert_eq!(threads(&unknown, Class::Other), 100);
    let reads = at_attach("io_schedule");
    assert_eq!(threads(&reads, Class::Disk), 100);
}
