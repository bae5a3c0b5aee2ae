//! Two tiers: a relay asks a server of this machine that has to share its CPU, and another one asks somebody who does not answer.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tracer_tests::{
    busy,
    harness::{Busy, Guard, Trace, figure},
};

/// Requests: a prime number.
const REQUESTS: usize = 211;
const CPU: usize = 1;

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
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

/// Asks once, and reads until the whole answer has come (Content-Length).
fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    let (mut answer, mut chunk) = (Vec::new(), [0; 65_536]);
    loop {
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "the relay hung up");
        answer.extend_from_slice(&chunk[..n]);
        let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
        let mut lengths = text
            .lines()
            .filter_map(|line| line.strip_prefix("content-length:"));
        let length: usize = lengths.next().unwrap().trim().parse().unwrap();
        if answer.len() >= head + 4 + length {
            return;
        }
    }
}

/// A server that compresses a page of a few milliseconds for every request, on one CPU.
fn back(root: &Path, port: u16) -> Guard {
    let page: Vec<u8> = (0..12_000_u32)
        .flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes())
        .collect();
    std::fs::write(root.join("page"), page).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo-server"));
    command
        .args(["--listen", &format!("127.0.0.1:{port}"), "--gzip", "--root"])
        .arg(root)
        .stdout(Stdio::null());
    // SAFETY: one system call, with a set on the child's own stack.
    unsafe {
        command.pre_exec(|| {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(CPU, &mut set);
            match libc::sched_setaffinity(0, size_of_val(&set), &raw const set) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    Guard(command.spawn().unwrap())
}

#[test]
fn a_relay_waits_for_the_cpu_of_the_server_that_it_asks() {
    if thread::available_parallelism().unwrap().get() <= CPU {
        println!("SKIP upstream: one CPU only, which all would share");
        return;
    }
    println!("RAN upstream");
    let dir = tempfile::tempdir().unwrap();
    let (front_port, back_port) = (free_port(), free_port());
    let back = back(dir.path(), back_port);
    drop(connect(back_port));
    let mut front = Command::new(env!("CARGO_BIN_EXE_demo-relay"));
    front.args(["--listen", &format!("127.0.0.1:{front_port}")]);
    front.args(["--to", &format!("127.0.0.1:{back_port}")]);
    let front = Guard(front.spawn().unwrap());
    let mut stream = connect(front_port);
    ask(&mut stream);
    // Three processes on the server's CPU that never sleep.
    let hogs = busy::Args {
        threads: 3,
        cpu: Some(CPU),
        for_ms: 60_000,
        hog: true,
    };
    let mut hogs = Busy::start(Path::new(env!("CARGO_BIN_EXE_tracer-guest-smoke")), &hogs).unwrap();
    hogs.go().unwrap();
    let pid = front.0.id().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    for _ in 0..REQUESTS {
        ask(&mut stream);
    }
    let report = trace.stop().unwrap().json().unwrap();
    let verdict = &report["verdict"];
    println!("{}", verdict["sentence"]);
    assert_eq!(verdict["resource"], "cpu", "{verdict:#}");
    assert_eq!(
        verdict["via"],
        serde_json::json!(["demo-server"]),
        "{verdict:#}"
    );
    assert_eq!(verdict["culprits"][0]["pid"], hogs.pid(), "{verdict:#}");
    // The server that is asked is no part of the target.
    assert_eq!(report["target"]["pids"], serde_json::json!([front.0.id()]));
    assert_eq!(figure(&report, "/target/threads").unwrap(), 2);
    assert!(
        figure(&report, "/requests/count")
            .unwrap()
            .abs_diff(REQUESTS as u64)
            <= 2
    );
    drop(back);
}

/// How long the servers below wait for an answer.
const PATIENCE: Duration = Duration::from_millis(150);
/// Their requests: a prime number, and enough for a verdict on requests.
const IN_VAIN: usize = 23;

/// The report on a server, a thread of this process, that does `work` for each request. The client does `first` before it asks.
fn serving(mut work: impl FnMut() + Send + 'static, mut first: impl FnMut()) -> serde_json::Value {
    println!("RAN upstream");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 64];
        while stream.read_exact(&mut question).is_ok() {
            work();
            stream.write_all(&question).unwrap();
        }
    });
    let mut stream = connect(port);
    let pid = std::process::id().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    for _ in 0..IN_VAIN {
        first();
        stream.write_all(&[1; 64]).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
    }
    let report = trace.stop().unwrap().json().unwrap();
    drop(stream);
    server.join().unwrap();
    println!("{}", report["verdict"]["sentence"]);
    report
}

/// The time of all requests in which they waited for answers, ns.
fn upstream_ns(report: &serde_json::Value) -> u64 {
    figure(report, "/requests/budget_ns/upstream").unwrap_or(0)
}

/// The server waited for the one at `place` in each request until it gave up.
fn assert_in_vain(report: &serde_json::Value, place: &str) {
    let verdict = &report["verdict"];
    assert_eq!(verdict["resource"], "upstream", "{verdict:#}");
    assert_eq!(verdict["place"], place, "{verdict:#}");
    let least = 9 * PATIENCE.as_nanos() as u64 * IN_VAIN as u64 / 10;
    let waited = upstream_ns(report);
    assert!(waited >= least, "{waited} of {least} ns");
}

