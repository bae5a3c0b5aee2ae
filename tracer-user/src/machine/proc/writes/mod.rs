//! Threads that sleep in a write to a full pipe or queue of messages, in a send or connect on a Unix socket, until a scanner permits what
//! they do to a file, or until a process serves that (FUSE), and the processes that have to read there, to permit it, or to serve it. And
//! those that sleep in a send over TCP to somebody who has no room for it.
//!
//! Nobody wakes such a thread while nothing is read, so the state is asked.

mod on_socket;
#[cfg(test)]
mod tests;

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fs,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    time::{Duration, Instant},
};

use self::on_socket::on_socket;
use super::{
    SmallFiles,
    hearing::function,
    message_queue, numbers_in, process_descriptor,
    readers::{End, Readers, readers},
    remote::asked_over,
    system_call::{SystemCall, is_narrow},
    unanswered::{copied, ends, traffic},
    unix::Listed,
};
use crate::{event::WriteSeen, machine::clocks::now_ns};

/// Most threads of a process looked at.
const MOST_THREADS: usize = 1024;

/// Most threads shown that sleep so.
const MOST: usize = 64;

/// Most processes shown that can read at one end.
const MOST_READERS: usize = 16;

/// Functions that wait until a scanner has answered (`fs/notify/fanotify/fanotify.c`, 5.10 to 7.2).
const PERMISSIONS: [&str; 2] = ["fanotify_get_response", "fanotify_handle_event"];

/// The function that waits until a process that serves files has answered (`fs/fuse/dev.c`, 5.10 to 7.2), and those that wait for a page,
/// which that process may have to bring.
const ASKS_FOR_FILES: &str = "request_wait_answer";
const WAITS_FOR_PAGE: [&str; 2] = ["folio_wait_bit_common", "wait_on_page_bit_common"];

/// The kind of a place that has an address, which says it all.
const ADDRESS: &str = "address";

/// How long a look may take. Who can read is known only once every process was looked at.
const SEARCH: Duration = Duration::from_millis(300);

/// Where a thread writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    kind: &'static str,
    name: Option<String>,
    /// `None` if it is not known.
    end: Option<End>,
    /// The number of a queue of System V: nothing shows who can read there.
    queue: Option<u64>,
    /// Who read there last.
    read_by: Vec<u32>,
}

impl Place {
    fn file(kind: &'static str, name: Option<&str>, end: End) -> Self {
        Self {
            kind,
            name: name.map(str::to_owned),
            end: Some(end),
            queue: None,
            read_by: Vec::new(),
        }
    }

    fn address(address: String) -> Self {
        Self {
            kind: ADDRESS,
            name: Some(address),
            end: None,
            queue: None,
            read_by: Vec::new(),
        }
    }

    fn socket(name: Option<String>, inode: Option<u64>) -> Self {
        Self {
            kind: "Unix socket",
            name,
            end: inode.map(End::Socket),
            queue: None,
            read_by: Vec::new(),
        }
    }

    /// A queue of System V, by its number.
    fn queue(number: u64, read_by: Vec<u32>) -> Self {
        Self {
            kind: "System V queue",
            name: Some(number.to_string()),
            end: None,
            queue: Some(number),
            read_by,
        }
    }
}

/// A thread that sleeps in a write.
struct Writer {
    /// When it was looked at first and last, ns.
    ns: (u64, u64),
    pid: u32,
    tid: u32,
    place: Place,
}

/// The threads of these processes, which are asked on these ports, that sleep in a write right now, and who can read what they write; none
/// if that is not known. The network namespace of the calling thread may become that of one of these processes.
#[must_use]
pub(crate) fn writes(pids: &[u32], ports: &[u32]) -> Vec<WriteSeen> {
    let until = Instant::now() + SEARCH;
    let of = |pid: &u32| writers(*pid, ports, until);
    let mut writers: Vec<Writer> = pids.iter().flat_map(of).take(MOST).collect();
    let queues = writers.iter().filter_map(|writer| writer.place.queue);
    let Some(awaited) = message_queue::awaited(&queues.collect(), until) else {
        return Vec::new();
    };
    for place in writers.iter_mut().map(|writer| &mut writer.place) {
        if place.queue.is_some_and(|queue| awaited.contains(&queue)) {
            place.read_by.clear();
        }
    }
    let ends = writers.iter().filter_map(|writer| writer.place.end.clone());
    // Nobody that was found is not nobody: it may be the target itself.
    let Some(readers) = readers(&ends.collect(), until) else {
        return Vec::new();
    };
    let seen = writers.into_iter().map(|writer| writer.seen(&readers));
    seen.collect()
}

