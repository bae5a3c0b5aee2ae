//! Who has to read what a thread of this process writes.

use std::{
    env,
    ffi::CString,
    fs::File,
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Child, Command},
    ptr,
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
        let mut all = writes(&[pid], &[]).into_iter();
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
fn who_sends_over_tcp_what_nobody_reads_waits_for_that_address_unless_it_is_asked_there() {
    if !sees_all() {
        return;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut asks = TcpStream::connect(address).unwrap();
    let (mut answers, client) = listener.accept().unwrap();
    let tid = writer(move || asks.write(&[0; 4096]));
    assert_eq!(place(tid, &[]), address.to_string());
    let tid = writer(move || answers.write(&[0; 4096]));
    // The same, if nobody knew the port.
    assert_eq!(place(tid, &[]), client.to_string());
    let asked = writes(&[std::process::id()], &[address.port().into()]);
    assert!(asked.iter().all(|seen| seen.tid != tid), "{asked:?}");
}

#[test]
fn a_queue_of_messages_is_read_by_who_has_it_open_for_that() {
    if !sees_all() {
        return;
    }
    let name = format!("/tracer-writes-queue-{}", std::process::id());
    let text = CString::new(name.as_str()).unwrap();
    let open = |how: i32| {
        let like_others = ptr::null_mut::<libc::mq_attr>();
        // SAFETY: a text that ends with a zero, and no attributes.
        let queue =
            unsafe { libc::mq_open(text.as_ptr(), how | libc::O_CREAT, 0o600, like_others) };
        assert!(queue >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the descriptor is open, and nothing else owns it.
        unsafe { OwnedFd::from_raw_fd(queue) }
    };
    let reader = Idle::new(open(libc::O_RDONLY));
    let queue = open(libc::O_WRONLY);
    let tid = writer(move || {
        // SAFETY: one byte.
        let sent = unsafe { libc::mq_send(queue.as_raw_fd(), c"x".as_ptr(), 1, 0) };
        match sent {
            0 => Ok(1),
            _ => Err(io::Error::last_os_error()),
        }
    });
    let found = place(tid, &[reader.pid()]);
    // SAFETY: a text that ends with a zero.
    unsafe { libc::mq_unlink(text.as_ptr()) };
    assert_eq!(found, format!("{name} (queue)"));
}

#[test]
fn a_queue_of_system_v_is_read_by_who_did_so_last() {
    if !sees_all() {
        return;
    }
    // SAFETY: no pointers.
    let queue = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
    assert!(queue >= 0, "{}", io::Error::last_os_error());
    let sends = move || {
        // The kind of the message, and room for its text.
        let message: [libc::c_long; 2] = [1, 0];
        // SAFETY: a message of at least one byte.
        let failed = unsafe { libc::msgsnd(queue, (&raw const message).cast(), 1, 0) };
        match failed {
            0 => Ok(1),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let tid = writer(sends);
    let name = format!("{queue} (System V queue)");
    let before = place(tid, &[]);
    let mut message: [libc::c_long; 2] = [0, 0];
    // SAFETY: room for at least one byte.
    let taken = unsafe { libc::msgrcv(queue, (&raw mut message).cast(), 1, 0, 0) };
    let after = place(tid, &[std::process::id()]);
    // It reads, too, but messages of another kind. Who has to take those that are there is not known any more.
    let other = thread::spawn(move || {
        let mut message: [libc::c_long; 2] = [0, 0];
        // SAFETY: room for at least one byte.
        unsafe { libc::msgrcv(queue, (&raw mut message).cast(), 1, 2, 0) }
    });
    let awaited = place(tid, &[]);
    // SAFETY: no pointers.
    unsafe { libc::msgctl(queue, libc::IPC_RMID, ptr::null_mut()) };
    assert_eq!(other.join().unwrap(), -1);
    assert_eq!((before, taken, after), (name.clone(), 1, name.clone()));
    assert_eq!(awaited, name);
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
    let all = writes(&[std::process::id()], &[]);
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
