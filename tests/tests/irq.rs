//! Interrupts against the kernel's own accounting of them.

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tracer_tests::{
    busy::{self, Args},
    harness::{Busy, Trace},
    truth::last_cpu,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");

/// Of `/proc/stat`, which counts softirqs of a CPU in its ticks (proc_stat(5): field 7, in units of 10 ms).
fn softirq_ns(cpu: usize) -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let name = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    let ticks = line.unwrap().split_whitespace().nth(6).unwrap();
    ticks.parse::<u64>().unwrap() * 10_000_000
}

/// Sends packets to itself over the loopback until told to stop: each is received in a softirq on the sender's CPU.
fn flood(cpu: usize, stop: &AtomicBool) {
    busy::bind(cpu).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    while !stop.load(Ordering::Relaxed) {
        // What does not fit into the receive buffer is dropped there, after it was received.
        let _ = socket.send(&[0; 1409]);
    }
}

#[test]
fn softirqs_are_charged_by_name_as_much_as_the_kernel_counted() {
    let cpu = last_cpu();
    println!("RAN irq");
    let args = Args {
        threads: 1,
        cpu: Some(cpu),
        for_ms: 5_000,
        hog: true,
    };
    let mut target = Busy::start(Path::new(PROGRAM), &args).unwrap();
    let pid = target.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flooding = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || flood(cpu, &stop))
    };
    target.go().unwrap();
    let before = softirq_ns(cpu);
    target.done().unwrap();
    let counted = softirq_ns(cpu) - before;
    stop.store(true, Ordering::Relaxed);
    flooding.join().unwrap();
    let report = trace.stop().unwrap().json().unwrap();
    let blame = report["blame"].as_array().unwrap();
    println!("{} {}", report["blame"], report["losses"]);
    let place = format!("cpu{cpu}");
    let here = blame.iter().filter(|row| row["place"] == *place);
    let charged: u64 = here
        .clone()
        .filter(|row| row["comm"].as_str().unwrap().starts_with("softirq:"))
        .filter_map(|row| row["ns"].as_u64())
        .sum();
    println!("softirqs on {place}: {charged} ns charged, {counted} ns counted in ticks");
    // The flood runs only while the target is queued, and so do nearly all softirqs. The kernel counts what is around them too.
    assert!(counted > 100_000_000, "the flood made no softirqs");
    let part = charged as f64 / counted as f64;
    assert!((0.5..1.25).contains(&part), "{part} of what was counted");
    let largest = here.max_by_key(|row| row["ns"].as_u64()).unwrap();
    assert_eq!(largest["pid"], std::process::id(), "the flood itself");
    let net_rx = blame.iter().find(|row| row["comm"] == "softirq:NET_RX");
    assert!(net_rx.unwrap()["pid"].is_null(), "a softirq is no process");
}
