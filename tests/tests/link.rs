//! One shaped link. The process that fills it is found whatever the address family and the congestion control, and wherever its
//! packets come from. A client that reads slowly is told apart from it.
//!
//! Everything lies in network namespaces of its own: the target's, with the shaped end; the client's, behind it; and a container's,
//! whose packets come through a bridge and are forwarded.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tracer_tests::harness::{Guard, Trace};

const SERVER_PORT: u16 = 8080;
const SINK_PORT: u16 = 8873;

/// Namespaces and what connects them. The drop removes them with the devices in them.
struct World {
    here: String,
    there: String,
    container: String,
}

impl World {
    /// The target's namespace and the client's behind `wan0` have the addresses 198.18.0.1 and .2, fd98::1 and ::2. The container's
    /// is 198.18.1.2. Each line of `shape` is an `ip` or `tc` command in the target's namespace.
    fn make(shape: &[String]) -> Self {
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
            format!(
                "ip -n {here} link add wan0 numtxqueues 2 type veth peer name eth0 numrxqueues 2 netns {there}"
            ),
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
        ] {
            run(&line);
        }
        for line in shape {
            let (program, rest) = line.split_once(' ').unwrap();
            run(&format!("{program} -n {here} {rest}"));
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

/// Runs a line of words, and panics if it fails.
fn run(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap())
        .args(words)
        .status()
        .unwrap();
    assert!(status.success(), "{line}: {status}");
}

/// Starts a workload in a namespace. `ip` becomes the program, so the pid is the program's own.
fn start(netns: &str, program: &str, args: &[&str]) -> Guard {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", netns, program])
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Guard(command.spawn().unwrap())
}

/// Waits until a process listens on this port in the namespace of process `pid`.
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
        thread::yield_now();
    }
}

/// Whether this machine can run the test at all.
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

/// What the client asks for, and how often.
struct Asks {
    connections: usize,
    file_bytes: usize,
    bytes_per_second: Option<u64>,
    /// How long the load runs before the trace begins.
    before: Duration,
}

/// The requests are many and short: there are enough to judge by, even while lost packets delay some for seconds.
const MANY: Asks = Asks {
    connections: 16,
    file_bytes: 16 << 10,
    bytes_per_second: None,
    before: Duration::ZERO,
};

/// Four clients that read slowly, and answers that no send buffer holds: the server never waits for the link. Two segments on the
/// way are what lost packets leave, and even then the full queue (82 ms) lets 36 kB/s through. The server does wait for the link
/// at first, until the clients' windows are full.
const SLOWLY: Asks = Asks {
    connections: 4,
    file_bytes: 8 << 20,
    bytes_per_second: Some(15_000),
    before: Duration::from_secs(3),
};

/// A server sends through a link while `from` sends four streams through it. Returns the report and the sender's process.
fn judged(
    shape: &[String],
    near: &str,
    far: &str,
    asks: &Asks,
    from: fn(&World) -> &String,
) -> (Value, u32) {
    let world = World::make(shape);
    let dir = tempfile::tempdir().unwrap();
    let served = files(
        &dir.path().join("served"),
        asks.connections,
        asks.file_bytes,
    );
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
    let (connections, rate) = (
        format!("--connections={}", asks.connections),
        asks.bytes_per_second
            .map(|rate| format!("--bytes-per-second={rate}")),
    );
    let mut words = vec!["--address", &address, "--files", &served, &connections];
    words.extend(["--think-ms=100", "--for-ms=60000"]);
    words.extend(rate.as_deref());
    let client = start(&world.there, env!("CARGO_BIN_EXE_demo-client"), &words);
    thread::sleep(asks.before);
    let pid = server.0.id().to_string();
    let args = ["--pid", &pid, "--duration", "5s", "--output", "json"];
    let report = Trace::start(&args).unwrap().wait().unwrap().json().unwrap();
    let sender = backup.0.id();
    drop((client, backup, receiver, server));
    println!("{}", report["verdict"]["sentence"]);
    (report, sender)
}

/// The sender holds at least half of the link, and the report names nobody else.
fn accuses((report, sender): (Value, u32)) {
    let verdict = &report["verdict"];
    let first = &verdict["culprits"][0];
    assert_eq!(verdict["resource"], "network", "{verdict}");
    assert_eq!(first["pid"], sender, "{verdict}");
    assert!(first["share"].as_f64().unwrap() >= 0.5, "{verdict}");
}

/// A token bucket with a queue of its own.
fn tbf() -> Vec<String> {
    vec!["tc qdisc add dev wan0 root tbf rate 50mbit burst 64kb limit 512kb".to_owned()]
}

