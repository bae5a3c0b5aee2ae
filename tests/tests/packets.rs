//! Softirqs that move packets: their time belongs to the owners of the packets, not to the process that they interrupt.
//!
//! A server and its client run on one CPU, and the kernel receives the client's packets on another (`rps_cpus`). Neither process ever
//! runs there, so only their packets cost time there. Both ends lie in network namespaces of their own.

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
const SERVER: &str = "198.18.0.2:8080";

/// Two namespaces and what connects them. The drop removes them.
struct World {
    near: String,
    far: String,
}

impl World {
    /// Has `cpu` receive what comes in at the near end.
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
            "echo {:x} > /sys/class/net/wan0/queues/rx-0/rps_cpus",
            1 << cpu
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", near, "sh", "-c", &mask]);
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

/// Starts a program in a namespace on the first CPU. `ip` and `taskset` become it, so the pid is the program's own.
fn start(netns: &str, program: &str, args: &[&str]) -> Guard {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", netns, "taskset", "1", program])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Guard(command.spawn().unwrap())
}

/// Waits until a process listens in the namespace of process `pid`.
fn listens(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let table = format!("/proc/{pid}/net/tcp");
    while !fs::read_to_string(&table).is_ok_and(|text| text.contains(" 0A ")) {
        assert!(Instant::now() < deadline, "nobody listens");
        std::thread::yield_now();
    }
}

/// Whether this machine can run the test at all.
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

#[test]
fn who_sends_is_charged_on_a_cpu_on_which_it_never_runs() {
    if !can_be_tried() {
        return;
    }
    let cpu = last_cpu();
    let world = World::make(cpu);
    let dir = tempfile::tempdir().unwrap();
    for name in ["file0", "file1", "file2", "file3"] {
        fs::write(dir.path().join(name), vec![1; 4 << 10]).unwrap();
    }
    let files = dir.path().to_str().unwrap();
    let words = ["--listen", SERVER, "--root", files];
    let server = start(&world.far, env!("CARGO_BIN_EXE_demo-server"), &words);
    listens(server.0.id());
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
    let words = [
        ["--address", SERVER, "--files", files],
        ["--connections", "4", "--think-ms", "0"],
    ];
    let client = start(
        &world.near,
        env!("CARGO_BIN_EXE_demo-client"),
        words.as_flattened(),
    );
    hog.go().unwrap();
    target.go().unwrap();
    target.done().unwrap();
    let report = trace.stop().unwrap().json().unwrap();
    let (sender, receiver) = (server.0.id(), client.0.id());
    drop((client, server, world));
    let rows = report["blame"].as_array().unwrap();
    let place = format!("cpu{cpu}");
    let charged = |key: &str, value: serde_json::Value| -> u64 {
        let here = rows.iter().filter(|row| row["place"] == *place);
        here.filter(|row| row[key] == value)
            .filter_map(|row| row["ns"].as_u64())
            .sum()
    };
    let sent = charged("pid", sender.into());
    let received = charged("pid", receiver.into());
    let by_name = charged("comm", "softirq:NET_RX".into());
    let beside = charged("pid", hog.pid().into());
    println!(
        "{sent} ns charged to the sender, {received} to the receiver, {by_name} to NET_RX, {beside} to who runs there; {}",
        report["evidence"]
    );
    assert!(sent > 10_000_000, "the packets made no softirqs");
    assert!(
        sent > 4 * (received + by_name),
        "whose packets they were is not known"
    );
}
