//! Threads: sleeps, run queues, disks.

use super::*;
use crate::event::Migrate;

#[test]
fn a_wait_splits_into_sleep_and_run_queue_time() {
    let books = books(
        sleeper(vec![
            Event::Wait(first(SERVER, 10, 0)),
            Event::Wait(asleep(SERVER, 20, 60, 15, PAGE)),
        ]),
        100,
    );
    assert_eq!(threads(&books, Class::Idle), 10);
    assert_eq!(threads(&books, Class::OnCpu), 10 + 40);
    assert_eq!(threads(&books, Class::Disk), 25);
    assert_eq!(threads(&books, Class::Cpu), 15);
    assert_closed(&books);
}

#[test]
fn a_run_queue_wait_is_charged_to_who_ran_and_what_was_not_seen_to_nobody() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 15, 35),
        slice(0, SERVER, 35, 40),
        slice(0, 0, 40, 42),
        Event::Wait(preempted(SERVER, 20, 45)),
    ];
    let books = books(sleeper(events), 50);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 15);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 5);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 2);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Nobody), 3);
    assert_closed(&books);
}

#[test]
fn the_own_quota_is_taken_out_before_anybody_is_charged() {
    let throttled = Wait {
        throttled_ns: 30 * MS,
        ..preempted(SERVER, 20, 60)
    };
    let books = books(
        sleeper(vec![
            Event::Wait(first(SERVER, 10, 0)),
            slice(0, TAR, 20, 60),
            Event::Wait(throttled),
        ]),
        70,
    );
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 30);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_closed(&books);
}

/// In a wait from 20 to 60 ms, the target's own thread, the backup and nobody held the CPU. It was throttled for `throttled` ms.
/// Returns the ms charged to the own quota, the backup, own threads and the idle CPU.
fn beside_a_hog(throttled: u64) -> [u64; 4] {
    let wait = Wait {
        throttled_ns: throttled * MS,
        ..preempted(SERVER, 20, 60)
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, SERVER, 20, 25),
        slice(0, TAR, 25, 45),
        slice(0, 0, 45, 50),
        slice(0, TAR, 50, 60),
        Event::Wait(wait),
    ];
    let books = books(sleeper(events), 70);
    assert_closed(&books);
    let holders = [
        Holder::OwnQuota,
        holder(&books, TAR),
        Holder::Own,
        Holder::IdleCpu,
    ];
    holders.map(|holder| charged(&books, Resource::Cpu, holder))
}

#[test]
fn a_cpu_idles_beside_a_throttled_thread_because_of_the_quota() {
    assert_eq!(beside_a_hog(0), [0, 30, 5, 5]);
    assert_eq!(beside_a_hog(5), [5, 30, 5, 0]);
}

#[test]
fn who_runs_while_the_thread_is_throttled_did_not_delay_it() {
    assert_eq!(beside_a_hog(15), [15, 20, 5, 0]);
    assert_eq!(beside_a_hog(35), [35, 0, 5, 0]);
}

#[test]
fn own_threads_do_not_run_in_throttled_time() {
    assert_eq!(beside_a_hog(37), [37, 0, 3, 0]);
}

/// The queued thread goes from CPU 0 to CPU 1.
fn moved(at: u64) -> Event {
    Event::Migrate(Migrate {
        ns: T0 + at * MS,
        pid: SERVER,
        tid: SERVER,
        from_cpu: 0,
        to_cpu: 1,
    })
}

#[test]
fn the_quota_is_taken_out_on_both_sides_of_a_move() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 30),
        moved(30),
        slice(1, 0, 30, 42),
        slice(1, TAR, 42, 60),
        Event::Wait(Wait {
            cpu: 1,
            throttled_ns: 17 * MS,
            ..preempted(SERVER, 20, 60)
        }),
    ];
    let books = books(sleeper(events), 60);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 17);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 5 + 18);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 0);
    assert_closed(&books);
}

#[test]
fn a_thread_moved_while_queued_is_charged_on_both_cpus() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 50),
        slice(1, SERVER, 20, 60),
        moved(30),
        Event::Wait(Wait {
            cpu: 1,
            ..preempted(SERVER, 20, 60)
        }),
    ];
    let books = books(sleeper(events), 60);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 30);
    assert_closed(&books);
}

#[test]
fn what_the_hypervisor_stole_is_no_time_on_the_cpu() {
    let stolen = Wait {
        ran_since_ns: at(10),
        ran_ns: 6 * MS,
        ..asleep(SERVER, 20, 30, 0, PAGE)
    };
    let books = books(
        sleeper(vec![Event::Wait(first(SERVER, 10, 0)), Event::Wait(stolen)]),
        30,
    );
    assert_eq!(threads(&books, Class::OnCpu), 6);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 4);
    assert_closed(&books);
}

#[test]
fn a_lost_record_leaves_time_unaccounted_and_not_on_the_cpu() {
    let after = Wait {
        ran_since_ns: at(70),
        ..asleep(SERVER, 80, 90, 0, PAGE)
    };
    let books = books(
        sleeper(vec![Event::Wait(first(SERVER, 10, 0)), Event::Wait(after)]),
        90,
    );
    assert_eq!(books.unaccounted_ns, 60 * MS);
    assert_eq!(threads(&books, Class::OnCpu), 10);
    assert_closed(&books);
}

#[test]
fn a_thread_that_never_woke_did_all_the_time_what_it_did_at_attach() {
    let books = books(sleeper(Vec::new()), 100);
    assert_eq!(threads(&books, Class::Idle), 100);
    assert_closed(&books);
}

#[test]
fn a_sleep_still_open_at_the_end_counts_until_there() {
    let open = Wait {
        flags: WAIT_OPEN | WAIT_IOWAIT | WAIT_NO_WAKER,
        ..asleep(SERVER, 20, 100, 0, PAGE)
    };
    let books = books(
        sleeper(vec![Event::Wait(first(SERVER, 10, 0)), Event::Wait(open)]),
        100,
    );
    assert_eq!(threads(&books, Class::Disk), 80);
    assert_eq!(books.clipped_waits, 1);
    assert_closed(&books);
}

#[test]
fn threads_born_and_ended_in_the_window_count_while_they_live() {
    let born = event::Fork {
        ns: at(10),
        pid: SERVER,
        tid: WORKER,
        target: true,
        ..event::Fork::default()
    };
    let began = Wait {
        tid: WORKER,
        ..first(WORKER, 30, 20)
    };
    let end = event::ThreadEnd {
        ns: at(50),
        pid: SERVER,
        tid: WORKER,
    };
    let books = books(
        sleeper(vec![
            Event::Fork(born),
            Event::Wait(began),
            Event::ThreadEnd(end),
        ]),
        100,
    );
    assert_eq!((books.threads, books.wall_ns), (2, 140 * MS));
    assert_eq!(threads(&books, Class::Cpu), 20);
    assert_eq!(threads(&books, Class::OnCpu), 20);
    assert_closed(&books);
}

#[test]
fn a_disk_wait_alone_is_its_own_and_behind_a_big_reader_it_is_the_readers() {
    let alone: Vec<Event> = (0..8)
        .map(|i| read(SERVER, 10 * i, 10 * i + 1, 4096))
        .collect();
    let mut events = vec![Event::Wait(first(SERVER, 1, 0))];
    events.extend(alone);
    events.push(read(TAR, 100, 120, 1 << 20));
    events.push(read(SERVER, 101, 121, 4096));
    events.push(sleep(SERVER, 101, 121, PAGE));
    let books = books(sleeper(events), 130);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    assert!((18..=19).contains(&theirs), "{theirs}");
    assert_closed(&books);
}
