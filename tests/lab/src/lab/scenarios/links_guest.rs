//! Scenarios of interfaces and queues that are modules of the kernel: VLANs, bonds, bridges and tunnels over a shaped link, and the
//! queueing disciplines that shape links. Most machines' kernels lack some, and a guest has them.
//!
//! The rates are low: a guest's CPUs must not be what holds anybody up.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{
    network::{SINK_PORT, sink},
    queues::{STEADY, into_class},
};
use crate::{
    lab::{
        meter::{Meter, Who},
        scenario::{Scenario, Scene, Stage},
    },
    world::{
        link::{self, Link, tc},
        process::Program,
        upper::{self, Upper},
    },
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "guest-vlan",
        about: "server and backup send through a VLAN, whose link is full",
        quick: false,
        make: |stage| shared(stage, over(Upper::Vlan)),
    },
    Scenario {
        name: "guest-vlan-apart",
        about: "the same, but the backup's VLAN is on another link",
        quick: false,
        make: |stage| apart(stage, over(Upper::Vlan)),
    },
    Scenario {
        name: "guest-bond",
        about: "server and backup send through a bond, whose link is full",
        quick: false,
        make: |stage| shared(stage, over(Upper::Bond)),
    },
    Scenario {
        name: "guest-bond-apart",
        about: "the same, but the backup's bond has another link",
        quick: false,
        make: |stage| apart(stage, over(Upper::Bond)),
    },
    Scenario {
        name: "guest-macvlan",
        about: "server and backup send through a macvlan, whose link is full",
        quick: false,
        make: |stage| shared(stage, over(Upper::Macvlan)),
    },
    Scenario {
        name: "guest-macvlan-apart",
        about: "the same, but the backup's macvlan is on another link",
        quick: false,
        make: |stage| apart(stage, over(Upper::Macvlan)),
    },
    Scenario {
        name: "guest-bridge",
        about: "server and backup send through a bridge, whose port is full",
        quick: false,
        make: |stage| shared(stage, over(Upper::Bridge)),
    },
    Scenario {
        name: "guest-bridge-apart",
        about: "the same, but the backup's bridge has another port",
        quick: false,
        make: |stage| apart(stage, over(Upper::Bridge)),
    },
    Scenario {
        name: "guest-ipip",
        about: "server and backup send through a tunnel of IP in IP, whose link is full",
        quick: false,
        make: |stage| shared(stage, over(Upper::Ipip)),
    },
    Scenario {
        name: "guest-ipip-apart",
        about: "the same, but the backup's tunnel is on another link",
        quick: false,
        make: |stage| apart(stage, over(Upper::Ipip)),
    },
    Scenario {
        name: "guest-vxlan",
        about: "server and backup send through VXLAN, whose link is full",
        quick: false,
        make: |stage| shared(stage, over(Upper::Vxlan)),
    },
    Scenario {
        name: "guest-vxlan-apart",
        about: "the same, but the backup's VXLAN is on another link",
        quick: false,
        make: |stage| apart(stage, over(Upper::Vxlan)),
    },
    Scenario {
        name: "guest-wireguard",
        about: "server and backup send through WireGuard, whose link is full",
        quick: false,
        make: |stage| shared(stage, over(Upper::Wireguard)),
    },
    Scenario {
        name: "guest-wireguard-apart",
        about: "the same, but the backup's tunnel is on another link",
        quick: false,
        make: |stage| apart(stage, over(Upper::Wireguard)),
    },
    Scenario {
        name: "guest-shaped-vlan",
        about: "the shaper is on the VLAN of server and backup, and the link below is free",
        quick: false,
        make: shaped_above,
    },
    Scenario {
        name: "guest-shaped-vlan-past",
        about: "the same, but the server is alone in the VLAN, and datagrams pass it through the link below",
        quick: false,
        make: past_the_shaper,
    },
    Scenario {
        name: "guest-fq-codel",
        about: "server and backup take turns (fq_codel) on a full link",
        quick: false,
        make: |stage| shared(stage, through(Queue::FqCodel)),
    },
    Scenario {
        name: "guest-fq-codel-apart",
        about: "the same, but the backup fills another such link",
        quick: false,
        make: |stage| apart(stage, through(Queue::FqCodel)),
    },
    Scenario {
        name: "guest-cake",
        about: "server and backup send through a full link with CAKE",
        quick: false,
        make: |stage| shared(stage, through(Queue::Cake)),
    },
    Scenario {
        name: "guest-cake-apart",
        about: "the same, but the backup fills another such link",
        quick: false,
        make: |stage| apart(stage, through(Queue::Cake)),
    },
    Scenario {
        name: "guest-hfsc",
        about: "server and backup send through one class (HFSC), which is full",
        quick: false,
        make: |stage| shared(stage, through(Queue::Hfsc)),
    },
    Scenario {
        name: "guest-hfsc-apart",
        about: "the same, but the backup fills a class of its own",
        quick: false,
        make: |stage| class_apart(stage, Queue::Hfsc),
    },
    Scenario {
        name: "guest-htb",
        about: "server and backup send through one class (HTB), which is full",
        quick: false,
        make: |stage| shared(stage, through(Queue::Htb)),
    },
    Scenario {
        name: "guest-htb-apart",
        about: "the same, but the backup fills a class of its own",
        quick: false,
        make: |stage| class_apart(stage, Queue::Htb),
    },
    Scenario {
        name: "guest-prio",
        about: "server and backup send through one band (prio) of a full link",
        quick: false,
        make: |stage| shared(stage, through(Queue::Prio)),
    },
    Scenario {
        name: "guest-prio-apart",
        about: "the same, but the backup is in a lower band, which leaves after the server's",
        quick: false,
        make: lower_band,
    },
    Scenario {
        name: "guest-drr",
        about: "server and backup send through one class (DRR) of a full link",
        quick: false,
        make: |stage| shared(stage, through(Queue::Drr)),
    },
    Scenario {
        name: "guest-drr-apart",
        about: "the same, but the backup fills another such link",
        quick: false,
        make: |stage| apart(stage, through(Queue::Drr)),
    },
    Scenario {
        name: "guest-mqprio",
        about: "server and backup send through one transmit queue of two (mqprio) of a full link",
        quick: false,
        make: |stage| shared(stage, through(Queue::Mqprio)),
    },
    Scenario {
        name: "guest-mqprio-apart",
        about: "the same, but the backup fills another such link",
        quick: false,
        make: |stage| apart(stage, through(Queue::Mqprio)),
    },
];

