//! The TCP family, compared with the client's own clock.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::{
            net::{UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tracer_tests::harness::{Guard, Trace, figure};

/// Requests: a prime number.
const REQUESTS: usize = 997;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn connect(port: u16) -> TcpStream {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "no server: {error}"),
        }
        thread::yield_now();
    }
}

/// Sends one request on an open connection, and returns how long the answer took.
fn ask(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    stream
        .write_all(b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the server hung up");
        answer.extend_from_slice(&chunk[..n]);
        if let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let length: usize = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
                .unwrap();
            if answer.len() >= head + 4 + length {
                return begun.elapsed();
            }
        }
    }
}

#[test]
fn requests_are_counted_and_take_as_long_as_their_client_says() {
    println!("RAN net");
    let dir = tempfile::tempdir().unwrap();
    // The server takes a few milliseconds to compress it: long against a switch.
    let page: Vec<u8> = (0..12_000_u32)
        .flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes())
        .collect();
    fs::write(dir.path().join("page"), page).unwrap();
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo-server"));
    command
        .args(["--listen", &format!("127.0.0.1:{port}"), "--gzip", "--root"])
        .arg(dir.path())
        .stdout(Stdio::null());
    let server = Guard(command.spawn().unwrap());
    let mut stream = connect(port);
    ask(&mut stream);
    let pid = server.0.id().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    let mut times: Vec<Duration> = (0..REQUESTS).map(|_| ask(&mut stream)).collect();
    let report = trace.stop().unwrap().json().unwrap();
    times.sort_unstable();
    let (own, theirs) = (
        times[REQUESTS / 2].as_nanos() as f64,
        figure(&report, "/requests/p50_ns").unwrap() as f64,
    );
    println!(
        "p50: client {own} ns, tracer {theirs} ns; {} requests",
        figure(&report, "/requests/count").unwrap()
    );
    assert!(
        (own / theirs - 1.0).abs() <= 0.10,
        "p50: client {own} ns, tracer {theirs} ns"
    );
    assert!(
        figure(&report, "/requests/count")
            .unwrap()
            .abs_diff(REQUESTS as u64)
            <= REQUESTS as u64 / 100
    );
    assert_eq!(report["verdict"]["basis"], "requests");
}

#[test]
fn clients_of_a_port_that_opens_after_attach_make_requests() {
    println!("RAN net");
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let pid = std::process::id().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = second.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = second.accept().unwrap();
        let mut question = [0; 64];
        while stream.read_exact(&mut question).is_ok() {
            stream.write_all(&question).unwrap();
        }
    });
    // The other end is the target's, too: there it asks.
    let mut stream = connect(port);
    for _ in 0..REQUESTS {
        stream.write_all(&[1; 64]).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
    }
    drop(stream);
    server.join().unwrap();
    let report = trace.stop().unwrap().json().unwrap();
    drop(first);
    let count = figure(&report, "/requests/count").unwrap();
    println!("{count} requests");
    assert!(count.abs_diff(REQUESTS as u64) <= REQUESTS as u64 / 100);
}

/// How long the server over a Unix socket takes for a request: long against a switch.
const WORK: Duration = Duration::from_millis(5);

/// Whether this kernel has the tracepoints that see Unix sockets (6.3 and later).
fn sees_unix() -> bool {
    let btf = fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let name = b"btf_trace_sock_recv_length\0";
    btf.windows(name.len()).any(|window| window == name)
}

#[test]
fn requests_over_a_unix_socket_are_requests_and_a_pair_of_sockets_asks_nothing() {
    if !sees_unix() {
        println!("SKIP net: this kernel has no tracepoint sock_recv_length");
        return;
    }
    println!("RAN net");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 64];
        while stream.read_exact(&mut question).is_ok() {
            thread::sleep(WORK);
            stream.write_all(&question).unwrap();
        }
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    let (mut bell, mut ear) = UnixStream::pair().unwrap();
    let pid = std::process::id().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let begun = Instant::now();
            stream.write_all(&[1; 64]).unwrap();
            stream.read_exact(&mut [0; 64]).unwrap();
            bell.write_all(&[1]).unwrap();
            ear.read_exact(&mut [0]).unwrap();
            begun.elapsed()
        })
        .collect();
    let report = trace.stop().unwrap().json().unwrap();
    drop(stream);
    server.join().unwrap();
    times.sort_unstable();
    let client = times[REQUESTS / 2].as_nanos() as f64;
    let seen = figure(&report, "/requests/p50_ns").unwrap() as f64;
    let count = figure(&report, "/requests/count").unwrap();
    println!("p50: client {client} ns, tracer {seen} ns; {count} requests");
    assert!(
        count.abs_diff(REQUESTS as u64) <= REQUESTS as u64 / 100,
        "{count}"
    );
    assert!((client / seen - 1.0).abs() <= 0.10, "{client} {seen}");
}

