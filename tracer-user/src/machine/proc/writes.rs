//! Threads that sleep in a write to a full pipe, or in a send or connect on a Unix socket, and the processes that have to read there.
//!
//! Nobody wakes such a thread while nothing is read, so the state is asked.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File},
    mem,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
    time::{Duration, Instant},
};

use super::{
    SmallFiles,
    accepted::{as_text, is_accepted_unix, is_unix, name},
    hearing::function,
    numbers_in,
    peek::peek,
    process_descriptor,
    readers::{End, Readers, readers},
    system_call::{SystemCall, is_narrow},
    unanswered::copied,
    unix::Listed,
};
use crate::{event::WriteSeen, machine::clocks::now_ns};

/// Most threads of a process looked at.
const MOST_THREADS: usize = 1024;

/// Most threads shown that sleep so.
const MOST: usize = 64;

/// Most processes shown that can read at one end.
const MOST_READERS: usize = 16;

/// How long a look may take. Who can read is known only once every process was looked at.
const SEARCH: Duration = Duration::from_millis(300);

/// Length of the family in front of an address.
const FAMILY: usize = size_of::<libc::sa_family_t>();

/// Where a thread writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    kind: &'static str,
    name: Option<String>,
    /// `None` if it is not known.
    end: Option<End>,
}

impl Place {
    fn pipe(name: Option<&str>, end: End) -> Self {
        Self {
            kind: "pipe",
            name: name.map(str::to_owned),
            end: Some(end),
        }
    }

