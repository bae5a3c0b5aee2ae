//! Run-queue time that no process held: the CPU was idle, or the hypervisor had it.

use super::*;

#[test]
fn an_idle_cpu_between_the_wakeup_and_the_switch_is_wakeup_latency_only_after_the_wakeup() {
    let events = vec![
        first(10, 0),
        slice(0, 0, 20, 60),
        Event::Wait(wait(20, 60, 15, PAGE)),
    ];
    let books = books(events, 100);
    assert_eq!(threads(&books, Class::Disk), 25);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 15);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Nobody), 0);
    close(&books);
}

#[test]
fn who_runs_after_the_idle_cpu_woke_is_charged_only_what_it_ran() {
    let events = vec![
        first(10, 0),
        slice(0, 0, 20, 50),
        slice(0, OTHER, 50, 60),
        Event::Wait(wait(20, 60, 15, PAGE)),
    ];
    let books = books(events, 100);
    assert_eq!(charged(&books, Resource::Cpu, Holder::IdleCpu), 5);
    assert_eq!(charged(&books, Resource::Cpu, other(&books)), 10);
    close(&books);
}

#[test]
fn stolen_time_and_the_wait_that_follows_it_are_charged_apart() {
    let stolen = Wait {
        ran_since_ns: T0 + 10 * MS,
        ran_ns: 6 * MS,
        ..preempted(20, 30)
    };
    let events = vec![first(10, 0), slice(0, OTHER, 20, 30), Event::Wait(stolen)];
    let books = books(events, 30);
    assert_eq!(threads(&books, Class::OnCpu), 6);
    assert_eq!(threads(&books, Class::Cpu), 14);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 4);
    assert_eq!(charged(&books, Resource::Cpu, other(&books)), 10);
    close(&books);
}
