//! Run-queue time that no process held: the CPU was idle, or the hypervisor had it.

use tracer_common::sched::WAIT_LONG_ONLY;

use super::*;
use crate::{event::Source, model::books::worker_name};

#[test]
fn an_idle_cpu_between_the_wakeup_and_the_switch_is_wakeup_latency_only_after_the_wakeup() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, 0, 20, 60),
        Event::Wait(asleep(SERVER, 20, 60, 15, PAGE)),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(threads(&books, Class::Disk), 25);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 15);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Nobody), 0);
    assert_closed(&books);
}

#[test]
fn who_runs_after_the_idle_cpu_woke_is_charged_only_what_it_ran() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, 0, 20, 50),
        slice(0, TAR, 50, 60),
        Event::Wait(asleep(SERVER, 20, 60, 15, PAGE)),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 5);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_closed(&books);
}

#[test]
fn stolen_time_and_the_wait_that_follows_it_are_charged_apart() {
    let stolen = Wait {
        ran_since_ns: at(10),
        ran_ns: 6 * MS,
        ..preempted(SERVER, 20, 30)
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 30),
        Event::Wait(stolen),
    ];
    let books = books(sleeper(events), 30);
    assert_eq!(threads(&books, Class::OnCpu), 6);
    assert_eq!(threads(&books, Class::Cpu), 14);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 4);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_closed(&books);
}

#[test]
fn short_waits_that_were_not_emitted_are_neither_stolen_nor_time_on_a_cpu() {
    let after_short_ones = Wait {
        ran_since_ns: at(10),
        ran_ns: 6 * MS,
        flags: WAIT_RUNNABLE | WAIT_LONG_ONLY,
        ..preempted(SERVER, 20, 30)
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 30),
        Event::Wait(after_short_ones),
    ];
    let books = books(sleeper(events), 30);
    assert_eq!(threads(&books, Class::OnCpu), 6);
    assert_eq!(threads(&books, Class::Cpu), 10);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 0);
    assert_eq!(books.unaccounted_ns, 4 * MS);
}

#[test]
fn of_a_run_with_short_waits_that_began_before_the_window_a_part_counts() {
    // In 20 ms it ran for 10 ms, and half of that time is of the window.
    let after_short_ones = Wait {
        ran_since_ns: at(0) - 10 * MS,
        ran_ns: 10 * MS,
        flags: WAIT_RUNNABLE | WAIT_LONG_ONLY,
        ..preempted(SERVER, 10, 30)
    };
    let events = vec![
        seed(SERVER, 'R', ""),
        slice(0, TAR, 10, 30),
        Event::Wait(after_short_ones),
    ];
    let books = books(events, 30);
    assert_eq!(threads(&books, Class::OnCpu), 5);
    assert_eq!(threads(&books, Class::Cpu), 20);
    assert_eq!(books.unaccounted_ns, 5 * MS);
}

/// In ms.
fn interrupts(cpu: u32, took: &[(Source, u64)], begin: u64, end: u64) -> Event {
    Event::Interrupts(event::Interrupts {
        ns: at(end),
        cpu,
        begin_ns: at(begin),
        took: took.iter().map(|(source, ms)| (*source, ms * MS)).collect(),
    })
}

const NET_RX: Source = Source::Softirq(3);

fn behind_interrupts(books: &Books, source: Source) -> u64 {
    charged(books, Resource::Cpu, Holder::Interrupt(source))
}

#[test]
fn interrupts_are_charged_by_their_name_and_not_to_whom_they_interrupted() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 30),
        interrupts(0, &[(NET_RX, 3), (Source::Irq, 1)], 20, 30),
        Event::Wait(preempted(SERVER, 20, 30)),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(behind_interrupts(&books, NET_RX), 3);
    assert_eq!(behind_interrupts(&books, Source::Irq), 1);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 6);
    assert_closed(&books);
}

#[test]
fn the_softirq_that_wakes_a_thread_on_an_idle_cpu_is_no_wakeup_latency() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        // The CPU had been idle since 20 ms. A softirq woke the thread at 45 ms, and went on until 55 ms.
        slice(0, 0, 20, 60),
        interrupts(0, &[(NET_RX, 10)], 45, 60),
        Event::Wait(asleep(SERVER, 20, 60, 15, PAGE)),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(behind_interrupts(&books, NET_RX), 10);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 5);
    assert_closed(&books);
}

