//! What threads notice through the descriptors of this process.

use std::{
    io::Read as _,
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    sync::{Arc, Mutex, mpsc::channel},
    thread,
};

use super::*;
use crate::machine::proc::hearing::function;

fn own(all: impl IntoIterator<Item = (u64, File)>) -> Descriptors {
    Descriptors::new(std::process::id(), all.into_iter().collect())
}

/// A line of `/proc/PID/task/TID/syscall`.
fn line(number: i64, arguments: [u64; 6]) -> String {
    let arguments = arguments.map(|argument| format!("{argument:#x}"));
    let arguments = arguments.join(" ");
    format!("{number} {arguments} 0x7ffc426c2370 0x7f557e9162ec\n")
}

#[test]
fn a_thread_hears_what_it_reads_and_one_that_runs_may_hear_anything() {
    let all = own([(3, File::Socket(7)), (4, File::Pipe)]);
    let heard = |line: &str| all.sleeper(9, line.as_bytes()).map(|found| found.inodes);
    // The upper half of the register is no part of the number.
    let on_socket = [0xffff_ffff_0000_0003, 0, 0, 0, 0, 0];
    assert_eq!(heard(&line(libc::SYS_recvfrom, on_socket)), Some(vec![7]));
    assert_eq!(heard(&line(libc::SYS_sendto, on_socket)), Some(vec![]));
    let read = |fd| heard(&line(libc::SYS_read, [fd, 0, 0, 0, 0, 0]));
    assert_eq!((read(4), read(5)), (Some(vec![]), None));
    assert_eq!(heard("-1 0x7ffc426c2370 0x7f557e9162ec\n"), Some(vec![]));
    assert_eq!(heard("running\n"), None);
    assert_eq!(heard(&line(libc::SYS_restart_syscall, [0; 6])), None);
    assert_eq!(
        heard("3 0x3 0x0 0x0 0x0 0x0 0x0 0xffcc1230 0xf7f01549\n"),
        None
    );
}

#[test]
fn beside_a_ring_a_thread_hears_what_it_reads_unless_the_ring_or_an_event_wakes_it() {
    let files = [(3, File::Socket(7)), (4, File::Event), (5, File::Other)];
    let without = own(files);
    let with = own(files.into_iter().chain([(6, File::Ring)]));
    let read = |all: &Descriptors, fd| {
        let line = line(libc::SYS_read, [fd, 0, 0, 0, 0, 0]);
        all.sleeper(9, line.as_bytes()).map(|found| found.inodes)
    };
    let of = |all: &Descriptors| [3, 4, 5].map(|fd| read(all, fd));
    assert_eq!(of(&without), [Some(vec![7]), Some(vec![]), Some(vec![])]);
    assert_eq!(of(&with), [Some(vec![7]), None, Some(vec![])]);
}

#[test]
fn who_waits_for_its_files_hears_no_client() {
    let mut all = own([(3, File::Socket(7)), (4, File::Event), (6, File::Ring)]);
    all.ring_hears = false;
    let heard = |number, first| {
        let line = line(number, [first, 0, 0, 0, 0, 0]);
        all.sleeper(9, line.as_bytes()).map(|found| found.inodes)
    };
    let nothing = Some(vec![]);
    assert_eq!(heard(libc::SYS_io_uring_enter, 6), nothing);
    assert_eq!(heard(libc::SYS_read, 4), nothing);
    assert_eq!(heard(libc::SYS_read, 3), Some(vec![7]));
    assert_eq!(heard(libc::SYS_io_getevents, 0x7f55_7e91_6000), nothing);
    all.ring_hears = true;
    let line = line(libc::SYS_io_uring_enter, [6, 1, 1, 1, 0, 0]);
    assert_eq!(all.sleeper(9, line.as_bytes()), None);
}

#[test]
fn lists_of_poll_and_select_are_read_from_memory() {
    let all = own([
        (3, File::Socket(7)),
        (70, File::Socket(8)),
        (4, File::Other),
    ]);
    let entry = |fd, events| libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let list = [
        entry(3, libc::POLLIN),
        entry(70, libc::POLLRDHUP),
        entry(-1, libc::POLLIN),
        entry(4, libc::POLLIN),
    ];
    let polled = |address, count| all.polled(address, count, POLL_READS);
    assert_eq!(polled(list.as_ptr() as u64, 4), Some(vec![7]));
    assert_eq!((polled(0, 0), polled(8, 1)), (Some(vec![]), None));
    let bits = [1_u64 << 3, 1 << 6];
    assert_eq!(all.selected(71, bits.as_ptr() as u64), Some(vec![7, 8]));
    assert_eq!(all.selected(70, bits.as_ptr() as u64), Some(vec![7]));
    assert_eq!(all.selected(71, 0), Some(vec![]));
}