/// What packets go through.
#[derive(Clone, Copy)]
struct Shape {
    /// The interface on the link, if there is one.
    upper: Option<Upper>,
    /// The queue of the link.
    queue: Queue,
}

fn over(upper: Upper) -> Shape {
    Shape {
        upper: Some(upper),
        queue: Queue::Tbf,
    }
}

fn through(queue: Queue) -> Shape {
    Shape { upper: None, queue }
}

/// The queue of a link.
#[derive(Clone, Copy)]
enum Queue {
    /// A token bucket.
    Tbf,
    /// Senders take turns, below a token bucket.
    FqCodel,
    /// Senders take turns, and the link is shaped.
    Cake,
    /// Two classes.
    Hfsc,
    /// Two classes.
    Htb,
    /// Bands below a token bucket, each of which leaves before the next one.
    Prio,
    /// Classes that take turns, below a token bucket.
    Drr,
    /// Two transmit queues, of which the priority chooses one, each with a token bucket.
    Mqprio,
}

/// It holds 130 ms.
const TBF: &str = "root handle 1: tbf rate 8mbit burst 16kb limit 128kb";

impl Queue {
    /// What `tc` is to add: the kind of thing, and its words. Of two classes, what nobody sorts is in the first; of bands, in the second.
    fn parts(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Tbf => &[("qdisc", TBF)],
            Self::FqCodel => &[("qdisc", TBF), ("qdisc", "parent 1:1 fq_codel")],
            Self::Cake => &[("qdisc", "root cake bandwidth 8mbit")],
            Self::Hfsc => &[
                ("qdisc", "root handle 1: hfsc default 1"),
                (
                    "class",
                    "parent 1: classid 1:1 hfsc sc rate 4mbit ul rate 4mbit",
                ),
                (
                    "class",
                    "parent 1: classid 1:2 hfsc sc rate 4mbit ul rate 4mbit",
                ),
                ("qdisc", "parent 1:1 pfifo limit 50"),
                ("qdisc", "parent 1:2 pfifo limit 50"),
            ],
            Self::Htb => &[
                ("qdisc", "root handle 1: htb default 1"),
                (
                    "class",
                    "parent 1: classid 1:1 htb rate 4mbit burst 16kb cburst 16kb",
                ),
                (
                    "class",
                    "parent 1: classid 1:2 htb rate 4mbit burst 16kb cburst 16kb",
                ),
                ("qdisc", "parent 1:1 pfifo limit 50"),
                ("qdisc", "parent 1:2 pfifo limit 50"),
            ],
            // What one band leaves of a large bucket would be missed by the other.
            Self::Prio => &[
                (
                    "qdisc",
                    "root handle 1: tbf rate 8mbit burst 6kb limit 128kb",
                ),
                ("qdisc", "parent 1:1 handle 2: prio"),
                ("qdisc", "parent 2:2 pfifo limit 80"),
                ("qdisc", "parent 2:3 pfifo limit 80"),
            ],
            Self::Drr => &[
                ("qdisc", TBF),
                ("qdisc", "parent 1:1 handle 2: drr"),
                ("class", "parent 2: classid 2:1 drr"),
                ("qdisc", "parent 2:1 pfifo limit 50"),
                (
                    "filter",
                    "parent 2: protocol all prio 9 matchall flowid 2:1",
                ),
            ],
            // What has no priority is in the first.
            Self::Mqprio => &[
                (
                    "qdisc",
                    "root handle 77: mqprio num_tc 2 map 0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 queues 1@0 1@1 hw 0",
                ),
                ("qdisc", "parent 77:1 tbf rate 8mbit burst 16kb limit 128kb"),
                ("qdisc", "parent 77:2 tbf rate 8mbit burst 16kb limit 128kb"),
            ],
        }
    }

    /// How many bytes per second it sends at least while somebody fills it: seven tenths of its rate, or of a class's. A guest's timers are
    /// late, and what is not sent by then is lost to a shaper.
    fn full(self) -> f64 {
        let bits = match self {
            Self::Tbf | Self::FqCodel | Self::Cake | Self::Prio | Self::Drr | Self::Mqprio => 8e6,
            Self::Hfsc | Self::Htb => 4e6,
        };
        0.7 * bits / 8.0
    }

    /// Transmit queues of the device that it needs.
    fn transmit_queues(self) -> usize {
        match self {
            Self::Mqprio => 2,
            _ => 1,
        }
    }

    /// Gives a device this queue.
    fn put_on(self, device: &str) -> Result<()> {
        for (kind, words) in self.parts() {
            let mut all = vec![*kind, "add", "dev", device];
            all.extend(words.split(' '));
            tc(&all)?;
        }
        match self {
            // They divide long packets themselves.
            Self::Tbf | Self::Cake | Self::Mqprio => Ok(()),
            Self::FqCodel | Self::Hfsc | Self::Htb | Self::Prio | Self::Drr => {
                link::packets_of_the_wire(device)
            }
        }
    }
}

