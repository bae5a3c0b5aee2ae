//! Writes that nobody takes, and what nobody permits: no wakeup tells who has to do that, and a look at the pipe, the queue, the socket or
//! the scanner does.

use super::{questions::asked, *};
use crate::event::{Origin, WriteSeen};

const CLIENT: u64 = 9;
/// The stack of the sleep.
const WRITES: u64 = 30;

const PIPE: &[&str] = &["schedule", "anon_pipe_write", "vfs_write", "ksys_write"];
const STREAM: &[&str] = &["schedule", "sock_alloc_send_pskb", "unix_stream_sendmsg"];
const DATAGRAM: &[&str] = &["schedule", "unix_wait_for_peer", "unix_dgram_sendmsg"];
const QUEUE: &[&str] = &["schedule", "wq_sleep", "do_mq_timedsend"];
const MESSAGE: &[&str] = &["schedule", "do_msgsnd", "ksys_msgsnd"];
const OPEN: &[&str] = &[
    "schedule",
    "fanotify_handle_event",
    "fsnotify",
    "do_dentry_open",
];

const LOG: &str = "/run/log (Unix socket)";

/// At `ms` these processes can read what the server writes to `place`.
fn seen(ms: u64, readers: &[u32], place: &str) -> Event {
    Event::WriteSeen(WriteSeen {
        ns: at(ms),
        known_ns: at(ms) + MS,
        pid: SERVER,
        tid: SERVER,
        readers: readers.to_vec(),
        keepers: Vec::new(),
        place: place.to_owned(),
    })
}

/// A request from 10 on. Its thread sleeps from 12 until `end_ms`, which `ends` tells.
fn writing(functions: &[&str], look: Option<Event>, ends: Event) -> Books {
    let begin = running(SERVER).into_iter();
    let begin = begin.chain([stack(WRITES, functions), receive(SERVER, CLIENT, 10, 10)]);
    let books = books(begin.chain(look).chain([ends]), 80);
    assert_closed(&books);
    books
}

/// It sleeps on to the end at 80.
fn stuck(functions: &[&str], look: Event) -> Books {
    writing(functions, Some(look), still(SERVER, 12, 80, WRITES))
}

/// The threads' time for answers, and what of it rsync and tar are charged with, ms.
fn upstream(books: &Books) -> (u64, u64, u64) {
    let of = |pid| charged(books, Resource::Upstream, holder(books, pid));
    (threads(books, Class::Upstream), of(RSYNC), of(TAR))
}

/// Nobody reads on the log's socket, which rsync has open.
pub(crate) fn stuck_log() -> Books {
    stuck(STREAM, seen(40, &[RSYNC], LOG))
}

#[test]
fn who_writes_what_nobody_reads_waits_for_the_process_that_can_read_it() {
    for functions in [PIPE, STREAM, DATAGRAM, QUEUE, MESSAGE] {
        let books = stuck(functions, seen(40, &[RSYNC], ""));
        assert_eq!(upstream(&books), (68, 68, 0), "{functions:?}");
        assert_eq!(requests(&books, Class::Upstream), 68);
        assert_eq!(requests(&books, Class::Other), 0);
    }
    let log = stuck_log();
    assert_eq!(upstream(&log), (68, 68, 0));
    assert_eq!(asked(&log), [(Some(LOG), 68)]);
}

/// Nobody permits until the end what the server wants to open.
fn not_permitted(look: Option<Event>) -> Books {
    let waits = Wait {
        state: 0x102,
        flags: WAIT_NO_WAKER | WAIT_OPEN,
        ..asleep(SERVER, 12, 80, 0, WRITES)
    };
    writing(OPEN, look, Event::Wait(waits))
}

