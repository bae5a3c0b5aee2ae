//! Streams of a few events, with books worked out by hand.

use tracer_common::{
    block::{IO_KTHREAD, IO_TARGET},
    sched::{WAIT_FIRST, WAIT_IOWAIT, WAIT_NO_WAKER, WAIT_OPEN, WAIT_RUNNABLE},
    tcp::{CALL_NOSPACE, CALL_SEND},
};

use super::{
    Model,
    books::{Books, Holder},
};
use crate::{
    class::{Class, Resource},
    event::{self, Call, Event, Io, Link, Migrate, Slice, Start, Wait},
};

const MS: u64 = 1_000_000;
/// Begin of every window.
const T0: u64 = 1_000 * MS;
const TARGET: u32 = 100;
const OTHER: u32 = 200;

const EPOLL: u64 = 1;
const PAGE: u64 = 2;
const INTERRUPT: u64 = 3;
const WORKER: u64 = 4;

fn process(pid: u32, target: bool) -> Event {
    let comm = if target { "server" } else { "backup" };
    Event::Process(event::Process { pid, comm: comm.to_owned(), target, ..event::Process::default() })
}

fn stack(id: u64, frames: &[&str]) -> Event {
    let frames = frames.iter().map(|frame| (*frame).to_owned()).collect();
    Event::Stack(event::Stack { ns: T0, id, frames })
}

/// A target with one thread that slept in epoll at attach, and one other process.
fn scene(events: Vec<Event>) -> Vec<Event> {
    let start = Start { ns: T0, targets: vec![TARGET], listening: vec![80], ..Start::default() };
    let thread = event::Thread { pid: TARGET, tid: TARGET, state: 'S', stack: vec!["ep_poll".to_owned()] };
    let mut all = vec![
        Event::Start(Box::new(start)),
        process(TARGET, true),
        process(OTHER, false),
        Event::Thread(thread),
        stack(EPOLL, &["schedule", "ep_poll", "do_epoll_wait"]),
        stack(PAGE, &["schedule", "io_schedule", "folio_wait_bit_common"]),
        stack(INTERRUPT, &["try_to_wake_up", "handle_softirqs", "irq_exit_rcu"]),
        stack(WORKER, &["try_to_wake_up", "futex_wake", "do_futex"]),
    ];
    all.extend(events);
    all
}

fn books(events: Vec<Event>, end_ms: u64) -> Books {
    let mut model = Model::new();
    for event in scene(events) {
        model.apply(&event);
    }
    model.apply(&Event::End(Box::new(event::End { ns: T0 + end_ms * MS, ..event::End::default() })));
    model.close()
}

/// The thread came on a CPU for the first time, after `queue` ms in a run queue.
fn first(at: u64, queue: u64) -> Event {
    Event::Wait(Wait {
        ns: T0 + at * MS,
        pid: TARGET,
        tid: TARGET,
        run_queue_ns: queue * MS,
        flags: WAIT_FIRST,
        ..Wait::default()
    })
}

/// Off the CPU from `off` to `on`, the last `queue` ms of it runnable; all in ms of the window.
fn wait(off: u64, on: u64, queue: u64, stack: u64) -> Wait {
    let state = if stack == PAGE { 2 } else { 1 };
    Wait {
        ns: T0 + on * MS,
        pid: TARGET,
        tid: TARGET,
        off_ns: T0 + off * MS,
        run_queue_ns: queue * MS,
        stack,
        state,
        flags: WAIT_NO_WAKER | if stack == PAGE { WAIT_IOWAIT } else { 0 },
        ..Wait::default()
    }
}

fn preempted(off: u64, on: u64) -> Wait {
    Wait { flags: WAIT_RUNNABLE, ..wait(off, on, on - off, 0) }
}

fn slice(cpu: u32, pid: u32, begin: u64, end: u64) -> Event {
    Event::Slice(Slice { ns: T0 + end * MS, cpu, begin_ns: T0 + begin * MS, pid, tid: pid })
}

fn io(pid: u32, queue: u64, end: u64, bytes: u32, flags: u32) -> Event {
    let (queue_ns, ns) = (T0 + queue * MS, T0 + end * MS);
    Event::Io(Io { ns, dev: 7, queue_ns, issue_ns: queue_ns, bytes, pid, tid: pid, flags, ..Io::default() })
}

fn receive(at: u64, arrived: u64) -> Event {
    let (ns, arrived_ns) = (T0 + at * MS, T0 + arrived * MS);
    Event::Call(Call { ns, socket: 9, result: 100, arrived_ns, pid: TARGET, tid: TARGET, ..Call::default() })
}

fn send(at: u64, more: bool) -> Event {
    let flags = CALL_SEND | if more { CALL_NOSPACE } else { 0 };
    let call = Call { ns: T0 + at * MS, socket: 9, result: 100, ifindex: 5, flags, ..Call::default() };
    Event::Call(Call { pid: TARGET, tid: TARGET, ..call })
}