/// How long the server lets each connection stand in its queue.
const QUEUED: Duration = Duration::from_millis(20);

/// Connections with one request each: a prime number.
const CONNECTIONS: usize = 43;

/// The kernel tells such a server of a connection when its first bytes are there: they come with the packet that completes it.
fn defer_accept(listener: &TcpListener) {
    let seconds: libc::c_int = 5;
    // SAFETY: the pointer is to a value that outlives the call, with its size.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_request_that_comes_with_its_connection_begins_before_that_is_accepted() {
    println!("RAN net");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    defer_accept(&listener);
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        for _ in 0..CONNECTIONS {
            thread::sleep(QUEUED);
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 64];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(&question).unwrap();
        }
    });
    let pid = std::process::id().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    let times: Vec<Duration> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            let begun = Instant::now();
            stream.write_all(&[1; 64]).unwrap();
            stream.read_exact(&mut [0; 64]).unwrap();
            begun.elapsed()
        })
        .collect();
    let report = trace.stop().unwrap().json().unwrap();
    server.join().unwrap();
    assert_median_is_the_clients(&report, times);
}

/// The median of the requests is within a tenth of what the client measured.
fn assert_median_is_the_clients(report: &Value, mut times: Vec<Duration>) {
    times.sort_unstable();
    let client = times[times.len() / 2].as_nanos() as f64;
    let seen = figure(report, "/requests/p50_ns").unwrap() as f64;
    println!("p50: client {client} ns, tracer {seen} ns");
    assert!((client / seen - 1.0).abs() <= 0.10, "{client} {seen}");
}

/// Another process takes the first byte of each of these connections, as one does that hands them over.
fn taken_by_another(streams: &[TcpStream]) {
    let sockets: Vec<RawFd> = streams.iter().map(|stream| stream.as_raw_fd()).collect();
    let take = move || {
        for socket in &sockets {
            let mut byte = 0_u8;
            // SAFETY: the descriptor is open, and the pointer is to as many bytes.
            let taken = unsafe { libc::recv(*socket, (&raw mut byte).cast(), 1, 0) };
            if taken != 1 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    let mut command = Command::new("true");
    // SAFETY: between the fork and the new program it calls `recv` alone.
    unsafe { command.pre_exec(take) };
    assert!(command.status().unwrap().success());
}

#[test]
fn a_request_on_a_connection_that_was_handed_over_begins_when_it_comes() {
    println!("RAN net");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pid = std::process::id().to_string();
    let target = ["--pid", &pid, "--no-children"];
    let window = ["--duration", "120s", "--output", "json"];
    let trace = Trace::start(&[&target[..], &window[..]].concat()).unwrap();
    let connect = |_| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(&[1]).unwrap();
        (client, listener.accept().unwrap().0)
    };
    let (clients, servers): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(connect).unzip();
    taken_by_another(&servers);
    let (asked, asks) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        for mut stream in servers {
            asks.recv().unwrap();
            thread::sleep(QUEUED);
            let mut question = [0; 64];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(&question).unwrap();
        }
    });
    let ask = |mut stream: TcpStream| {
        let begun = Instant::now();
        stream.write_all(&[1; 64]).unwrap();
        asked.send(()).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
        begun.elapsed()
    };
    let times: Vec<Duration> = clients.into_iter().map(ask).collect();
    let report = trace.stop().unwrap().json().unwrap();
    server.join().unwrap();
    // The first one shows that the other process hands connections over.
    assert_median_is_the_clients(&report, times);
}

/// `ListenOverflows` of this network namespace.
fn overflows() -> u64 {
    let text = fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let found = pairs.find(|(name, _)| *name == "ListenOverflows");
    found.unwrap().1.parse().unwrap()
}

#[test]
fn connections_dropped_before_they_were_accepted_are_evidence() {
    println!("RAN net");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: the call takes no pointers; a second call changes how many connections may wait.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    let target = Guard(Command::new("sleep").arg("300").spawn().unwrap());
    let pid = target.0.id().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    let before = overflows();
    // Nobody accepts: one connection waits, and the kernel drops the other attempts.
    let waiting: Vec<_> = (0..6)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)))
        .collect();
    let dropped = overflows() - before;
    assert!(dropped > 0, "the kernel dropped none");
    let report = trace.stop().unwrap().json().unwrap();
    drop(waiting);
    let evidence = report["evidence"].to_string();
    println!("{evidence}");
    let said = format!(", {dropped} because a queue of connections not yet accepted was full");
    assert!(evidence.contains(&said), "{evidence}");
}