/// Where these scenarios can be played.
const IN_A_GUEST: &str =
    "a module may be missing: play it in a guest by `cargo xtask vm --lab links-guest`";

/// A link of this shape, the first or second of the scene.
fn laid(stage: &Stage, shape: Shape, netns: &str, number: u16) -> Result<Link> {
    let lay = || -> Result<Link> {
        let link = link::unshaped_into(netns, number, shape.queue.transmit_queues())?;
        shape.queue.put_on(&link.device)?;
        match shape.upper {
            Some(kind) => upper::put_on(&link, kind, number, &stage.room.dir),
            None => Ok(link),
        }
    };
    lay().context(IN_A_GUEST)
}

/// A server at the near end of a link, and its client at the far one. Its answers are longer than what a shaper lets pass at once, and none
/// stands behind another one of its own: a guest's CPUs and timers are late by some milliseconds.
fn served(stage: &Stage, link: &Link) -> Result<Scene> {
    let served = stage.files("served", 4, 48 << 10)?;
    let address = SocketAddr::from((link.near, 8080));
    let room = &stage.room;
    let server = room.server(address, &served, false);
    let client = room
        .client(address, &served)
        .with(["--connections=1", "--think-ms=150"])
        .in_netns(&link.netns);
    Ok(Scene::new(
        server.on_cpus(vec![stage.cpu]),
        address,
        client.on_cpus(stage.elsewhere.clone()),
    ))
}

