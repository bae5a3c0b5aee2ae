//! A class of its own for the culprit's packets on the interface: an HTB queue with just this class. Packets without a class leave
//! at once, before those of the class (tc-htb(8)). So on a link that others fill, the culprit starves. Under a TBF the shaping of
//! the link stays as it is.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::{Advice, case::Case, shell::quote};
use crate::standing::{Interface, Standing};

/// Handle of the queue: one that nobody gives by hand, and the kernel (from 8000: on) neither.
const HANDLE: &str = "7ace:";
const CLASS: &str = "7ace:1";
/// Root qdiscs that shape nothing and sort nothing on demand of an administrator: they may be replaced.
const PLAIN: [&str; 8] = [
    "pfifo_fast",
    "pfifo",
    "bfifo",
    "fq_codel",
    "fq",
    "sfq",
    "mq",
    "codel",
];
/// More filters nobody reads.
const MOST_FILTERS: usize = 8;

pub(super) fn class(case: &Case<'_>) -> Option<Advice> {
    let place = case.place()?;
    let interfaces = &case.books.means.interfaces;
    let interface = interfaces.iter().find(|interface| interface.name == place);
    let filters = filters(case);
    let unknown = Interface {
        name: place.to_owned(),
        ..Interface::default()
    };
    Some(Advice {
        command: command(case, interface.unwrap_or(&unknown), &filters),
        why: "leaves part of the link to others, at once and without a restart",
        effect: check(case, place, interface, &filters),
    })
}

fn command(case: &Case<'_>, interface: &Interface, filters: &[String]) -> String {
    let dev = quote(&interface.name);
    let parent = match interface.qdisc.as_str() {
        "tbf" => format!("parent {:x}:1", interface.major),
        _ => "root".to_owned(),
    };
    let rate = case
        .half_rate()
        .map_or("RATE".to_owned(), |rate| format!("{}kbit", rate * 8 / 1000));
    let mut parts = vec![
        format!("tc qdisc replace dev {dev} {parent} handle {HANDLE} htb"),
        format!(
            "tc class replace dev {dev} parent {HANDLE} classid {CLASS} htb rate {rate} ceil {rate}"
        ),
    ];
    parts.extend(
        filters.iter().map(|filter| {
            format!("tc filter add dev {dev} parent {HANDLE} {filter} flowid {CLASS}")
        }),
    );
    parts.join(" && ")
}

fn check(
    case: &Case<'_>,
    place: &str,
    interface: Option<&Interface>,
    filters: &[String],
) -> Result<String, String> {
    case.gone()?;
    case.means_known()?;
    let interface = interface.ok_or_else(|| {
        format!("{place} is in another network namespace than the tracer: enter that first (nsenter(1), tc(8))")
    })?;
    let replaced = match (interface.qdisc.as_str(), interface.inner.as_str()) {
        ("tbf", "" | "pfifo" | "bfifo" | "pfifo_fast" | "fq_codel" | "sfq")
            if interface.major != 0 =>
        {
            "the rate of the link stays; ".to_owned()
        }
        ("tbf", "htb") => {
            return Err(format!(
                "{place} has classes already: give the culprit one of them (`tc -s class show dev {place}`, tc-htb(8))"
            ));
        }
        ("mq", inner) if !inner.is_empty() && !PLAIN.contains(&inner) => {
            return Err(format!(
                "the queue {inner} below mq of {place} shapes the link, and a class in its place would undo that (tc(8))"
            ));
        }
        (plain, _) if PLAIN.contains(&plain) => {
            format!("replaces the queue {plain} of {place} for all its packets; ")
        }
        ("htb" | "hfsc" | "drr" | "prio", _) => {
            return Err(format!(
                "{place} has classes already: give the culprit one of them (`tc -s class show dev {place}`, tc-htb(8))"
            ));
        }
        ("", _) => return Err(format!("what queues on {place} is not known (tc(8))")),
        (kind, _) => {
            return Err(format!(
                "the queue {kind} of {place} shapes the link, and a class in its place would undo that (tc(8))"
            ));
        }
    };
    if filters.is_empty() {
        let mut flows = case.standings().flat_map(flows_of);
        return Err(match flows.find_map(|flow| wrapped(case, &flow)) {
            Some(above) => format!("its packets come to {place} inside those of {above}, where no filter finds them (tc-u32(8))"),
            None => "no connection of it was open at the end, by which a filter could know its packets (tc-u32(8))".to_owned(),
        });
    }
    if filters.len() > MOST_FILTERS {
        return Err(format!(
            "it has {} connections, more than filters can follow (tc-u32(8))",
            filters.len()
        ));
    }
    if case.half_rate().is_none() {
        return Err("what it sends there is too little to halve (tc-htb(8))".to_owned());
    }
    if !case.books.means.has("tc") {
        return Err("tc is not installed (iproute2)".to_owned());
    }
    Ok(format!(
        "{replaced}these connections get at most half of what they had, and while others fill the link next to nothing, because \
         they go first; undo: tc qdisc del dev {place} {} (tc-htb(8), tc-u32(8))",
        match interface.qdisc.as_str() {
            "tbf" => format!("parent {:x}:1", interface.major),
            _ => "root".to_owned(),
        }
    ))
}