#[test]
fn interrupts_on_another_cpu_delay_nobody_here() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 30),
        interrupts(1, &[(NET_RX, 3)], 20, 30),
        Event::Wait(preempted(SERVER, 20, 30)),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_eq!(behind_interrupts(&books, NET_RX), 0);
    assert_closed(&books);
}

#[test]
fn interrupts_that_are_watched_half_a_second_after_a_queue_began_are_charged_from_then_on() {
    let mut events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        sleep(SERVER, 20, 3_000, EPOLL),
    ];
    // From 3 s on tar has the CPU for 9 ms of each 10, and softirqs interrupt it for 6 of these. They were shed until 3.5 s.
    for ms in (3_000..5_000).step_by(10) {
        events.push(slice(0, TAR, ms + 1, ms + 10));
        if ms >= 3_500 {
            events.push(interrupts(0, &[(NET_RX, 6)], ms + 1, ms + 10));
        }
        events.push(Event::Wait(preempted(SERVER, ms + 1, ms + 10)));
    }
    let shed = event::Shed {
        group: event::ProbeGroup::Interrupts,
        since_ns: at(1_000),
        for_ns: 2_300 * MS,
    };
    events.push(Event::Shed(shed));
    let books = books(sleeper(events), 5_000);
    assert_eq!(behind_interrupts(&books, NET_RX), 900);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 900);
    assert_eq!(books.shed.values().copied().collect::<Vec<_>>(), [shed]);
    assert_closed(&books);
}

/// Interrupts are shed from then on, or watched again.
fn watch(is_shed: bool, ms: u64) -> Event {
    Event::Watch(event::Watch {
        ns: at(ms),
        group: event::ProbeGroup::Interrupts,
        is_shed,
    })
}

#[test]
fn what_a_wait_stood_behind_before_interrupts_were_watched_is_nobodys_and_is_said() {
    // A burst: tar has the CPU from 20 ms on, and softirqs interrupt it. They are watched from 24 ms on.
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        watch(true, 15),
        watch(false, 24),
        slice(0, TAR, 20, 30),
        interrupts(0, &[(NET_RX, 3)], 20, 30),
        Event::Wait(preempted(SERVER, 20, 30)),
        watch(true, 80),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 3);
    assert_eq!(behind_interrupts(&books, NET_RX), 3);
    assert_eq!(books.unwatched_ns, 4 * MS);
    let shed = books.shed.values().next().unwrap();
    assert_eq!((shed.since_ns, shed.for_ns), (at(15), (9 + 20) * MS));
    assert_closed(&books);
}

#[test]
fn what_was_shed_before_the_first_file_that_is_left_is_not_of_the_window() {
    // The window of a recording begins with the file that is left, at 50 ms.
    let start = Start {
        ns: at(50),
        targets: vec![SERVER],
        ..Start::default()
    };
    let shed_for = |shed: &[Event]| {
        let start = Event::Start(Box::new(start.clone()));
        let books = books_from(vec![start], shed.iter().cloned(), 100);
        let shed: Vec<_> = books.shed.into_values().collect();
        shed.first().map(|shed| (shed.since_ns, shed.for_ns / MS))
    };
    let watched = [watch(true, 10), watch(false, 60), watch(true, 90)];
    assert_eq!(shed_for(&watched), Some((at(50), 20)));
    assert_eq!(shed_for(&[watch(true, 10), watch(false, 40)]), None);
    // One that says no more than how long.
    let sum = event::Shed {
        group: event::ProbeGroup::Interrupts,
        since_ns: at(10),
        for_ns: 80 * MS,
    };
    assert_eq!(shed_for(&[Event::Shed(sum)]), Some((at(50), 50)));
}

#[test]
fn a_short_wait_is_charged_although_interrupts_are_shed() {
    let short = Wait {
        off_ns: at(30) - 40_000,
        run_queue_ns: 40_000,
        ..preempted(SERVER, 20, 30)
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        watch(true, 15),
        slice(0, TAR, 20, 30),
        Event::Wait(short),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(books.unwatched_ns, 0);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let tar = holder(&books, TAR);
    let its = charges.filter(|charge| charge.holder == tar);
    assert_eq!(its.map(|charge| charge.ns).sum::<u64>(), 40_000);
    assert_closed(&books);
}

#[test]
fn own_quota_leaves_interrupts_what_it_does_not_cover() {
    let throttled = Wait {
        throttled_ns: 8 * MS,
        ..preempted(SERVER, 20, 30)
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, 0, 20, 30),
        interrupts(0, &[(NET_RX, 2)], 20, 30),
        Event::Wait(throttled),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 8);
    assert_eq!(behind_interrupts(&books, NET_RX), 2);
    assert_closed(&books);
}

