//! Finds the process that the user named.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    SmallFiles,
    links::inodes,
    numbers_in,
    process::{start_time, stats},
    socket,
};

/// Bytes that the kernel keeps of a name: `TASK_COMM_LEN` less the final NUL.
const LONGEST_COMM: usize = 15;

/// The process that has `pid` inside its container, for "did you mean host pid N?". The lowest if several containers have one.
#[must_use]
pub(crate) fn inner_pid(pid: u32) -> Option<u32> {
    let mut files = SmallFiles::default();
    let mut is_inner = |host_pid: u32| -> Option<bool> {
        let status = files.read(format_args!("/proc/{host_pid}/status"))?;
        Some(host_pid != pid && innermost(status) == Some(pid))
    };
    numbers_in("/proc")
        .filter(|host_pid| is_inner(*host_pid) == Some(true))
        .min()
}

/// The last number of the line `NSpid:` of `/proc/PID/status`: the pid in the innermost namespace, outermost first. `None` if there is
/// only one namespace.
fn innermost(status: &[u8]) -> Option<u32> {
    let mut pids = field(status, b"NSpid:")?.split_ascii_whitespace();
    pids.next()?;
    pids.last()?.parse().ok()
}

/// The same with one namespace too: the id by which the thread or process knows itself.
pub(super) fn own_id(status: &[u8]) -> Option<u32> {
    let pids = field(status, b"NSpid:")?.split_ascii_whitespace();
    pids.last()?.parse().ok()
}

/// The value after a label in `/proc/PID/status`.
fn field<'a>(status: &'a [u8], label: &[u8]) -> Option<&'a str> {
    let value = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(label))?;
    str::from_utf8(value).ok()
}

/// The process that a thread belongs to: `/proc/TID` exists also for threads, though no listing shows it.
#[must_use]
pub(crate) fn process_of(tid: u32) -> Option<u32> {
    let mut files = SmallFiles::default();
    field(files.read(format_args!("/proc/{tid}/status"))?, b"Tgid:")?
        .trim()
        .parse()
        .ok()
}

/// Processes of this name in order of pid, kernel threads and the tracer itself left out. Longer names match as the kernel cuts them.
#[must_use]
pub(crate) fn by_comm(name: &str) -> Vec<u32> {
    let own = std::process::id();
    let named = stats()
        .filter(|(pid, stat)| *pid != own && !stat.is_kernel_thread() && is_comm(&stat.comm, name));
    let mut pids: Vec<u32> = named.map(|(pid, _)| pid).collect();
    pids.sort_unstable();
    pids
}

/// Is `comm` the kernel's form of `name`?
#[must_use]
pub(crate) fn is_comm(comm: &str, name: &str) -> bool {
    let kept = &name.as_bytes()[..name.len().min(LONGEST_COMM)];
    comm.as_bytes() == kept || comm == String::from_utf8_lossy(kept)
}

/// Inodes of the sockets that listen on a TCP port in the tracer's own network namespace.
#[must_use]
pub(crate) fn listeners(port: u16) -> HashSet<u64> {
    socket::listeners(std::process::id(), port)
}

/// The processes that listen on a TCP port in the tracer's own network namespace, the oldest first.
#[must_use]
pub(crate) fn by_port(port: u16) -> Vec<u32> {
    let listeners = listeners(port);
    match listeners.is_empty() {
        true => Vec::new(),
        false => who_listens(&listeners, numbers_in("/proc")),
    }
}

/// Those of these processes that listen on one of these sockets, the oldest first.
///
/// A server that forks shares its listening socket with its children: the oldest process counts. Others may have a socket of their own
/// on the same port (`SO_REUSEPORT`). systemd keeps a copy of the sockets that it activates. It counts only if no other process has one.
#[must_use]
pub(crate) fn who_listens(
    listeners: &HashSet<u64>,
    pids: impl IntoIterator<Item = u32>,
) -> Vec<u32> {
    let mut oldest: HashMap<u64, (bool, u64, u32)> = HashMap::new();
    for pid in pids {
        for inode in inodes(pid).filter(|inode| listeners.contains(inode)) {
            let Some(start) = start_time(pid) else {
                break;
            };
            let this = (pid == 1, start, pid);
            let known = oldest.entry(inode).or_insert(this);
            *known = this.min(*known);
        }
    }
    let all: BTreeSet<(bool, u64, u32)> = oldest.into_values().collect();
    let only_systemd = all.iter().all(|(is_systemd, ..)| *is_systemd);
    let those = all
        .into_iter()
        .filter(|(is_systemd, ..)| only_systemd || !is_systemd);
    those.map(|(.., pid)| pid).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv6Addr, TcpListener, TcpStream},
        os::fd::OwnedFd,
    };

    use super::*;

    #[test]
    fn the_innermost_pid_is_the_last_and_only_of_nested_namespaces() {
        assert_eq!(
            innermost(b"Name:\tx\nNSpid:\t4711\t30\t7\nNSpgid:\t1\n"),
            Some(7)
        );
        assert_eq!(innermost(b"Name:\tx\nNSpid:\t4711\n"), None);
        assert_eq!(innermost(b"Name:\tNSpid:\t1\t2\n"), None);
        assert_eq!(innermost(b"NSpid:\t1\t\xff\n"), None);
    }

    #[test]
    fn a_long_name_matches_as_the_kernel_cuts_it() {
        assert!(is_comm("nginx", "nginx"));
        assert!(is_comm("systemd-journal", "systemd-journald"));
        assert!(!is_comm("systemd-journa", "systemd-journald"));
        assert!(!is_comm("nginx", "ngin"));
    }

    #[test]
    fn a_thread_belongs_to_this_process() {
        let own = std::process::id();
        // SAFETY: takes no argument and cannot fail.
        let tid = unsafe { libc::gettid() };
        assert_eq!(process_of(tid as u32), Some(own));
        assert_eq!(process_of(u32::MAX), None);
    }

    #[test]
    fn a_listener_is_found_by_its_port_and_a_client_is_not() {
        let four = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = four.local_addr().unwrap().port();
        assert_eq!(by_port(port), [std::process::id()]);
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(by_port(client.local_addr().unwrap().port()), [0; 0]);
        if let Ok(six) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            assert_eq!(
                by_port(six.local_addr().unwrap().port()),
                [std::process::id()]
            );
        }
    }

    #[test]
    fn of_those_that_share_a_listener_the_oldest_counts_and_each_listener_has_its_own() {
        let shared = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let others = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let ports = [&shared, &others].map(|listener| listener.local_addr().unwrap().port());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(OwnedFd::from(shared.try_clone().unwrap()))
            .stdout(OwnedFd::from(others))
            .spawn()
            .unwrap();
        let (own, pid) = (std::process::id(), child.id());
        let all: HashSet<u64> = ports.into_iter().flat_map(listeners).collect();
        let found = [by_port(ports[0]), who_listens(&all, [pid, own])];
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [vec![own], vec![own, pid]]);
    }

    #[test]
    fn a_child_is_found_by_its_name_and_the_tests_are_not() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let found = by_comm("sleep");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
        assert!(!found.contains(&std::process::id()));
    }
}