/// A filter for each of the members' flows, by both ends. Several flows to one service, or from one, get a single filter by the end
/// that they share. It catches those opened later too. If it would catch a flow of the target's, they get one filter each.
fn filters(case: &Case<'_>) -> Vec<String> {
    let leaves = |flow: &Flow| case.place() == Some("lo") || !flow.1.ip().is_loopback();
    let here = |flow: &Flow| leaves(flow) && wrapped(case, flow).is_none();
    let flows: BTreeSet<Flow> = case.standings().flat_map(flows_of).filter(here).collect();
    let spared: Vec<Flow> = case.target().into_iter().flat_map(flows_of).collect();
    let widest = |flow: &Flow| {
        let wide = [
            Match {
                local: None,
                ..Match::exactly(flow)
            },
            Match {
                remote: (flow.1.ip(), None),
                ..Match::exactly(flow)
            },
        ];
        let shared = |wide: &&Match| {
            flows
                .iter()
                .filter(|flow| wide.takes(flow))
                .nth(1)
                .is_some()
        };
        let harmless = |wide: &&Match| !spared.iter().any(|flow| wide.takes(flow));
        let wide = wide.iter().find(|wide| shared(wide) && harmless(wide));
        wide.copied().unwrap_or_else(|| Match::exactly(flow))
    };
    let matches: BTreeSet<Match> = flows.iter().map(widest).collect();
    matches.iter().map(Match::to_string).collect()
}

/// The interface inside whose packets those of a flow come to the place, if they do: it has the flow's own address.
fn wrapped<'a>(case: &Case<'a>, flow: &Flow) -> Option<&'a str> {
    let own = flow.0.ip().to_string();
    let mut all = case.books.wrapping.iter();
    let above = all.find(|above| above.addresses.contains(&own))?;
    let name = above.name.as_str();
    (case.place() != Some(name)).then_some(name)
}

/// A connection as its packets leave: from the own end to the other.
type Flow = (SocketAddr, SocketAddr);

fn flows_of(standing: &Standing) -> impl Iterator<Item = Flow> + '_ {
    // A socket of IPv6 that talks to an IPv4 address sends IPv4.
    let end = |text: &str| {
        let end = text.parse::<SocketAddr>().ok()?;
        Some(SocketAddr::new(end.ip().to_canonical(), end.port()))
    };
    let ends = standing.connections.iter();
    ends.filter_map(move |(local, remote)| Some((end(local)?, end(remote)?)))
}

/// The fields that a filter compares in packets that leave: own port, other address, other port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    local: Option<u16>,
    remote: (IpAddr, Option<u16>),
}

impl Match {
    fn exactly((local, remote): &Flow) -> Self {
        Self {
            local: Some(local.port()),
            remote: (remote.ip(), Some(remote.port())),
        }
    }

    fn takes(&self, (local, remote): &Flow) -> bool {
        self.local.is_none_or(|port| port == local.port())
            && self.remote.0 == remote.ip()
            && self.remote.1.is_none_or(|port| port == remote.port())
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, selector, bits) = match self.remote.0 {
            IpAddr::V4(_) => ("ip", "ip", 32),
            IpAddr::V6(_) => ("ipv6", "ip6", 128),
        };
        write!(
            f,
            "protocol {protocol} u32 match {selector} dst {}/{bits}",
            self.remote.0
        )?;
        for (side, port) in [("sport", self.local), ("dport", self.remote.1)] {
            if let Some(port) = port {
                write!(f, " match {selector} {side} {port} 0xffff")?;
            }
        }
        Ok(())
    }
}