impl Writer {
    fn seen(self, readers: &BTreeMap<End, Readers>) -> WriteSeen {
        let Place {
            kind,
            name,
            end,
            read_by,
            ..
        } = self.place;
        let there = end.as_ref().and_then(|end| readers.get(end));
        let Readers {
            only: mut readers,
            mut keepers,
        } = there.cloned().unwrap_or_default();
        readers.extend(read_by);
        let place = match (name, readers.len()) {
            (Some(name), _) if kind == ADDRESS => name,
            (Some(name), _) => format!("{name} ({kind})"),
            (None, 1) => String::new(),
            (None, _) => format!("a {kind}"),
        };
        readers.truncate(MOST_READERS);
        keepers.truncate(MOST_READERS);
        WriteSeen {
            ns: self.ns.0,
            known_ns: self.ns.1,
            pid: self.pid,
            tid: self.tid,
            readers,
            keepers,
            place,
        }
    }
}

/// The threads of a process that sleep in a write.
fn writers(pid: u32, ports: &[u32], until: Instant) -> Vec<Writer> {
    let (mut files, sockets) = (SmallFiles::default(), OnceCell::new());
    let mut writers = Vec::new();
    for tid in numbers_in(&format!("/proc/{pid}/task")).take(MOST_THREADS) {
        if writers.len() == MOST || Instant::now() >= until {
            break;
        }
        let ns = now_ns();
        let line = files.read(format_args!("/proc/{pid}/task/{tid}/syscall"));
        // A program of 32 bits has numbers of its own.
        let call = line.filter(|line| !is_narrow(line));
        let call = call.and_then(SystemCall::parse);
        let place = call.and_then(|call| {
            let place = place((pid, tid), &call, &sockets, ports);
            let permission = || permission(pid, tid);
            place
                .or_else(permission)
                .or_else(|| served(pid, tid, &call))
        });
        writers.extend(place.map(|place| Writer {
            ns: (ns, now_ns()),
            pid,
            tid,
            place,
        }));
    }
    writers
}

/// Where a thread writes that sleeps in this call; `None` if that is no pipe, queue or socket that is meant, or not to be told.
fn place(
    (pid, tid): (u32, u32),
    call: &SystemCall,
    sockets: &OnceCell<Option<Listed>>,
    ports: &[u32],
) -> Option<Place> {
    if call.number == libc::SYS_msgsnd {
        // An `int` leaves the upper half of its register undefined.
        let number = call.arguments[0] & 0xffff_ffff;
        return Some(Place::queue(number, message_queue::read_by(pid, number)?));
    }
    let fd = call.written()?;
    let path = format!("/proc/{pid}/fd/{fd}");
    let link = fs::read_link(&path).ok()?;
    let link = link.to_str()?;
    if let Some(end) = End::of(link) {
        return match end {
            End::Socket(inode) => on_socket((pid, tid), (fd, inode), call, sockets)
                .or_else(|| connection(pid, (fd, inode), ports)),
            pipe => Some(Place::file("pipe", None, pipe)),
        };
    }
    let is_queue = call.number == libc::SYS_mq_timedsend;
    // To ask for the kind of a file may hang where its server is gone.
    let is_meant = is_queue || function(pid, tid).contains("pipe");
    if !link.starts_with('/') || !is_meant {
        return None;
    }
    let end = End::named(link, Path::new(&path), |kind| is_queue || kind.is_fifo())?;
    let kind = if is_queue { "queue" } else { "pipe" };
    Some(Place::file(kind, Some(link), end))
}

/// Where a connection over TCP leads that a process has made, if there is no room for what it sends. What a link or the path holds up is
/// under way, and a client that does not take its answer is not asked.
fn connection(pid: u32, (fd, inode): (u64, u64), ports: &[u32]) -> Option<Place> {
    let copy = copied(pid, &process_descriptor(pid)?, u32::try_from(fd).ok()?)?;
    let (local, remote) = ends(&copy.stream)?;
    let asks = copy.inode == inode && !ports.contains(&local.port().into());
    let is_stuck = asks && traffic(&copy.stream)?.has_no_room();
    is_stuck.then(|| Place::address(remote.to_string()))
}

/// A scanner's permission, if a thread sleeps for that.
fn permission(pid: u32, tid: u32) -> Option<Place> {
    let asks = PERMISSIONS.contains(&function(pid, tid).as_str());
    asks.then(|| Place::file("scanner's permission", None, End::Permission))
}

/// The files that another process serves, if a thread sleeps for these. By its call it is known which mount a page is of.
fn served(pid: u32, tid: u32, call: &SystemCall) -> Option<Place> {
    let function = function(pid, tid);
    let (asks, file) = (function == ASKS_FOR_FILES, call.file());
    let may_ask = asks || (file.is_some() && WAITS_FOR_PAGE.contains(&function.as_str()));
    // An `int` leaves the upper half of its register undefined.
    let file = file.map(|fd| fd & 0xffff_ffff);
    let connection = may_ask.then(|| asked_over(pid, file)).flatten()?;
    let kind = "process that serves files";
    Some(Place::file(kind, None, End::Files(connection)))
}
