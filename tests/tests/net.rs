//! The TCP family against the client's own clock.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

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

/// One request on a connection that stays: how long it took.
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
    // Compressing it takes the server a few milliseconds: long against a switch.
    let page: Vec<u8> = (0..12_000_u32)
        .flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes())
        .collect();
    std::fs::write(dir.path().join("page"), page).unwrap();
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