    fn socket(name: Option<String>, inode: Option<u64>) -> Self {
        Self {
            kind: "Unix socket",
            name,
            end: inode.map(End::Socket),
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

/// The threads of these processes that sleep in a write right now, and who can read what they write; none if that is not known. The network
/// namespace of the calling thread may become that of one of these processes.
#[must_use]
pub(crate) fn writes(pids: &[u32]) -> Vec<WriteSeen> {
    let until = Instant::now() + SEARCH;
    let of = |pid: &u32| writers(*pid, until);
    let writers: Vec<Writer> = pids.iter().flat_map(of).take(MOST).collect();
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
        let Place { kind, name, end } = self.place;
        let there = end.as_ref().and_then(|end| readers.get(end));
        let Readers {
            only: mut readers,
            mut keepers,
        } = there.cloned().unwrap_or_default();
        let place = match (name, readers.len()) {
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
fn writers(pid: u32, until: Instant) -> Vec<Writer> {
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
        let place = call
            .and_then(SystemCall::parse)
            .and_then(|call| place(pid, tid, &call, &sockets));
        writers.extend(place.map(|place| Writer {
            ns: (ns, now_ns()),
            pid,
            tid,
            place,
        }));
    }
    writers
}

/// Where a thread writes that sleeps in this call; `None` if that is no pipe and no Unix socket, or not to be told.
fn place(
    pid: u32,
    tid: u32,
    call: &SystemCall,
    sockets: &OnceCell<Option<Listed>>,
) -> Option<Place> {
    let fd = call.written()?;
    let path = format!("/proc/{pid}/fd/{fd}");
    let link = fs::read_link(&path).ok()?;
    let link = link.to_str()?;
    if let Some(end) = End::of(link) {
        return match end {
            End::Socket(inode) => socket((pid, tid), (fd, inode), call, sockets),
            pipe => Some(Place::pipe(None, pipe)),
        };
    }
    // To ask for the kind of a file may hang where its server is gone.
    let is_pipe = link.starts_with('/') && function(pid, tid).contains("pipe");
    let end = is_pipe
        .then(|| End::named(link, Path::new(&path)))
        .flatten()?;
    Some(Place::pipe(Some(link), end))
}

/// Where a thread sends, or connects to, on a socket of its process.
fn socket(
    (pid, tid): (u32, u32),
    (fd, inode): (u64, u64),
    call: &SystemCall,
    sockets: &OnceCell<Option<Listed>>,
) -> Option<Place> {
    let peer = unix_socket(pid, u32::try_from(fd).ok()?, inode)?;
    let to = destination(pid, call)?;
    let known = || sockets.get_or_init(|| Listed::of(pid)).as_ref();
    if to.is_empty() {
        // Without the list the other end may be the target's own.
        return Some(Place::socket(peer.name, known()?.other_end(inode)));
    }
    // In a full buffer of its own may stand what another one does not read.
    if function(pid, tid) != "unix_wait_for_peer" {
        return None;
    }
    let connects = call.number == libc::SYS_connect;
    let bound = || known()?.bound(file(pid, &to)?, connects);
    Some(Place::socket(as_text(&to), bound()))
}

/// Its peer, as far as the socket itself knows it; `None` if it is no Unix socket, or one whose peer is a client: who does not take an
/// answer is not asked for one. The copy of the socket is closed at once. What comes next may hang in the memory of the process, and as
/// long as there is a copy, nobody notices that the process closes its own.
fn unix_socket(pid: u32, fd: u32, inode: u64) -> Option<Place> {
    let copy = copied(pid, &process_descriptor(pid)?, fd)?;
    let asks = copy.inode == inode && is_unix(&copy.stream) && !is_accepted_unix(&copy.stream);
    asks.then(|| Place::socket(name(&copy.stream), None))
}

/// The name to which a call sends or connects, as it lies behind the family of an address; empty if it is the peer's. `None` if it cannot
/// be read.
fn destination(pid: u32, call: &SystemCall) -> Option<Vec<u8>> {
    let [_, second, third, _, fifth, sixth] = call.arguments;
    let (address, length) = match call.number {
        libc::SYS_connect => (second, third),
        libc::SYS_sendto => (fifth, sixth),
        libc::SYS_sendmsg => {
            // `struct msghdr` begins with the address, and has its length behind it.
            let (mut address, mut length) = ([0; 8], [0; 4]);
            peek(pid, second, &mut address)?;
            peek(pid, second + 8, &mut length)?;
            let length = u32::from_ne_bytes(length);
            (u64::from_ne_bytes(address), length.into())
        }
        _ => (0, 0),
    };
    let length = (length & 0xffff_ffff) as usize;
    let mut bytes = vec![0; length.min(size_of::<libc::sockaddr_un>())];
    if address == 0 || bytes.len() <= FAMILY {
        return Some(Vec::new());
    }
    peek(pid, address, &mut bytes)?;
    Some(bytes.split_off(FAMILY))
}

/// Device and inode of the file that a socket is bound to, where the process finds it by this path: links on the way lead from its own
/// root (`openat2(2)`, 5.6 and later).
fn file(pid: u32, name: &[u8]) -> Option<(u64, u64)> {
    let path = as_text(name).filter(|path| path.starts_with('/'))?;
    let text = CString::new(path).ok()?;
    let mut options = File::options();
    let root = options.read(true).custom_flags(libc::O_PATH);
    let root = root.open(format!("/proc/{pid}/root")).ok()?;
    // SAFETY: numbers, for which zeros are valid.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT;
    let (path, length) = (text.as_ptr(), size_of_val(&how));
    let how = &raw const how;
    // SAFETY: a text that ends with a zero, and numbers of this length; the descriptor that it returns is ours.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path, how, length) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the descriptor is open, and nothing else owns it.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let file = file.metadata().ok()?;
    Some((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::{self, Write as _},
        os::{
            linux::net::SocketAddrExt as _,
            unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
        path::PathBuf,
        process::{Child, Command},
        sync::mpsc::channel,
        thread,
    };

    use super::*;

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    /// Can the tests see what every process has open? Else nobody is named.
    fn sees_all() -> bool {
        // SAFETY: no arguments.
        let is_root = unsafe { libc::geteuid() } == 0;
        if !is_root {
            eprintln!("SKIP writes: only root sees what every process has open");
        }
        is_root
    }

    /// A process that could read, and does not.
    struct Idle(Child);

    impl Idle {
        fn new(end: impl Into<OwnedFd>) -> Self {
            let end: OwnedFd = end.into();
            Self::of(Command::new("sleep").arg("60").stdin(end))
        }

        fn of(command: &mut Command) -> Self {
            Self(command.spawn().unwrap())
        }

        fn pid(&self) -> u32 {
            self.0.id()
        }
    }

    impl Drop for Idle {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A thread of the tests themselves that writes for as long as that works.
    fn writer(mut write: impl FnMut() -> io::Result<usize> + Send + 'static) -> u32 {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            // SAFETY: no arguments.
            sender.send(unsafe { libc::gettid() } as u32).unwrap();
            while write().is_ok() {}
        });
        receiver.recv().unwrap()
    }

    /// What is seen of a thread of a process, once it `is_it`. Until it runs its program, a child has copies of everything.
    fn seen((pid, tid): (u32, u32), is_it: impl Fn(&WriteSeen) -> bool) -> WriteSeen {
        let begun = Instant::now();
        loop {
            let mut all = writes(&[pid]).into_iter();
            match all.find(|seen| seen.tid == tid) {
                Some(its) if is_it(&its) => return its,
                other => assert!(begun.elapsed() < LONG, "{other:?}"),
            }
            thread::yield_now();
        }
    }

    /// Where a thread of the tests writes, once these and no others can read there.
    fn place(tid: u32, readers: &[u32]) -> String {
        let its = (std::process::id(), tid);
        seen(its, |seen| seen.readers == readers).place
    }

    /// A file system in memory. Others may be in layers, and have other numbers for their sockets than the kernel.
    const IN_MEMORY: &str = "/dev/shm";

    fn path(kind: &str) -> PathBuf {
        let dir = fs::canonicalize(IN_MEMORY).or_else(|_| fs::canonicalize(env::temp_dir()));
        let dir = dir.unwrap();
        dir.join(format!("tracer-writes-{kind}-{}", std::process::id()))
    }

    fn address(kind: &str) -> (SocketAddr, String) {
        let name = format!("tracer-writes-{kind}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        (address, format!("@{name} (Unix socket)"))
    }

    #[test]
    fn who_has_the_other_end_of_a_pipe_can_read_there_and_who_keeps_both_ends_does_not() {
        if !sees_all() {
            return;
        }
        let (read, mut write) = io::pipe().unwrap();
        let copy = || OwnedFd::from(read.try_clone().unwrap());
        let mut keeps = Command::new("sleep");
        keeps.arg("60").stdin(copy());
        keeps.stdout(OwnedFd::from(write.try_clone().unwrap()));
        let both_ends = Idle::of(&mut keeps);
        drop(keeps);
        let (first, second) = (Idle::new(copy()), Idle::new(copy()));
        drop(read);
        let tid = writer(move || write.write(&[0; 4096]));
        let mut both = [first.pid(), second.pid()];
        both.sort_unstable();
        assert_eq!(place(tid, &both), "a pipe");
        drop(second);
        assert_eq!(place(tid, &[first.pid()]), "");
        let its = (std::process::id(), tid);
        let is_kept = |seen: &WriteSeen| seen.keepers == [both_ends.pid()];
        assert_eq!(seen(its, is_kept).readers, [first.pid()]);
    }

    #[test]
    fn who_writes_into_a_pipe_of_its_own_is_the_one_that_can_read_there() {
        if !sees_all() {
            return;
        }
        let (read, write) = io::pipe().unwrap();
        let mut own = Command::new("cat");
        own.arg("/dev/zero").stdin(OwnedFd::from(read));
        own.stdout(OwnedFd::from(write));
        let cat = Idle::of(&mut own);
        drop(own);
        let is_own = |seen: &WriteSeen| seen.keepers == [cat.pid()];
        let found = seen((cat.pid(), cat.pid()), is_own);
        assert_eq!((found.readers, found.place.as_str()), (vec![], "a pipe"));
    }

    #[test]
    fn a_pipe_with_a_name_is_found_by_it() {
        if !sees_all() {
            return;
        }
        let path = path("pipe");
        let name = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a text that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let script = r#"exec sleep 60 <"$0""#;
        let reader = Idle::of(Command::new("sh").args(["-c", script]).arg(&path));
        // It waits for a reader.
        let mut write = File::options().write(true).open(&path).unwrap();
        let tid = writer(move || write.write(&[0; 4096]));
        let expected = format!("{} (pipe)", path.display());
        let found = place(tid, &[reader.pid()]);
        fs::remove_file(&path).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_other_end_of_a_stream_is_read_by_who_has_it_and_not_by_who_made_it() {
        if !sees_all() {
            return;
        }
        let (mut here, there) = UnixStream::pair().unwrap();
        let reader = Idle::new(there);
        let tid = writer(move || here.write(&[0; 4096]));
        assert_eq!(place(tid, &[reader.pid()]), "");
    }

    #[test]
    fn a_stream_that_nobody_has_accepted_is_read_by_nobody_and_has_the_name_of_its_listener() {
        if !sees_all() {
            return;
        }
        let (address, name) = address("stream");
        let listener = UnixListener::bind_addr(&address).unwrap();
        let mut asks = UnixStream::connect_addr(&address).unwrap();
        let tid = writer(move || asks.write(&[0; 4096]));
        assert_eq!(place(tid, &[]), name);
        let reader = Idle::new(listener.accept().unwrap().0);
        assert_eq!(place(tid, &[reader.pid()]), name);
    }

    #[test]
    fn a_client_that_does_not_take_an_answer_is_not_asked() {
        if !sees_all() {
            return;
        }
        let (address, _) = address("answers");
        let listener = UnixListener::bind_addr(&address).unwrap();
        let _client = Idle::new(UnixStream::connect_addr(&address).unwrap());
        let (mut answers, _) = listener.accept().unwrap();
        let (mut asks, there) = UnixStream::pair().unwrap();
        let _asked = Idle::new(there);
        let serves = writer(move || answers.write(&[0; 4096]));
        let asks = writer(move || asks.write(&[0; 4096]));
        // Until it sleeps, nothing is seen of anybody.
        while function(std::process::id(), serves).is_empty() {
            thread::yield_now();
        }
        let its = (std::process::id(), asks);
        let _ = seen(its, |_| true);
        let all = writes(&[std::process::id()]);
        assert!(all.iter().all(|seen| seen.tid != serves), "{all:?}");
    }

    #[test]
    fn datagrams_are_read_by_who_has_the_socket_that_they_go_to() {
        if !sees_all() {
            return;
        }
        let (address, name) = address("log");
        let reader = Idle::new(UnixDatagram::bind_addr(&address).unwrap());
        let tells = UnixDatagram::unbound().unwrap();
        tells.connect_addr(&address).unwrap();
        let tid = writer(move || tells.send(&[0]));
        assert_eq!(place(tid, &[reader.pid()]), name);
    }

    #[test]
    fn where_a_socket_without_a_peer_sends_stands_in_the_call() {
        if !sees_all() {
            return;
        }
        let path = path("log");
        let reader = Idle::new(UnixDatagram::bind(&path).unwrap());
        let (tells, to) = (UnixDatagram::unbound().unwrap(), path.clone());
        let tid = writer(move || tells.send_to(&[0], &to));
        let expected = format!("{} (Unix socket)", path.display());
        let is_found = |seen: &WriteSeen| match path.starts_with(IN_MEMORY) {
            true => seen.readers == [reader.pid()],
            false => seen.readers.is_empty() || seen.readers == [reader.pid()],
        };
        let found = seen((std::process::id(), tid), is_found);
        fs::remove_file(&path).unwrap();
        assert_eq!(found.place, expected);
    }
}
