//! A server that hung before the trace: each of its threads has the question of a client over a Unix socket, and waits for a lock.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tracer_tests::harness::{Guard, figure, run};

/// Clients that wait for an answer: a prime number.
const HUNG: usize = 7;

/// Tell the programs below where they meet, and what to ask.
const PLACE: &str = "TRACER_TEST_PLACE";
const QUESTION: &str = "TRACER_TEST_QUESTION";

/// One is answered, and the other waits for the lock.
const QUICK: &[u8] = b"q";
const SLOW: &[u8] = b"s";

/// Far more than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn place() -> Option<SocketAddr> {
    let name = env::var(PLACE).ok()?;
    Some(SocketAddr::from_abstract_name(name).unwrap())
}

fn serve(mut stream: UnixStream, lock: &Mutex<()>) {
    let mut question = [0];
    while stream.read_exact(&mut question).is_ok() {
        if question == SLOW {
            drop(lock.lock());
        }
        stream.write_all(&question).unwrap();
    }
}

#[test]
fn a_server_for_the_other_test() {
    let Some(place) = place() else {
        return;
    };
    let listener = UnixListener::bind_addr(&place).unwrap();
    println!("word=listens");
    let lock = Arc::new(Mutex::new(()));
    let _held = lock.lock().unwrap();
    loop {
        let (stream, _) = listener.accept().unwrap();
        let lock = Arc::clone(&lock);
        thread::spawn(move || serve(stream, &lock));
    }
}

#[test]
fn a_client_for_the_other_test() {
    let (Some(place), Ok(question)) = (place(), env::var(QUESTION)) else {
        return;
    };
    let mut stream = UnixStream::connect_addr(&place).unwrap();
    stream.write_all(question.as_bytes()).unwrap();
    // Who has an answer waits for news, which do not come.
    while stream.read_exact(&mut [0]).is_ok() {
        println!("word=answered");
    }
}

/// A process that runs one of the tests above.
struct Program {
    process: Guard,
    output: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(test: &str, place: &str, question: &[u8]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", test, "--test-threads=1", "--nocapture"])
            .env(PLACE, place)
            .env(QUESTION, str::from_utf8(question).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            process: Guard(child),
            output,
        }
    }

    fn client(place: &str, question: &[u8]) -> Self {
        Self::start("a_client_for_the_other_test", place, question)
    }

    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        // libtest leaves the cursor behind the test's name.
        while !line.trim_end().ends_with(&format!("word={word}")) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0);
        }
    }

    fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// How many of its threads sleep in this system call.
    fn asleep_in(&self, call: i64) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let lines = tasks.flatten().filter_map(|task| {
            let line = fs::read_to_string(task.path().join("syscall"));
            line.ok()
        });
        let begin = format!("{call} ");
        lines.filter(|line| line.starts_with(&begin)).count()
    }

    fn until(&self, is_there: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_there(self) {
            assert!(begun.elapsed() < LONG);
            thread::yield_now();
        }
    }

    /// How many of its threads sleep until bytes come.
    fn receiving(&self) -> usize {
        let calls = [libc::SYS_read, libc::SYS_recvfrom];
        calls.map(|call| self.asleep_in(call)).iter().sum()
    }
}

#[test]
fn a_server_of_a_thread_for_each_unix_stream_that_hung_before_the_trace_is_not_idle() {
    println!("RAN hung");
    let place = format!("tracer-hung-{}", std::process::id());
    let mut server = Program::start("a_server_for_the_other_test", &place, &[]);
    server.hear("listens");
    let mut idle = Program::client(&place, QUICK);
    idle.hear("answered");
    let asking: Vec<Program> = (0..HUNG).map(|_| Program::client(&place, SLOW)).collect();
    for client in asking.iter().chain([&idle]) {
        client.until(|client| client.receiving() == 1);
    }
    server.until(|server| server.asleep_in(libc::SYS_futex) >= HUNG && server.receiving() == 1);
    let pid = server.pid().to_string();
    let args = [
        "attach",
        "--pid",
        &pid,
        "--duration",
        "2s",
        "--output",
        "json",
    ];
    let report = run(&args).unwrap().json().unwrap();
    let verdict = &report["verdict"];
    println!("{}", verdict["sentence"]);
    assert_eq!(figure(&report, "/requests/open").unwrap(), HUNG as u64);
    assert_eq!(verdict["resource"], "lock", "{verdict:#}");
    let sentence = verdict["sentence"].as_str().unwrap();
    let said = format!("holds {HUNG} requests open");
    assert!(sentence.contains(&said), "{sentence}");
}
