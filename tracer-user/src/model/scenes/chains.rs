//! Threads that wait for each other: pools, conditions, locks.

use super::*;

const CLIENT: u64 = 9;
const SECOND: u32 = 102;
const THIRD: u32 = 103;
const FUTEX: u64 = 20;
const PIPE: u64 = 21;
const PIPE_WRITE: u64 = 22;
const CHILD: u64 = 23;
const CHILD_ENDS: u64 = 24;

fn stacks() -> Vec<Event> {
    let stack = |id, frames: &[&str]| {
        let frames = frames.iter().map(|frame| (*frame).to_owned()).collect();
        Event::Stack(event::Stack { ns: T0, id, frames })
    };
    vec![
        stack(
            FUTEX,
            &["schedule", "futex_do_wait", "__futex_wait", "do_futex"],
        ),
        stack(PIPE, &["schedule", "anon_pipe_read", "vfs_read"]),
        stack(
            PIPE_WRITE,
            &[
                "try_to_wake_up",
                "autoremove_wake_function",
                "anon_pipe_write",
            ],
        ),
        stack(CHILD, &["schedule", "do_wait", "kernel_wait4"]),
        stack(
            CHILD_ENDS,
            &[
                "try_to_wake_up",
                "child_wait_callback",
                "do_notify_parent",
                "do_exit",
            ],
        ),
    ]
}

fn woken_by(pid: u32, tid: u32, by: u64, wait: Wait) -> Event {
    Event::Wait(Wait {
        waker_pid: pid,
        waker_tid: tid,
        waker_stack: by,
        waking_ns: wait.ns,
        flags: 0,
        ..wait
    })
}

fn scene(more: Vec<Event>, end_ms: u64) -> Books {
    let mut events = stacks();
    for tid in [SERVER, WORKER, SECOND, THIRD] {
        events.extend(running(tid));
    }
    let mut more = more;
    more.sort_by_key(Event::ns);
    events.extend(more);
    books(events, end_ms)
}

/// 50 ms on a futex that tar released.
pub(crate) fn behind_anothers_lock() -> Books {
    ended_by(TAR, FUTEX_WAKE, FUTEX)
}

/// 50 ms in a read from a pipe into which rsync wrote.
pub(crate) fn answered_through_a_pipe() -> Books {
    ended_by(RSYNC, PIPE_WRITE, PIPE)
}

fn ended_by(pid: u32, waking: u64, sleeping: u64) -> Books {
    scene(
        vec![
            receive(SERVER, CLIENT, 10, 10),
            woken_by(pid, pid, waking, asleep(SERVER, 12, 62, 0, sleeping)),
            send(SERVER, CLIENT, 65),
        ],
        80,
    )
}

#[test]
fn a_chain_of_three_threads_ends_on_the_disk_of_the_last() {
    let books = scene(
        vec![
            receive(SERVER, CLIENT, 10, 10),
            // The last one reads from 20 to 80, then wakes the one before, and so on.
            sleep(THIRD, 20, 80, PAGE),
            woken_by(SERVER, THIRD, FUTEX_WAKE, asleep(SECOND, 16, 82, 0, FUTEX)),
            woken_by(SERVER, SECOND, FUTEX_WAKE, asleep(WORKER, 14, 84, 0, FUTEX)),
            woken_by(SERVER, WORKER, FUTEX_WAKE, asleep(SERVER, 12, 86, 0, FUTEX)),
            send(SERVER, CLIENT, 90),
        ],
        100,
    );
    assert_eq!(requests(&books, Class::Disk), 60);
    assert_eq!(requests(&books, Class::OnCpu), 20);
    assert_eq!(requests(&books, Class::Other), 0);
    assert_closed(&books);
}

#[test]
fn a_waker_that_the_kernel_counts_as_no_interrupt_needs_no_stack() {
    let waited = [WAIT_TASK_WAKER, 0, WAIT_NO_WAKER].map(|flags| {
        let woken = Wait {
            waker_pid: SERVER,
            waker_tid: WORKER,
            waking_ns: at(86),
            flags,
            ..asleep(SERVER, 12, 86, 0, FUTEX)
        };
        let books = scene(
            vec![
                receive(SERVER, CLIENT, 10, 10),
                sleep(WORKER, 20, 80, PAGE),
                Event::Wait(woken),
                send(SERVER, CLIENT, 90),
            ],
            100,
        );
        assert_closed(&books);
        requests(&books, Class::Disk)
    });
    assert_eq!(waited, [60, 0, 0]);
}

/// As a shell waits for `gzip`, and `inetd` for the shell.
#[test]
fn who_waits_for_a_childs_end_hears_of_it_when_the_child_is_no_more() {
    let books = scene(
        vec![
            receive(SERVER, CLIENT, 10, 10),
            sleep(THIRD, 20, 80, PAGE),
            Event::ThreadEnd(event::ThreadEnd {
                ns: T0 + 84 * MS,
                pid: SERVER,
                tid: THIRD,
            }),
            woken_by(SERVER, THIRD, CHILD_ENDS, asleep(SERVER, 12, 86, 0, CHILD)),
            send(SERVER, CLIENT, 90),
        ],
        100,
    );
    assert_eq!(requests(&books, Class::Disk), 60);
    // Between its end and the wakeup nothing is known of it.
    assert_eq!(requests(&books, Class::Other), 2);
    assert_closed(&books);
}

