//! Processes that are followed because they end waits of the target: readers of a pipe, of a queue, holders of a semaphore.

use super::{
    upstream::{BACK, STORE, asked, behind_tar},
    *,
};

const CLIENT: u64 = 9;
const OTHER: u64 = 8;

const WRITE: u64 = 30;
const SEMAPHORE: u64 = 31;
const NAP: u64 = 32;
const STREAM: u64 = 33;

fn stacks() -> [Event; 4] {
    let write = ["schedule", "anon_pipe_write", "vfs_write"];
    let semaphore = ["schedule", "do_semtimedop", "ksys_semtimedop"];
    let nap = ["schedule", "do_nanosleep", "hrtimer_nanosleep"];
    let stream = ["schedule", "sock_alloc_send_pskb", "unix_stream_sendmsg"];
    [
        stack(STREAM, &stream),
        stack(WRITE, &write),
        stack(SEMAPHORE, &semaphore),
        stack(NAP, &nap),
    ]
}

/// A process is followed from `ms` on, since it ends waits of another one.
fn follow(pid: u32, by_pid: u32, comm: &str, ms: u64) -> [Event; 3] {
    let follow = event::Follow {
        ns: at(ms),
        pid,
        by_pid,
        listening: Vec::new(),
    };
    [
        Event::Process(process(pid, comm)),
        Event::FollowHand(follow),
        of(pid, Event::Wait(first(pid, ms, 0))),
    ]
}

fn scene(more: Vec<Event>) -> Books {
    let mut more = more;
    more.extend(follow(BACK, SERVER, "logger", 1));
    more.sort_by_key(Event::ns);
    let threads = running(SERVER).into_iter().chain(running(WORKER));
    let events = stacks().into_iter().chain(threads).chain(more);
    let books = books(events, 120);
    assert_closed(&books);
    books
}

/// A request of a thread from 10 to 94, which waits in `stack` from 12 to 92 until the process ends that.
fn request(tid: u32, socket: u64, stack: u64, by: u32) -> Vec<Event> {
    vec![
        receive(tid, socket, 10, 10),
        until(by, sleep(tid, 12, 92, stack)),
        send(tid, socket, 94),
    ]
}

/// The server writes to a pipe, and its reader reads a disk behind tar.
pub(crate) fn reader_behind_tar() -> Vec<Event> {
    let mut events = request(SERVER, CLIENT, WRITE, BACK);
    events.extend(behind_tar());
    events
}

#[test]
fn who_waits_for_a_reader_that_waits_for_the_disk_waits_for_the_disk_behind_tar() {
    for stack in [WRITE, SEMAPHORE, STREAM] {
        let mut events = request(SERVER, CLIENT, stack, BACK);
        events.extend(behind_tar());
        let books = scene(events);
        assert_eq!(requests(&books, Class::Disk), 69);
        assert_eq!(threads(&books, Class::Disk), 69);
        assert_eq!(requests(&books, Class::Upstream), 80 - 69);
        let theirs = charged(&books, Resource::Disk, holder(&books, TAR));
        assert!((66..=68).contains(&theirs), "{theirs}");
        let way = (Resource::Disk, vec![asked(&books, BACK)]);
        assert_eq!(books.ways[&way].0 / MS, 69);
    }
}

#[test]
fn all_that_wait_for_one_reader_wait_for_what_that_waits_for() {
    let mut events = reader_behind_tar();
    events.extend(request(WORKER, OTHER, WRITE, BACK));
    let books = scene(events);
    assert_eq!(requests(&books, Class::Disk), 2 * 69);
    assert_eq!(requests(&books, Class::Upstream), 2 * 11);
}

#[test]
fn who_waits_for_another_process_does_not_wait_for_what_the_reader_does() {
    let mut events = request(SERVER, CLIENT, WRITE, RSYNC);
    events.extend(behind_tar());
    let books = scene(events);
    assert_eq!(requests(&books, Class::Disk), 0);
    let theirs = charged(&books, Resource::Upstream, holder(&books, RSYNC));
    assert_eq!(theirs, 80);
}

#[test]
fn a_reader_that_sleeps_or_computes_is_waited_for_itself() {
    for does in [None, Some(of(BACK, sleep(BACK, 20, 89, NAP)))] {
        let mut events = request(SERVER, CLIENT, WRITE, BACK);
        events.extend(does);
        let books = scene(events);
        assert_eq!(requests(&books, Class::Upstream), 80);
        let theirs = charged(&books, Resource::Upstream, holder(&books, BACK));
        assert_eq!(theirs, 80);
        assert_eq!(books.naps, []);
    }
}

#[test]
fn a_reader_may_wait_for_another_one() {
    let mut events = request(SERVER, CLIENT, WRITE, BACK);
    events.extend(follow(STORE, BACK, "store", 2));
    events.extend([
        of(BACK, until(STORE, sleep(BACK, 15, 85, WRITE))),
        of(STORE, sleep(STORE, 20, 80, MUTEX)),
    ]);
    let books = scene(events);
    assert_eq!(requests(&books, Class::Lock), 60);
    let way = [BACK, STORE].map(|pid| asked(&books, pid)).to_vec();
    assert_eq!(books.ways[&(Resource::Lock, way)].0 / MS, 60);
}

/// The server writes from 12 on what the logger was seen not to read, until the end.
fn stuck(stack: u64, does: Vec<Event>) -> Books {
    let seen = event::WriteSeen {
        ns: at(40),
        known_ns: at(41),
        pid: SERVER,
        tid: SERVER,
        readers: vec![BACK],
        keepers: Vec::new(),
        place: String::new(),
    };
    let mut events = vec![
        receive(SERVER, CLIENT, 10, 10),
        Event::WriteSeen(seen),
        still(SERVER, 12, 120, stack),
    ];
    events.extend(does);
    scene(events)
}

#[test]
fn who_waits_for_a_reader_that_is_stuck_itself_waits_for_what_that_one_waits_for() {
    for stack in [WRITE, STREAM] {
        let books = stuck(stack, vec![of(BACK, still(BACK, 20, 120, MUTEX))]);
        assert_eq!(requests(&books, Class::Lock), 100);
        assert_eq!(threads(&books, Class::Lock), 100);
        assert_eq!(requests(&books, Class::Upstream), 8);
        let asleep = stuck(stack, vec![of(BACK, still(BACK, 20, 120, NAP))]);
        assert_eq!(requests(&asleep, Class::Upstream), 108);
        let theirs = charged(&asleep, Resource::Upstream, holder(&asleep, BACK));
        assert_eq!(theirs, 108);
    }
}

#[test]
fn of_several_threads_of_a_reader_that_never_read_none_stands_for_it() {
    let other = Wait {
        pid: BACK,
        ..asleep(510, 20, 120, 0, MUTEX)
    };
    let books = stuck(
        WRITE,
        vec![
            Event::Wait(Wait {
                pid: BACK,
                ..first(510, 2, 0)
            }),
            Event::Wait(Wait {
                flags: other.flags | WAIT_OPEN,
                ..other
            }),
        ],
    );
    assert_eq!(requests(&books, Class::Lock), 0);
    assert_eq!(requests(&books, Class::Upstream), 108);
}

#[test]
fn who_has_no_request_and_takes_messages_is_idle() {
    let mut events = vec![until(BACK, sleep(SERVER, 12, 92, SEMAPHORE))];
    events.extend(behind_tar());
    let books = scene(events);
    assert_eq!(threads(&books, Class::Idle), 80);
    assert_eq!(threads(&books, Class::Disk), 0);
}
