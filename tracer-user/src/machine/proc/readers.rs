//! The processes that can read at the other end of a pipe or a Unix socket: those that have it open. Who made a socket, or connected it,
//! need not be who reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    time::Instant,
};

use super::numbers_in;

/// systemd keeps copies of the sockets of its services, and reads at none of them.
const INIT: u32 = 1;

/// The bit of a link in `/proc/PID/fd` that says that its descriptor is open for reading (`proc_pid_fd(5)`).
const FOR_READING: u32 = 0o400;

/// The end at which has to be read what a thread writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// A pipe, by its inode.
    Pipe(u64),
    /// A pipe with a name: the path, and the device and inode there.
    Named(String, (u64, u64)),
    /// A Unix socket, by its inode.
    Socket(u64),
}

impl End {
    /// The end that a link in `/proc/PID/fd` leads to, if that is one without a name.
    pub(super) fn of(link: &str) -> Option<Self> {
        let inode = |kind: &str| {
            let number = link.strip_prefix(kind)?.strip_suffix(']')?;
            number.parse().ok()
        };
        let pipe = inode("pipe:[").map(Self::Pipe);
        pipe.or_else(|| inode("socket:[").map(Self::Socket))
    }

    /// The pipe with a name that a descriptor is open for, by the path of its link.
    pub(super) fn named(link: &str, descriptor: &str) -> Option<Self> {
        let file = fs::metadata(descriptor).ok()?;
        let is_pipe = file.file_type().is_fifo();
        is_pipe.then(|| Self::Named(link.to_owned(), (file.dev(), file.ino())))
    }
}

/// The processes that can read at each of these ends; none if time is up before all were looked at.
pub(super) fn readers(ends: &BTreeSet<End>, until: Instant) -> BTreeMap<End, Vec<u32>> {
    let mut readers: BTreeMap<End, Vec<u32>> = BTreeMap::new();
    if ends.is_empty() {
        return readers;
    }
    // The tracer has copies of sockets while it looks at them.
    let own = std::process::id();
    for pid in numbers_in("/proc").filter(|pid| ![INIT, own].contains(pid)) {
        if Instant::now() >= until {
            return BTreeMap::new();
        }
        for end in read_by(pid, ends) {
            readers.entry(end).or_default().push(pid);
        }
    }
    readers
}

/// Those of these ends at which a process can read. Who can only write through another descriptor of the same pipe reads nothing there: he
/// would never see its end. He keeps it for somebody else, or has not closed it since he was forked.
fn read_by(pid: u32, ends: &BTreeSet<End>) -> BTreeSet<End> {
    let folder = format!("/proc/{pid}/fd");
    let (mut reads, mut writes) = (BTreeSet::new(), BTreeSet::new());
    for fd in numbers_in(&folder) {
        let path = format!("{folder}/{fd}");
        let Some(end) = end_of(&path, ends) else {
            continue;
        };
        let mode = fs::symlink_metadata(&path).map_or(0, |link| link.mode());
        match mode & FOR_READING {
            0 => writes.insert(end),
            _ => reads.insert(end),
        };
    }
    &reads - &writes
}

/// The one of these ends that a descriptor is open for.
fn end_of(descriptor: &str, ends: &BTreeSet<End>) -> Option<End> {
    let link = fs::read_link(descriptor).ok()?;
    let link = link.to_str()?;
    let is_path = |end: &End| matches!(end, End::Named(path, _) if path == link);
    let end = match End::of(link) {
        Some(end) => end,
        // The same path may be another file there.
        None if ends.iter().any(is_path) => End::named(link, descriptor)?,
        None => return None,
    };
    ends.contains(&end).then_some(end)
}