/// A thread of the tests themselves that sleeps in this call, and the line that shows it.
fn asleep(number: i64, sleeps: impl FnOnce() + Send + 'static) -> (u32, Vec<u8>) {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        // SAFETY: no arguments.
        sender.send(unsafe { libc::gettid() } as u32).unwrap();
        sleeps();
    });
    let tid = receiver.recv().unwrap();
    let path = format!("/proc/self/task/{tid}/syscall");
    loop {
        let line = fs::read(&path).unwrap();
        if SystemCall::parse(&line).is_some_and(|call| call.number == number) {
            return (tid, line);
        }
        thread::yield_now();
    }
}

fn epoll() -> OwnedFd {
    // SAFETY: no pointers; the descriptor that it returns is ours.
    unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }
}

fn add(set: &OwnedFd, fd: i32, events: i32) {
    let mut event = libc::epoll_event {
        events: events as u32,
        u64: 0,
    };
    // SAFETY: a valid pointer.
    let failed =
        unsafe { libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    assert_eq!(failed, 0);
}

/// A thread that waits on a set, which it keeps open.
fn waits_on(set: OwnedFd) -> (u32, Vec<u8>) {
    asleep(libc::SYS_epoll_pwait, move || {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let (set, event) = (set.as_raw_fd(), &raw mut event);
        let signals = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: room for the one event that is asked for; no time limit, and no signals.
        unsafe { libc::syscall(libc::SYS_epoll_pwait, set, event, 1, -1, signals, 8) };
    })
}

#[test]
fn who_waits_for_signals_without_a_limit_waits_for_its_own_processes() {
    let set = epoll();
    // SAFETY: a set of signals is plain bits; none is in it.
    let signals = unsafe {
        let none: libc::sigset_t = std::mem::zeroed();
        OwnedFd::from_raw_fd(libc::signalfd(-1, &raw const none, libc::SFD_CLOEXEC))
    };
    add(&set, signals.as_raw_fd(), libc::EPOLLIN);
    let (tid, line) = waits_on(set);
    let all = Descriptors::of(std::process::id()).unwrap();
    let found = all.sleeper(tid, &line).unwrap();
    assert_eq!((found.own, found.inodes), (true, vec![]));
}

#[test]
fn a_thread_in_epoll_hears_what_is_in_its_set_and_one_in_a_futex_hears_nothing() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let fd = server.as_raw_fd();
    let inode = fs::metadata(format!("/proc/self/fd/{fd}")).unwrap().ino();
    let (with, without, around, once) = (epoll(), epoll(), epoll(), epoll());
    add(&with, fd, libc::EPOLLIN);
    add(&around, with.as_raw_fd(), libc::EPOLLIN);
    add(&once, fd, 0);
    let lock = Arc::new(Mutex::new(()));
    let (copy, mut reader) = (Arc::clone(&lock), server.try_clone().unwrap());
    let held = lock.lock().unwrap();
    let waiter = asleep(libc::SYS_futex, move || drop(copy.lock()));
    let within = waits_on(around);
    let sleeps = [
        (waits_on(with), vec![inode]),
        (waits_on(without), vec![]),
        (waits_on(once), vec![]),
        (waiter.clone(), vec![]),
        (
            asleep(libc::SYS_recvfrom, move || _ = reader.read(&mut [0])),
            vec![inode],
        ),
    ];
    let all = Descriptors::of(std::process::id()).unwrap();
    for ((tid, line), expected) in sleeps {
        let found = all.sleeper(tid, &line).unwrap();
        assert_eq!(found.inodes, expected, "{}", String::from_utf8_lossy(&line));
    }
    let (tid, line) = within;
    assert!(all.sleeper(tid, &line).unwrap().inodes.contains(&inode));
    let (tid, line) = waiter;
    assert!(all.sleeper(tid, &line).unwrap().own);
    assert!(function(std::process::id(), tid).contains("futex"));
    drop(held);
}

#[test]
fn a_set_is_read_once_however_many_threads_wait_on_it() {
    let set = epoll();
    let all = Descriptors::of(std::process::id()).unwrap();
    let read = || all.set(set.as_raw_fd() as u64).unwrap();
    assert!(Rc::ptr_eq(&read(), &read()));
}
