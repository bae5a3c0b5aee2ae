//! Time lines of threads.

use super::*;

#[test]
fn a_wait_that_goes_through_two_classes_closes_in_both() {
    let events = running(SERVER).into_iter().chain([
        slice(0, TAR, 50, 60),
        Event::Wait(asleep(SERVER, 20, 60, 10, MUTEX)),
    ]);
    let books = books(events, 100);
    assert_eq!(threads(&books, Class::OnCpu), 20 + 40);
    assert_eq!(threads(&books, Class::Lock), 30);
    assert_eq!(threads(&books, Class::Cpu), 10);
    assert_eq!(charged(&books, Resource::Lock, Holder::Nobody), 30);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_closed(&books);
}

#[test]
fn a_thread_that_no_list_showed_counts_from_its_first_wait() {
    let events = running(SERVER).into_iter();
    let books = books(events.chain([sleep(WORKER, 20, 60, PAGE)]), 100);
    assert_eq!(books.threads, 2);
    assert_closed(&books);
}

#[test]
fn what_a_thread_did_at_attach_lasts_until_it_is_first_seen() {
    let cases = [
        ('S', "ep_poll", Class::Idle),
        ('S', "futex_do_wait", Class::Idle),
        ('D', "io_schedule", Class::Disk),
        ('D', "pipe_read", Class::Other),
        ('S', "sk_stream_wait_memory", Class::Network),
        ('R', "", Class::OnCpu),
    ];
    for (state, function, class) in cases {
        let books = books(
            [
                seed(SERVER, state, function),
                Event::Wait(first(SERVER, 40, 5)),
            ],
            50,
        );
        let (queued, ran) = (threads(&books, Class::Cpu), threads(&books, Class::OnCpu));
        assert_eq!(queued, 5, "{function}");
        if class == Class::OnCpu {
            assert_eq!(ran, 35 + 10);
        } else {
            assert_eq!((threads(&books, class), ran), (35, 10), "{function}");
        }
        assert_closed(&books);
    }
}

#[test]
fn a_disk_wait_open_at_attach_and_at_the_end_lasts_the_whole_window() {
    let books = books([seed(SERVER, 'D', "io_schedule")], 250);
    assert_eq!(threads(&books, Class::Disk), 250);
    assert_eq!(books.clipped_waits, 1);
    assert_closed(&books);
}

#[test]
fn a_thread_whose_first_record_was_lost_was_not_on_the_cpu_all_the_time() {
    let next = Wait {
        ran_since_ns: at(70),
        ..asleep(SERVER, 80, 90, 0, EPOLL)
    };
    let books = books([seed(SERVER, 'S', "ep_poll"), Event::Wait(next)], 100);
    assert_eq!(books.unaccounted_ns, 70 * MS);
    assert_eq!(threads(&books, Class::OnCpu), 10 + 10);
    assert_closed(&books);
}

#[test]
fn records_that_miss_each_other_by_less_than_a_switch_are_not_lost() {
    let next = Wait {
        ran_since_ns: at(0) + 900,
        ..asleep(SERVER, 80, 90, 0, EPOLL)
    };
    let books = books(running(SERVER).into_iter().chain([Event::Wait(next)]), 100);
    assert_eq!(
        (books.unaccounted_ns, threads(&books, Class::OnCpu)),
        (0, 90)
    );
}

#[test]
fn a_request_over_a_lost_record_has_no_time_in_the_gap() {
    let after = Wait {
        ran_since_ns: at(60),
        ..asleep(SERVER, 70, 80, 0, PAGE)
    };
    let events = running(SERVER).into_iter().chain([
        receive(SERVER, 9, 10, 10),
        sleep(SERVER, 20, 30, PAGE),
        send(SERVER, 9, 31),
        // The record of 35 to 60 is lost.
        Event::Wait(after),
        receive(SERVER, 9, 82, 40),
        send(SERVER, 9, 84),
    ]);
    let books = books(events, 100);
    // Second request, 40 to 84 ms: nothing is known until 60. Then 10 ms on the CPU, 10 on the disk, 4 on the CPU.
    assert_eq!(requests(&books, Class::OnCpu), (10 + 1) + (10 + 4));
    assert_eq!(requests(&books, Class::Disk), 10 + 10);
    assert_closed(&books);
}