/// The hypervisor took that much of CPU 0.
fn stolen(ms: u64, begin: u64, end: u64) -> Event {
    Event::Stolen(event::Stolen {
        ns: at(end),
        cpu: 0,
        begin_ns: at(begin),
        stolen_ns: ms * MS,
    })
}

#[test]
fn stolen_time_of_others_slices_is_the_hypervisors_in_proportion_and_an_estimate() {
    // TAR has the CPU for 20 ms, 8 of them stolen; the thread is queued for the second half.
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 40),
        stolen(8, 20, 40),
        Event::Wait(asleep(SERVER, 20, 40, 10, PAGE)),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 4);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 6);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let estimated: u64 = charges.map(|charge| charge.estimated_ns).sum();
    assert_eq!(estimated, 4 * MS);
    assert_closed(&books);
}

#[test]
fn an_idle_cpu_that_was_stolen_is_no_wakeup_latency() {
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, 0, 20, 60),
        stolen(40, 20, 60),
        Event::Wait(asleep(SERVER, 20, 60, 15, PAGE)),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 15);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 0);
    assert_closed(&books);
}

#[test]
fn a_kworker_is_named_by_the_function_that_it_ran_longest() {
    let work = |function: &str, begin: u64, end: u64| {
        Event::Work(event::Work {
            ns: at(end),
            begin_ns: at(begin),
            pid: TAR,
            function: function.to_owned(),
        })
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 22),
        work("vmstat_update", 20, 22),
        slice(0, TAR, 22, 30),
        work("wb_workfn", 22, 30),
        Event::Wait(preempted(SERVER, 20, 30)),
    ];
    let books = books(sleeper(events), 100);
    let worker = books.processes.iter().position(|p| p.pid == TAR).unwrap();
    assert_eq!(
        worker_name(&books.works, worker).unwrap(),
        "kworker (wb_workfn)"
    );
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_closed(&books);
}

#[test]
fn what_is_stolen_of_a_whole_cpu_is_taken_out_of_who_ran_there_in_proportion() {
    let cpu_time = |cpu, stolen: u64| {
        Event::CpuTime(event::CpuTime {
            cpu,
            busy_ns: 100 * MS,
            stolen_ns: stolen * MS,
        })
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 25),
        slice(0, 0, 25, 30),
        Event::Wait(preempted(SERVER, 20, 30)),
        cpu_time(0, 40),
        cpu_time(1, 90),
    ];
    let books = books(sleeper(events), 100);
    // 40 % of the 5 ms in which TAR seemed to run. The idle CPU and another CPU's steal do not count.
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 2);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 3);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 5);
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let estimated: u64 = charges.map(|charge| charge.estimated_ns).sum();
    assert_eq!(estimated, 2 * MS);
    assert_closed(&books);
}

#[test]
fn a_little_that_is_stolen_of_a_cpu_changes_nothing() {
    let little = event::CpuTime {
        cpu: 0,
        busy_ns: 1000 * MS,
        stolen_ns: 49 * MS,
    };
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, TAR, 20, 30),
        Event::Wait(preempted(SERVER, 20, 30)),
        Event::CpuTime(little),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_closed(&books);
}

/// In the slice that begins at `at` ms, on CPU 0.
fn packets(pid: u32, at: u64, received: u32, polled: u32) -> Event {
    Event::Packets(event::Packets {
        ns: T0 + at * MS,
        pid,
        received,
        polled,
        ..event::Packets::default()
    })
}

#[test]
fn a_softirq_is_charged_to_whose_packets_it_moved_wherever_they_run() {
    // 10 ms behind RSYNC, 8 ms of them in softirqs. Those moved 40 packets: 20 of TAR, 10 of the target, 10 of nobody. They are
    // counted at the end.
    let events = vec![
        Event::Wait(first(SERVER, 10, 0)),
        slice(0, RSYNC, 20, 30),
        interrupts(0, &[(NET_RX, 8)], 20, 30),
        Event::Wait(preempted(SERVER, 20, 30)),
        packets(TAR, 20, 20, 0),
        packets(SERVER, 20, 10, 0),
        packets(0, 20, 0, 40),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 4);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 2);
    assert_eq!(behind_interrupts(&books, NET_RX), 2);
    assert_closed(&books);
}
