//! Threads: sleeps, run queues, disks.

use super::*;

#[test]
fn a_wait_splits_into_sleep_and_run_queue_time() {
    let books = books(vec![first(10, 0), Event::Wait(wait(20, 60, 15, PAGE))], 100);
    assert_eq!(threads(&books, Class::Idle), 10);
    assert_eq!(threads(&books, Class::OnCpu), 10 + 40);
    assert_eq!(threads(&books, Class::Disk), 25);
    assert_eq!(threads(&books, Class::Cpu), 15);
    close(&books);
}

#[test]
fn a_run_queue_wait_is_charged_to_who_ran_and_what_was_not_seen_to_nobody() {
    let events = vec![
        first(10, 0),
        slice(0, OTHER, 15, 35),
        slice(0, TARGET, 35, 40),
        slice(0, 0, 40, 42),
        Event::Wait(preempted(20, 45)),
    ];
    let books = books(events, 50);
    assert_eq!(charged(&books, Resource::Cpu, other(&books)), 15);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 5);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 2);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Nobody), 3);
    close(&books);
}

#[test]
fn the_own_quota_is_taken_out_before_anybody_is_charged() {
    let throttled = Wait {
        throttled_ns: 30 * MS,
        ..preempted(20, 60)
    };
    let books = books(
        vec![
            first(10, 0),
            slice(0, OTHER, 20, 60),
            Event::Wait(throttled),
        ],
        70,
    );
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 30);
    assert_eq!(charged(&books, Resource::Cpu, other(&books)), 10);
    close(&books);
}

/// Who is charged when the target's own thread, the backup and nobody held the CPU in a wait of 20 to 60 ms, `throttled` of it.
fn beside_a_hog(throttled: u64) -> [u64; 4] {
    let wait = Wait {
        throttled_ns: throttled * MS,
        ..preempted(20, 60)
    };
    let events = vec![
        first(10, 0),
        slice(0, TARGET, 20, 25),
        slice(0, OTHER, 25, 45),
        slice(0, 0, 45, 50),
        slice(0, OTHER, 50, 60),
        Event::Wait(wait),
    ];
    let books = books(events, 70);
    close(&books);
    let holders = [
        Holder::OwnQuota,
        other(&books),
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
        pid: TARGET,
        tid: TARGET,
        from_cpu: 0,
        to_cpu: 1,
    })
}

#[test]
fn the_quota_is_taken_out_on_both_sides_of_a_move() {
    let events = vec![
        first(10, 0),
        slice(0, OTHER, 20, 30),
        moved(30),
        slice(1, 0, 30, 42),
        slice(1, OTHER, 42, 60),
        Event::Wait(Wait {
            cpu: 1,
            throttled_ns: 17 * MS,
            ..preempted(20, 60)
        }),
    ];
    let books = books(events, 60);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 17);
    assert_eq!(charged(&books, Resource::Cpu, other(&books)), 5 + 18);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 0);
    close(&books);
}

#[test]
fn a_thread_moved_while_queued_is_charged_on_both_cpus() {
    let events = vec![
        first(10, 0),
        slice(0, OTHER, 20, 50),
        slice(1, TARGET, 20, 60),
        moved(30),
        Event::Wait(Wait {
            cpu: 1,
            ..preempted(20, 60)
        }),
    ];
    let books = books(events, 60);
    assert_eq!(charged(&books, Resource::Cpu, other(&books)), 10);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 30);
    close(&books);
}

#[test]
fn what_the_hypervisor_stole_is_no_time_on_the_cpu() {
    let stolen = Wait {
        ran_since_ns: T0 + 10 * MS,
        ran_ns: 6 * MS,
        ..wait(20, 30, 0, PAGE)
    };
    let books = books(vec![first(10, 0), Event::Wait(stolen)], 30);
    assert_eq!(threads(&books, Class::OnCpu), 6);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 4);
    close(&books);
}

#[test]
fn a_lost_record_leaves_time_unaccounted_and_not_on_the_cpu() {
    let after = Wait {
        ran_since_ns: T0 + 70 * MS,
        ..wait(80, 90, 0, PAGE)
    };
    let books = books(vec![first(10, 0), Event::Wait(after)], 90);
    assert_eq!(books.unaccounted_ns, 60 * MS);
    assert_eq!(threads(&books, Class::OnCpu), 10);
    close(&books);
}

#[test]
fn a_thread_that_never_woke_did_all_the_time_what_it_did_at_attach() {
    let books = books(Vec::new(), 100);
    assert_eq!(threads(&books, Class::Idle), 100);
    close(&books);
}

#[test]
fn a_sleep_still_open_at_the_end_counts_until_there() {
    let open = Wait {
        flags: WAIT_OPEN | WAIT_IOWAIT | WAIT_NO_WAKER,
        ..wait(20, 100, 0, PAGE)
    };
    let books = books(vec![first(10, 0), Event::Wait(open)], 100);
    assert_eq!(threads(&books, Class::Disk), 80);
    assert_eq!(books.clipped_waits, 1);
    close(&books);
}

#[test]
fn threads_born_and_ended_in_the_window_count_while_they_live() {
    let born = event::Fork {
        ns: T0 + 10 * MS,
        pid: TARGET,
        tid: 101,
        target: true,
        ..event::Fork::default()
    };
    let began = Wait {
        tid: 101,
        ..match first(30, 20) {
            Event::Wait(wait) => wait,
            _ => unreachable!(),
        }
    };
    let end = event::ThreadEnd {
        ns: T0 + 50 * MS,
        pid: TARGET,
        tid: 101,
    };
    let books = books(
        vec![Event::Fork(born), Event::Wait(began), Event::ThreadEnd(end)],
        100,
    );
    assert_eq!((books.threads, books.wall_ns), (2, 140 * MS));
    assert_eq!(threads(&books, Class::Cpu), 20);
    assert_eq!(threads(&books, Class::OnCpu), 20);
    close(&books);
}

#[test]
fn a_disk_wait_alone_is_its_own_and_behind_a_big_reader_it_is_the_readers() {
    let alone: Vec<Event> = (0..8)
        .map(|i| io(TARGET, 10 * i, 10 * i + 1, 4096, IO_TARGET))
        .collect();
    let mut events = vec![first(1, 0)];
    events.extend(alone);
    events.push(io(OTHER, 100, 120, 1 << 20, 0));
    events.push(io(TARGET, 101, 121, 4096, IO_TARGET));
    events.push(Event::Wait(wait(101, 121, 0, PAGE)));
    let books = books(events, 130);
    let theirs = charged(&books, Resource::Disk, other(&books));
    assert!((18..=19).contains(&theirs), "{theirs}");
    close(&books);
}
