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
    ring,
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
    /// Has it a ring of `io_uring`?
    pub(super) has_ring: bool,
    /// May a ring notice something on a socket? Then a thread may notice anything through it, or through an `eventfd` that it rings.
    pub(super) ring_hears: bool,
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
            ring_hears: has_ring,
            read: RefCell::default(),
        }
    }

    /// Does a ring wait for files to become ready right now, as far as the kernel tells?
    pub(super) fn do_rings_wait(&self) -> bool {
        let mut rings = self.all.iter().filter(|(_, file)| **file == File::Ring);
        rings.any(|(fd, _)| ring::waits(self.pid, *fd))
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
            libc::SYS_io_uring_enter if !self.ring_hears => {}
            // Databases wait in `io_getevents` for their disks. Loops that wait there for sockets, too, have signals to let through.
            libc::SYS_io_uring_enter | numbers::IO_PGETEVENTS | libc::SYS_restart_syscall => {
                return None;
            }
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
            File::Ring | File::Event if self.ring_hears => None,
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
                File::Ring | File::Event if self.ring_hears => return None,
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
mod tests;
