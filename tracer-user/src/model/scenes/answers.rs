//! Whoever is asked, by any way: a thread that another process wakes has waited for that one.

use tracer_common::tcp::CALL_CLOSE;

use super::*;

const CLIENT: u64 = 9;
/// The connection of another client.
const OTHER: u64 = 8;
/// The stack of the sleep, whatever it is.
const ASKS: u64 = 30;
/// `TASK_KILLABLE`
const KILLABLE: u32 = 0x102;
/// `TASK_UNINTERRUPTIBLE`
const UNINTERRUPTIBLE: u32 = 2;

const PIPE_WRITE: &[&str] = &["schedule", "anon_pipe_write", "vfs_write", "ksys_write"];
const LOOP: &[&str] = &["schedule", "ep_poll", "do_epoll_wait"];
const UNIX_SEND: &[&str] = &["schedule", "sock_alloc_send_pskb", "unix_stream_sendmsg"];

/// A thread sleeps from 12 to 62, until a task wakes it.
fn woken(tid: u32, (pid, by): (u32, u32)) -> Wait {
    Wait {
        waker_pid: pid,
        waker_tid: by,
        waking_ns: at(62),
        flags: WAIT_TASK_WAKER,
        ..asleep(tid, 12, 62, 0, ASKS)
    }
}

/// The server sleeps from 12 to 62, until another process wakes it.
fn woken_by(pid: u32) -> Wait {
    woken(SERVER, (pid, pid))
}

/// An interrupt wakes the server while another process runs.
fn interrupted(pid: u32) -> Wait {
    Wait {
        flags: WAIT_NO_WAKER,
        ..woken_by(pid)
    }
}

/// The server does this in `functions`, without a request.
fn alone(functions: &[&str], wait: Wait) -> Books {
    beside(functions, vec![Event::Wait(wait)])
}

/// The same for a request from 10 to 65.
fn serving(functions: &[&str], wait: Wait) -> Books {
    let events = vec![
        receive(SERVER, CLIENT, 10, 10),
        Event::Wait(wait),
        send(SERVER, CLIENT, 65),
    ];
    beside(functions, events)
}

/// Two threads, each busy but for these events.
fn beside(functions: &[&str], events: Vec<Event>) -> Books {
    let threads = running(SERVER).into_iter().chain(running(WORKER));
    let events = [stack(ASKS, functions)]
        .into_iter()
        .chain(threads)
        .chain(events);
    let books = books(events, 80);
    assert_closed(&books);
    books
}

/// The threads' time for answers, and what of it rsync is charged with, ms.
fn upstream(books: &Books) -> (u64, u64) {
    let theirs = charged(books, Resource::Upstream, holder(books, RSYNC));
    (threads(books, Class::Upstream), theirs)
}

/// 50 ms in a write to a pipe that rsync reads.
pub(crate) fn full_pipe() -> Books {
    serving(PIPE_WRITE, woken_by(RSYNC))
}

#[test]
fn who_writes_to_a_full_pipe_waits_for_the_process_that_reads_it() {
    let books = full_pipe();
    assert_eq!(upstream(&books), (50, 50));
    assert_eq!(requests(&books, Class::Upstream), 50);
    assert_eq!(requests(&books, Class::Other), 0);
}

#[test]
fn a_full_pipe_blocks_who_owns_no_request_too() {
    let books = alone(PIPE_WRITE, woken_by(RSYNC));
    assert_eq!(upstream(&books), (50, 50));
    assert_eq!(threads(&books, Class::Idle), 0);
}

#[test]
fn the_way_need_not_be_known() {
    let ways: [&[&str]; 8] = [
        &["schedule", "pipe_wait_writable", "do_splice"],
        &["schedule", "wq_sleep", "do_mq_timedsend"],
        &["schedule", "do_msgsnd", "__x64_sys_msgsnd"],
        &["schedule", "wait_woken", "n_tty_write", "file_tty_write"],
        &["schedule", "autofs_wait", "autofs_mount_wait"],
        &["schedule", "seccomp_do_user_notification"],
        &["schedule", "handle_userfault", "handle_mm_fault"],
        // `vfork`
        &["schedule", "wait_for_completion_state", "kernel_clone"],
    ];
    for functions in ways {
        for state in [1, 0x2001, KILLABLE] {
            let wait = Wait {
                state,
                ..woken_by(RSYNC)
            };
            assert_eq!(upstream(&alone(functions, wait)), (50, 50), "{functions:?}");
        }
    }
}

