//! Scenarios of interfaces with several queues or classes, and of packets whose owner is hard to see.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::network::{FULL, Net, SINK_PORT, net, net_over, sender, sink};
use crate::lab::{
    meter::Meter,
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{
    link::{self, Link, SHAPER, tc},
    process::Program,
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "queues-mq",
        about: "a backup fills both transmit queues of the server's interface (mq)",
        quick: false,
        make: queues,
    },
    Scenario {
        name: "queues-mq-apart",
        about: "a backup fills one transmit queue of the interface, the server sends through the other",
        quick: false,
        make: queues_apart,
    },
    Scenario {
        name: "queues-class",
        about: "a backup sends through the server's class (htb); another one fills a class of its own",
        quick: false,
        make: one_class,
    },
    Scenario {
        name: "queues-class-apart",
        about: "a backup fills a class of its own (htb), and leaves the server's alone",
        quick: false,
        make: classes_apart,
    },
    Scenario {
        name: "queues-remedied",
        about: "a backup is held back by the class that tracer advises",
        quick: false,
        make: remedied,
    },
    Scenario {
        name: "queues-udp-forwarded",
        about: "a program in a network namespace sends datagrams through a bridge, and from there through nginx's link",
        quick: false,
        make: forwarded_datagrams,
    },
    Scenario {
        name: "queues-udp-nat",
        about: "the same, and the packets leave in the machine's own name, as those of containers do",
        quick: false,
        make: translated_datagrams,
    },
    Scenario {
        name: "queues-udp-nat-apart",
        about: "the same, but they leave through another link than nginx's",
        quick: false,
        make: translated_apart,
    },
    Scenario {
        name: "queues-udp-apart",
        about: "socat sends datagrams through another link than nginx's",
        quick: false,
        make: datagrams_apart,
    },
];

/// A link whose near end has two transmit queues, each with a shaper.
fn two_queues(stage: &Stage) -> Result<Net> {
    let (near, far) = link::addresses()?;
    let link = link::unshaped(near, far, 2)?;
    let device = link.device.as_str();
    tc(&[
        "qdisc", "replace", "dev", device, "root", "handle", "77:", "mq",
    ])?;
    for queue in ["77:1", "77:2"] {
        let words = ["qdisc", "replace", "dev", device, "parent", queue];
        tc(&[&words[..], &SHAPER].concat())?;
    }
    net_over(stage, link, false)
}

/// Sixteen streams find both queues.
fn queues(stage: &Stage) -> Result<Scene> {
    let net = two_queues(stage)?;
    let backups = sixteen(stage, &net)?;
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .guilty("backup", backups)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), 2.0 * FULL))
}

fn sixteen(stage: &Stage, net: &Net) -> Result<Program> {
    let files = stage.files("backed-up", 16, 4 << 20)?;
    Ok(stage
        .room
        .backup("send", &files)
        .with(["--to", &net.far.to_string(), "--parallel", "16"]))
}

/// What is sent on the server's CPU leaves through the second queue, and all else through the first.
fn queues_apart(stage: &Stage) -> Result<Scene> {
    let net = two_queues(stage)?;
    let (own, others) = (1_u128 << stage.cpu, bits(&stage.elsewhere));
    for (queue, cpus) in [("tx-0", others), ("tx-1", own)] {
        let file = format!("/sys/class/net/{}/queues/{queue}/xps_cpus", net.link.device);
        steer(Path::new(&file), cpus)?;
    }
    let backup = sender(stage, "backed-up", net.far, 4)?.on_cpus(stage.elsewhere.clone());
    Ok(Scene {
        server: net.scene.server.on_cpus(vec![stage.cpu]),
        ..net.scene
    }
    .with(sink(stage, net.far).in_netns(&net.link.netns))
    .innocent("backup", backup)
    .at_least(Meter::Sent(net.link.device), FULL)
    .unharmed())
}

fn bits(cpus: &[usize]) -> u128 {
    cpus.iter().map(|cpu| 1 << cpu).sum()
}

/// The kernel reads groups of 8 hexadecimal digits.
fn steer(file: &Path, cpus: u128) -> Result<()> {
    let groups: Vec<String> = (0..4)
        .rev()
        .map(|group| format!("{:08x}", (cpus >> (32 * group)) as u32))
        .collect();
    let used = groups.iter().position(|group| group != "00000000");
    fs::write(file, groups[used.unwrap_or(3)..].join(","))
        .with_context(|| format!("could not write {}", file.display()))
}

/// A link with two classes of 50 Mbit/s: what goes to `port` at the far end is in the second one.
fn two_classes(stage: &Stage, port: u16) -> Result<Net> {
    let (near, far) = link::addresses()?;
    let link = link::unshaped(near, far, 1)?;
    let device = link.device.as_str();
    let root = ["qdisc", "add", "dev", device, "root", "handle", "1:", "htb"];
    tc(&[&root[..], &["default", "1", "r2q", "100"]].concat())?;
    for (class, leaf) in [("1:1", "11:"), ("1:2", "12:")] {
        let one = [
            "class", "add", "dev", device, "parent", "1:", "classid", class,
        ];
        tc(&[&one[..], &["htb", "rate", "50mbit"]].concat())?;
        let queue = [
            "qdisc", "add", "dev", device, "parent", class, "handle", leaf,
        ];
        tc(&[&queue[..], &["pfifo", "limit", "100"]].concat())?;
    }
    into_class(&link, "1:", "1:2", port)?;
    net_over(stage, link, false)
}