/// A backup that sends four streams through a link, and who takes them.
fn backup(stage: &Stage, link: &Link) -> Result<(Program, Program)> {
    let to = SocketAddr::from((link.far, SINK_PORT));
    let files = stage.files("backed-up", 4, 4 << 20)?;
    let backup =
        stage
            .room
            .backup("send", &files)
            .with(["--to", &to.to_string(), "--parallel", "4"]);
    let sink = sink(stage, to).in_netns(&link.netns);
    let elsewhere = || stage.elsewhere.clone();
    Ok((backup.on_cpus(elsewhere()), sink.on_cpus(elsewhere())))
}

fn shared(stage: &Stage, shape: Shape) -> Result<Scene> {
    let link = laid(stage, shape, &link::namespace()?, 1)?;
    let (backup, sink) = backup(stage, &link)?;
    Ok(served(stage, &link)?
        .with(sink)
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::Sent(link.device), shape.queue.full()))
}

fn apart(stage: &Stage, shape: Shape) -> Result<Scene> {
    let netns = link::namespace()?;
    let mine = laid(stage, shape, &netns, 1)?;
    let other = laid(stage, shape, &netns, 2)?;
    let (backup, sink) = backup(stage, &other)?;
    Ok(served(stage, &mine)?
        .with(sink)
        .innocent("backup", backup)
        .unharmed()
        .at_least(Meter::Sent(other.device), shape.queue.full()))
}

fn class_apart(stage: &Stage, queue: Queue) -> Result<Scene> {
    let link = laid(stage, through(queue), &link::namespace()?, 1)?;
    into_class(&link, "1:", "1:2", SINK_PORT).context(IN_A_GUEST)?;
    let (backup, sink) = backup(stage, &link)?;
    Ok(served(stage, &link)?
        .with(sink)
        .innocent("backup", backup)
        .unharmed()
        // What leaves the link is the server's, too.
        .at_least(Meter::Taken(Who::Backup(0)), queue.full()))
}

fn lower_band(stage: &Stage) -> Result<Scene> {
    let link = laid(stage, through(Queue::Prio), &link::namespace()?, 1)?;
    into_class(&link, "2:", "2:3", SINK_PORT).context(IN_A_GUEST)?;
    let (backup, sink) = backup(stage, &link)?;
    Ok(served(stage, &link)?
        .with(sink)
        .innocent("backup", backup)
        .unharmed()
        .at_least(Meter::Sent(link.device), Queue::Prio.full()))
}

/// A link that is free, and a shaped VLAN on it. What leaves the VLAN passes a second queue, of which nobody can read how long it is.
fn shaped_vlan(stage: &Stage) -> Result<(Link, Link)> {
    const NUMBER: u16 = 1;
    let lay = || -> Result<(Link, Link)> {
        let below = link::unshaped_into(&link::namespace()?, NUMBER, 1)?;
        tc(&["qdisc", "add", "dev", &below.device, "root", "pfifo_fast"])?;
        let mut vlan = upper::put_on(&below, Upper::Vlan, NUMBER, &stage.room.dir)?;
        vlan.device = upper::name(NUMBER);
        Queue::Tbf.put_on(&vlan.device)?;
        Ok((below, vlan))
    };
    lay().context(IN_A_GUEST)
}

fn shaped_above(stage: &Stage) -> Result<Scene> {
    let (_, vlan) = shaped_vlan(stage)?;
    let (backup, sink) = backup(stage, &vlan)?;
    Ok(served(stage, &vlan)?
        .with(sink)
        .guilty("backup", backup)
        .holds("network", None)
        .at_least(Meter::Sent(vlan.device), Queue::Tbf.full()))
}

/// The datagrams are 4.5 Mbit/s, and nobody listens where they arrive. Of such packets nobody knows whether they are late.
fn past_the_shaper(stage: &Stage) -> Result<Scene> {
    let (below, vlan) = shaped_vlan(stage)?;
    let (to, port) = (below.far.to_string(), SINK_PORT.to_string());
    let words = ["python3", "-c", STEADY, &to, &port, "2"];
    let backup = stage.room.program(words).on_cpus(stage.elsewhere.clone());
    Ok(served(stage, &vlan)?
        .innocent("backup", backup)
        .unharmed()
        .at_least(Meter::Sent(below.device), 4e5))
}
