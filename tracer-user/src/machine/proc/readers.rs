//! The processes that can read at the other end of a pipe, a queue of messages or a Unix socket: those that have it open. Who made a
//! socket, or connected it, need not be who reads. And those that can permit what others do to files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, FileType},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Instant,
};

use super::{exists, numbers_in, remote::DEVICE};

/// systemd keeps copies of the sockets of its services, and reads at none of them.
const INIT: u32 = 1;

/// The bits of a link in `/proc/PID/fd` that say that its descriptor is open for reading, and for writing (`proc_pid_fd(5)`).
const FOR_READING: u32 = 0o400;
pub(super) const FOR_WRITING: u32 = 0o200;

/// A group of fanotify, as a link in `/proc/PID/fd` has it, and how the line of `/proc/PID/fdinfo` begins that has its flags.
const FANOTIFY: &str = "anon_inode:[fanotify]";
const FANOTIFY_FLAGS: &str = "fanotify flags:";

/// Bits of these flags for groups that permit (`FAN_CLASS_CONTENT`, `FAN_CLASS_PRE_CONTENT`). Others are only told.
const PERMITS: u32 = 0xc;

/// How the line begins that has the connection over which the kernel asks a server of files (since 6.16).
const CONNECTION: &str = "fuse_connection:";

/// These lines are among the first. Each file or mount that the group marks has one behind it.
const FLAGS_WITHIN: u64 = 512;

/// The end at which has to be read what a thread writes, or to be permitted what it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// A pipe, by its inode.
    Pipe(u64),
    /// A pipe with a name, or a queue of messages: the path, and the device and inode there.
    Named(String, (u64, u64)),
    /// A Unix socket, by its inode.
    Socket(u64),
    /// Any group of fanotify that permits: the kernel does not show which one it asks.
    Permission,
    /// The files of a FUSE file system, by the number of its connection.
    Files(u32),
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

    /// The file that a descriptor is open for, by the path of its link, if it is of a kind that is meant.
    pub(super) fn named(
        link: &str,
        descriptor: &Path,
        is_meant: impl Fn(FileType) -> bool,
    ) -> Option<Self> {
        let file = fs::metadata(descriptor).ok()?;
        let inode = (file.dev(), file.ino());
        is_meant(file.file_type()).then(|| Self::Named(link.to_owned(), inode))
    }
}

/// Who can read at an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readers {
    /// Those that can do nothing else there.
    pub(super) only: Vec<u32>,
    /// Those that can write into the same pipe. Who reads there by two descriptors would never see its end: he keeps it for somebody else,
    /// or has not closed it since he was forked. Who opens a pipe with a name for both lacks no reader, or no writer.
    pub(super) keepers: Vec<u32>,
}

impl Readers {
    /// A process has the end open so, by the bits of its links.
    fn add(&mut self, end: &End, pid: u32, mode: u32) {
        let is_for_both = matches!(end, End::Socket(_) | End::Permission | End::Files(_));
        match (mode & FOR_READING, mode & FOR_WRITING) {
            (0, _) => {}
            (_, 0) => self.only.push(pid),
            _ if is_for_both => self.only.push(pid),
            _ => self.keepers.push(pid),
        }
    }
}

/// The processes that can read at each of these ends; `None` if that is not known: time is up before all were looked at, or one may not be
/// looked at. Who was not looked at may have any of them open.
pub(super) fn readers(ends: &BTreeSet<End>, until: Instant) -> Option<BTreeMap<End, Readers>> {
    let mut readers: BTreeMap<End, Readers> = BTreeMap::new();
    if ends.is_empty() {
        return Some(readers);
    }
    // Who may not look at this one is not shown every process, either (`hidepid` of proc(5)).
    fs::read_dir(format!("/proc/{INIT}/fd")).ok()?;
    // The tracer has copies of sockets while it looks at them.
    let own = std::process::id();
    for pid in numbers_in("/proc").filter(|pid| ![INIT, own].contains(pid)) {
        for (end, mode) in open_in(pid, ends, until)? {
            readers.entry(end.clone()).or_default().add(&end, pid, mode);
        }
    }
    Some(readers)
}

/// Those of these ends that a process has open, each with the bits of all its links; `None` if that is not known.
fn open_in(pid: u32, ends: &BTreeSet<End>, until: Instant) -> Option<BTreeMap<End, u32>> {
    let mut modes = BTreeMap::new();
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return is_gone(pid).then_some(modes);
    };
    // A process may have a million of them.
    for entry in entries.flatten() {
        if Instant::now() >= until {
            return None;
        }
        let path = entry.path();
        let end = match end_of(&path, ends) {
            Ok(Some(end)) => end,
            Ok(None) => continue,
            // It was closed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(_) if is_gone(pid) => continue,
            Err(_) => return None,
        };
        let mode = fs::symlink_metadata(&path).map_or(0, |link| link.mode());
        *modes.entry(end).or_default() |= mode;
    }
    Some(modes)
}

fn is_gone(pid: u32) -> bool {
    !exists(pid)
}