#[test]
fn a_server_waits_for_whoever_does_not_answer_its_connect() {
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: the call takes no pointers; a second call changes how many connections may wait.
    assert_eq!(unsafe { libc::listen(full.as_raw_fd(), 0) }, 0);
    let address = full.local_addr().unwrap();
    // Nobody accepts it, and there is no room for another one.
    let _waits = TcpStream::connect(address).unwrap();
    let work = move || assert!(TcpStream::connect_timeout(&address, PATIENCE).is_err());
    assert_in_vain(&serving(work, || {}), &address.to_string());
}

/// Whether this kernel has the tracepoints that see datagrams (6.3 and later).
fn sees_datagrams() -> bool {
    let btf = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let name = b"btf_trace_sock_recv_length\0";
    let sees = btf.windows(name.len()).any(|window| window == name);
    if !sees {
        println!("SKIP upstream: this kernel has no tracepoint sock_recv_length");
    }
    sees
}

/// A UDP socket with an own port of this machine.
fn datagrams() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_server_waits_for_whoever_does_not_answer_its_datagram() {
    if !sees_datagrams() {
        return;
    }
    let silent = datagrams();
    let address = silent.local_addr().unwrap();
    let work = move || {
        let asks = datagrams();
        asks.connect(address).unwrap();
        asks.set_read_timeout(Some(PATIENCE)).unwrap();
        asks.send(&[1]).unwrap();
        assert!(asks.recv(&mut [0]).is_err());
    };
    assert_in_vain(&serving(work, || {}), &format!("{address} (UDP)"));
}

#[test]
fn so_it_does_where_its_socket_has_no_peer_of_its_own() {
    if !sees_datagrams() {
        return;
    }
    let silent = datagrams();
    let address = silent.local_addr().unwrap();
    let work = move || {
        let asks = datagrams();
        asks.set_read_timeout(Some(PATIENCE)).unwrap();
        asks.send_to(&[1], address).unwrap();
        assert!(asks.recv_from(&mut [0]).is_err());
    };
    assert_in_vain(&serving(work, || {}), &format!("{address} (UDP)"));
}

#[test]
fn a_server_waits_for_the_second_answer_of_a_name_service_that_gives_one() {
    if !sees_datagrams() {
        return;
    }
    // Its own address, at the port of name services.
    let [.., a, b] = std::process::id().to_be_bytes();
    let Ok(half) = UdpSocket::bind((Ipv4Addr::new(127, 78, a, b.max(1)), 53)) else {
        println!("SKIP upstream: somebody else has port 53");
        return;
    };
    let address = half.local_addr().unwrap();
    thread::spawn(move || {
        let mut before: Option<SocketAddr> = None;
        while let Ok((_, from)) = half.recv_from(&mut [0]) {
            // The second question of a client stays without an answer.
            if before.replace(from) != Some(from) {
                half.send_to(&[1], from).unwrap();
            }
        }
    });
    let work = move || {
        let asks = datagrams();
        asks.connect(address).unwrap();
        asks.set_read_timeout(Some(PATIENCE)).unwrap();
        asks.send(&[1]).unwrap();
        asks.send(&[2]).unwrap();
        asks.recv(&mut [0]).unwrap();
        assert!(asks.recv(&mut [0]).is_err());
    };
    let report = serving(work, || {});
    let verdict = &report["verdict"];
    assert_eq!(verdict["resource"], "upstream", "{verdict:#}");
    assert_eq!(verdict["place"], format!("{address} (UDP)"), "{verdict:#}");
    // On a busy machine some of the two may lie too far apart.
    let least = PATIENCE.as_nanos() as u64 * IN_VAIN as u64 / 2;
    let waited = upstream_ns(&report);
    assert!(waited >= least, "{waited} of {least} ns");
}

/// Sleeps in a call in which an event loop would sleep.
fn nap() {
    // SAFETY: an empty list.
    unsafe { libc::poll(std::ptr::null_mut(), 0, PATIENCE.as_millis() as i32) };
}

#[test]
fn a_server_that_sends_figures_and_then_sleeps_waits_for_nobody() {
    if !sees_datagrams() {
        return;
    }
    let (takes, tells) = (datagrams(), datagrams());
    tells.connect(takes.local_addr().unwrap()).unwrap();
    let work = move || {
        tells.send(&[1]).unwrap();
        nap();
    };
    let report = serving(work, || {});
    assert_ne!(report["verdict"]["resource"], "upstream");
    assert_eq!(upstream_ns(&report), 0);
}

#[test]
fn a_server_that_answers_datagrams_waits_for_nobody() {
    if !sees_datagrams() {
        return;
    }
    let (serves, client) = (datagrams(), datagrams());
    let address = serves.local_addr().unwrap();
    let work = move || {
        // Each client asks twice.
        for _ in 0..2 {
            let (_, from) = serves.recv_from(&mut [0]).unwrap();
            serves.send_to(&[1], from).unwrap();
        }
        nap();
    };
    let first = move || {
        for _ in 0..2 {
            client.send_to(&[1], address).unwrap();
        }
    };
    let report = serving(work, first);
    assert_ne!(report["verdict"]["resource"], "upstream");
    assert_eq!(upstream_ns(&report), 0);
}