#[test]
fn who_may_not_open_a_file_yet_waits_for_the_scanner_that_has_not_permitted_it() {
    let named = not_permitted(Some(seen(40, &[RSYNC], "")));
    assert_eq!(upstream(&named), (68, 68, 0));
    assert_eq!(requests(&named, Class::Upstream), 68);
    // Two of them may be asked.
    let several = not_permitted(Some(seen(40, &[RSYNC, TAR], "a scanner's permission")));
    assert_eq!(upstream(&several), (68, 0, 0));
    assert_eq!(asked(&several), [(Some("a scanner's permission"), 68)]);
    assert_eq!(upstream(&not_permitted(None)), (68, 0, 0));
    let at_attach = [
        seed(SERVER, 'D', "fanotify_handle_event"),
        seen(0, &[RSYNC], ""),
    ];
    assert_eq!(upstream(&books(at_attach, 700)), (700, 700, 0));
}

/// Where the server has its figures collected, and a connection that it made to that.
const COLLECTOR: &str = "127.0.0.1:24224";
const COLLECTS: u64 = 8;

/// For a request the server sends on this connection, through an interface that queues or none (0), and there is no room from 20 to 50.
fn sends_on(socket: u64, ifindex: u32, more: &[Event]) -> Books {
    let connected = event::Opened {
        socket: event::Socket {
            ns: at(5),
            socket: COLLECTS,
            pid: SERVER,
            local: "127.0.0.1:33000".to_owned(),
            local_port: 33_000,
            remote: COLLECTOR.to_owned(),
        },
        origin: Origin::Connected,
    };
    let events = [
        Event::Opened(connected),
        receive(SERVER, CLIENT, 10, 10),
        sleep(SERVER, 20, 50, SEND),
        Event::Call(Call {
            flags: CALL_SEND,
            ifindex,
            ..call(SERVER, socket, 51)
        }),
        // The client has the answer at once, wherever the server sent before.
        Event::Call(Call {
            flags: CALL_SEND,
            ifindex: 0,
            unacked_bytes: 0,
            ..call(SERVER, CLIENT, 60)
        }),
    ];
    let begin = running(SERVER).into_iter().chain(more.to_vec());
    let books = books(begin.chain(events), 80);
    assert_closed(&books);
    books
}

#[test]
fn who_sends_what_the_one_it_is_connected_to_does_not_read_waits_for_that_one_and_for_no_network() {
    let books = sends_on(COLLECTS, 0, &[]);
    assert_eq!(upstream(&books), (30, 0, 0));
    assert_eq!(asked(&books), [(Some(COLLECTOR), 30)]);
    let waited = [Class::Upstream, Class::Network].map(|class| requests(&books, class));
    assert_eq!(waited, [30, 0]);
    assert_eq!(threads(&books, Class::Network), 0);
}

#[test]
fn who_was_seen_to_have_no_room_is_waited_for_although_the_send_has_not_returned() {
    let sends = ["schedule", "sk_stream_wait_memory", "tcp_sendmsg"];
    let books = stuck(&sends, seen(40, &[], COLLECTOR));
    assert_eq!(upstream(&books), (68, 0, 0));
    assert_eq!(asked(&books), [(Some(COLLECTOR), 68)]);
    assert_eq!(requests(&books, Class::Network), 0);
    let unseen = writing(&sends, None, still(SERVER, 12, 80, WRITES));
    assert_eq!(threads(&unseen, Class::Network), 68);
    let at_attach = [
        seed(SERVER, 'S', "sk_stream_wait_memory"),
        seen(0, &[], COLLECTOR),
    ];
    let at_attach = self::books(at_attach, 700);
    assert_eq!(upstream(&at_attach), (700, 0, 0));
    assert_eq!(asked(&at_attach), [(Some(COLLECTOR), 700)]);
}

#[test]
fn a_client_that_does_not_read_its_answer_and_a_link_that_queues_are_the_networks() {
    let full = [20, 30, 40].map(|ms| sent(TAR, ms, 3000, 3));
    for books in [sends_on(CLIENT, 0, &[]), sends_on(COLLECTS, 5, &full)] {
        assert_eq!(upstream(&books), (0, 0, 0));
        assert_eq!(threads(&books, Class::Network), 30);
        assert_eq!(requests(&books, Class::Network), 30);
    }
}