#[test]
fn a_bystander_of_the_interrupt_that_ends_a_wait_is_not_waited_for() {
    let books = serving(PIPE_WRITE, interrupted(RSYNC));
    assert_eq!(upstream(&books), (0, 0));
    assert_eq!(threads(&books, Class::Other), 50);
}

#[test]
fn a_thread_of_the_kernel_works_for_others() {
    let books = serving(PIPE_WRITE, woken_by(KWORKER));
    assert_eq!(threads(&books, Class::Upstream), 0);
    assert_eq!(threads(&books, Class::Other), 50);
}

#[test]
fn of_a_wait_that_nobody_has_ended_nobody_is_known() {
    let books = beside(PIPE_WRITE, vec![still(SERVER, 12, 80, ASKS)]);
    assert_eq!(threads(&books, Class::Other), 68);
}

#[test]
fn a_sleep_that_no_signal_can_end_is_one_inside_the_kernel() {
    let wait = Wait {
        state: UNINTERRUPTIBLE,
        ..woken_by(RSYNC)
    };
    let books = alone(&["schedule", "d_alloc_parallel", "lookup_slow"], wait);
    assert_eq!(upstream(&books), (0, 0));
    assert_eq!(threads(&books, Class::Other), 50);
}

#[test]
fn who_reads_from_a_device_may_wait_for_work() {
    let books = alone(&["schedule", "evdev_read", "vfs_read"], woken_by(RSYNC));
    assert_eq!(upstream(&books), (0, 0));
    assert_eq!(threads(&books, Class::Other), 50);
}

#[test]
fn what_an_own_thread_does_not_take_waits_for_what_that_thread_waits_for() {
    for functions in [PIPE_WRITE, UNIX_SEND] {
        let events = vec![
            sleep(WORKER, 20, 50, PAGE),
            Event::Wait(woken(SERVER, (SERVER, WORKER))),
        ];
        let books = beside(functions, events);
        assert_eq!(threads(&books, Class::Disk), 30 + 30);
        // The rest of the time it computes.
        assert_eq!(threads(&books, Class::Other), 20);
        assert_eq!(threads(&books, Class::Upstream), 0);
    }
}

#[test]
fn one_writer_that_lets_the_next_one_in_has_waited_for_the_reader_as_well() {
    let next = Wait {
        ns: at(64),
        ..woken(SERVER, (SERVER, WORKER))
    };
    let first = woken(WORKER, (RSYNC, RSYNC));
    let books = beside(PIPE_WRITE, vec![Event::Wait(first), Event::Wait(next)]);
    assert_eq!(upstream(&books), (50 + 50, 50 + 50));
    assert_eq!(threads(&books, Class::Other), 2);
}

#[test]
fn who_sends_on_a_unix_stream_waits_for_the_process_that_does_not_read() {
    let books = serving(UNIX_SEND, woken_by(RSYNC));
    assert_eq!(upstream(&books), (50, 50));
    assert_eq!(threads(&books, Class::Network), 0);
    let nobody = serving(UNIX_SEND, interrupted(RSYNC));
    assert_eq!(upstream(&nobody), (50, 0));
}

#[test]
fn a_full_queue_of_datagrams_is_its_readers() {
    let log = ["schedule", "unix_wait_for_peer", "unix_dgram_sendmsg"];
    assert_eq!(upstream(&alone(&log, woken_by(RSYNC))), (50, 50));
}

#[test]
fn who_owns_a_request_waits_for_whoever_answers_it_by_whatever_way() {
    let ways: [&[&str]; 8] = [
        LOOP,
        &["schedule", "wq_sleep", "do_mq_timedreceive"],
        &["schedule", "anon_pipe_read", "vfs_read"],
        &["schedule", "do_wait", "kernel_wait4"],
        &[
            "schedule",
            "__skb_wait_for_more_packets",
            "unix_dgram_recvmsg",
        ],
        &["schedule", "do_semtimedop", "ksys_semtimedop"],
        &["schedule", "do_msgrcv", "ksys_msgrcv"],
        &["schedule", "eventfd_read", "vfs_read"],
    ];
    for functions in ways {
        let answered = serving(functions, woken_by(RSYNC));
        assert_eq!(upstream(&answered), (50, 50), "{functions:?}");
        assert_eq!(requests(&answered, Class::Upstream), 50, "{functions:?}");
        let idle = alone(functions, woken_by(RSYNC));
        assert_eq!(threads(&idle, Class::Idle), 50, "{functions:?}");
        let unknown = serving(functions, interrupted(RSYNC));
        assert_eq!(requests(&unknown, Class::Other), 50, "{functions:?}");
    }
}