fn threads(books: &Books, class: Class) -> u64 {
    books.budget(|bin| &bin.threads)[class.index()] / MS
}

fn requests(books: &Books, class: Class) -> u64 {
    books.budget(|bin| &bin.requests)[class.index()] / MS
}

fn charged(books: &Books, resource: Resource, holder: Holder) -> u64 {
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    charges.filter(|charge| (charge.resource, charge.holder) == (resource, holder)).map(|charge| charge.ns).sum::<u64>() / MS
}

fn other(books: &Books) -> Holder {
    Holder::Process(books.processes.iter().position(|process| process.pid == OTHER).unwrap())
}

/// Every thread's time is in exactly one class, and every class's time is charged.
fn close(books: &Books) {
    let spent: u64 = books.budget(|bin| &bin.threads).iter().sum();
    assert_eq!(spent + books.unaccounted_ns, books.wall_ns);
    for resource in Resource::ALL {
        let class = resource.class().unwrap();
        let charges = books.bins.iter().flat_map(|bin| &bin.charges).filter(|charge| charge.resource == resource);
        assert_eq!(charges.map(|charge| charge.ns).sum::<u64>(), books.budget(|bin| &bin.threads)[class.index()]);
    }
}

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
    let throttled = Wait { throttled_ns: 30 * MS, ..preempted(20, 60) };
    let books = books(vec![first(10, 0), slice(0, OTHER, 20, 60), Event::Wait(throttled)], 70);
    assert_eq!(charged(&books, Resource::Cpu, Holder::OwnQuota), 30);
    assert_eq!(charged(&books, Resource::Cpu, other(&books)), 10);
    close(&books);
}

#[test]
fn a_thread_moved_while_queued_is_charged_on_both_cpus() {
    let moved = Migrate { ns: T0 + 30 * MS, pid: TARGET, tid: TARGET, from_cpu: 0, to_cpu: 1 };
    let events = vec![
        first(10, 0),
        slice(0, OTHER, 20, 50),
        slice(1, TARGET, 20, 60),
        Event::Migrate(moved),
        Event::Wait(Wait { cpu: 1, ..preempted(20, 60) }),
    ];
    let books = books(events, 60);
    assert_eq!(charged(&books, Resource::Cpu, other(&books)), 10);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 30);
    close(&books);
}

#[test]
fn what_the_hypervisor_stole_is_no_time_on_the_cpu() {
    let stolen = Wait { ran_since_ns: T0 + 10 * MS, ran_ns: 6 * MS, ..wait(20, 30, 0, PAGE) };
    let books = books(vec![first(10, 0), Event::Wait(stolen)], 30);
    assert_eq!(threads(&books, Class::OnCpu), 6);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Hypervisor), 4);
    close(&books);
}

#[test]
fn a_lost_record_leaves_time_unaccounted_and_not_on_the_cpu() {
    let after = Wait { ran_since_ns: T0 + 70 * MS, ..wait(80, 90, 0, PAGE) };
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
    let open = Wait { flags: WAIT_OPEN | WAIT_IOWAIT | WAIT_NO_WAKER, ..wait(20, 100, 0, PAGE) };
    let books = books(vec![first(10, 0), Event::Wait(open)], 100);
    assert_eq!(threads(&books, Class::Disk), 80);
    assert_eq!(books.clipped_waits, 1);
    close(&books);
}

#[test]
fn threads_born_and_ended_in_the_window_count_while_they_live() {
    let born = event::Fork { ns: T0 + 10 * MS, pid: TARGET, tid: 101, target: true, ..event::Fork::default() };
    let began = Wait { tid: 101, ..match first(30, 20) {
        Event::Wait(wait) => wait,
        _ => unreachable!(),
    } };
    let end = event::ThreadEnd { ns: T0 + 50 * MS, pid: TARGET, tid: 101 };
    let books = books(vec![Event::Fork(born), Event::Wait(began), Event::ThreadEnd(end)], 100);
    assert_eq!((books.threads, books.wall_ns), (2, 140 * MS));
    assert_eq!(threads(&books, Class::Cpu), 20);
    assert_eq!(threads(&books, Class::OnCpu), 20);
    close(&books);
}

