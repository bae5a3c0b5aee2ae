//! The descriptors of a process, and what its threads would notice through them.
//!
//! `/proc/PID/task/TID/syscall` shows the system call of a thread that sleeps, with its arguments. `/proc/PID/fdinfo` shows what is in an
//! `epoll` set. The lists of `poll` and `select` lie in the memory of the process. Nothing is stopped to read them.
//!
//! Whatever cannot be told is `None`: such a thread may notice anything.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    rc::Rc,
};

use super::{
    epoll::targets,
    futex::is_own,
    numbers_in,
    peek::peek,
    socket::socket_inode,
    system_call::{SystemCall, is_narrow, numbers},
};

/// A process with more descriptors is not looked at: the kernel locks an `epoll` set while it lists it.
pub(super) const MOST: usize = 4096;

/// Longer lists of `poll` and `select` are not read.
const MOST_POLLED: u64 = 1024;
const MOST_SELECTED: u64 = 1 << 16;

/// The events that bytes to be read cause (`poll(2)`, `epoll_ctl(2)`): who waits for the end of a connection alone is no reader.
const READS: u32 = (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDNORM | libc::EPOLLRDBAND) as u32;
const POLL_READS: i16 = libc::POLLIN | libc::POLLPRI | libc::POLLRDNORM | libc::POLLRDBAND;

/// The events that the answer to a connect causes.
const WRITES: u32 = (libc::EPOLLOUT | libc::EPOLLWRNORM) as u32;
const POLL_WRITES: i16 = libc::POLLOUT | libc::POLLWRNORM;

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sleeper {
    pub(super) tid: u32,
    /// Inodes of what it would notice something on.
    pub(super) inodes: Vec<u64>,
    /// Does it wait for connections?
    pub(super) accepts: bool,
    /// Can only its own process end its sleep, and no timer soon?
    pub(super) own: bool,
}

/// A file that a process has open, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Socket(u64),
    Epoll,
    Ring,
    Event,
    Signals,
    Pipe,
    Other,
}

/// The descriptors of a process.
pub(super) struct Descriptors {
    pid: u32,
    all: BTreeMap<u64, File>,
    /// Inodes of the sockets among them.
    sockets: BTreeSet<u64>,
    /// Has it a ring of `io_uring`? Through that, or an `eventfd` that the ring rings, a thread may notice anything.
    pub(super) has_ring: bool,
    /// The `epoll` sets that were read. A pool's threads may all wait on one, with thousands of connections, and the kernel locks it
    /// while it lists them.
    read: RefCell<BTreeMap<u64, Option<Rc<Set>>>>,
}

/// What an `epoll` set would notice something on.
#[derive(Default)]
pub(super) struct Set {
    pub(super) inodes: Vec<u64>,
    /// Sockets to which somebody waits to write.
    writes: Vec<u64>,
    /// Signals, and pipes at most: PostgreSQL's processes wake each other so.
    signals: bool,
}