#[test]
fn a_scanner_that_permits_what_is_done_to_files_is_asked_and_idle_in_between() {
    let calls: [&[&str]; 2] = [
        &["schedule", "fanotify_handle_event", "do_dentry_open"],
        &["schedule", "fanotify_handle_event", "vfs_read"],
    ];
    for functions in calls {
        let wait = Wait {
            state: KILLABLE,
            ..woken_by(RSYNC)
        };
        assert_eq!(upstream(&serving(functions, wait)), (50, 50));
        let waits = still(SERVER, 12, 80, ASKS);
        assert_eq!(upstream(&beside(functions, vec![waits])), (68, 0));
    }
    let scanner = ["schedule", "fanotify_read", "vfs_read"];
    let idle = alone(&scanner, woken_by(RSYNC));
    assert_eq!(threads(&idle, Class::Idle), 50);
}

#[test]
fn who_serves_files_waits_for_work_until_it_is_asked() {
    let server = ["schedule", "fuse_dev_do_read", "fuse_dev_read", "vfs_read"];
    let idle = alone(&server, woken_by(RSYNC));
    assert_eq!(threads(&idle, Class::Idle), 50);
}

#[test]
fn the_audit_daemon_is_known_by_its_queue() {
    let wait = Wait {
        state: UNINTERRUPTIBLE,
        ..woken_by(KWORKER)
    };
    let full = ["schedule", "schedule_timeout", "audit_log_start"];
    let books = alone(&full, wait);
    assert_eq!(threads(&books, Class::Upstream), 50);
    assert_eq!(charged(&books, Resource::Upstream, Holder::Peer), 50);
    assert_eq!(books.places, ["audit backlog"]);
}

#[test]
fn who_connects_to_a_listener_has_answered_nothing() {
    let accept = ["schedule", "unix_accept", "do_accept"];
    let books = serving(&accept, woken_by(RSYNC));
    assert_eq!(upstream(&books), (0, 0));
    assert_eq!(requests(&books, Class::Other), 50);
}

/// The server owes an answer, and waits in its event loop until rsync wakes it, which has connected at some time.
fn loop_with_two_clients(then: Vec<Event>) -> Books {
    let client = Event::Client(event::Client {
        ns: at(62),
        socket: OTHER,
        pid: SERVER,
        client_pid: RSYNC,
    });
    let before = [
        receive(SERVER, CLIENT, 10, 10),
        Event::Wait(woken_by(RSYNC)),
        client,
    ];
    let events = before.into_iter().chain(then);
    let books = beside(LOOP, events.chain([send(SERVER, CLIENT, 65)]).collect());
    assert_eq!(upstream(&books).1, 0);
    books
}

#[test]
fn a_client_that_asks_something_has_answered_nothing() {
    let asks = [receive(SERVER, OTHER, 62, 62), send(SERVER, OTHER, 63)];
    let books = loop_with_two_clients(asks.into());
    assert_eq!(requests(&books, Class::Upstream), 0);
    assert_eq!(requests(&books, Class::Other), 50);
}

#[test]
fn a_client_that_connects_and_then_asks_has_answered_nothing_either_time() {
    let again = Wait {
        ns: at(64),
        off_ns: at(63),
        waking_ns: at(64),
        ..woken_by(RSYNC)
    };
    let asks = [
        Event::Wait(again),
        receive(SERVER, OTHER, 64, 64),
        send(SERVER, OTHER, 64),
    ];
    let books = loop_with_two_clients(asks.into());
    assert_eq!(requests(&books, Class::Upstream), 0);
    assert_eq!(requests(&books, Class::Other), 51);
}

#[test]
fn a_client_that_goes_has_answered_nothing() {
    let goes = Event::Call(Call {
        flags: CALL_CLOSE,
        result: 0,
        ..call(SERVER, OTHER, 62)
    });
    let books = loop_with_two_clients(vec![goes]);
    assert_eq!(requests(&books, Class::Upstream), 0);
    assert_eq!(requests(&books, Class::Other), 50);
}
