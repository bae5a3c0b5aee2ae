//! Facts from `/proc`, `/sys` and netlink: the state before the first record, and the standing of processes at the end.
//!
//! Parsers are pure functions of text; the readers around them are thin. A process may vanish between two reads. A fact that cannot
//! be read is left out: it is never an error.

mod accepted;
mod awaited;
mod connecting;
mod counting;
mod datagrams;
mod descriptors;
mod diag;
mod disk;
mod epoll;
mod file_lock;
mod find;
mod flows;
mod freezer;
mod futex;
mod hearing;
mod homes;
mod limit;
mod links;
mod means;
mod message_queue;
mod netlink;
mod own_limit;
mod peek;
mod peer;
mod process;
mod qdisc;
mod quiet;
mod readers;
mod received;
mod remote;
mod ring;
mod sender;
mod socket;
mod sockets;
mod sole;
mod standing;
mod system_call;
mod taker;
mod thread;
mod unanswered;
mod under_way;
mod unheard;
mod unix;
mod wrapping;
mod writers;
mod writes;

use std::{
    fmt::{Arguments, Write as _},
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
};

pub(crate) use self::{
    counting::Counting,
    disk::{disk_of_call, disks, disks_of},
    file_lock::{FileLocks, open_file},
    find::{by_comm, by_port, inner_pid, is_comm, listeners, process_of, who_listens},
    freezer::Freezers,
    futex::futex_owner,
    hearing::{serve_streams, wait_for_fellows},
    homes::{GroupsNotFound, WantedGroup, called, find_groups, members},
    limit::{IoLimit, busiest_of_group, io_limits, limited_disk},
    means::{is_installed, means},
    own_limit::{memory_groups, memory_hierarchy, own_limits},
    peer::{Connection, clients_of, peers_of},
    process::{
        cgroup, comm, descendants, is_kernel_thread, look_at_process, parents, pids,
        process_but_cmdline, start_time, title, zombie_of,
    },
    qdisc::{Queueing, interfaces, queueing},
    received::{BySocket, received, receiver},
    remote::{asks_over_files, remote_mounts},
    sockets::{Sockets, asked_ports, sockets},
    sole::sole_clients,
    standing::{is_direct, standings},
    taker::taker,
    thread::{thread_names, threads, tracer_of},
    unanswered::unanswered,
    under_way::UnderWay,
    unheard::{Place, unheard, unheard_and_awaited},
    unix::asks_over_unix,
    wrapping::wrapping,
    writers::{KnownFile, only_writers},
    writes::writes,
};

/// Is there a process with this number?
#[must_use]
pub(crate) fn exists(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

/// Is there a process with this number, whether or not `/proc` shows it (`hidepid` of proc(5))?
#[must_use]
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return false;
    };
    // SAFETY: takes no pointer, and sends nothing.
    let refused = unsafe { libc::kill(pid, 0) } != 0;
    // Who may not signal it hears so; who asks for nobody hears that.
    !refused || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Are the numbers of processes here those of the kernel? In a pid namespace of its own, `/proc` shows others.
#[must_use]
pub(crate) fn is_first_pid_namespace() -> bool {
    /// `PROC_PID_INIT_INO` of `include/uapi/linux/nsfs.h`, and `include/linux/proc_ns.h` before.
    const FIRST: &str = "pid:[4026531836]";
    let namespace = fs::read_link("/proc/self/ns/pid");
    // Without pid namespaces there is one.
    namespace.map_or(true, |namespace| namespace.as_os_str() == FIRST)
}

/// Resident memory of this process, bytes; 0 if `/proc` is not mounted.
#[must_use]
pub(crate) fn self_rss_bytes() -> u64 {
    Resident::open().bytes()
}

/// Resident memory of this process, to be looked at again and again. The file is opened once, before the process gives up its rights.
#[derive(Debug)]
pub(crate) struct Resident(Option<File>);

impl Resident {
    /// Opens the file.
    pub(crate) fn open() -> Self {
        Self(File::open("/proc/self/statm").ok())
    }

    /// Bytes right now; 0 if `/proc` is not mounted.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        let mut text = [0; 256];
        let read = self.0.as_ref().map(|file| file.read_at(&mut text, 0));
        let length = read.and_then(Result::ok).unwrap_or(0);
        let text = str::from_utf8(&text[..length]).unwrap_or_default();
        resident_pages(text).unwrap_or(0) * system_value(libc::_SC_PAGESIZE, 4096)
    }
}

/// The second field of `statm`.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A value of `sysconf`, or `usual` if the C library does not know it.
fn system_value(name: libc::c_int, usual: u64) -> u64 {
    // SAFETY: takes no pointer; an unknown name returns -1.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .unwrap_or(usual)
}

/// The numbers among the names in a folder: the processes in `/proc`, the threads in `/proc/PID/task`, the descriptors in `/proc/PID/fd`.
fn numbers_in(folder: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Reads many small files into one buffer: a scan of 10,000 processes opens 30,000 of them.
#[derive(Clone, Default)]
struct SmallFiles {
    path: String,
    content: Vec<u8>,
}

impl SmallFiles {
    /// The file's content; `None` if it is gone or may not be read.
    fn read(&mut self, path: Arguments<'_>) -> Option<&[u8]> {
        self.read_up_to(path, u64::MAX)
    }

    /// The first `limit` bytes of the file.
    fn read_up_to(&mut self, path: Arguments<'_>, limit: u64) -> Option<&[u8]> {
        self.path.clear();
        self.path.write_fmt(path).ok()?;
        let mut file = File::open(&self.path).ok()?.take(limit);
        self.content.clear();
        // A process that vanishes gives ESRCH in the middle. The part that was read before is not used.
        file.read_to_end(&mut self.content).ok()?;
        Some(&self.content)
    }
}

/// A descriptor that becomes readable when the process ends (5.3 and later).
#[must_use]
pub(crate) fn process_descriptor(pid: u32) -> Option<OwnedFd> {
    // SAFETY: no pointers; the descriptor that it returns is ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    // SAFETY: the descriptor is open, and nothing else owns it.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_the_second_field_of_statm() {
        assert_eq!(resident_pages("2010 1234 400 1 0 300 0\n"), Some(1234));
        assert_eq!(resident_pages(""), None);
        assert_eq!(resident_pages("1 x"), None);
    }

    #[test]
    fn who_is_there_is_alive_whatever_proc_shows_and_nobody_else_is() {
        assert!(is_alive(std::process::id()) && is_alive(1));
        // No process, and what would be all processes as a signed number.
        assert!(!is_alive(i32::MAX as u32) && !is_alive(u32::MAX));
    }

    #[test]
    fn the_tests_themselves_cost_memory() {
        assert!(self_rss_bytes() > 64 * 1024);
    }

    #[test]
    fn a_missing_file_is_none_and_a_long_one_is_cut_at_the_limit() {
        let mut files = SmallFiles::default();
        assert_eq!(files.read(format_args!("/proc/self/no such file")), None);
        assert_eq!(
            files
                .read_up_to(format_args!("/proc/self/stat"), 3)
                .map(<[u8]>::len),
            Some(3)
        );
    }
}
