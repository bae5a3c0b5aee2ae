//! Streams of a few events, with books worked out by hand.

use tracer_common::{
    block::{IO_KTHREAD, IO_TARGET},
    sched::{WAIT_FIRST, WAIT_IOWAIT, WAIT_NO_WAKER, WAIT_OPEN, WAIT_RUNNABLE},
    tcp::{CALL_NOSPACE, CALL_SEND},
};

use super::{
    Model,
    books::{Books, Holder, worker_name},
};
use crate::{
    class::{Class, Resource},
    event::{self, Call, Event, Io, Link, Migrate, Slice, Source, Start, Wait},
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
const COMMIT: u64 = 5;

fn process(pid: u32, target: bool) -> Event {
    let comm = if target { "server" } else { "backup" };
    Event::Process(event::Process {
        pid,
        comm: comm.to_owned(),
        target,
        ..event::Process::default()
    })
}

fn stack(id: u64, frames: &[&str]) -> Event {
    let frames = frames.iter().map(|frame| (*frame).to_owned()).collect();
    Event::Stack(event::Stack { ns: T0, id, frames })
}

/// A target with one thread that slept in epoll at attach, and one other process.
fn scene(events: Vec<Event>) -> Vec<Event> {
    let start = Start {
        ns: T0,
        targets: vec![TARGET],
        listening: vec![80],
        ..Start::default()
    };
    let thread = event::Thread {
        pid: TARGET,
        tid: TARGET,
        state: 'S',
        stack: vec!["ep_poll".to_owned()],
    };
    let mut all = vec![
        Event::Start(Box::new(start)),
        process(TARGET, true),
        process(OTHER, false),
        Event::Thread(thread),
        stack(EPOLL, &["schedule", "ep_poll", "do_epoll_wait"]),
        stack(PAGE, &["schedule", "io_schedule", "folio_wait_bit_common"]),
        stack(
            INTERRUPT,
            &["try_to_wake_up", "handle_softirqs", "irq_exit_rcu"],
        ),
        stack(COMMIT, &["schedule", "jbd2_log_wait_commit"]),
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
    model.apply(&Event::End(Box::new(event::End {
        ns: T0 + end_ms * MS,
        ..event::End::default()
    })));
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
    Wait {
        flags: WAIT_RUNNABLE,
        ..wait(off, on, on - off, 0)
    }
}

fn slice(cpu: u32, pid: u32, begin: u64, end: u64) -> Event {
    Event::Slice(Slice {
        ns: T0 + end * MS,
        cpu,
        begin_ns: T0 + begin * MS,
        pid,
        tid: pid,
    })
}

fn io(pid: u32, queue: u64, end: u64, bytes: u32, flags: u32) -> Event {
    let (queue_ns, ns) = (T0 + queue * MS, T0 + end * MS);
    Event::Io(Io {
        ns,
        dev: 7,
        queue_ns,
        issue_ns: queue_ns,
        bytes,
        pid,
        tid: pid,
        flags,
        ..Io::default()
    })
}

fn receive(at: u64, arrived: u64) -> Event {
    let (ns, arrived_ns) = (T0 + at * MS, T0 + arrived * MS);
    Event::Call(Call {
        ns,
        socket: 9,
        result: 100,
        arrived_ns,
        pid: TARGET,
        tid: TARGET,
        ..Call::default()
    })
}

fn send(at: u64, more: bool) -> Event {
    let flags = CALL_SEND | if more { CALL_NOSPACE } else { 0 };
    let call = Call {
        ns: T0 + at * MS,
        socket: 9,
        result: 100,
        ifindex: 5,
        flags,
        ..Call::default()
    };
    Event::Call(Call {
        pid: TARGET,
        tid: TARGET,
        ..call
    })
}

fn threads(books: &Books, class: Class) -> u64 {
    books.budget(|bin| &bin.threads)[class.index()] / MS
}

fn requests(books: &Books, class: Class) -> u64 {
    books.budget(|bin| &bin.requests)[class.index()] / MS
}

fn charged(books: &Books, resource: Resource, holder: Holder) -> u64 {
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    charges
        .filter(|charge| (charge.resource, charge.holder) == (resource, holder))
        .map(|charge| charge.ns)
        .sum::<u64>()
        / MS
}

fn other(books: &Books) -> Holder {
    Holder::Process(
        books
            .processes
            .iter()
            .position(|process| process.pid == OTHER)
            .unwrap(),
    )
}

/// Every thread's time is in exactly one class, and every class's time is charged.
fn close(books: &Books) {
    let spent: u64 = books.budget(|bin| &bin.threads).iter().sum();
    assert_eq!(spent + books.unaccounted_ns, books.wall_ns);
    for resource in Resource::ALL {
        let class = resource.class().unwrap();
        let charges = books
            .bins
            .iter()
            .flat_map(|bin| &bin.charges)
            .filter(|charge| charge.resource == resource);
        assert_eq!(
            charges.map(|charge| charge.ns).sum::<u64>(),
            books.budget(|bin| &bin.threads)[class.index()]
        );
    }
}

mod disks;
mod latency;
mod remote;
mod requests;
mod waits;
