//! What a request waits for while a process of the target works for it: a command that it runs, or a helper that it asks.

use super::*;
use crate::model::books::Nap;

/// The command that the server runs, and what that runs.
const CHILD: u32 = 110;
const GRANDCHILD: u32 = 111;

const CLIENT: u64 = 9;
const OTHER: u64 = 8;
const ASK: u64 = 7;

const REAP: u64 = 30;
const PIPE: u64 = 31;
const NAP: u64 = 32;
const FUTEX: u64 = 33;

const STORE: &str = "10.0.0.5:5432";

fn stacks() -> [Event; 4] {
    let reap = ["schedule", "do_wait", "kernel_wait4"];
    let pipe = ["schedule", "anon_pipe_read", "vfs_read"];
    let nap = ["schedule", "do_nanosleep", "hrtimer_nanosleep"];
    let futex = ["schedule", "futex_do_wait", "do_futex"];
    [
        stack(REAP, &reap),
        stack(PIPE, &pipe),
        stack(NAP, &nap),
        stack(FUTEX, &futex),
    ]
}

/// A process is born at `ms`, and runs at once.
pub(crate) fn born(pid: u32, parent_pid: u32, comm: &str, ms: u64) -> [Event; 2] {
    let fork = event::Fork {
        ns: at(ms),
        pid,
        tid: pid,
        parent_pid,
        target: true,
        start_ns: at(ms),
        comm: comm.to_owned(),
        ..event::Fork::default()
    };
    [Event::Fork(fork), of(pid, Event::Wait(first(pid, ms, 0)))]
}

pub(crate) fn ends(pid: u32, ms: u64) -> Event {
    Event::ThreadEnd(event::ThreadEnd {
        ns: at(ms),
        pid,
        tid: pid,
    })
}

/// Two threads of the server that run but for these events.
fn scene(more: Vec<Event>, end_ms: u64) -> Books {
    let mut more = more;
    more.sort_by_key(Event::ns);
    let threads = running(SERVER).into_iter().chain(running(WORKER));
    let events = stacks().into_iter().chain(threads).chain(more);
    let books = books(events, end_ms);
    assert_closed(&books);
    books
}

/// A request from 10 to 165 runs a command, and waits for its end.
fn runs(comm: &str, does: Vec<Event>) -> Vec<Event> {
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        ends(CHILD, 161),
        until(CHILD, sleep(SERVER, 12, 162, REAP)),
        send(SERVER, CLIENT, 165),
    ];
    events.extend(born(CHILD, SERVER, comm, 11));
    events.extend(does);
    events
}

/// The naps that were waited for: names, how many processes, whether by themselves, ms.
fn naps(books: &Books) -> Vec<(&str, u64, bool, u64)> {
    let naps = books.naps.iter();
    let nap = |nap: &Nap| {
        let comm = books.processes[nap.process].comm.as_str();
        (comm, nap.processes, nap.itself, nap.ns / MS)
    };
    naps.map(nap).collect()
}

/// A request runs `sleep`.
pub(crate) fn runs_sleep() -> Books {
    scene(
        runs("sleep", vec![of(CHILD, sleep(CHILD, 13, 160, NAP))]),
        200,
    )
}

#[test]
fn a_command_that_sleeps_is_waited_for_by_its_name_and_nobody_is_charged() {
    let books = runs_sleep();
    assert_eq!(naps(&books), [("sleep", 1, false, 147)]);
    // Between its end and the wakeup nothing is known of it.
    assert_eq!(requests(&books, Class::Other), 147 + 1);
    assert_eq!(requests(&books, Class::OnCpu), 155 - 148);
    assert!(books.bins.iter().all(|bin| bin.charges.is_empty()));
}

