//! Streams of a few events as a kernel would send them, with books worked out by hand. All times are milliseconds of the window.

pub(crate) mod answers;
mod awaited;
pub(crate) mod by_hand;
pub(crate) mod chains;
pub(crate) mod children;
pub(crate) mod clients;
mod closing;
mod completions;
mod datagram_sends;
pub(crate) mod datagrams;
mod day;
mod disks;
mod disorder;
mod forks;
mod handed;
pub(crate) mod homes;
mod hung;
mod identity;
mod itself;
pub(crate) mod ledgers;
mod limits;
mod locks;
pub(crate) mod lost;
mod memory;
mod multiplexed;
mod network;
pub(crate) mod own_locks;
mod parts;
mod places;
mod ports;
mod pushes;
pub(crate) mod questions;
mod relays;
pub(crate) mod remote;
mod requests;
mod rings;
mod run_queue;
mod sessions;
mod stacked;
mod stopped;
mod taking;
mod threads;
mod turns;
pub(crate) mod unheard;
mod unknown;
pub(crate) mod upstream;
mod waits;
pub(crate) mod writes;

use tracer_common::{
    sched::{WAIT_FIRST, WAIT_IOWAIT, WAIT_NO_WAKER, WAIT_OPEN, WAIT_RUNNABLE, WAIT_TASK_WAKER},
    tcp::{CALL_NOSPACE, CALL_SEND},
};

use super::{
    Model,
    books::{Books, Holder, Requests},
};
use crate::{
    class::{Class, Resource},
    event::{Call, Io, Link, Slice, Start},
};

/// For streams that tests of the verdict write.
pub(crate) use crate::event::{self, Event, Wait};

pub(crate) const MS: u64 = 1_000_000;
/// Begin of every window, on the border of a link's slice.
pub(crate) const T0: u64 = 10_000 * MS;

/// The target; its first thread has the same id.
pub(crate) const SERVER: u32 = 100;
/// Another thread of it.
pub(crate) const WORKER: u32 = 101;
pub(crate) const TAR: u32 = 200;
pub(crate) const RSYNC: u32 = 201;
pub(crate) const KWORKER: u32 = 300;

pub(crate) const EPOLL: u64 = 1;
pub(crate) const PAGE: u64 = 2;
pub(crate) const SEND: u64 = 3;
pub(crate) const MUTEX: u64 = 4;
/// Stacks of wakers.
pub(crate) const INTERRUPT: u64 = 5;
pub(crate) const FUTEX_WAKE: u64 = 6;

pub(crate) const STACKS: [(u64, &[&str]); 6] = [
    (EPOLL, &["schedule", "ep_poll", "do_epoll_wait"]),
    (PAGE, &["schedule", "io_schedule", "folio_wait_bit_common"]),
    (SEND, &["schedule", "sk_stream_wait_memory", "tcp_sendmsg"]),
    (MUTEX, &["schedule", "__mutex_lock", "ext4_file_write_iter"]),
    (
        INTERRUPT,
        &["try_to_wake_up", "handle_softirqs", "irq_exit_rcu"],
    ),
    (FUTEX_WAKE, &["try_to_wake_up", "futex_wake", "do_futex"]),
];

pub(crate) const fn at(ms: u64) -> u64 {
    T0 + ms * MS
}

/// The same event, of another process's one thread.
pub(crate) fn of(pid: u32, event: Event) -> Event {
    match event {
        Event::Wait(wait) => Event::Wait(Wait {
            pid,
            tid: pid,
            ..wait
        }),
        Event::Call(call) => Event::Call(Call {
            pid,
            tid: pid,
            ..call
        }),
        Event::Thread(thread) => Event::Thread(event::Thread {
            pid,
            tid: pid,
            ..thread
        }),
        other => other,
    }
}

/// A sleep that the only thread of another process ends.
pub(crate) fn until(by: u32, sleep: Event) -> Event {
    until_thread((by, by), sleep)
}

/// A sleep that this thread (process, thread) ends, in its own context.
pub(crate) fn until_thread((pid, tid): (u32, u32), sleep: Event) -> Event {
    match sleep {
        Event::Wait(wait) => Event::Wait(Wait {
            waker_pid: pid,
            waker_tid: tid,
            waking_ns: wait.ns,
            flags: WAIT_TASK_WAKER,
            ..wait
        }),
        other => other,
    }
}

pub(crate) fn process(pid: u32, comm: &str) -> event::Process {
    event::Process {
        pid,
        comm: comm.to_owned(),
        target: pid == SERVER,
        kernel: pid == KWORKER,
        ..event::Process::default()
    }
}