#[test]
fn a_disk_wait_alone_is_its_own_and_behind_a_big_reader_it_is_the_readers() {
    let alone: Vec<Event> = (0..8).map(|i| io(TARGET, 10 * i, 10 * i + 1, 4096, IO_TARGET)).collect();
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

#[test]
fn a_kernel_thread_below_a_loop_device_works_for_those_above() {
    let upper = event::Disk { dev: 8, name: "loop0".to_owned(), below: vec![7], ..event::Disk::default() };
    let worker = event::Process { pid: 300, kernel: true, ..event::Process::default() };
    let above = Io { dev: 8, ..match io(OTHER, 95, 130, 1 << 20, 0) {
        Event::Io(io) => io,
        _ => unreachable!(),
    } };
    let events = vec![
        Event::Disk(upper),
        Event::Process(worker),
        first(1, 0),
        io(300, 100, 120, 1 << 20, IO_KTHREAD),
        io(TARGET, 101, 121, 4096, IO_TARGET),
        Event::Wait(wait(101, 121, 0, PAGE)),
        Event::Io(above),
    ];
    let books = books(events, 130);
    assert!(charged(&books, Resource::Disk, other(&books)) >= 15);
    close(&books);
}

#[test]
fn a_keep_alive_connection_has_one_turn_for_each_answer() {
    let events = vec![
        first(10, 0),
        receive(11, 10),
        send(20, false),
        send(25, false),
        Event::Wait(wait(26, 50, 0, EPOLL)),
        receive(51, 49),
        send(55, false),
        Event::Wait(Wait { flags: WAIT_OPEN | WAIT_NO_WAKER, ..wait(56, 100, 0, EPOLL) }),
    ];
    let books = books(events, 100);
    let tally = books.requests.clone().unwrap();
    assert_eq!((tally.count, tally.open), (2, 0));
    assert_eq!(tally.max_ns, Some(15 * MS));
    assert_eq!(threads(&books, Class::Idle), 10 + 24 - 1 + 44);
    close(&books);
}

#[test]
fn a_request_takes_the_waits_of_the_thread_that_owns_it() {
    let events = vec![first(10, 0), receive(10, 10), Event::Wait(wait(12, 42, 5, PAGE)), send(43, false)];
    let books = books(events, 50);
    assert_eq!(requests(&books, Class::Disk), 25);
    assert_eq!(requests(&books, Class::Cpu), 5);
    assert_eq!(requests(&books, Class::OnCpu), 3);
}

#[test]
fn an_open_request_is_counted_with_its_age() {
    let open = Wait { flags: WAIT_OPEN | WAIT_IOWAIT | WAIT_NO_WAKER, ..wait(12, 100, 0, PAGE) };
    let books = books(vec![first(10, 0), receive(10, 10), Event::Wait(open)], 100);
    let tally = books.requests.clone().unwrap();
    assert_eq!((tally.count, tally.open, tally.oldest_open_ns), (0, 1, Some(90 * MS)));
    assert_eq!(requests(&books, Class::Disk), 88);
}

#[test]
fn a_sleep_with_a_full_socket_is_a_wait_for_the_network_by_bytes_of_the_senders() {
    let link = |pid, bytes, at: u64| {
        let ns = T0 + at * MS;
        Event::Link(Link { ns, ifindex: 5, name: "eth0".to_owned(), pid, bytes, packets: 9, backlog_min: 4, ..Link::default() })
    };
    let mut events = vec![first(10, 0), receive(10, 10), send(11, true)];
    for at in [10, 20, 30] {
        events.extend([link(OTHER, 3000, at), link(TARGET, 1000, at)]);
    }
    events.extend([Event::Wait(wait(11, 39, 0, EPOLL)), send(39, false)]);
    let books = books(events, 40);
    assert_eq!(threads(&books, Class::Network), 28);
    assert_eq!(charged(&books, Resource::Network, other(&books)), 21);
    assert_eq!(charged(&books, Resource::Network, Holder::Own), 7);
    close(&books);
}

#[test]
fn a_full_socket_without_a_queue_behind_it_means_a_slow_peer() {
    let events =
        vec![first(10, 0), receive(10, 10), send(11, true), Event::Wait(wait(11, 39, 0, EPOLL)), send(39, false)];
    let books = books(events, 40);
    assert_eq!(charged(&books, Resource::Network, Holder::Peer), 28);
    close(&books);
}

#[test]
fn a_reused_pid_is_another_process() {
    let reborn = event::Fork { ns: T0 + 20 * MS, pid: OTHER, tid: OTHER, parent_pid: 1, ..event::Fork::default() };
    let events = vec![
        first(10, 0),
        slice(0, OTHER, 10, 15),
        Event::Wait(preempted(10, 15)),
        Event::Exit(event::Exit { ns: T0 + 16 * MS, pid: OTHER }),
        Event::Fork(reborn),
        slice(0, OTHER, 30, 35),
        Event::Wait(preempted(30, 35)),
    ];
    let books = books(events, 40);
    let theirs = books.processes.iter().enumerate().filter(|(_, process)| process.pid == OTHER);
    let charges: Vec<u64> = theirs.map(|(id, _)| charged(&books, Resource::Cpu, Holder::Process(id))).collect();
    assert_eq!(charges, [5, 5]);
}
