//! Identity of processes.

use super::*;

fn fork(ms: u64, pid: u32, parent_pid: u32) -> event::Fork {
    event::Fork {
        ns: at(ms),
        pid,
        tid: pid,
        parent_pid,
        target: parent_pid == SERVER,
        comm: "forked".to_owned(),
        ..event::Fork::default()
    }
}

fn exec(ms: u64, pid: u32, comm: &str) -> Event {
    let comm = comm.to_owned();
    Event::Exec(event::Exec {
        ns: at(ms),
        pid,
        comm,
        ..event::Exec::default()
    })
}

fn comms(books: &Books, pid: u32) -> Vec<&str> {
    let of = books.processes.iter().filter(|process| process.pid == pid);
    of.map(|process| process.comm.as_str()).collect()
}

fn parent_comm(books: &Books, pid: u32) -> Option<&str> {
    let process = books.processes.iter().rfind(|process| process.pid == pid)?;
    Some(books.processes[process.parent?].comm.as_str())
}

#[test]
fn a_child_of_the_target_is_the_target() {
    let child = 110;
    let events = [
        Event::Fork(fork(20, child, SERVER)),
        slice(0, TAR, 20, 30),
        Event::Wait(Wait {
            pid: child,
            ..first(child, 30, 10)
        }),
        slice(1, child, 30, 40),
        Event::Wait(Wait {
            cpu: 1,
            ..preempted(SERVER, 30, 40)
        }),
        Event::ThreadEnd(event::ThreadEnd {
            ns: at(60),
            pid: child,
            tid: child,
        }),
        Event::Exit(event::Exit {
            ns: at(60),
            pid: child,
        }),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!((books.threads, books.wall_ns), (2, (100 + 40) * MS));
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 10);
    assert_eq!(charged(&books, Resource::Cpu, Holder::Own), 10);
    assert_eq!(threads(&books, Class::OnCpu), (100 - 10) + 30);
    assert_closed(&books);
}

#[test]
fn a_process_that_joins_is_the_target_from_then_on() {
    let joined = event::Joined {
        ns: at(40),
        pid: RSYNC,
    };
    let thread = event::Thread {
        pid: RSYNC,
        tid: RSYNC,
        state: 'S',
        stack: vec!["schedule".to_owned(), "ep_poll".to_owned()],
    };
    let events = [
        // Before, it is a stranger like any other.
        slice(0, RSYNC, 10, 20),
        Event::Wait(preempted(SERVER, 10, 20)),
        Event::Joined(joined),
        Event::Thread(thread),
        Event::Wait(Wait {
            pid: RSYNC,
            ..first(RSYNC, 60, 10)
        }),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!((books.threads, books.wall_ns), (2, (100 + 60) * MS));
    assert_eq!(threads(&books, Class::Idle), 10);
    assert_eq!(threads(&books, Class::Cpu), 10 + 10);
    assert_eq!(threads(&books, Class::OnCpu), 90 + 40);
    let process = books.processes.iter().find(|process| process.pid == RSYNC);
    assert!(process.is_some_and(|process| process.target));
    assert_eq!(books.targets.len(), 1);
    assert_closed(&books);
}

#[test]
fn a_process_whose_fork_is_told_after_it_was_found_joins_again() {
    let child = 110;
    let found = event::Process {
        target: true,
        ..process(child, "server")
    };
    let late = event::Fork {
        target: false,
        ..fork(1, child, SERVER)
    };
    let joined = event::Joined {
        ns: at(2),
        pid: child,
    };
    let events = [
        Event::Process(found),
        Event::Fork(late),
        Event::Joined(joined),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 10);
    let last = books.processes.iter().rfind(|process| process.pid == child);
    assert!(last.is_some_and(|process| process.target));
}

#[test]
fn a_parent_that_proc_lists_after_its_child_is_found() {
    let child = event::Process {
        parent_pid: 500,
        ..process(400, "gzip")
    };
    let books = books(
        [
            Event::Process(child),
            Event::Process(process(500, "backup.sh")),
        ],
        10,
    );
    assert_eq!(parent_comm(&books, 400), Some("backup.sh"));
}

#[test]
fn a_parent_whose_id_was_taken_by_another_is_still_the_parent() {
    let child = event::Process {
        parent_pid: 500,
        ..process(400, "gzip")
    };
    let events = [
        Event::Process(child),
        Event::Process(process(500, "backup.sh")),
        Event::Exit(event::Exit {
            ns: at(5),
            pid: 500,
        }),
        Event::Fork(fork(6, 500, TAR)),
        exec(7, 500, "stranger"),
    ];
    assert_eq!(parent_comm(&books(events, 10), 400), Some("backup.sh"));
}

#[test]
fn a_reused_id_is_another_process_for_what_it_sends() {
    let events = [
        sent(TAR, 0, 1000, 1),
        Event::Exit(event::Exit {
            ns: at(5),
            pid: TAR,
        }),
        Event::Fork(fork(6, TAR, RSYNC)),
        sent(TAR, 10, 500, 1),
    ];
    let books = books(events, 20);
    assert_eq!(comms(&books, TAR), ["tar", "forked"]);
    let bytes: Vec<u64> = books.held.values().map(|held| held.bytes).collect();
    assert_eq!(bytes, [1000, 500]);
}

#[test]
fn a_forked_process_is_its_parents_image_until_it_becomes_another_program() {
    let events = [
        Event::Fork(fork(5, 400, RSYNC)),
        exec(6, 400, "ssh"),
        Event::Fork(fork(7, 401, RSYNC)),
    ];
    let books = books(events, 10);
    assert_eq!(
        (comms(&books, 400), parent_comm(&books, 400)),
        (vec!["ssh"], Some("rsync"))
    );
    assert_eq!(comms(&books, 401), ["forked"]);
}

#[test]
fn a_holder_that_was_never_seen_is_a_process_without_a_name() {
    let events = [
        slice(0, 999, 20, 30),
        Event::Wait(preempted(SERVER, 20, 30)),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 40);
    assert_eq!(comms(&books, 999), ["unknown"]);
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, 999)), 10);
}