/// The one of these ends that a descriptor is open for.
fn end_of(descriptor: &Path, ends: &BTreeSet<End>) -> io::Result<Option<End>> {
    let link = fs::read_link(descriptor)?;
    let Some(link) = link.to_str() else {
        return Ok(None);
    };
    let is_path = |end: &End| matches!(end, End::Named(path, _) if path == link);
    let end = match End::of(link) {
        Some(end) => Some(end),
        None if link == FANOTIFY && ends.contains(&End::Permission) => {
            permits(descriptor)?.then_some(End::Permission)
        }
        None if link == DEVICE => serves(descriptor, ends)?,
        // The same path may be another file there.
        None if ends.iter().any(is_path) => End::named(link, descriptor, |_| true),
        None => None,
    };
    Ok(end.filter(|end| ends.contains(end)))
}

/// Has the group of fanotify that a descriptor is open for a say in what others do to files?
fn permits(descriptor: &Path) -> io::Result<bool> {
    Ok(has_a_say(&head_of(descriptor)?))
}

/// The one of these ends of which a descriptor of the device of FUSE serves the files. Where the kernel does not tell, it may serve those
/// of the only one.
fn serves(descriptor: &Path, ends: &BTreeSet<End>) -> io::Result<Option<End>> {
    let mut served = ends.iter().filter(|end| matches!(end, End::Files(_)));
    let Some(first) = served.next() else {
        return Ok(None);
    };
    let known = connection(&head_of(descriptor)?).map(End::Files);
    let only = first.clone();
    Ok(known.or_else(|| served.next().is_none().then_some(only)))
}

fn connection(text: &str) -> Option<u32> {
    let mut lines = text.lines();
    let number = lines.find_map(|line| line.strip_prefix(CONNECTION))?;
    number.trim().parse().ok()
}

/// The first lines of what the kernel tells of a descriptor.
fn head_of(descriptor: &Path) -> io::Result<String> {
    let number = descriptor.file_name().unwrap_or_default();
    let of_process = descriptor.parent().and_then(Path::parent);
    let path = of_process.map(|folder| folder.join("fdinfo").join(number));
    let file = File::open(path.unwrap_or_default())?;
    let mut text = String::new();
    file.take(FLAGS_WITHIN).read_to_string(&mut text)?;
    Ok(text)
}

fn has_a_say(text: &str) -> bool {
    let mut lines = text.lines();
    let flags = lines.find_map(|line| line.strip_prefix(FANOTIFY_FLAGS));
    let flags = flags.and_then(|flags| flags.split(' ').next());
    let flags = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & PERMITS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_looked_at_in_time_may_read_anything() {
        let ends = BTreeSet::from([End::Pipe(u64::MAX)]);
        assert_eq!(open_in(std::process::id(), &ends, Instant::now()), None);
        let of_nothing = readers(&BTreeSet::new(), Instant::now());
        assert_eq!(of_nothing, Some(BTreeMap::new()));
    }

    #[test]
    fn a_process_that_is_gone_reads_nothing() {
        let ends = BTreeSet::from([End::Pipe(u64::MAX)]);
        let open = open_in(u32::MAX, &ends, Instant::now());
        assert_eq!(open, Some(BTreeMap::new()));
    }

    #[test]
    fn who_can_write_into_the_same_pipe_may_keep_it_and_each_end_of_a_socket_is_for_both() {
        let of = |end: End| {
            let mut readers = Readers::default();
            let modes = [0o300, 0o500, 0o700];
            for (pid, mode) in (1..).zip(modes) {
                readers.add(&end, pid, 0o120_000 | mode);
            }
            (readers.only, readers.keepers)
        };
        assert_eq!(of(End::Pipe(5)), (vec![2], vec![3]));
        let named = End::Named("/run/pipe".to_owned(), (1, 5));
        assert_eq!(of(named), (vec![2], vec![3]));
        assert_eq!(of(End::Socket(5)), (vec![2, 3], vec![]));
        assert_eq!(of(End::Permission), (vec![2, 3], vec![]));
        assert_eq!(of(End::Files(53)), (vec![2, 3], vec![]));
    }

    #[test]
    fn a_descriptor_of_the_device_of_fuse_has_a_connection_where_the_kernel_tells() {
        let head = "pos:\t0\nflags:\t0100002\nmnt_id:\t29\nino:\t90\n";
        assert_eq!(connection(head), None);
        assert_eq!(
            connection(&format!("{head}fuse_connection:\t53\n")),
            Some(53)
        );
    }

    #[test]
    fn a_group_of_fanotify_has_a_say_if_it_was_made_for_that() {
        let of = |flags: &str| {
            let head = "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1058\n";
            has_a_say(&format!(
                "{head}fanotify {flags}event-flags:8000\nfanotify ino:7 mflags:0\n"
            ))
        };
        assert!(of("flags:5 ") && of("flags:a "));
        assert!(!of("flags:3 ") && !of("") && !has_a_say(""));
    }
}