/// The facts at attach: the target without a thread, three other processes, the stacks.
pub(crate) fn attach() -> Vec<Event> {
    let start = Start {
        ns: T0,
        targets: vec![SERVER],
        listening: vec![80],
        ..Start::default()
    };
    let mut events = vec![Event::Start(Box::new(start))];
    let known = [
        (SERVER, "server"),
        (TAR, "tar"),
        (RSYNC, "rsync"),
        (KWORKER, "kworker/u8:1"),
    ];
    events.extend(known.map(|(pid, comm)| Event::Process(process(pid, comm))));
    events.extend(STACKS.map(|(id, frames)| stack(id, frames)));
    events
}

/// The functions of a stack, innermost first.
pub(crate) fn stack(id: u64, frames: &[&str]) -> Event {
    let frames = frames.iter().map(|frame| (*frame).to_owned()).collect();
    Event::Stack(event::Stack { ns: T0, id, frames })
}

/// The books of these events after what is known at attach.
pub(crate) fn books(events: impl IntoIterator<Item = Event>, end_ms: u64) -> Books {
    books_from(attach(), events, end_ms)
}

/// The same after other facts at attach.
pub(crate) fn books_from(
    attach: Vec<Event>,
    events: impl IntoIterator<Item = Event>,
    end_ms: u64,
) -> Books {
    let mut model = Model::new();
    let end = event::End {
        ns: at(end_ms),
        ..event::End::default()
    };
    let events = attach.into_iter().chain(events);
    for event in events.chain([Event::End(Box::new(end))]) {
        model.apply(&event);
    }
    let books = model.close();
    assert_requests_add_up(&books);
    books
}

/// A step of a thread's time line that is cut is split to whole nanoseconds, class by class: some ns in the whole window.
const CUT_NS: u64 = 1000;

/// Each ns of the requests' ledger is of one that ended, of one that is open, or of none.
fn assert_requests_add_up(books: &Books) {
    let Some(found) = &books.requests else {
        return;
    };
    let spent = books.budget(|bin| &bin.requests);
    let known = spent.iter().sum::<u64>() + found.unaccounted_ns;
    let whole = time_of(found);
    assert!(
        known.abs_diff(whole) < CUT_NS,
        "{known} ns are known of {whole}: {found:?}, {spent:?}"
    );
    let ended = found.buckets.iter().sum::<u64>();
    assert_eq!(ended + found.clipped, found.count);
}

/// The time in the window of what the requests' ledger has, ns.
fn time_of(found: &Requests) -> u64 {
    let ended = found.sum_ns - found.before_ns + found.clipped_ns;
    ended + found.open_ns + found.uncounted_ns
}

/// Each ns of it has a class: nothing is forgotten, or rounded away.
fn assert_all_has_a_class(books: &Books) {
    let found = tally(books);
    let spent: u64 = books.budget(|bin| &bin.requests).iter().sum();
    assert_eq!((spent, found.unaccounted_ns), (time_of(&found), 0));
    assert_closed(books);
}

/// A thread of the target at attach.
pub(crate) fn seed(tid: u32, state: char, function: &str) -> Event {
    let stack = vec!["schedule".to_owned(), function.to_owned()];
    Event::Thread(event::Thread {
        pid: SERVER,
        tid,
        state,
        stack,
    })
}

/// These events, of a target with a first thread that slept in epoll at attach.
pub(crate) fn sleeper(events: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let seed = seed(SERVER, 'S', "ep_poll");
    [seed].into_iter().chain(events).collect()
}

/// A thread of the target that runs all the time from attach on, but for its waits.
pub(crate) fn running(tid: u32) -> [Event; 2] {
    [seed(tid, 'R', ""), Event::Wait(first(tid, 0, 0))]
}

/// First sight of a thread, after `queue` in a run queue.
pub(crate) fn first(tid: u32, on: u64, queue: u64) -> Wait {
    Wait {
        ns: at(on),
        pid: SERVER,
        tid,
        run_queue_ns: queue * MS,
        flags: WAIT_FIRST,
        ..Wait::default()
    }
}

/// Asleep from `off` on, on a CPU again at `on` after `queue` in a run queue.
pub(crate) fn asleep(tid: u32, off: u64, on: u64, queue: u64, stack: u64) -> Wait {
    Wait {
        ns: at(on),
        pid: SERVER,
        tid,
        off_ns: at(off),
        run_queue_ns: queue * MS,
        stack,
        state: if stack == PAGE || stack == MUTEX {
            2
        } else {
            1
        },
        flags: WAIT_NO_WAKER | if stack == PAGE { WAIT_IOWAIT } else { 0 },
        ..Wait::default()
    }
}

/// Asleep in `stack` from `off` to `on`.
pub(crate) fn sleep(tid: u32, off: u64, on: u64, stack: u64) -> Event {
    Event::Wait(asleep(tid, off, on, 0, stack))
}

/// Asleep and awake in turn for a millisecond each from `from` on, for 799 ms: more steps than a thread without a request remembers.
fn many_sleeps(tid: u32, from: u64, stack: u64) -> impl Iterator<Item = Event> {
    (0..400).map(move |i| sleep(tid, from + 2 * i, from + 2 * i + 1, stack))
}

