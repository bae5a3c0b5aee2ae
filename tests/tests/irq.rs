//! Interrupts, compared with the kernel's own accounting of them.

use std::{
    fs,
    net::UdpSocket,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tracer_tests::{
    busy::{self, Args},
    harness::{Busy, Trace},
    truth::last_cpu,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");

/// Softirq time of a CPU from `/proc/stat`, ns. The kernel counts it in ticks of 10 ms (proc_stat(5), field 7).
fn softirq_ns(cpu: usize) -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let name = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    let ticks = line.unwrap().split_whitespace().nth(6).unwrap();
    ticks.parse::<u64>().unwrap() * 10_000_000
}

/// Sends packets over the loopback, one after another.
type Flood = fn(&AtomicBool);

/// To the sender itself: a softirq on the sender's CPU receives each packet.
fn datagrams(stop: &AtomicBool) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    while !stop.load(Ordering::Relaxed) {
        // A packet that does not fit into the receive buffer is dropped there, after it was received.
        let _ = socket.send(&[0; 1409]);
    }
}

/// Past the protocols, since only their sockets own packets: the kernel receives each packet and finds that it is not IP.
fn frames(stop: &AtomicBool) {
    let protocol = (libc::ETH_P_IP as u16).to_be();
    // SAFETY: the call takes no pointers, and the descriptor that it returns is ours.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0) };
    assert!(socket >= 0, "no packet socket");
    // SAFETY: the descriptor is open and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: an all-zero address is valid.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_protocol = protocol;
    // The loopback has index 1 in every network namespace.
    to.sll_ifindex = 1;
    let frame = [0_u8; 1409];
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: both pointers are valid for the lengths given.
        unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of_val(&to) as u32,
            )
        };
    }
}

/// A target and a flood on one CPU: what is charged there to softirqs by name and to the flood, and what the kernel counted as
/// softirqs meanwhile, ns; then how long interrupts were shed. The target sleeps for `calm` before.
fn flooded(flood: Flood, calm: Duration) -> (u64, u64, u64, u64) {
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
        thread::spawn(move || {
            busy::bind(cpu).unwrap();
            flood(&stop);
        })
    };
    thread::sleep(calm);
    target.go().unwrap();
    let before = softirq_ns(cpu);
    target.done().unwrap();
    let counted = softirq_ns(cpu) - before;
    stop.store(true, Ordering::Relaxed);
    flooding.join().unwrap();
    let report = trace.stop().unwrap().json().unwrap();
    let blame = report["blame"].as_array().unwrap();
    let place = format!("cpu{cpu}");
    let here = blame.iter().filter(|row| row["place"] == *place);
    let by_name: u64 = here
        .clone()
        .filter(|row| row["comm"].as_str().unwrap().starts_with("softirq:"))
        .inspect(|row| assert!(row["pid"].is_null(), "a softirq is no process"))
        .filter_map(|row| row["ns"].as_u64())
        .sum();
    let largest = here.max_by_key(|row| row["ns"].as_u64()).unwrap();
    assert_eq!(largest["pid"], std::process::id(), "the flood itself");
    let behind = largest["ns"].as_u64().unwrap();
    println!(
        "softirqs on {place}: {by_name} ns by name, {counted} ns counted in ticks; {behind} ns behind the flood"
    );
    assert!(counted > 100_000_000, "the flood made no softirqs");
    let shed_ns = report["losses"]["shed"][0]["for_ns"].as_u64();
    (by_name, behind, counted, shed_ns.unwrap_or(0))
}

#[test]
fn softirqs_for_nobodys_packets_are_charged_by_name_as_much_as_the_kernel_counted() {
    let (by_name, _, counted, _) = flooded(frames, Duration::ZERO);
    // The flood runs only while the target is queued, and so do nearly all softirqs. The kernel also counts the time around them.
    let part = by_name as f64 / counted as f64;
    assert!((0.5..1.25).contains(&part), "{part} of what was counted");
}

#[test]
fn softirqs_are_watched_again_as_a_queue_begins() {
    // Shed from the end of the first second on. Of the five seconds that the target runs, some milliseconds may be unseen.
    let (by_name, _, counted, shed_ns) = flooded(frames, Duration::from_secs(3));
    assert!(shed_ns > 1_000_000_000, "shed for {shed_ns} ns only");
    let part = by_name as f64 / counted as f64;
    assert!((0.49..1.25).contains(&part), "{part} of what was counted");
}

#[test]
fn softirqs_for_packets_are_charged_to_whose_they_are() {
    let (by_name, behind, counted, _) = flooded(datagrams, Duration::ZERO);
    assert!(by_name < counted / 20, "the packets are nobody's");
    assert!(behind > counted, "less than its softirqs");
}
