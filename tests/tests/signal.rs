//! The signal family: the sender of each signal that stops the target.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use tracer::{event::Event, recording::Reader};
use tracer_tests::harness::{Guard, Trace};

/// Stops of the target while the trace runs: a prime number.
const STOPS: usize = 11;

/// A process that sleeps longer than the test takes.
fn sleeper() -> Guard {
    Guard(Command::new("sleep").arg("600").spawn().unwrap())
}

/// The senders of the signals in a recording, and of how many they were.
fn senders(recording: &Path, target: u32) -> Vec<u32> {
    let mut senders = Vec::new();
    for event in Reader::<Event>::open(recording).unwrap() {
        if let Event::Signal(signal) = event.unwrap() {
            assert_eq!((signal.pid, signal.number), (target, libc::SIGSTOP as u32));
            assert!(!signal.by_kernel);
            senders.push(signal.sender_pid);
        }
    }
    senders
}

/// Has a shell stop `pid` for `seconds` at a time. Returns the pid of the shell, which has ended.
fn stop(pid: u32, seconds: &str) -> u32 {
    let script = format!(
        "i=0; while [ $i -lt {STOPS} ]; do kill -STOP {pid}; sleep {seconds}; kill -CONT {pid}; sleep 0.05; i=$((i+1)); done"
    );
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &script]).stdin(Stdio::null());
    let mut shell = Guard(shell.spawn().unwrap());
    assert!(shell.0.wait().unwrap().success());
    shell.0.id()
}

#[test]
fn who_stops_the_target_is_named_and_who_stops_another_is_not_seen() {
    println!("RAN signal");
    let (target, other) = (sleeper(), sleeper());
    let pid = target.0.id();
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("trace.rec");
    let trace = Trace::start(&[
        "--pid",
        &pid.to_string(),
        "--duration",
        "120s",
        "--output",
        "json",
        "--record",
        recording.to_str().unwrap(),
    ])
    .unwrap();
    stop(other.0.id(), "0.01");
    let shell = stop(pid, "0.1");
    let report = trace.stop().unwrap().json().unwrap();
    assert_eq!(senders(&recording, pid), [shell; STOPS]);
    let verdict = &report["verdict"];
    println!("{}", verdict["sentence"]);
    assert_eq!(verdict["resource"], "stopped");
    assert_eq!(verdict["cause"], "stop_signal");
    assert_eq!(verdict["culprits"][0]["pid"], shell);
    let stopped = report["threads"]["budget_ns"]["stopped"].as_u64().unwrap();
    let least = STOPS as u64 * 100_000_000;
    assert!((least..2 * least).contains(&stopped), "{stopped} ns");
}