#[test]
fn a_command_that_reads_behind_tar_has_the_request_wait_for_the_disk_behind_tar() {
    let mut does: Vec<Event> = (0..8)
        .map(|i| read(CHILD, 100 + 2 * i, 101 + 2 * i, 4096))
        .collect();
    does.extend([
        read(TAR, 19, 88, 1 << 20),
        read(CHILD, 20, 89, 4096),
        of(CHILD, sleep(CHILD, 20, 89, PAGE)),
    ]);
    let books = scene(runs("grep", does), 200);
    assert_eq!(requests(&books, Class::Disk), 69);
    // The time of the command, and that of the thread that waits for it.
    assert_eq!(threads(&books, Class::Disk), 69 + 69);
    let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
    // 69 ms of the command's own, less 1.5 %. The wait of the thread is spread over 12 to 162: 88 of 150 parts of its 69 ms lie in the
    // first bin. In the second one nobody is charged, so the rest is nobody's.
    assert!((105..=109).contains(&theirs), "{theirs}");
    assert_eq!(naps(&books), []);
}

#[test]
fn a_command_that_computes_is_the_targets_own_work() {
    let books = scene(runs("gzip", Vec::new()), 200);
    assert_eq!(requests(&books, Class::OnCpu), 155 - 1);
    assert_eq!(naps(&books), []);
}

#[test]
fn a_command_without_a_cpu_stands_behind_who_runs_there() {
    let does = vec![
        slice(0, TAR, 20, 80),
        of(CHILD, Event::Wait(preempted(CHILD, 20, 80))),
    ];
    let books = scene(runs("gzip", does), 200);
    assert_eq!(requests(&books, Class::Cpu), 60);
    // Of the thread's wait, 12 to 162, 88 of 150 parts lie in the bin in which the command stands behind tar.
    let of_thread = 60 * 88 / 150;
    let theirs = charged(&books, Resource::Cpu, holder(&books, TAR));
    assert_eq!(theirs, 60 + of_thread);
}

#[test]
fn what_a_commands_command_does_is_waited_for_through_both() {
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        of(CHILD, until(GRANDCHILD, sleep(CHILD, 15, 161, REAP))),
        of(GRANDCHILD, sleep(GRANDCHILD, 16, 160, NAP)),
        // It reads what the command writes.
        until(CHILD, sleep(SERVER, 12, 163, PIPE)),
        send(SERVER, CLIENT, 165),
    ];
    events.extend(born(CHILD, SERVER, "sh", 11));
    events.extend(born(GRANDCHILD, CHILD, "sleep", 14));
    let books = scene(events, 200);
    assert_eq!(naps(&books), [("sleep", 1, false, 144)]);
    assert_eq!(requests(&books, Class::Other), 144);
    assert_eq!(requests(&books, Class::Lock), 0);
}

/// Two requests ask one helper in turn, one at a time: it takes 50 ms for each, and sleeps meanwhile.
pub(crate) fn asks_in_turn() -> Books {
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        receive(WORKER, OTHER, 10, 10),
        of(CHILD, until(SERVER, sleep(CHILD, 2, 11, PIPE))),
        of(CHILD, sleep(CHILD, 12, 62, NAP)),
        until(CHILD, sleep(SERVER, 12, 63, PIPE)),
        until(SERVER, sleep(WORKER, 12, 64, FUTEX)),
        send(SERVER, CLIENT, 65),
        of(
            CHILD,
            until_thread((SERVER, WORKER), sleep(CHILD, 63, 65, PIPE)),
        ),
        of(CHILD, sleep(CHILD, 66, 116, NAP)),
        until(CHILD, sleep(WORKER, 66, 117, PIPE)),
        send(WORKER, OTHER, 118),
    ];
    events.extend(born(CHILD, SERVER, "helper", 1));
    scene(events, 200)
}

#[test]
fn who_waits_for_its_turn_with_a_helper_waits_for_the_helper() {
    let books = asks_in_turn();
    let [(comm, processes, itself, ms)] = naps(&books)[..] else {
        panic!("{:?}", books.naps);
    };
    assert_eq!((comm, processes, itself), ("helper", 1, false));
    // But for what the helper ran meanwhile.
    assert!((145..=150).contains(&ms), "{ms}");
    assert!((145..=150).contains(&requests(&books, Class::Other)));
    assert_eq!(requests(&books, Class::Lock), 0);
}