#[test]
fn of_several_that_can_read_none_is_named_and_the_pipe_is() {
    let sets: [&[u32]; 2] = [&[RSYNC, TAR], &[]];
    for readers in sets {
        let books = stuck(PIPE, seen(40, readers, "a pipe"));
        assert_eq!(upstream(&books), (68, 0, 0));
        assert_eq!(asked(&books), [(Some("a pipe"), 68)]);
    }
}

#[test]
fn what_the_target_itself_does_not_read_is_nobody_elses() {
    let sets: [&[u32]; 2] = [&[SERVER], &[RSYNC, SERVER]];
    for readers in sets {
        let books = stuck(PIPE, seen(40, readers, "a pipe"));
        assert_eq!(upstream(&books), (0, 0, 0));
        assert_eq!(threads(&books, Class::Other), 68);
        let books = stuck(STREAM, seen(40, readers, LOG));
        assert_eq!(upstream(&books), (68, 0, 0));
        assert_eq!(asked(&books), [(None, 68)]);
    }
}

/// The same for those that can read and write there.
fn kept(readers: &[u32], keepers: &[u32]) -> Event {
    let Event::WriteSeen(seen) = seen(40, readers, "a pipe") else {
        panic!("no write")
    };
    let keepers = keepers.to_vec();
    Event::WriteSeen(WriteSeen { keepers, ..seen })
}

#[test]
fn who_can_read_a_pipe_and_write_into_it_is_not_named_and_may_be_the_target_itself() {
    let elsewhere = stuck(PIPE, kept(&[], &[TAR]));
    assert_eq!(upstream(&elsewhere), (68, 0, 0));
    assert_eq!(asked(&elsewhere), [(Some("a pipe"), 68)]);
    let own = stuck(PIPE, kept(&[], &[TAR, SERVER]));
    assert_eq!(upstream(&own), (0, 0, 0));
    assert_eq!(threads(&own, Class::Other), 68);
    // Where somebody does nothing but read, it is he.
    let beside = stuck(PIPE, kept(&[RSYNC], &[TAR, SERVER]));
    assert_eq!(upstream(&beside), (68, 68, 0));
}

#[test]
fn a_look_tells_of_the_sleep_in_which_it_took_place_alone() {
    let books = stuck(PIPE, seen(11, &[RSYNC], "a pipe"));
    assert_eq!(upstream(&books), (0, 0, 0));
    assert_eq!(threads(&books, Class::Other), 68);
    let other = WriteSeen {
        ns: at(40),
        known_ns: at(40),
        pid: SERVER,
        tid: WORKER,
        readers: vec![RSYNC],
        keepers: Vec::new(),
        place: String::new(),
    };
    let books = stuck(PIPE, Event::WriteSeen(other));
    assert_eq!(upstream(&books), (0, 0, 0));
}

#[test]
fn a_look_in_which_the_thread_went_on_to_another_write_tells_of_neither() {
    let events = |look| {
        let begin = running(SERVER).into_iter();
        let writes = [
            stack(WRITES, PIPE),
            receive(SERVER, CLIENT, 10, 10),
            look,
            sleep(SERVER, 12, 30, WRITES),
            still(SERVER, 31, 80, WRITES),
        ];
        books(begin.chain(writes), 80)
    };
    assert_eq!(upstream(&events(seen(29, &[RSYNC], ""))), (18, 18, 0));
    assert_eq!(upstream(&events(seen(31, &[RSYNC], ""))), (49, 49, 0));
    let between = events(seen(30, &[RSYNC], ""));
    assert_eq!(upstream(&between), (0, 0, 0));
    assert_eq!(threads(&between, Class::Other), 18 + 49);
}