#[test]
fn an_exhausted_quota_never_explains_more_than_the_wait() {
    let throttled = Wait {
        throttled_ns: 500 * MS,
        ..preempted(SERVER, 20, 60)
    };
    let events = [slice(0, TAR, 20, 60), Event::Wait(throttled)];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 40);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 0);
    assert_closed(&books);
}

#[test]
fn a_runnable_thread_beside_an_idle_cpu_accuses_nobody() {
    let events = [slice(0, 0, 10, 30), Event::Wait(preempted(SERVER, 20, 30))];
    let books = books(running(SERVER).into_iter().chain(events), 40);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 10);
    assert_closed(&books);
}

#[test]
fn a_thread_moved_twice_is_charged_on_three_cpus() {
    let moved = |ms, from_cpu| {
        let to_cpu = from_cpu + 1;
        Event::Migrate(event::Migrate {
            ns: at(ms),
            pid: SERVER,
            tid: SERVER,
            from_cpu,
            to_cpu,
        })
    };
    let events = [
        slice(0, TAR, 0, 90),
        slice(1, RSYNC, 0, 90),
        slice(2, SERVER, 0, 90),
        moved(25, 0),
        moved(45, 1),
        Event::Wait(Wait {
            cpu: 2,
            ..preempted(SERVER, 20, 90)
        }),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 5);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, RSYNC)), 20);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 45);
    assert_closed(&books);
}

#[test]
fn who_releases_a_lock_is_charged_and_an_interrupt_is_not() {
    let locked = |waker_pid, waker_stack| Wait {
        waker_pid,
        waker_tid: waker_pid,
        waker_stack,
        flags: 0,
        ..asleep(SERVER, 20, 50, 0, MUTEX)
    };
    let cases = [(TAR, FUTEX_WAKE), (SERVER, FUTEX_WAKE), (TAR, INTERRUPT)];
    let charges = cases.map(|(pid, stack)| {
        let books = books(
            running(SERVER)
                .into_iter()
                .chain([Event::Wait(locked(pid, stack))]),
            60,
        );
        assert_closed(&books);
        [holder(&books, TAR), Holder::OwnLock, Holder::Nobody]
            .map(|by| charged(&books, Resource::Lock, by))
    });
    assert_eq!(charges, [[30, 0, 0], [0, 30, 0], [0, 0, 30]]);
}

#[test]
fn a_wait_whose_stack_was_lost_is_other_and_counted() {
    let books = books(
        running(SERVER)
            .into_iter()
            .chain([sleep(SERVER, 20, 50, 77)]),
        60,
    );
    assert_eq!(
        (threads(&books, Class::Other), books.unreadable_stacks),
        (30, 1)
    );
    assert_closed(&books);
}

#[test]
fn a_long_window_closes_though_its_slices_grow() {
    let mut events: Vec<Event> = running(SERVER).into();
    for second in 0..900 {
        let (off, on) = (1000 * second + 300, 1000 * second + 900);
        events.extend([
            slice(0, TAR, off, on),
            Event::Wait(preempted(SERVER, off, on)),
        ]);
    }
    let books = books(events, 900_000);
    assert_eq!(books.bin_ns, 400 * MS);
    assert_eq!(
        charged(&books, Resource::Cpu, holder(&books, TAR)),
        900 * 600
    );
    assert_closed(&books);
}

#[test]
fn where_no_function_has_a_name_a_sleep_that_a_signal_would_end_is_idle_and_another_is_not() {
    const NAMELESS: u64 = 78;
    let slept = |state, off, on| {
        Event::Wait(Wait {
            state,
            ..asleep(SERVER, off, on, 0, NAMELESS)
        })
    };
    let events = [
        stack(NAMELESS, &["0xffffffff81a00010", "0xffffffff81a00abc"]),
        slept(1, 10, 40),
        slept(2, 50, 70),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(threads(&books, Class::Idle), 30);
    assert_eq!(threads(&books, Class::Other), 20);
    assert_closed(&books);
}