/// Still asleep at the end of the window.
pub(crate) fn still(tid: u32, off: u64, end: u64, stack: u64) -> Event {
    let wait = asleep(tid, off, end, 0, stack);
    Event::Wait(Wait {
        flags: wait.flags | WAIT_OPEN,
        ..wait
    })
}

/// Runnable without a CPU from `off` to `on`.
pub(crate) fn preempted(tid: u32, off: u64, on: u64) -> Wait {
    Wait {
        flags: WAIT_RUNNABLE,
        ..asleep(tid, off, on, on - off, 0)
    }
}

pub(crate) fn slice(cpu: u32, pid: u32, begin: u64, end: u64) -> Event {
    Event::Slice(Slice {
        ns: at(end),
        cpu,
        begin_ns: at(begin),
        pid,
        tid: pid,
    })
}

/// A read on device 7, queued and issued at once.
pub(crate) fn io(pid: u32, queue: u64, end: u64, bytes: u32) -> Io {
    Io {
        ns: at(end),
        dev: 7,
        queue_ns: at(queue),
        issue_ns: at(queue),
        bytes,
        pid,
        tid: pid,
        ..Io::default()
    }
}

pub(crate) fn read(pid: u32, queue: u64, end: u64, bytes: u32) -> Event {
    Event::Io(io(pid, queue, end, bytes))
}

pub(crate) fn call(tid: u32, socket: u64, ms: u64) -> Call {
    Call {
        ns: at(ms),
        socket,
        result: 100,
        pid: SERVER,
        tid,
        unacked_bytes: 100,
        ifindex: 5,
        ..Call::default()
    }
}

/// A thread took bytes from a socket; the first of them had come at `arrived`.
pub(crate) fn receive(tid: u32, socket: u64, ms: u64, arrived: u64) -> Event {
    Event::Call(Call {
        arrived_ns: at(arrived),
        ..call(tid, socket, ms)
    })
}

pub(crate) fn send(tid: u32, socket: u64, ms: u64) -> Event {
    Event::Call(Call {
        flags: CALL_SEND,
        ..call(tid, socket, ms)
    })
}

/// A send that left bytes behind for which the socket had no room.
pub(crate) fn send_part(tid: u32, socket: u64, ms: u64) -> Event {
    Event::Call(Call {
        flags: CALL_SEND | CALL_NOSPACE,
        ..call(tid, socket, ms)
    })
}

/// The record of one process's sends through interface 5 in the 10 ms from `ms` on.
pub(crate) fn sent(pid: u32, ms: u64, bytes: u64, backlog_min: u32) -> Event {
    Event::Link(Link {
        ns: at(ms),
        ifindex: 5,
        name: "eth0".to_owned(),
        pid,
        packets: 1,
        bytes,
        backlog_min,
        ..Link::default()
    })
}

/// The same through another interface.
pub(crate) fn sent_elsewhere(pid: u32, ms: u64, bytes: u64, backlog_min: u32) -> Link {
    let Event::Link(link) = sent(pid, ms, bytes, backlog_min) else {
        panic!("no link")
    };
    Link {
        ifindex: 7,
        name: "eth1".to_owned(),
        ..link
    }
}

pub(crate) fn threads(books: &Books, class: Class) -> u64 {
    books.budget(|bin| &bin.threads)[class.index()] / MS
}

pub(crate) fn requests(books: &Books, class: Class) -> u64 {
    books.budget(|bin| &bin.requests)[class.index()] / MS
}

pub(crate) fn tally(books: &Books) -> Requests {
    books.requests.clone().unwrap_or_default()
}

pub(crate) fn charged_ns(books: &Books, resource: Resource, holder: Holder) -> u64 {
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let of = charges.filter(|charge| (charge.resource, charge.holder) == (resource, holder));
    of.map(|charge| charge.ns).sum()
}

pub(crate) fn charged(books: &Books, resource: Resource, holder: Holder) -> u64 {
    charged_ns(books, resource, holder) / MS
}

/// The process that has an id first.
pub(crate) fn holder(books: &Books, pid: u32) -> Holder {
    let position = books
        .processes
        .iter()
        .position(|process| process.pid == pid);
    Holder::Process(position.unwrap())
}

/// Each ns of a thread is in one class or unaccounted, and each ns of a resource is charged once.
pub(crate) fn assert_closed(books: &Books) {
    let spent = books.budget(|bin| &bin.threads);
    assert_eq!(
        spent.iter().sum::<u64>() + books.unaccounted_ns,
        books.wall_ns
    );
    for resource in Resource::ALL {
        let charges = books.bins.iter().flat_map(|bin| &bin.charges);
        let charged = charges
            .filter(|charge| charge.resource == resource)
            .map(|charge| charge.ns);
        let class = resource.class();
        assert_eq!(charged.sum::<u64>(), spent[class.index()], "{resource:?}");
    }
}