#[test]
fn who_reads_in_the_end_is_known_better() {
    let reads = Wait {
        waker_pid: RSYNC,
        waker_tid: RSYNC,
        waking_ns: at(62),
        flags: WAIT_TASK_WAKER,
        ..asleep(SERVER, 12, 62, 0, WRITES)
    };
    for functions in [PIPE, STREAM, DATAGRAM] {
        let look = seen(40, &[TAR], LOG);
        let books = writing(functions, Some(look), Event::Wait(reads.clone()));
        assert_eq!(upstream(&books), (50, 50, 0), "{functions:?}");
        assert_eq!(asked(&books), [(None, 50)]);
    }
}

#[test]
fn a_send_with_a_time_limit_has_waited_for_who_did_not_read() {
    let times_out = || sleep(SERVER, 12, 62, WRITES);
    let books = writing(STREAM, Some(seen(40, &[RSYNC], "")), times_out());
    assert_eq!(upstream(&books), (50, 50, 0));
    let unseen = writing(STREAM, None, times_out());
    assert_eq!(upstream(&unseen), (50, 0, 0));
}

#[test]
fn other_sleeps_in_a_write_are_not_for_the_reader() {
    let lock = ["schedule", "__mutex_lock", "anon_pipe_write", "vfs_write"];
    let books = stuck(&lock, seen(40, &[RSYNC], "a pipe"));
    assert_eq!(upstream(&books), (0, 0, 0));
    assert_eq!(threads(&books, Class::Lock), 68);
    let disk = ["schedule", "io_schedule", "unix_stream_sendmsg"];
    let books = stuck(&disk, seen(40, &[RSYNC], LOG));
    assert_eq!(upstream(&books), (0, 0, 0));
    // The kernel collects sockets that were sent over sockets.
    let collects = ["schedule", "wait_for_unix_gc", "unix_stream_sendmsg"];
    let waits = Wait {
        state: 2,
        flags: WAIT_NO_WAKER | WAIT_OPEN,
        ..asleep(SERVER, 12, 80, 0, WRITES)
    };
    let look = Some(seen(40, &[RSYNC], LOG));
    let books = writing(&collects, look, Event::Wait(waits));
    assert_eq!(upstream(&books), (68, 0, 0));
    assert_eq!(asked(&books), [(None, 68)]);
    let polls = stuck(&["schedule", "do_sys_poll"], seen(40, &[RSYNC], LOG));
    assert_eq!(upstream(&polls), (0, 0, 0));
}

#[test]
fn who_has_written_since_before_the_window_waits_for_the_reader_until_it_goes_on() {
    for (function, class) in [
        ("anon_pipe_write", Class::Other),
        ("unix_stream_sendmsg", Class::Upstream),
    ] {
        let begin = || [seed(SERVER, 'S', function)].into_iter();
        let hangs = books(begin().chain([seen(0, &[RSYNC], LOG)]), 700);
        assert_eq!(upstream(&hangs), (700, 700, 0), "{function}");
        assert_eq!(asked(&hangs), [(Some(LOG), 700)]);
        assert_closed(&hangs);
        let wakes = [
            seen(0, &[RSYNC], LOG),
            Event::Wait(first(SERVER, 100, 0)),
            still(SERVER, 200, 700, EPOLL),
        ];
        let wakes = books(begin().chain(wakes), 700);
        assert_eq!(upstream(&wakes), (100, 100, 0), "{function}");
        assert_closed(&wakes);
        let look = seen(0, &[RSYNC], LOG);
        let deaf = books([seed(SERVER, 'D', function), look], 700);
        assert_eq!(upstream(&deaf).1, 0, "{function}");
        let unseen = books(begin(), 700);
        assert_eq!(threads(&unseen, class), 700);
        let (_, theirs, _) = upstream(&unseen);
        assert_eq!(theirs, 0);
    }
}