#[test]
fn who_waits_for_a_lock_whose_owner_waits_for_a_helper_waits_for_the_helper() {
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        receive(WORKER, OTHER, 10, 10),
        of(CHILD, until(SERVER, sleep(CHILD, 2, 11, PIPE))),
        of(CHILD, sleep(CHILD, 12, 62, NAP)),
        until(CHILD, sleep(SERVER, 12, 63, PIPE)),
        until(SERVER, sleep(WORKER, 12, 64, FUTEX)),
        send(SERVER, CLIENT, 65),
        send(WORKER, OTHER, 65),
    ];
    events.extend(born(CHILD, SERVER, "helper", 1));
    let books = scene(events, 200);
    assert_eq!(naps(&books), [("helper", 1, false, 50 + 50)]);
    assert_eq!(requests(&books, Class::Lock), 0);
}

#[test]
fn a_lock_that_is_held_through_a_nap_is_a_lock_of_the_targets_own() {
    let events = vec![
        receive(SERVER, CLIENT, 10, 10),
        sleep(WORKER, 8, 60, NAP),
        until_thread((SERVER, WORKER), sleep(SERVER, 12, 62, FUTEX)),
        send(SERVER, CLIENT, 65),
    ];
    let books = scene(events, 100);
    assert_eq!(requests(&books, Class::Lock), 48);
    assert_eq!(charged(&books, Resource::Lock, Holder::OwnLock), 48);
    assert_eq!(naps(&books), []);
}

#[test]
fn a_handler_that_sleeps_itself_has_only_itself_to_wait_for() {
    let events = vec![
        receive(SERVER, CLIENT, 10, 10),
        sleep(SERVER, 12, 62, NAP),
        send(SERVER, CLIENT, 65),
    ];
    assert_eq!(naps(&scene(events, 100)), [("server", 1, true, 50)]);
}

#[test]
fn a_command_that_asks_a_server_elsewhere_waits_for_its_answer() {
    let socket = Event::Socket(event::Socket {
        ns: at(12),
        socket: ASK,
        pid: CHILD,
        local: "10.0.0.1:40000".to_owned(),
        local_port: 40_000,
        remote: STORE.to_owned(),
    });
    let books = scene(
        runs(
            "curl",
            vec![
                socket,
                of(CHILD, send(CHILD, ASK, 13)),
                of(CHILD, sleep(CHILD, 14, 94, EPOLL)),
                of(CHILD, receive(CHILD, ASK, 95, 94)),
                // The rest of the answer.
                of(CHILD, sleep(CHILD, 96, 106, EPOLL)),
                of(CHILD, receive(CHILD, ASK, 107, 106)),
            ],
        ),
        200,
    );
    assert_eq!(requests(&books, Class::Upstream), 90);
    assert_eq!(charged(&books, Resource::Upstream, Holder::Peer), 90);
    assert_eq!(books.places, [STORE]);
    // Nobody waits for the command alone: its own waits are idle.
    assert_eq!(threads(&books, Class::Upstream), 90);
}

#[test]
fn a_command_that_another_process_answers_waits_for_that_one() {
    let answered = until(RSYNC, sleep(CHILD, 20, 100, PIPE));
    let books = scene(runs("logger", vec![of(CHILD, answered)]), 200);
    assert_eq!(requests(&books, Class::Upstream), 80);
    let theirs = charged(&books, Resource::Upstream, holder(&books, RSYNC));
    assert_eq!(theirs, 80);
}

#[test]
fn a_command_may_do_more_than_is_remembered_step_by_step() {
    let reads = (0..1000).map(|i| {
        let wait = Wait {
            off_ns: at(13) + i * 147 * MS / 1000,
            ns: at(13) + i * 147 * MS / 1000 + 100_000,
            ..asleep(CHILD, 0, 0, 0, PAGE)
        };
        of(CHILD, Event::Wait(wait))
    });
    let books = scene(runs("grep", reads.collect()), 200);
    assert!(requests(&books, Class::Disk).abs_diff(100) <= 1);
    assert!(requests(&books, Class::OnCpu).abs_diff(55 - 1) <= 1);
}

