//! Softirqs that move packets: their time is whose packets they are, not theirs whom they interrupt.
//!
//! A sender and its receiver run on one CPU, and the kernel is told to take in what they send on another (`rps_cpus`), where they never
//! run: all that can be laid at their door there is what their packets cost. Both ends lie in network namespaces of their own.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tracer_tests::{
    busy::Args,
    harness::{Busy, Guard, Trace},
    truth::last_cpu,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");
const SINK: &str = "198.18.0.2:8873";

/// Two namespaces and what connects them; gone when dropped.
struct World {
    near: String,
    far: String,
}

impl World {
    /// What comes in at the far end is taken in on `cpu`.
    fn make(cpu: usize) -> Self {
        let name = |what: &str| format!("tracer-{what}-{}", std::process::id());
        let world = Self {
            near: name("near"),
            far: name("far"),
        };
        let Self { near, far } = &world;
        for line in [
            format!("ip netns add {near}"),
            format!("ip netns add {far}"),
            format!("ip -n {near} link add wan0 type veth peer name eth0 netns {far}"),
            format!("ip -n {near} addr add 198.18.0.1/30 dev wan0"),
            format!("ip -n {far} addr add 198.18.0.2/30 dev eth0"),
            format!("ip -n {near} link set wan0 up"),
            format!("ip -n {far} link set eth0 up"),
        ] {
            let mut words = line.split(' ');
            let mut command = Command::new(words.next().unwrap());
            assert!(command.args(words).status().unwrap().success(), "{line}");
        }
        let mask = format!(
            "echo {:x} > /sys/class/net/eth0/queues/rx-0/rps_cpus",
            1 << cpu
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", far, "sh", "-c", &mask]);
        assert!(command.status().unwrap().success(), "{mask}");
        world
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for netns in [&self.near, &self.far] {
            let _ = Command::new("ip").args(["netns", "del", netns]).status();
        }
    }
}

/// Starts a program in a namespace and on the first CPU. `ip` and `taskset` become it, so the process is the program's own.
fn start(netns: &str, program: &str, args: &[&str]) -> Guard {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", netns, "taskset", "1", program])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Guard(command.spawn().unwrap())
}

/// Waits until somebody listens in the namespace that a process is in.
fn listens(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let table = format!("/proc/{pid}/net/tcp");
    while !fs::read_to_string(&table).is_ok_and(|text| text.contains(" 0A ")) {
        assert!(Instant::now() < deadline, "nobody listens");
        std::thread::yield_now();
    }
}

/// Can it be tried here at all?
fn can_be_tried() -> bool {
    let works = |program: &str| {
        let mut command = Command::new(program);
        let status = command.arg("-V").stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let steered = Path::new("/sys/class/net/lo/queues/rx-0/rps_cpus").exists();
    let can = works("ip") && works("taskset") && steered && last_cpu() > 0;
    println!(
        "{}",
        if can {
            "RAN packets"
        } else {
            "SKIP packets: needs ip, taskset, two CPUs and a kernel that steers packets"
        }
    );
    can
}

/// Of `/proc/stat`, in ticks of 10 ms (proc_stat(5): field 7).
fn softirq_ns(cpu: usize) -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let name = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    let ticks = line.unwrap().split_whitespace().nth(6).unwrap();
    ticks.parse::<u64>().unwrap() * 10_000_000
}

#[test]
fn who_sends_is_charged_on_a_cpu_on_which_it_never_runs() {
    if !can_be_tried() {
        return;
    }
    let cpu = last_cpu();
    let world = World::make(cpu);
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        fs::write(dir.path().join(name), vec![1; 16 << 20]).unwrap();
    }
    let files = dir.path().to_str().unwrap();
    let sink = env!("CARGO_BIN_EXE_demo-sink");
    let receiver = start(&world.far, sink, &["--listen", SINK]);
    listens(receiver.0.id());
    let args = Args {
        threads: 1,
        cpu: Some(cpu),
        for_ms: 5_000,
        hog: true,
    };
    let program = Path::new(PROGRAM);
    let mut target = Busy::start(program, &args).unwrap();
    let mut hog = Busy::start(program, &args).unwrap();
    let pid = target.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    let words = ["send", "--files", files, "--to", SINK];
    let sender = start(&world.near, env!("CARGO_BIN_EXE_demo-backup"), &words);
    let before = softirq_ns(cpu);
    hog.go().unwrap();
    target.go().unwrap();
    target.done().unwrap();
    let counted = softirq_ns(cpu) - before;
    let report = trace.stop().unwrap().json().unwrap();
    drop((sender, receiver, world));
    println!("{} {}", report["blame"], report["losses"]);
    let rows = report["blame"].as_array().unwrap();
    let place = format!("cpu{cpu}");
    let here = |row: &&serde_json::Value| row["place"] == *place;
    let charged = |key: &str, value: serde_json::Value| -> u64 {
        let rows = rows.iter().filter(here).filter(|row| row[key] == value);
        rows.filter_map(|row| row["ns"].as_u64()).sum()
    };
    // The program itself, whatever it starts.
    let (sent, by_name) = (
        charged("comm", "demo-backup".into()),
        charged("comm", "softirq:NET_RX".into()),
    );
    let behind = charged("pid", hog.pid().into());
    println!("{sent} ns charged to the sender, {by_name} ns to NET_RX, {behind} ns to the hog; {counted} ns counted");
    assert!(counted > 100_000_000, "the packets made no softirqs");
    assert!(sent > 9 * by_name, "whose packets they were is not known");
    // Two that never sleep share what is left of the CPU: the target stands in its queue half of the time.
    let part = (sent + by_name) as f64 / counted as f64;
    assert!((0.3..0.7).contains(&part), "{part} of what was counted");
}