/// A class of a hierarchy, with a short queue of packets.
fn htb() -> Vec<String> {
    [
        "tc qdisc add dev wan0 root handle 1: htb default 1 r2q 100",
        "tc class add dev wan0 parent 1: classid 1:1 htb rate 50mbit",
        "tc qdisc add dev wan0 parent 1:1 pfifo limit 100",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A token bucket below each of the two transmit queues.
fn mq() -> Vec<String> {
    [
        "tc qdisc add dev wan0 root handle 77: mq",
        "tc qdisc add dev wan0 parent 77:1 tbf rate 25mbit burst 64kb limit 256kb",
        "tc qdisc add dev wan0 parent 77:2 tbf rate 25mbit burst 64kb limit 256kb",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Two classes with a rate each. The backup's packets are in the second.
fn classes() -> Vec<String> {
    [
        "tc qdisc add dev wan0 root handle 1: htb default 1 r2q 100".to_owned(),
        "tc class add dev wan0 parent 1: classid 1:1 htb rate 50mbit".to_owned(),
        "tc class add dev wan0 parent 1: classid 1:2 htb rate 25mbit".to_owned(),
        "tc qdisc add dev wan0 parent 1:1 pfifo limit 100".to_owned(),
        "tc qdisc add dev wan0 parent 1:2 pfifo limit 100".to_owned(),
        format!(
            "tc filter add dev wan0 parent 1: protocol ip u32 match ip dport {SINK_PORT} 0xffff flowid 1:2"
        ),
    ]
    .to_vec()
}

/// A full link is charged to its sender where this congestion control holds it back. No module is loaded for it.
fn accuses_with(control: &str) {
    let path = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let all = fs::read_to_string(path).unwrap_or_default();
    if !all.split_whitespace().any(|name| name == control) {
        println!("SKIP net: this kernel has no {control} loaded");
        return;
    }
    if !has_tools() {
        return;
    }
    let mut shape = htb();
    shape.push(format!(
        "ip route replace 198.18.0.0/30 dev wan0 src 198.18.0.1 congctl {control}"
    ));
    let (near, far) = ("198.18.0.1", "198.18.0.2");
    accuses(judged(&shape, near, far, &MANY, |world| &world.here));
}

#[test]
fn a_full_link_is_charged_to_its_sender_over_ipv6_as_over_ipv4() {
    if !has_tools() {
        return;
    }
    let (four, six) = (("198.18.0.1", "198.18.0.2"), ("[fd98::1]", "[fd98::2]"));
    for (near, far) in [four, six] {
        accuses(judged(&tbf(), near, far, &MANY, |world| &world.here));
    }
}

#[test]
fn packets_forwarded_from_a_container_belong_to_the_process_in_it() {
    if !has_tools() {
        return;
    }
    let (near, far) = ("198.18.0.1", "198.18.0.2");
    accuses(judged(&tbf(), near, far, &MANY, |world| &world.container));
}

#[test]
fn a_full_link_is_charged_to_its_sender_where_the_window_holds_it_back() {
    accuses_with("cubic");
}

#[test]
fn a_full_link_is_charged_to_its_sender_where_the_pace_holds_it_back() {
    accuses_with("bbr");
}

#[test]
fn a_slow_client_is_nobody_elses_fault_however_full_the_link() {
    if !has_tools() {
        return;
    }
    let (near, far) = ("198.18.0.1", "198.18.0.2");
    let (report, _) = judged(&tbf(), near, far, &SLOWLY, |world| &world.here);
    let verdict = &report["verdict"];
    assert_eq!(verdict["resource"], "network", "{verdict}");
    assert_eq!(verdict["cause"], "peer_slow", "{verdict}");
    assert_eq!(verdict["culprits"], serde_json::json!([]), "{verdict}");
}

#[test]
fn a_full_transmit_queue_is_charged_to_its_sender() {
    if !has_tools() {
        return;
    }
    let (near, far) = ("198.18.0.1", "198.18.0.2");
    accuses(judged(&mq(), near, far, &MANY, |world| &world.here));
}

#[test]
fn a_backup_that_fills_a_class_of_its_own_is_innocent() {
    if !has_tools() {
        return;
    }
    let (near, far) = ("198.18.0.1", "198.18.0.2");
    let (report, _) = judged(&classes(), near, far, &MANY, |world| &world.here);
    let verdict = &report["verdict"];
    assert_eq!(verdict["culprits"], serde_json::json!([]), "{verdict}");
    assert_eq!(verdict["cause"], "self", "{verdict}");
}
