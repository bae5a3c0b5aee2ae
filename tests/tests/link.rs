//! One shaped link: who fills it is found whatever the address family, and wherever its packets come from.
//!
//! Everything lies in network namespaces of its own: the target's, with the shaped end; the client's, behind it; and a container's,
//! whose packets come through a bridge and are forwarded.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tracer_tests::harness::{Guard, Trace};

const SERVER_PORT: u16 = 8080;
const SINK_PORT: u16 = 8873;

/// Namespaces and what connects them; gone when dropped, with the devices in them.
struct World {
    here: String,
    there: String,
    container: String,
}

impl World {
    /// The target's namespace and the client's behind `shaper`, addresses 198.18.0.1 and .2, fd98::1 and ::2; the container's has
    /// 198.18.1.2.
    fn make(shaper: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| format!("tracer-{what}-{}-{number}", std::process::id());
        let world = Self {
            here: name("here"),
            there: name("there"),
            container: name("container"),
        };
        for netns in world.all() {
            run(&format!("ip netns add {netns}"));
            run(&format!("ip -n {netns} link set lo up"));
        }
        let Self {
            here,
            there,
            container,
        } = &world;
        for line in [
            format!("ip -n {here} link add wan0 type veth peer name eth0 netns {there}"),
            format!("ip -n {here} link add port0 type veth peer name eth0 netns {container}"),
            format!("ip -n {here} link add br0 type bridge"),
            format!("ip -n {here} link set port0 master br0"),
            format!("ip -n {here} addr add 198.18.0.1/30 dev wan0"),
            format!("ip -n {here} addr add fd98::1/64 dev wan0 nodad"),
            format!("ip -n {here} addr add 198.18.1.1/30 dev br0"),
            format!("ip -n {there} addr add 198.18.0.2/30 dev eth0"),
            format!("ip -n {there} addr add fd98::2/64 dev eth0 nodad"),
            format!("ip -n {container} addr add 198.18.1.2/30 dev eth0"),
            format!("ip -n {here} link set wan0 up"),
            format!("ip -n {here} link set port0 up"),
            format!("ip -n {here} link set br0 up"),
            format!("ip -n {there} link set eth0 up"),
            format!("ip -n {container} link set eth0 up"),
            format!("ip -n {there} route add default via 198.18.0.1"),
            format!("ip -n {container} route add default via 198.18.1.1"),
            format!("ip netns exec {here} sysctl -q -w net.ipv4.ip_forward=1"),
            format!("tc -n {here} qdisc add dev wan0 root {shaper}"),
        ] {
            run(&line);
        }
        world
    }

    fn all(&self) -> [&String; 3] {
        [&self.here, &self.there, &self.container]
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for netns in self.all() {
            let _ = Command::new("ip").args(["netns", "del", netns]).status();
        }
    }
}

/// Runs a line of words, and expects it to succeed.
fn run(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap())
        .args(words)
        .status()
        .unwrap();
    assert!(status.success(), "{line}: {status}");
}

/// Starts a program of the workloads in a namespace. `ip` becomes it, so the process is the program's own.
fn start(netns: &str, program: &str, args: &[&str]) -> Guard {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", netns, program])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Guard(command.spawn().unwrap())
}

/// Waits until somebody listens on a port of the namespace that a process is in.
fn listens(pid: u32, port: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let wanted = format!(":{port:04X}");
    let is_there = || {
        ["tcp", "tcp6"].iter().any(|name| {
            let text = fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
            text.lines().any(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                fields.get(1).is_some_and(|local| local.ends_with(&wanted))
                    && fields.get(3) == Some(&"0A")
            })
        })
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "nobody listens on {port}");
        std::thread::yield_now();
    }
}

/// Can it be tried here at all?
fn has_tools() -> bool {
    let works = |program: &str| {
        Command::new(program)
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let both = works("ip") && works("tc");
    println!(
        "{}",
        if both {
            "RAN net"
        } else {
            "SKIP net: needs ip and tc"
        }
    );
    both
}

/// Files to serve and to send.
fn files(dir: &Path, count: usize, bytes: usize) -> String {
    fs::create_dir_all(dir).unwrap();
    for k in 0..count {
        fs::write(dir.join(format!("file{k}")), vec![k as u8; bytes]).unwrap();
    }
    dir.to_str().unwrap().to_owned()
}

/// A server that serves through a link while `from` sends four streams through it: the report, and the sender's process.
fn judged(shaper: &str, near: &str, far: &str, from: fn(&World) -> &String) -> (Value, u32) {
    let world = World::make(shaper);
    let dir = tempfile::tempdir().unwrap();
    // So many and so short that there are enough requests to judge by even while lost packets hold some up for seconds.
    let served = files(&dir.path().join("served"), 16, 16 << 10);
    let sent = files(&dir.path().join("sent"), 4, 16 << 20);
    let (address, sink) = (
        format!("{near}:{SERVER_PORT}"),
        format!("{far}:{SINK_PORT}"),
    );
    let server = start(
        &world.here,
        env!("CARGO_BIN_EXE_demo-server"),
        &["--listen", &address, "--root", &served],
    );
    let receiver = start(
        &world.there,
        env!("CARGO_BIN_EXE_demo-sink"),
        &["--listen", &sink],
    );
    listens(server.0.id(), SERVER_PORT);
    listens(receiver.0.id(), SINK_PORT);
    let backup = start(
        from(&world),
        env!("CARGO_BIN_EXE_demo-backup"),
        &["send", "--files", &sent, "--to", &sink],
    );
    let client = start(
        &world.there,
        env!("CARGO_BIN_EXE_demo-client"),
        &[
            "--address",
            &address,
            "--files",
            &served,
            "--connections",
            "16",
            "--think-ms",
            "100",
            "--for-ms",
            "60000",
        ],
    );
    let pid = server.0.id().to_string();
    let args = ["--pid", &pid, "--duration", "5s", "--output", "json"];
    let report = Trace::start(&args).unwrap().wait().unwrap().json().unwrap();
    let sender = backup.0.id();
    drop((client, backup, receiver, server));
    println!("{}", report["verdict"]["sentence"]);
    (report, sender)
}

/// The sender holds at least half of the link, and nobody else is named.
fn accuses((report, sender): (Value, u32)) {
    let verdict = &report["verdict"];
    let first = &verdict["culprits"][0];
    assert_eq!(verdict["resource"], "network", "{verdict}");
    assert_eq!(first["pid"], sender, "{verdict}");
    assert!(first["share"].as_f64().unwrap() >= 0.5, "{verdict}");
}

const TBF: &str = "tbf rate 50mbit burst 64kb limit 512kb";

#[test]
fn a_full_link_is_charged_to_its_sender_over_ipv6_as_over_ipv4() {
    if !has_tools() {
        return;
    }
    accuses(judged(TBF, "198.18.0.1", "198.18.0.2", |world| &world.here));
    accuses(judged(TBF, "[fd98::1]", "[fd98::2]", |world| &world.here));
}

#[test]
fn packets_forwarded_from_a_container_belong_to_the_process_in_it() {
    if !has_tools() {
        return;
    }
    accuses(judged(TBF, "198.18.0.1", "198.18.0.2", |world| {
        &world.container
    }));
}