/// Sorts what goes to a port into a class.
pub(super) fn into_class(link: &Link, parent: &str, class: &str, port: u16) -> Result<()> {
    let filter = ["filter", "add", "dev", &link.device, "parent", parent];
    let port = port.to_string();
    let of = [
        "protocol", "ip", "u32", "match", "ip", "dport", &port, "0xffff",
    ];
    tc(&[&filter[..], &of, &["flowid", class]].concat())
}

fn one_class(stage: &Stage) -> Result<Scene> {
    const OTHER_PORT: u16 = SINK_PORT + 1;
    let net = two_classes(stage, OTHER_PORT)?;
    let mut other = net.far;
    other.set_port(OTHER_PORT);
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .with(sink(stage, other).in_netns(&net.link.netns))
        .guilty("same class", sender(stage, "same", net.far, 4)?)
        .innocent("other class", sender(stage, "other", other, 4)?)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), 2.0 * FULL))
}

fn classes_apart(stage: &Stage) -> Result<Scene> {
    let net = two_classes(stage, SINK_PORT)?;
    let backup = sender(stage, "backed-up", net.far, 4)?;
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .innocent("backup", backup)
        .at_least(Meter::Sent(net.link.device), FULL)
        .unharmed())
}

/// The class of the advice lies under the shaper of the link, and has half its rate. What has no class leaves first.
fn remedied(stage: &Stage) -> Result<Scene> {
    let net = net(stage, false)?;
    let device = net.link.device.as_str();
    let shaper = ["qdisc", "replace", "dev", device, "root", "handle", "99:"];
    tc(&[&shaper[..], &SHAPER].concat())?;
    let queue = ["qdisc", "replace", "dev", device, "parent", "99:1"];
    tc(&[&queue[..], &["handle", "7ace:", "htb"]].concat())?;
    let class = ["class", "replace", "dev", device, "parent", "7ace:"];
    let rate = [
        "classid", "7ace:1", "htb", "rate", "25mbit", "ceil", "25mbit",
    ];
    tc(&[&class[..], &rate].concat())?;
    into_class(&net.link, "7ace:", "7ace:1", SINK_PORT)?;
    let backup = sender(stage, "backed-up", net.far, 4)?;
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .innocent("backup", backup)
        .at_least(Meter::Sent(net.link.device), FULL / 2.0)
        .unharmed())
}

/// Sends 2.24 Mbit/s of datagrams, times its third argument, to the address and port that it sees before that. What is forwarded no
/// longer holds its sender back: as fast as it can it would leave the server nothing at all.
pub(super) const STEADY: &str = r#"
import socket, sys, time

out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
due = time.monotonic()
while True:
    for _ in range(int(sys.argv[3])):
        out.sendto(b"x" * 1400, (sys.argv[1], int(sys.argv[2])))
    due += 0.005
    time.sleep(max(0, due - time.monotonic()))
"#;

/// A program that sends datagrams to the far end of a link, from a namespace behind us.
fn from_behind(stage: &Stage, link: &Link) -> Result<Program> {
    let netns = link::behind_a_bridge(link)?;
    let (to, port) = (link.far.to_string(), SINK_PORT.to_string());
    let words = ["python3", "-c", STEADY, &to, &port, "20"];
    Ok(stage.room.program(words).in_netns(&netns))
}

fn forwarded_datagrams(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let backup = from_behind(stage, &net.link)?;
    Ok(net
        .scene
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

fn translated_datagrams(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let backup = from_behind(stage, &net.link)?;
    link::masquerade(&net.link)?;
    Ok(net
        .scene
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

fn translated_apart(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let other = link::another(&net.link)?;
    let backup = from_behind(stage, &other)?.on_cpus(stage.elsewhere.clone());
    link::masquerade(&other)?;
    Ok(net
        .scene
        .innocent("backup", backup)
        .at_least(Meter::Sent(other.device), FULL / 2.0)
        .unharmed())
}

/// Its socket's buffer holds the sender back. Nobody listens where the datagrams arrive.
fn datagrams_apart(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let other = link::another(&net.link)?;
    let to = format!("UDP-SENDTO:{}:{SINK_PORT}", other.far);
    let backup = stage
        .room
        .program(["socat", "-u", "-b", "1400", "OPEN:/dev/zero", &to])
        .on_cpus(stage.elsewhere.clone());
    Ok(net
        .scene
        .innocent("backup", backup)
        .at_least(Meter::Sent(other.device), FULL)
        .unharmed())
}