#[test]
fn a_request_that_waits_long_for_its_command_is_no_long_poll() {
    let slow = |wait| {
        let mut events = vec![
            receive(SERVER, CLIENT, 10, 10),
            of(CHILD, sleep(CHILD, 13, 8000, NAP)),
            wait,
            send(SERVER, CLIENT, 8010),
        ];
        events.extend(born(CHILD, SERVER, "sleep", 11));
        tally(&scene(events, 8100)).count
    };
    assert_eq!(slow(until(CHILD, sleep(SERVER, 12, 8002, REAP))), 1);
    assert_eq!(slow(sleep(SERVER, 12, 8002, EPOLL)), 0);
}

#[test]
fn requests_that_hang_with_their_commands_hang_where_those_do() {
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        receive(WORKER, OTHER, 10, 10),
        still(SERVER, 12, 7000, REAP),
        still(WORKER, 14, 7000, REAP),
        of(CHILD, still(CHILD, 20, 7000, PAGE)),
        of(GRANDCHILD, still(GRANDCHILD, 20, 7000, NAP)),
    ];
    events.extend(born(CHILD, SERVER, "grep", 11));
    events.extend(born(GRANDCHILD, SERVER, "sleep", 13));
    let books = scene(events, 7000);
    assert_eq!(tally(&books).open, 2);
    assert_eq!(requests(&books, Class::Disk), 6980);
    assert_eq!(requests(&books, Class::Other), 6980);
    assert_eq!(naps(&books), [("sleep", 1, false, 6980)]);
}

#[test]
fn who_waits_for_which_of_more_children_is_not_known() {
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        still(SERVER, 12, 900, REAP),
        of(CHILD, still(CHILD, 20, 900, PAGE)),
        of(GRANDCHILD, still(GRANDCHILD, 20, 900, NAP)),
    ];
    events.extend(born(CHILD, SERVER, "grep", 11));
    events.extend(born(GRANDCHILD, SERVER, "sleep", 5));
    let books = scene(events, 900);
    assert_eq!(requests(&books, Class::Other), 888);
    assert_eq!(naps(&books), []);
}

#[test]
fn a_child_for_which_nobody_waits_holds_nothing_up() {
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        send(SERVER, CLIENT, 12),
        of(CHILD, sleep(CHILD, 2, 190, NAP)),
    ];
    events.extend(born(CHILD, SERVER, "sleep", 1));
    let books = scene(events, 200);
    assert_eq!((naps(&books), requests(&books, Class::Other)), (vec![], 0));
    assert_eq!(threads(&books, Class::Idle), 188);
}

#[test]
fn a_helper_is_idle_between_requests() {
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        of(CHILD, until(SERVER, sleep(CHILD, 2, 11, PIPE))),
        until(CHILD, sleep(SERVER, 12, 13, PIPE)),
        send(SERVER, CLIENT, 14),
        of(CHILD, still(CHILD, 14, 200, PIPE)),
    ];
    events.extend(born(CHILD, SERVER, "helper", 1));
    let books = scene(events, 200);
    assert_eq!(naps(&books), []);
    assert_eq!(threads(&books, Class::Idle), 9 + 186);
    assert_eq!(requests(&books, Class::OnCpu), 4);
}

#[test]
fn a_supervisor_that_waits_for_its_children_is_idle() {
    let mut events = vec![
        of(CHILD, sleep(CHILD, 3, 90, NAP)),
        ends(CHILD, 91),
        until(CHILD, sleep(SERVER, 2, 92, REAP)),
        still(SERVER, 93, 200, REAP),
    ];
    events.extend(born(CHILD, SERVER, "worker", 1));
    let books = scene(events, 200);
    assert_eq!(naps(&books), []);
    assert_eq!(threads(&books, Class::Idle), 87 + 90 + 107);
    assert_eq!(threads(&books, Class::Other), 0);
}