#[test]
fn a_lock_among_its_own_threads_is_what_the_thread_that_had_it_did() {
    let books = scene(
        vec![
            receive(SERVER, CLIENT, 10, 10),
            slice(0, TAR, 20, 50),
            Event::Wait(preempted(WORKER, 20, 50)),
            woken_by(SERVER, WORKER, FUTEX_WAKE, asleep(SERVER, 12, 62, 0, FUTEX)),
            send(SERVER, CLIENT, 65),
        ],
        80,
    );
    // It had the lock while it ran, and while it was runnable behind tar.
    assert_eq!(requests(&books, Class::Cpu), 30);
    assert_eq!(requests(&books, Class::OnCpu), 55 - 30);
    assert_eq!(requests(&books, Class::Lock), 0);
    // The same wait of two threads.
    assert_eq!(charged(&books, Resource::Cpu, holder(&books, TAR)), 60);
    assert_closed(&books);
}

#[test]
fn a_lock_that_another_process_had_is_charged_to_it() {
    let books = behind_anothers_lock();
    assert_eq!(
        (requests(&books, Class::Lock), threads(&books, Class::Lock)),
        (50, 50)
    );
    assert_eq!(charged(&books, Resource::Lock, holder(&books, TAR)), 50);
    assert_closed(&books);
}

#[test]
fn an_answer_through_a_pipe_is_upstream_from_who_wrote_it() {
    let books = answered_through_a_pipe();
    assert_eq!(requests(&books, Class::Upstream), 50);
    assert_eq!(
        charged(&books, Resource::Upstream, holder(&books, RSYNC)),
        50
    );
    assert_closed(&books);
}

#[test]
fn who_wakes_a_thread_without_a_request_holds_nothing_up() {
    let wake = woken_by(TAR, TAR, FUTEX_WAKE, asleep(SERVER, 12, 62, 0, FUTEX));
    let books = scene(vec![wake], 80);
    assert_eq!(threads(&books, Class::Idle), 50);
    assert_eq!(threads(&books, Class::Lock), 0);
    assert_closed(&books);
}

#[test]
fn a_bystander_of_an_interrupt_holds_nothing() {
    let books = scene(
        vec![
            receive(SERVER, CLIENT, 10, 10),
            woken_by(TAR, TAR, INTERRUPT, asleep(SERVER, 12, 62, 0, FUTEX)),
            send(SERVER, CLIENT, 65),
        ],
        80,
    );
    assert_eq!(requests(&books, Class::Other), 50);
    assert_closed(&books);
}

#[test]
fn a_lock_that_is_asked_for_again_and_again_is_one_wait_for_its_owner() {
    // Every 5 ms a timer wakes the thread, which asks again.
    let tries = |off, on| Wait {
        ran_since_ns: at(off),
        ..asleep(SECOND, off, on, 0, FUTEX)
    };
    let last = Wait {
        ran_since_ns: at(22),
        ..asleep(SECOND, 22, 41, 0, FUTEX)
    };
    // It is no server: the thread that is waits for it.
    let books = scene(
        vec![
            sleep(WORKER, 8, 40, PAGE),
            receive(SERVER, CLIENT, 10, 10),
            Event::Wait(tries(12, 17)),
            Event::Wait(tries(17, 22)),
            woken_by(SERVER, WORKER, FUTEX_WAKE, last),
            woken_by(SERVER, SECOND, FUTEX_WAKE, asleep(SERVER, 12, 42, 0, FUTEX)),
            send(SERVER, CLIENT, 45),
        ],
        80,
    );
    assert_eq!(requests(&books, Class::Disk), 28);
    assert_eq!(requests(&books, Class::Other), 0);
    assert_closed(&books);
}

#[test]
fn what_a_pool_does_for_an_event_loop_is_the_time_of_the_request_over_all_sleeps_of_the_loop() {
    const OTHERS: u64 = 10;
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        woken_by(SERVER, SERVER, FUTEX_WAKE, asleep(WORKER, 1, 11, 0, FUTEX)),
        sleep(WORKER, 11, 51, PAGE),
    ];
    // Meanwhile the loop serves others, each woken for by an interrupt.
    for begin in (11..47).step_by(4) {
        events.extend([
            sleep(SERVER, begin, begin + 2, EPOLL),
            receive(SERVER, OTHERS, begin + 2, begin + 2),
            send(SERVER, OTHERS, begin + 3),
        ]);
    }
    events.extend([
        woken_by(SERVER, WORKER, FUTEX_WAKE, asleep(SERVER, 47, 51, 0, EPOLL)),
        send(SERVER, CLIENT, 52),
    ]);
    let books = scene(events, 80);
    assert_eq!(requests(&books, Class::Disk), 9 * 2 + 4);
    assert_eq!(requests(&books, Class::Other), 0);
    assert_closed(&books);
}
