//! The lock family: who has a lock or a lease on a file for which the target sleeps, and which it is refused.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use tracer::{
    event::{Event, LockOutcome, LockTried},
    recording::Reader,
};
use tracer_tests::harness::{Guard, Trace};

/// Attempts that are refused while the trace runs: a prime number.
const ATTEMPTS: usize = 101;

/// Locks the whole file for this process.
fn lock(file: &File) {
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
}

/// A shell that runs a script, which reads lines and writes some.
struct Shell(Guard, ChildStdin, BufReader<std::process::ChildStdout>);

impl Shell {
    fn start(script: &str, file: &Path) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", script]).arg(file);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child: Child = child.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self(Guard(child), input, BufReader::new(output))
    }

    fn pid(&self) -> u32 {
        self.0.0.id()
    }

    fn say(&mut self) {
        self.1.write_all(b"go\n").unwrap();
    }

    fn hear(&mut self) {
        let mut line = String::new();
        self.2.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }
}

/// The attempts at a file in a recording.
fn attempts(recording: &Path, inode: u64) -> Vec<LockTried> {
    let events = Reader::<Event>::open(recording).unwrap();
    let tried = events.filter_map(|event| match event.unwrap() {
        Event::LockTried(tried) if tried.inode == inode => Some(tried),
        _ => None,
    });
    tried.collect()
}

#[test]
fn a_refused_lock_and_one_that_is_waited_for_name_who_has_it() {
    println!("RAN lock");
    let dir = tempfile::tempdir().unwrap();
    let (path, recording) = (dir.path().join("file"), dir.path().join("trace.rec"));
    let file = File::create(&path).unwrap();
    lock(&file);
    let script = format!(
        "read go; i=0; while [ $i -lt {ATTEMPTS} ]; do flock -n \"$0\" true; i=$((i+1)); done; echo done
         flock \"$0\" true & sleep 1; echo done; wait; read end"
    );
    let mut shell = Shell::start(&script, &path);
    let target = shell.pid().to_string();
    let recorded = recording.to_str().unwrap();
    let options = ["--pid", &target, "--duration", "60s", "--record", recorded];
    let trace = Trace::start(&options).unwrap();
    shell.say();
    shell.hear();
    shell.hear();
    let inode = file.metadata().unwrap().ino();
    drop(file);
    trace.stop().unwrap();
    let found = attempts(&recording, inode);
    let of = |outcome| found.iter().filter(move |tried| tried.outcome == outcome);
    let counts = (
        of(LockOutcome::Refused).count(),
        of(LockOutcome::Waits).count(),
    );
    println!("refused and waited: {counts:?}, of ({ATTEMPTS}, 1)");
    assert_eq!(counts, (ATTEMPTS, 1));
    let own = std::process::id();
    assert!(
        found.iter().all(|tried| tried.owner_pid == own),
        "{found:?}"
    );
}

/// `F_RDLCK` and `F_UNLCK` of `include/uapi/asm-generic/fcntl.h`.
const READ: i32 = 0;
const NONE: i32 = 2;

/// Takes a lease on a file, or gives it up.
fn lease(file: &File, kind: i32) {
    // SAFETY: the descriptor is open, and the call takes no pointer.
    let leased = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    assert_eq!(leased, 0, "{}", std::io::Error::last_os_error());
}

/// Has nobody asked for the file that is leased?
fn is_undisturbed(file: &File) -> bool {
    // SAFETY: the descriptor is open, and the call takes no pointer.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) == READ }
}

#[test]
fn a_lease_that_is_waited_for_names_who_has_it() {
    println!("RAN lock");
    let dir = tempfile::tempdir().unwrap();
    let (path, recording) = (dir.path().join("file"), dir.path().join("trace.rec"));
    File::create(&path).unwrap();
    let file = File::open(&path).unwrap();
    // The kernel says by this signal that the lease is to be given up, and it would end the test.
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    lease(&file, READ);
    let mut shell = Shell::start(r#"read go; : >>"$0"; echo done; read end"#, &path);
    let target = shell.pid().to_string();
    let recorded = recording.to_str().unwrap();
    let options = ["--pid", &target, "--duration", "60s", "--record", recorded];
    let trace = Trace::start(&options).unwrap();
    shell.say();
    while is_undisturbed(&file) {
        std::thread::yield_now();
    }
    lease(&file, NONE);
    shell.hear();
    trace.stop().unwrap();
    let found = attempts(&recording, file.metadata().unwrap().ino());
    let found: Vec<(LockOutcome, u32)> = found.iter().map(|t| (t.outcome, t.owner_pid)).collect();
    assert_eq!(found, [(LockOutcome::Waits, std::process::id())]);
}