impl Descriptors {
    /// `None` if there are too many.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let folder = format!("/proc/{pid}/fd");
        let mut all = BTreeMap::new();
        for fd in numbers_in(&folder) {
            // Who has closed it since does not hear through it.
            let Ok(link) = fs::read_link(format!("{folder}/{fd}")) else {
                continue;
            };
            let link = link.into_os_string();
            let file = match (socket_inode(&link), link.to_str()) {
                (Some(inode), _) => File::Socket(inode),
                (_, Some("anon_inode:[io_uring]")) => File::Ring,
                (_, Some("anon_inode:[eventfd]")) => File::Event,
                (_, Some("anon_inode:[eventpoll]")) => File::Epoll,
                (_, Some("anon_inode:[signalfd]")) => File::Signals,
                (_, Some(name)) if name.starts_with("pipe:") => File::Pipe,
                _ => File::Other,
            };
            all.insert(fd.into(), file);
            if all.len() > MOST {
                return None;
            }
        }
        Some(Self::new(pid, all))
    }

    fn new(pid: u32, all: BTreeMap<u64, File>) -> Self {
        let inode = |file: &File| match file {
            File::Socket(inode) => Some(*inode),
            _ => None,
        };
        let sockets = all.values().filter_map(inode).collect();
        let has_ring = all.values().any(|file| *file == File::Ring);
        Self {
            pid,
            all,
            sockets,
            has_ring,
            read: RefCell::default(),
        }
    }

    /// The descriptors of the `epoll` sets.
    pub(super) fn sets(&self) -> impl Iterator<Item = u64> {
        let sets = self.all.iter().filter(|(_, file)| **file == File::Epoll);
        sets.map(|(fd, _)| *fd)
    }

    /// What a thread notices, by its line of `/proc/PID/task/TID/syscall`.
    pub(super) fn sleeper(&self, tid: u32, line: &[u8]) -> Option<Sleeper> {
        let nothing = Sleeper {
            tid,
            ..Sleeper::default()
        };
        // Asleep outside of system calls: a fault.
        if line.starts_with(b"-1 ") {
            return Some(nothing);
        }
        // One that runs may do anything next, and a program of 32 bits has numbers of its own.
        let call = SystemCall::parse(line).filter(|_| !is_narrow(line))?;
        self.heard_in(&call, nothing)
    }

    fn heard_in(&self, call: &SystemCall, mut sleeper: Sleeper) -> Option<Sleeper> {
        let [first, second, _, fourth, ..] = call.arguments;
        match call.number {
            libc::SYS_read
            | libc::SYS_readv
            | libc::SYS_preadv2
            | libc::SYS_recvfrom
            | libc::SYS_recvmsg
            | libc::SYS_recvmmsg
            | libc::SYS_splice => sleeper.inodes.extend(self.socket(first)?),
            libc::SYS_accept | libc::SYS_accept4 => {
                sleeper.inodes.extend(self.socket(first)?);
                sleeper.accepts = true;
            }
            numbers::EPOLL_WAIT | libc::SYS_epoll_pwait => {
                let set = self.set(first)?;
                // The time limit is a number of milliseconds; any below 0 is none.
                sleeper.own = set.signals && (fourth as i32) < 0;
                sleeper.inodes.clone_from(&set.inodes);
            }
            libc::SYS_epoll_pwait2 => {
                let set = self.set(first)?;
                sleeper.own = set.signals && fourth == 0;
                sleeper.inodes.clone_from(&set.inodes);
            }
            numbers::POLL | libc::SYS_ppoll => {
                sleeper.inodes = self.polled(first, second, POLL_READS)?;
            }
            numbers::SELECT | libc::SYS_pselect6 => {
                sleeper.inodes = self.selected(first, second)?;
                sleeper.inodes.extend(self.selected(first, fourth)?);
            }
            libc::SYS_futex => sleeper.own = is_own(self.pid, call),
            libc::SYS_io_uring_enter
            | libc::SYS_io_getevents
            | numbers::IO_PGETEVENTS
            | libc::SYS_restart_syscall => return None,
            _ => {}
        }
        Some(sleeper)
    }

    /// Inodes of the sockets that a thread waits to write to, by the same line: those of its connects are among them. None if it cannot
    /// be told.
    pub(super) fn connects(&self, line: &[u8]) -> Vec<u64> {
        let call = SystemCall::parse(line).filter(|_| !is_narrow(line));
        let sockets = call.and_then(|call| self.connects_in(&call));
        sockets.unwrap_or_default()
    }

    fn connects_in(&self, call: &SystemCall) -> Option<Vec<u64>> {
        let [first, second, third, ..] = call.arguments;
        match call.number {
            libc::SYS_connect => Some(Vec::from_iter(self.socket(first)?)),
            numbers::POLL | libc::SYS_ppoll => self.polled(first, second, POLL_WRITES),
            numbers::SELECT | libc::SYS_pselect6 => self.selected(first, third),
            numbers::EPOLL_WAIT | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => {
                Some(self.set(first)?.writes.clone())
            }
            _ => None,
        }
    }

    /// The inode of a descriptor, if it is a socket. `None` for a descriptor that is not known.
    fn socket(&self, fd: u64) -> Option<Option<u64>> {
        // An `int` leaves the upper half of its register undefined.
        match self.all.get(&(fd & 0xffff_ffff))? {
            File::Socket(inode) => Some(Some(*inode)),
            File::Ring | File::Event if self.has_ring => None,
            _ => Some(None),
        }
    }

    /// What is in an `epoll` set, and in sets within it, one level deep. Each set is read once.
    pub(super) fn set(&self, fd: u64) -> Option<Rc<Set>> {
        let fd = fd & 0xffff_ffff;
        if let Some(known) = self.read.borrow().get(&fd) {
            return known.clone();
        }
        let set = self.read_set(fd, false).map(Rc::new);
        self.read.borrow_mut().insert(fd, set.clone());
        set
    }

    fn read_set(&self, fd: u64, is_within: bool) -> Option<Set> {
        let (mut set, mut others) = (Set::default(), false);
        for target in targets(self.pid, fd)? {
            let reads = target.events & READS != 0;
            match self.all.get(&target.fd)? {
                File::Epoll if is_within => return None,
                File::Ring | File::Event if self.has_ring => return None,
                File::Epoll if reads => set.inodes.extend(self.read_set(target.fd, true)?.inodes),
                File::Signals => set.signals = true,
                File::Pipe => {}
                _ => others = true,
            }
            // Its number may be another file's by now.
            if reads && self.sockets.contains(&target.inode) {
                set.inodes.push(target.inode);
            }
            if target.events & WRITES != 0 {
                set.writes.push(target.inode);
            }
        }
        set.signals &= !others;
        Some(set)
    }

    /// The sockets in a list of `poll` of which one of these events is waited for: each entry has 8 bytes.
    fn polled(&self, address: u64, count: u64, wanted: i16) -> Option<Vec<u64>> {
        let count = count & 0xffff_ffff;
        if count > MOST_POLLED {
            return None;
        }
        let mut list = vec![0; 8 * count as usize];
        if count > 0 {
            peek(self.pid, address, &mut list)?;
        }
        let mut inodes = Vec::new();
        for entry in list.chunks_exact(8) {
            let fd = i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
            let events = i16::from_ne_bytes([entry[4], entry[5]]);
            if let Ok(fd) = u64::try_from(fd)
                && events & wanted != 0
            {
                inodes.extend(self.socket(fd)?);
            }
        }
        Some(inodes)
    }

    /// The sockets in a set of `select` that has bits for the descriptors below `below`.
    fn selected(&self, below: u64, address: u64) -> Option<Vec<u64>> {
        let below = below & 0xffff_ffff;
        if below > MOST_SELECTED {
            return None;
        }
        let mut inodes = Vec::new();
        if address == 0 || below == 0 {
            return Some(inodes);
        }
        // The kernel reads whole words of 64 bits.
        let mut bits = vec![0; 8 * below.div_ceil(64) as usize];
        peek(self.pid, address, &mut bits)?;
        for (word, bytes) in (0..).zip(bits.chunks_exact(8)) {
            let bits = u64::from_ne_bytes(bytes.try_into().ok()?);
            let set = (0..64).filter(|bit| bits >> bit & 1 != 0);
            for fd in set.map(|bit| 64 * word + bit).filter(|fd| *fd < below) {
                inodes.extend(self.socket(fd)?);
            }
        }
        Some(inodes)
    }
}

#[cfg(test)]
mod tests {
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
}
