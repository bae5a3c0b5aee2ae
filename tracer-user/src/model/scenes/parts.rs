//! The target's own parts: its processes, its threads, and the clients for which they work.

use super::{clients::*, *};
use crate::model::books::{Client, OwnPart};

/// A child of the target.
pub(super) const CHILD: u32 = 130;

pub(super) fn child() -> Event {
    Event::Fork(event::Fork {
        ns: at(1),
        pid: CHILD,
        tid: CHILD,
        parent_pid: SERVER,
        target: true,
        start_ns: 1,
        comm: "server".to_owned(),
        ..event::Fork::default()
    })
}

/// Time that a part had, ms, by process and thread.
pub(super) fn part_ms(books: &Books, resource: Resource, pid: u32, tid: u32) -> u64 {
    let of = books.own.iter().filter(|own: &&OwnPart| {
        let process = &books.processes[own.part.process];
        (own.resource, process.pid, own.part.tid) == (resource, pid, tid)
    });
    of.map(|own| own.ns).sum::<u64>() / MS
}

/// Time that all parts had, ms.
pub(super) fn parts_ms(books: &Books, resource: Resource) -> u64 {
    let of = books.own.iter().filter(|own| own.resource == resource);
    of.map(|own| own.ns).sum::<u64>() / MS
}

#[test]
fn a_disk_wait_behind_another_process_of_the_target_is_that_ones_part() {
    let mut events: Vec<Event> = sleeper([child(), Event::Wait(first(SERVER, 1, 0))]);
    events.extend((0..8).map(|i| read(SERVER, 10 + 2 * i, 11 + 2 * i, 4096)));
    for turn in 0..20 {
        let begin = 100 + 100 * turn;
        events.push(read(CHILD, begin, begin + 40, 1 << 20));
        events.push(read(SERVER, begin, begin + 41, 4096));
        events.push(sleep(SERVER, begin, begin + 41, PAGE));
    }
    events.sort_by_key(Event::ns);
    let books = books(events, 2_200);
    // 1 ms of each wait is its own, as it takes alone.
    let child = part_ms(&books, Resource::Disk, CHILD, CHILD);
    assert!(child.abs_diff(20 * 40) < 40, "{child}");
    let own = part_ms(&books, Resource::Disk, SERVER, SERVER);
    assert!((15..60).contains(&own), "{own}");
    assert_eq!(
        parts_ms(&books, Resource::Disk),
        charged(&books, Resource::Disk, Holder::Own)
    );
    assert_closed(&books);
}

#[test]
fn the_threads_that_had_the_cpu_are_its_parts() {
    let slice = |tid, begin, end| {
        Event::Slice(Slice {
            ns: at(end),
            cpu: 0,
            begin_ns: at(begin),
            pid: SERVER,
            tid,
        })
    };
    let events = vec![
        Event::Wait(first(SERVER, 1, 0)),
        slice(WORKER, 20, 50),
        slice(WORKER + 1, 50, 60),
        Event::Wait(preempted(SERVER, 20, 60)),
    ];
    let books = books(sleeper(events), 100);
    assert_eq!(part_ms(&books, Resource::Cpu, SERVER, WORKER), 30);
    assert_eq!(part_ms(&books, Resource::Cpu, SERVER, WORKER + 1), 10);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 40);
    assert_closed(&books);
}

#[test]
fn whoever_lets_go_of_an_own_lock_has_its_part() {
    let wait = Wait {
        waker_pid: SERVER,
        waker_tid: WORKER,
        flags: WAIT_TASK_WAKER,
        ..asleep(SERVER, 20, 50, 0, MUTEX)
    };
    let events = vec![Event::Wait(first(SERVER, 1, 0)), Event::Wait(wait)];
    let books = books(sleeper(events), 100);
    assert_eq!(charged(&books, Resource::Lock, Holder::OwnLock), 30);
    assert_eq!(part_ms(&books, Resource::Lock, SERVER, WORKER), 30);
}

/// The time of each client's part, ms: with the client's address, or the pid of its process.
fn by_client(books: &Books) -> Vec<(Option<String>, u64)> {
    let mut sums = std::collections::BTreeMap::<Option<String>, u64>::new();
    for own in &books.own {
        let client = own.part.client.map(|client| match client {
            Client::Address(address) => books.addresses[address as usize].clone(),
            Client::Process(id) => books.processes[id].pid.to_string(),
        });
        *sums.entry(client).or_default() += own.ns;
    }
    sums.into_iter()
        .map(|(client, ns)| (client, ns / MS))
        .collect()
}

#[test]
fn clients_on_other_machines_are_told_apart_by_address() {
    let remotes = ["10.9.0.1:40001", "10.9.0.1:40002", "10.9.0.2:40003"];
    let books = books(dump([None; 3], remotes), 10_000);
    // In 198 waits of 41 ms nearly all is the dump's (see the stream), and in 99 waits of the dump itself a part.
    let clients = by_client(&books);
    let ms = |wanted: &str| {
        let mut of = clients.iter();
        let found = of.find(|(client, _)| client.as_deref() == Some(wanted));
        found.map_or(0, |(_, ms)| *ms)
    };
    assert!(ms("10.9.0.2") > 198 * 38, "{clients:?}");
    assert!(ms("10.9.0.1") > 198, "{clients:?}");
    assert_eq!(
        parts_ms(&books, Resource::Disk),
        charged(&books, Resource::Disk, Holder::Own)
    );
    // They are still one heap where clients are charged with each other's waits.
    let served = books.bins.iter().flat_map(|bin| &bin.served);
    assert_eq!(served.count(), 0);
}

#[test]
fn a_title_that_a_process_wrote_later_is_its_command_line() {
    let named = |pid, tid, comm: &str, cmdline: &str| {
        Event::Named(event::Named {
            ns: at(50),
            pid,
            tid,
            comm: comm.to_owned(),
            cmdline: cmdline.to_owned(),
        })
    };
    let events = vec![
        child(),
        named(CHILD, 0, "", "server: vacuum"),
        named(SERVER, WORKER, "flusher", ""),
        // Nobody knows this one: it is not made up.
        named(999, 0, "", "ghost"),
    ];
    let books = books(sleeper(events), 100);
    let of = |pid| books.processes.iter().find(|process| process.pid == pid);
    assert_eq!(of(CHILD).unwrap().cmdline, "server: vacuum");
    assert!(of(999).is_none());
    assert_eq!(books.thread_names[&WORKER], "flusher");
}
